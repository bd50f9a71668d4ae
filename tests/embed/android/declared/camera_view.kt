package androidx.camera.view

import android.content.Context
import android.widget.FrameLayout
import androidx.camera.core.Preview

class PreviewView(context: Context) : FrameLayout(context) {
    enum class ScaleType { FIT_CENTER }

    var scaleType: ScaleType = ScaleType.FIT_CENTER
    val surfaceProvider: Preview.SurfaceProvider get() = TODO()
}
