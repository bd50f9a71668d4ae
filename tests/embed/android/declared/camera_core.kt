package androidx.camera.core

import java.nio.ByteBuffer
import java.util.concurrent.Executor

class CameraSelector private constructor() {
    companion object {
        @JvmField val DEFAULT_BACK_CAMERA = CameraSelector()
    }
}

abstract class UseCase

class Preview : UseCase() {
    interface SurfaceProvider

    fun setSurfaceProvider(provider: SurfaceProvider?): Unit = TODO("$provider")

    class Builder {
        fun build(): Preview = TODO()
    }
}

interface ImageInfo {
    val rotationDegrees: Int
}

interface ImageProxy : AutoCloseable {
    interface PlaneProxy {
        val rowStride: Int
        val buffer: ByteBuffer
    }

    val width: Int
    val height: Int
    val planes: Array<PlaneProxy>
    val imageInfo: ImageInfo
}

class ImageAnalysis : UseCase() {
    fun interface Analyzer {
        fun analyze(image: ImageProxy)
    }

    fun setAnalyzer(executor: Executor, analyzer: Analyzer): Unit = TODO("$executor $analyzer")

    class Builder {
        fun setBackpressureStrategy(strategy: Int): Builder = TODO("$strategy")

        fun setOutputImageFormat(format: Int): Builder = TODO("$format")

        fun build(): ImageAnalysis = TODO()
    }

    companion object {
        const val STRATEGY_KEEP_ONLY_LATEST = 0
        const val OUTPUT_IMAGE_FORMAT_RGBA_8888 = 2
    }
}
