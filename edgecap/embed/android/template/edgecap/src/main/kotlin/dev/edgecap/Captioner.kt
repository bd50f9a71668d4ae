package dev.edgecap

import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/**
 * How a bundle is opened.
 *
 * @property engine "auto", "litert", "tflite" or "onnxruntime".
 * @property library the engine's shared library; null: its usual names, which is right for an
 *   engine that came as an AAR.
 * @property threads of the engine.
 * @property verify hash every file; false checks names and sizes alone.
 */
data class OpenOptions(
    val engine: String = "auto",
    val library: String? = null,
    val threads: Int = 1,
    val verify: Boolean = true,
)

/**
 * What a captioner is.
 *
 * @property imageSize side of the model's input in px.
 * @property patches attention values of a token, a square number.
 * @property embedding length of an embedding; 0: it makes none.
 * @property maxTokens of a caption.
 * @property textTokens of a text to embed; 0: it embeds no texts.
 * @property calibrated captions have a confidence, and a lowest one may be asked for.
 */
data class CaptionerInfo(
    val name: String,
    val format: String,
    val precision: String,
    val engine: String,
    val languages: List<String>,
    val styles: List<String>,
    val prompts: List<String>,
    val imageSize: Int,
    val patches: Int,
    val embedding: Int,
    val vocabulary: Int,
    val maxTokens: Int,
    val textTokens: Int,
    val calibrated: Boolean,
)

/**
 * A model that captions images. May be used from several threads: calls wait for each other.
 * A call blocks for as long as the model runs; see Stream.kt for coroutines.
 */
class Captioner private constructor(private var handle: Long) : AutoCloseable {
    private val lock = ReentrantLock()

    val info: CaptionerInfo = infoOf(handle)

    /** Captions an image. Throws [EdgecapException]. */
    fun caption(image: Pixels, request: CaptionRequest = CaptionRequest()): Caption =
        describe(image, request, null)

    /**
     * Captions an image and gives every piece of text as soon as it is certain. Throws
     * [EdgecapException], with [Status.STOPPED] where [onPiece] returned false.
     */
    fun caption(image: Pixels, request: CaptionRequest, onPiece: (String) -> Boolean): Caption =
        describe(image, request) { onPiece(String(it, Charsets.UTF_8)) }

    /** An image's embedding, of norm 1; images and texts share one space, the dot product ranks. */
    fun embed(image: Pixels): FloatArray = open { Native.embed(it, image.buffer, image.layout, null) }

    /** A text's embedding. */
    fun embed(text: String): FloatArray = open { Native.embed(it, null, null, utf8("text", text)) }

    /** Frees the model; a call in another thread is waited for. */
    override fun close() = lock.withLock {
        if (handle != 0L) Native.close(handle)
        handle = 0
    }

    private fun describe(image: Pixels, request: CaptionRequest, listener: PieceListener?): Caption {
        val sampling = request.sampling ?: Sampling()
        val asked = intArrayOf(
            request.boxes.toInt(),
            request.rule.toInt(),
            request.maxTokens,
            request.beams,
            (request.sampling != null).toInt(),
            sampling.topK,
            sampling.seed,
            request.attention.toInt(),
            sampling.index,
        )
        val given = open {
            Native.describe(
                it,
                image.buffer,
                image.layout,
                request.language?.let { name -> utf8("language", name) },
                request.style?.let { name -> utf8("style", name) },
                request.prompt?.let { name -> utf8("prompt", name) },
                asked,
                sampling.temperature,
                sampling.topP,
                request.minConfidence,
                listener,
            )
        }
        return captionOf(given)
    }

    /** From inside [caption]'s listener the captioner is busy: C allows one call at a time. */
    private fun <T> open(call: (Long) -> T): T {
        if (lock.isHeldByCurrentThread) {
            throw EdgecapException(Status.UNSUPPORTED, "captioner.busy", "a listener cannot call its own captioner.")
        }
        return lock.withLock {
            if (handle == 0L) throw EdgecapException(Status.INPUT, "captioner.closed", "this captioner was closed.")
            call(handle)
        }
    }

    companion object {
        init {
            System.loadLibrary("edgecap_jni")
        }

        /** Opens a bundle: a directory or a packed file. Throws [EdgecapException]. */
        fun open(bundle: String, options: OpenOptions = OpenOptions()): Captioner = Captioner(
            Native.open(
                utf8("bundle", bundle),
                utf8("engine", options.engine),
                options.library?.let { utf8("library", it) },
                options.threads,
                options.verify,
            ),
        )

        private fun infoOf(handle: Long): CaptionerInfo {
            val (about, languages, styles, prompts) = Native.texts(handle).map { list ->
                list.map { String(it, Charsets.UTF_8) }
            }
            val n = Native.numbers(handle)
            return CaptionerInfo(
                about[0], about[1], about[2], about[3], languages, styles, prompts,
                n[0], n[1], n[2], n[3], n[4], n[5], n[6] != 0,
            )
        }

        /** C ends a text at a null character, so one inside would cut it. */
        private fun utf8(what: String, text: String): ByteArray {
            if ('\u0000' in text) throw EdgecapException(Status.INPUT, "text.null", "$what has a null character.")
            return text.toByteArray(Charsets.UTF_8)
        }
    }
}

private fun Boolean.toInt() = if (this) 1 else 0
