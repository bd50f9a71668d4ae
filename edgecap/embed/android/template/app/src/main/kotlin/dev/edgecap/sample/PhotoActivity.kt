package dev.edgecap.sample

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import android.os.Bundle
import android.widget.Button
import android.widget.FrameLayout
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import dev.edgecap.Captioner
import dev.edgecap.EdgecapException
import dev.edgecap.OpenOptions
import dev.edgecap.installBundle
import dev.edgecap.toPixels
import java.io.File
import java.io.IOException
import java.util.concurrent.Executors

/** Captions an image that another app shares, or that is chosen here. Needs no library but edgecap. */
class PhotoActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private var captioner: Captioner? = null // of the worker
    private lateinit var picture: ImageView
    private lateinit var boxes: CaptionView
    private lateinit var words: TextView

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        picture = ImageView(this)
        boxes = CaptionView(this)
        words = TextView(this)
        val choose = Button(this)
        choose.setText(R.string.choose)
        choose.setOnClickListener {
            val wanted = Intent(Intent.ACTION_GET_CONTENT).setType("image/*")
            startActivityForResult(Intent.createChooser(wanted, getString(R.string.choose)), 1)
        }
        val frame = FrameLayout(this)
        frame.addView(picture)
        frame.addView(boxes)
        val column = LinearLayout(this)
        column.orientation = LinearLayout.VERTICAL
        column.fitsSystemWindows = true
        column.addView(frame, LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1f))
        column.addView(words)
        column.addView(choose)
        setContentView(column)
        @Suppress("DEPRECATION")
        val shared = intent.getParcelableExtra<Uri>(Intent.EXTRA_STREAM)
        if (shared != null) caption(shared)
    }

    @Deprecated("A plain Activity has nothing newer.")
    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        data?.data?.let { caption(it) }
    }

    override fun onDestroy() {
        worker.execute { captioner?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun caption(source: Uri) {
        words.setText(R.string.loading)
        worker.execute {
            try {
                val image = upright(source)
                runOnUiThread {
                    picture.setImageBitmap(image)
                    boxes.show(null, image.width, image.height)
                }
                val opened = captioner ?: Captioner.open(installBundle().path, OpenOptions(threads = 2))
                captioner = opened
                val caption = opened.caption(image.toPixels(), opened.sureRequest())
                runOnUiThread {
                    words.text = told(caption)
                    boxes.show(caption, image.width, image.height)
                }
            } catch (error: EdgecapException) {
                runOnUiThread { words.text = error.message }
            } catch (error: IOException) {
                runOnUiThread { words.text = error.message }
            }
        }
    }

    /** The image as a person sees it, and not larger than a model of this kind needs. */
    private fun upright(source: Uri): Bitmap {
        val file = File(cacheDir, "image")
        val from = contentResolver.openInputStream(source) ?: throw IOException("$source cannot be read")
        from.use { bytes -> file.outputStream().use { bytes.copyTo(it) } }
        val bounds = BitmapFactory.Options()
        bounds.inJustDecodeBounds = true
        BitmapFactory.decodeFile(file.path, bounds)
        val options = BitmapFactory.Options()
        options.inSampleSize = maxOf(1, Integer.highestOneBit(minOf(bounds.outWidth, bounds.outHeight) / LEAST))
        val image = BitmapFactory.decodeFile(file.path, options) ?: throw IOException("$source is no image")
        val degrees = when (ExifInterface(file.path).getAttributeInt(ExifInterface.TAG_ORIENTATION, 1)) {
            ExifInterface.ORIENTATION_ROTATE_90 -> 90f
            ExifInterface.ORIENTATION_ROTATE_180 -> 180f
            ExifInterface.ORIENTATION_ROTATE_270 -> 270f
            else -> return image
        }
        val turn = Matrix()
        turn.postRotate(degrees)
        return Bitmap.createBitmap(image, 0, 0, image.width, image.height, turn, true)
    }

    private companion object {
        const val LEAST = 672 // px of the shorter side, three times the model's input
    }
}
