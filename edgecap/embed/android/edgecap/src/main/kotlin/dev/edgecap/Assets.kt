package dev.edgecap

import android.content.Context
import java.io.File
import java.io.IOException

/**
 * A bundle among the app's assets as a directory that engines can open: assets are not files.
 *
 * It is copied at the first start and after an update that brought another manifest. A copy appears
 * complete or not at all.
 *
 * @param name the folder in `assets`.
 */
@Throws(IOException::class)
fun Context.installBundle(name: String = "bundle"): File {
    val installed = File(noBackupFilesDir, "edgecap-$name")
    val manifest = assets.open("$name/manifest.json").use { it.readBytes() }
    val there = File(installed, "manifest.json")
    if (there.exists() && there.readBytes().contentEquals(manifest)) return installed
    val fresh = File(noBackupFilesDir, "edgecap-$name.new")
    fresh.deleteRecursively()
    copyAssets(name, fresh)
    installed.deleteRecursively()
    if (!fresh.renameTo(installed)) throw IOException("$fresh cannot be renamed to $installed")
    return installed
}

/** An asset that has no children is a file: `list` does not tell an empty folder from one. */
private fun Context.copyAssets(asset: String, to: File) {
    val children = assets.list(asset).orEmpty()
    if (children.isEmpty()) {
        assets.open(asset).use { from -> to.outputStream().use { from.copyTo(it) } }
        return
    }
    if (!to.mkdirs()) throw IOException("$to cannot be made")
    for (child in children) copyAssets("$asset/$child", File(to, child))
}
