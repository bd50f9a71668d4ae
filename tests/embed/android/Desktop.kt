package dev.edgecap

import java.io.File
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking

/**
 * What test_android.py drives on a desktop's JVM: `Desktop BUNDLE LIBRARY PIXELS WIDTH HEIGHT`.
 * Every line is a name, a tab, and what was found.
 */
fun main(arguments: Array<String>) {
    val (bundle, library, file) = arguments
    val width = arguments[3].toInt()
    val height = arguments[4].toInt()
    val mapped = FileInputStream(file).channel.map(FileChannel.MapMode.READ_ONLY, 0, File(file).length())
    val image = Pixels(mapped, width, height)
    val captioner = Captioner.open(bundle, OpenOptions(library = library))
    println("info\t${captioner.info}")
    tell("plain", captioner.caption(image))
    tell("sampled", captioner.caption(image, CaptionRequest(sampling = Sampling(20.0, seed = 8, index = 0))))
    check(captioner.info.calibrated)
    val drawn = Sampling(20.0, seed = 8)
    val limits = listOf(0.0, CaptionRequest.AUTO_CONFIDENCE, 1.0)
    tellSure("sure", limits.map { captioner.caption(image, CaptionRequest(sampling = drawn, minConfidence = it)) })
    tell("german", captioner.caption(image, CaptionRequest(language = "de", beams = 3)))
    val maps = captioner.caption(image, CaptionRequest(attention = true)).attention.orEmpty()
    println("attention\t${maps.size} ${maps.first().size} ${maps.first().sum()}")
    println("embedded\t${captioner.embed(image).joinToString(" ")}")
    println("text\t${captioner.embed("ein Äffchen 🐒").joinToString(" ")}")
    streams(captioner, image)
    refusals(captioner, image, bundle, library)
    captioner.close()
    captioner.close()
    refused("closed") { captioner.caption(image) }
    println("end\t")
}

/** Texts as hexadecimal bytes: they may hold what ends a line. */
private fun tell(name: String, caption: Caption) {
    println("$name\t${caption.tokens.joinToString(" ") { it.id.toString() }}")
    println("$name text\t${hex(caption.text)}")
    val mentions = caption.mentions.map { mention ->
        check(caption.text.substring(mention.range) == mention.phrase)
        (listOf(hex(mention.phrase)) + mention.boxes.flatMap { listOf(it.x0, it.y0, it.x1, it.y1) }).joinToString(" ")
    }
    println("$name mentions\t${mentions.joinToString("|")}")
}

private fun tellSure(name: String, captions: List<Caption>) {
    val told = captions.map { caption ->
        val boxes = caption.mentions.flatMap { it.boxes }.map { it.confidence }
        (listOf(hex(caption.text), caption.declined, caption.confidence) + boxes).joinToString(" ")
    }
    println("$name\t${told.joinToString("|")}")
}

private fun hex(text: String) = text.toByteArray().joinToString("") { "%02x".format(it) }

private fun streams(captioner: Captioner, image: Pixels) = runBlocking {
    val events = captioner.stream(image).toList()
    val pieces = events.dropLast(1).map { (it as CaptionEvent.Piece).text }
    val done = (events.last() as CaptionEvent.Done).caption
    println("stream\t${pieces.size} ${pieces.joinToString("") == done.raw}")
    println("cut\t${captioner.stream(image).take(2).toList().size}")
    val many = List(4) { async(Dispatchers.Default) { captioner.awaitCaption(image).raw } }.awaitAll()
    println("together\t${many.toSet() == setOf(done.raw)}")
}

private fun refusals(captioner: Captioner, image: Pixels, bundle: String, library: String) {
    refused("language") { captioner.caption(image, CaptionRequest(language = "tlh")) }
    refused("confidence") { captioner.caption(image, CaptionRequest(minConfidence = 2.0)) }
    refused("uncalibrated style") { captioner.caption(image, CaptionRequest(style = "plain", minConfidence = 0.5)) }
    refused("beams") { captioner.caption(image, CaptionRequest(beams = 99)) }
    refused("stopped") { captioner.caption(image, CaptionRequest()) { false } }
    refused("nested") { captioner.caption(image, CaptionRequest()) { captioner.info == captioner.embed("a") } }
    refused("null") { captioner.embed("a\u0000b") }
    refused("empty text") { captioner.embed(" ") }
    refused("heap buffer") { captioner.caption(Pixels(ByteBuffer.allocate(300), 10, 10)) }
    refused("short buffer") { captioner.caption(Pixels(ByteBuffer.allocateDirect(299), 10, 10)) }
    refused("offset") {
        val buffer = ByteBuffer.allocateDirect(300)
        buffer.position(1)
        captioner.caption(Pixels(buffer, 10, 10))
    }
    refused("no width") { captioner.caption(Pixels(image.buffer, 0, 10)) }
    refused("negative stride") { captioner.caption(Pixels(image.buffer, 10, 10, stride = -30)) }
    refused("no bundle") { Captioner.open("$bundle-not") }
    refused("no engine") { Captioner.open(bundle, OpenOptions(library = "$library-not")) }
    try {
        captioner.caption(image, CaptionRequest()) { throw IllegalStateException("mine") }
    } catch (mine: IllegalStateException) {
        println("listener\t${mine.message}")
    }
    tell("again", captioner.caption(image))
}

private fun refused(what: String, call: () -> Any?) {
    try {
        println("$what\taccepted ${call()}")
    } catch (refused: EdgecapException) {
        println("$what\t${refused.status} ${refused.code}")
    }
}
