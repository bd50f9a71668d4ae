package dev.edgecap

/**
 * What to ask. The defaults are the model's own.
 *
 * @property language of models that are asked by language; null: "en".
 * @property style null: "grounded", or "plain" where [boxes] is false.
 * @property prompt of models that have named prompts; null: the first. See [CaptionerInfo.prompts].
 * @property boxes say where things are.
 * @property rule allow only well-formed boxes.
 * @property maxTokens the end included; 0: all the model can.
 * @property beams 1-32; 0: as the model ships, one where it streams.
 * @property sampling null: take the most probable token.
 * @property attention also return where the model looked, for every token.
 * @property minConfidence captions of a lower confidence are declined; 0: none is; [AUTO_CONFIDENCE].
 *   Other values need a calibrated model: [CaptionerInfo.calibrated].
 */
data class CaptionRequest(
    val language: String? = null,
    val style: String? = null,
    val prompt: String? = null,
    val boxes: Boolean = true,
    val rule: Boolean = true,
    val maxTokens: Int = 0,
    val beams: Int = 0,
    val sampling: Sampling? = null,
    val attention: Boolean = false,
    val minConfidence: Double = 0.0,
) {
    companion object {
        /** Decline as the model's calibration recommends. */
        const val AUTO_CONFIDENCE = -1.0
    }
}

/**
 * Draw tokens at random.
 *
 * @property temperature 0.01-100.
 * @property topK draw among so many; 0: all.
 * @property topP draw among the most probable of this sum; 0: all.
 * @property seed its 32 bits; the same seed and index give the same caption.
 * @property index of the image among those drawn with one seed.
 */
data class Sampling(
    val temperature: Double = 1.0,
    val topK: Int = 0,
    val topP: Double = 0.0,
    val seed: Int = 0,
    val index: Int = 0,
)

/**
 * A rectangle in px of the upright image.
 *
 * @property score geometric mean probability of its tokens, 0-1.
 * @property confidence that it is right, 0-1; null where the model is not calibrated for it.
 */
data class Box(
    val x0: Double,
    val y0: Double,
    val x1: Double,
    val y1: Double,
    val score: Double,
    val confidence: Double?,
)

/** Words of a caption, as a range of [Caption.text], and where they are in the image. */
data class Mention(val phrase: String, val range: IntRange, val boxes: List<Box>)

/** A token and the natural log of the probability that the model gave it. */
data class Token(val id: Int, val score: Float)

/**
 * @property text words alone.
 * @property raw with location tokens; the pieces of a stream joined.
 * @property tokens without the end.
 * @property attention a row of [CaptionerInfo.patches] values for every token; null unless asked for.
 * @property score mean log-probability.
 * @property complete false where the length limit cut it.
 * @property malformed location runs that made no box; 0 under the rule.
 * @property confidence that the caption is right, 0-1; null where the model is not calibrated for it.
 * @property declined less confident than asked for: there are no words and no boxes.
 */
class Caption internal constructor(
    val text: String,
    val raw: String,
    val mentions: List<Mention>,
    val tokens: List<Token>,
    val attention: List<FloatArray>?,
    val score: Double,
    val complete: Boolean,
    val malformed: Int,
    val confidence: Double?,
    val declined: Boolean,
)

/** From the arrays of caption_jni.c; phrases are in bytes of UTF-8 there and in chars here. */
internal fun captionOf(given: Array<Any?>): Caption {
    val utf8 = given[0] as ByteArray
    val phrases = given[2] as IntArray // [n,4]
    val corners = given[3] as DoubleArray // [n,6]
    val ids = given[4] as IntArray
    val scores = given[5] as FloatArray
    val maps = given[6] as FloatArray? // [tokens,P]
    val about = given[7] as DoubleArray
    val boxes = List(corners.size / 6) { n ->
        val (x0, y0, x1, y1, score) = corners.slice(6 * n until 6 * n + 5)
        Box(x0, y0, x1, y1, score, known(corners[6 * n + 5]))
    }
    fun chars(bytes: Int) = String(utf8, 0, bytes, Charsets.UTF_8).length
    val mentions = List(phrases.size / 4) { n ->
        val (begin, end, first, count) = phrases.slice(4 * n until 4 * n + 4)
        val phrase = String(utf8, begin, end - begin, Charsets.UTF_8)
        Mention(phrase, chars(begin) until chars(begin) + phrase.length, boxes.subList(first, first + count))
    }
    val rows = maps?.let { all ->
        val width = all.size / ids.size
        List(ids.size) { n -> all.copyOfRange(n * width, (n + 1) * width) }
    }
    return Caption(
        String(utf8, Charsets.UTF_8),
        String(given[1] as ByteArray, Charsets.UTF_8),
        mentions,
        List(ids.size) { n -> Token(ids[n], scores[n]) },
        rows,
        about[0],
        about[1] != 0.0,
        about[2].toInt(),
        known(about[3]),
        about[4] != 0.0,
    )
}

/** C writes -1 for what it does not know. */
private fun known(confidence: Double) = confidence.takeIf { it >= 0 }
