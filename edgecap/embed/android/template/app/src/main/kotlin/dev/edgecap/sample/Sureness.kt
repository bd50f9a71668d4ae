package dev.edgecap.sample

import android.content.Context
import dev.edgecap.Caption
import dev.edgecap.CaptionRequest
import dev.edgecap.Captioner

/** Declines what a calibrated model is not sure of; another model never declines. */
internal fun Captioner.sureRequest() =
    CaptionRequest(minConfidence = if (info.calibrated) CaptionRequest.AUTO_CONFIDENCE else 0.0)

/** The caption and how sure the model is of it, in words. */
internal fun Context.told(caption: Caption): String {
    val percent = ((caption.confidence ?: return caption.text) * 100).toInt()
    return if (caption.declined) getString(R.string.not_sure, percent) else getString(R.string.sure, caption.text, percent)
}
