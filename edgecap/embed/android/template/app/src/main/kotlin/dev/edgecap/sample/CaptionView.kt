package dev.edgecap.sample

import android.content.Context
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.view.View
import dev.edgecap.Caption

/** Boxes of a caption over an image that is shown as large as it fits, in the middle. */
class CaptionView(context: Context) : View(context) {
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply { style = Paint.Style.STROKE }
    private val label = Paint(Paint.ANTI_ALIAS_FLAG)
    private var caption: Caption? = null
    private var imageWidth = 1
    private var imageHeight = 1

    /** `width` and `height` of the upright image in px. */
    fun show(caption: Caption?, width: Int, height: Int) {
        this.caption = caption
        imageWidth = width
        imageHeight = height
        contentDescription = caption?.text
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        val scale = minOf(width / imageWidth.toFloat(), height / imageHeight.toFloat())
        val density = resources.displayMetrics.density
        line.strokeWidth = 2 * density
        label.textSize = 14 * density
        canvas.translate((width - imageWidth * scale) / 2, (height - imageHeight * scale) / 2)
        for ((n, mention) in caption?.mentions.orEmpty().withIndex()) {
            line.color = COLOURS[n % COLOURS.size]
            label.color = line.color
            for (box in mention.boxes) {
                val left = box.x0.toFloat() * scale
                val top = box.y0.toFloat() * scale
                canvas.drawRect(left, top, box.x1.toFloat() * scale, box.y1.toFloat() * scale, line)
                canvas.drawText(mention.phrase, left, top - label.textSize / 3, label)
            }
        }
    }

    private companion object {
        val COLOURS = intArrayOf(Color.YELLOW, Color.CYAN, Color.MAGENTA, Color.GREEN)
    }
}
