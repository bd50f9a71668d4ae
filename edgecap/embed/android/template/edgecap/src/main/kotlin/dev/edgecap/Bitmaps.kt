package dev.edgecap

import android.graphics.Bitmap
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * A copy of a bitmap's pixels, whatever its configuration.
 *
 * `getPixels` gives alpha that is not premultiplied, as edgecap wants it; `copyPixelsToBuffer` would
 * darken what is half transparent. Hardware bitmaps have no pixels to read: copy them first.
 *
 * @param degrees how far the bitmap must be turned clockwise to be upright: 0, 90, 180 or 270.
 */
fun Bitmap.toPixels(degrees: Int = 0): Pixels {
    val argb = IntArray(width * height)
    getPixels(argb, 0, width, 0, 0, width, height)
    val buffer = ByteBuffer.allocateDirect(4 * argb.size)
    buffer.order(ByteOrder.LITTLE_ENDIAN).asIntBuffer().put(argb) // bytes B, G, R, A
    return Pixels(buffer, width, height, PixelFormat.BGRA, orientation = Pixels.orientationOf(degrees))
}
