package dev.edgecap

import java.nio.ByteBuffer

/** The functions of edgecap_jni.c and caption_jni.c. Text is UTF-8 bytes; a handle is used by one thread at a time. */
internal object Native {
    external fun open(
        bundle: ByteArray,
        engine: ByteArray?,
        library: ByteArray?,
        threads: Int,
        verify: Boolean,
    ): Long

    external fun close(handle: Long)

    external fun texts(handle: Long): Array<Array<ByteArray>>

    external fun numbers(handle: Long): IntArray

    external fun describe(
        handle: Long,
        pixels: ByteBuffer,
        layout: IntArray,
        language: ByteArray?,
        style: ByteArray?,
        prompt: ByteArray?,
        asked: IntArray,
        temperature: Double,
        topP: Double,
        minConfidence: Double,
        listener: PieceListener?,
    ): Array<Any?>

    external fun embed(handle: Long, pixels: ByteBuffer?, layout: IntArray?, text: ByteArray?): FloatArray
}

/** Called by name from C for every piece of text; false stops. */
internal fun interface PieceListener {
    fun piece(utf8: ByteArray): Boolean
}
