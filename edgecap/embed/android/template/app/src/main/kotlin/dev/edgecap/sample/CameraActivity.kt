package dev.edgecap.sample

import android.Manifest
import android.content.Intent
import android.os.Bundle
import android.widget.FrameLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import dev.edgecap.Caption
import dev.edgecap.Captioner
import dev.edgecap.EdgecapException
import dev.edgecap.OpenOptions
import dev.edgecap.PixelFormat
import dev.edgecap.Pixels
import dev.edgecap.installBundle
import java.io.IOException
import java.util.concurrent.Executors

/** Captions what the camera sees. Frames that come while the model works are dropped. */
class CameraActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private var captioner: Captioner? = null // of the worker
    private lateinit var preview: PreviewView
    private lateinit var boxes: CaptionView
    private lateinit var words: TextView

    private val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
        if (granted) start() else withoutCamera()
    }

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        preview = PreviewView(this)
        preview.scaleType = PreviewView.ScaleType.FIT_CENTER // the boxes are drawn for this
        boxes = CaptionView(this)
        words = TextView(this)
        words.textSize = 20f
        words.setText(R.string.loading)
        val frame = FrameLayout(this)
        frame.fitsSystemWindows = true
        frame.addView(preview)
        frame.addView(boxes)
        frame.addView(words)
        setContentView(frame)
        permission.launch(Manifest.permission.CAMERA)
    }

    override fun onDestroy() {
        worker.execute { captioner?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun withoutCamera() {
        words.setText(R.string.no_camera)
        startActivity(Intent(this, PhotoActivity::class.java))
    }

    private fun start() {
        val asked = ProcessCameraProvider.getInstance(this)
        asked.addListener({ bind(asked.get()) }, { task -> runOnUiThread(task) })
    }

    private fun bind(camera: ProcessCameraProvider) {
        val shown = Preview.Builder().build()
        shown.setSurfaceProvider(preview.surfaceProvider)
        val frames = ImageAnalysis.Builder()
            .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
            .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
            .build()
        frames.setAnalyzer(worker) { frame -> frame.use { caption(it) } }
        camera.unbindAll()
        camera.bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, shown, frames)
    }

    /** On the worker; the next frame comes when this one is closed. */
    private fun caption(frame: ImageProxy) {
        try {
            val opened = captioner ?: Captioner.open(installBundle().path, OpenOptions(threads = 2))
            captioner = opened
            val plane = frame.planes[0]
            val degrees = frame.imageInfo.rotationDegrees
            val image = Pixels(
                plane.buffer,
                frame.width,
                frame.height,
                PixelFormat.RGBA,
                plane.rowStride,
                Pixels.orientationOf(degrees),
            )
            val caption = opened.caption(image, opened.sureRequest())
            val turned = degrees % 180 != 0
            val width = if (turned) frame.height else frame.width
            val height = if (turned) frame.width else frame.height
            runOnUiThread { show(caption, width, height) }
        } catch (error: EdgecapException) {
            runOnUiThread { words.text = error.message }
        } catch (error: IOException) {
            runOnUiThread { words.text = error.message }
        }
    }

    private fun show(caption: Caption, width: Int, height: Int) {
        words.text = told(caption)
        boxes.show(caption, width, height)
    }
}
