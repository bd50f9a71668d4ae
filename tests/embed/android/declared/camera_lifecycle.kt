package androidx.camera.lifecycle

import androidx.camera.core.CameraSelector
import androidx.camera.core.UseCase
import androidx.lifecycle.LifecycleOwner
import java.util.concurrent.Executor
import java.util.concurrent.Future

interface ListenableFuture<T> : Future<T> {
    fun addListener(listener: Runnable, executor: Executor)
}

class ProcessCameraProvider {
    fun unbindAll(): Unit = TODO()

    fun bindToLifecycle(owner: LifecycleOwner, selector: CameraSelector, vararg cases: UseCase): Any =
        TODO("$owner $selector $cases")

    companion object {
        @JvmStatic
        fun getInstance(context: android.content.Context): ListenableFuture<ProcessCameraProvider> = TODO("$context")
    }
}
