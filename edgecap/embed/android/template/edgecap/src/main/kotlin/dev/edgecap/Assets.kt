package dev.edgecap

import android.content.Context
import java.io.File
import java.io.IOException

/**
 * A packed bundle among the app's assets as a file, which engines can map: assets are not files.
 *
 * It is copied at the first start of an installation and of each update of the app; the copy appears
 * complete or not at all. Run it away from the main thread.
 */
@Throws(IOException::class)
fun Context.installBundle(asset: String = "bundle.edgecap"): File {
    val installed = packageManager.getPackageInfo(packageName, 0).lastUpdateTime
    val folder = File(noBackupFilesDir, "edgecap")
    val wanted = File(folder, "$installed-$asset")
    if (wanted.exists()) return wanted
    if (!folder.isDirectory && !folder.mkdirs()) throw IOException("$folder cannot be made")
    val fresh = File.createTempFile(asset, null, folder)
    assets.open(asset).use { from -> fresh.outputStream().use { from.copyTo(it) } }
    if (!fresh.renameTo(wanted)) throw IOException("$fresh cannot be renamed to $wanted")
    for (old in folder.listFiles().orEmpty()) if (old != wanted) old.delete()
    return wanted
}
