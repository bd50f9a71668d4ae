package dev.edgecap

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.isActive
import kotlinx.coroutines.withContext

/** What a stream emits: pieces, then the caption. */
sealed interface CaptionEvent {
    /** A piece of text as soon as it is certain; joined they are [Caption.raw]. */
    class Piece(val text: String) : CaptionEvent

    class Done(val caption: Caption) : CaptionEvent
}

/**
 * Captions an image while it is collected. Cancelling the collection stops the model at its next
 * token. Throws [EdgecapException] from the collection. The model runs on [Dispatchers.Default],
 * never on the collector's thread.
 */
fun Captioner.stream(image: Pixels, request: CaptionRequest = CaptionRequest()): Flow<CaptionEvent> =
    channelFlow {
        val caption = withContext(Dispatchers.Default) {
            try {
                caption(image, request) { piece ->
                    trySend(CaptionEvent.Piece(piece))
                    isActive
                }
            } catch (stopped: EdgecapException) {
                if (stopped.status != Status.STOPPED) throw stopped
                null // cancelled: the collector is gone
            }
        }
        if (caption != null) send(CaptionEvent.Done(caption))
    }.buffer(Channel.UNLIMITED)

/**
 * [Captioner.caption] without blocking the caller's thread. Where it is cancelled, one beam stops at
 * its next token; a search of more beams ends first.
 */
suspend fun Captioner.awaitCaption(image: Pixels, request: CaptionRequest = CaptionRequest()): Caption =
    withContext(Dispatchers.Default) {
        if (request.beams == 1) caption(image, request) { isActive } else caption(image, request)
    }
