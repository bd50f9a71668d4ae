package dev.edgecap

import java.nio.ByteBuffer

/** The order of channels in memory, 8 bits each. Alpha is not premultiplied. */
enum class PixelFormat(val channels: Int) {
    GREY(1),
    GREY_ALPHA(2),
    RGB(3),
    BGR(3),
    RGBA(4),
    BGRA(4),
}

/**
 * An image in memory, the upper row first. Nothing is copied: keep [buffer] until the call is over.
 *
 * @property buffer a direct buffer; the image begins at its position.
 * @property stride bytes from one row to the next.
 * @property orientation as in EXIF, 1-8; 1 is upright.
 */
class Pixels(
    val buffer: ByteBuffer,
    val width: Int,
    val height: Int,
    val format: PixelFormat = PixelFormat.RGB,
    val stride: Int = width * format.channels,
    val orientation: Int = 1,
) {
    /** What jni_values.c reads: offset, width, height, stride, format, orientation. */
    internal val layout: IntArray
        get() = intArrayOf(buffer.position(), width, height, stride, format.ordinal, orientation)

    companion object {
        /** A copy of an array, rows without gaps. */
        fun of(bytes: ByteArray, width: Int, height: Int, format: PixelFormat = PixelFormat.RGB): Pixels {
            val buffer = ByteBuffer.allocateDirect(bytes.size)
            buffer.put(bytes)
            buffer.rewind()
            return Pixels(buffer, width, height, format)
        }

        /** The EXIF orientation of an image that must be turned clockwise to be upright. */
        fun orientationOf(degrees: Int): Int =
            when (degrees.mod(360)) {
                0 -> 1
                90 -> 6
                180 -> 3
                270 -> 8
                else -> throw EdgecapException(Status.INPUT, "image.orientation", "degrees must be 0, 90, 180 or 270, got $degrees.")
            }
    }
}
