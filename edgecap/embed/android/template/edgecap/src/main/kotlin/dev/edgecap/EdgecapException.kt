package dev.edgecap

/** What kind of error it is; the numbers are those of edgecap.h. */
enum class Status(val number: Int) {
    /** An argument, image or text that cannot be used. */
    INPUT(1),

    /** A bundle that is missing, altered, truncated or foreign. */
    BUNDLE(2),

    /** A combination that cannot work. */
    UNSUPPORTED(3),

    /** The engine's library is missing, too old, or failed. */
    ENGINE(4),
    MEMORY(5),

    /** Not seen from Kotlin, which gives buffers of the right size. */
    BUFFER(6),

    /** The listener asked to stop. */
    STOPPED(7),
}

/**
 * An error of edgecap.
 *
 * @property code stable, such as "bundle.altered"; docs/errors.md lists the codes.
 */
class EdgecapException internal constructor(
    val status: Status,
    val code: String,
    message: String,
) : RuntimeException("[$code] $message") {
    /** Called from C. */
    internal constructor(status: Int, code: ByteArray, message: ByteArray) : this(
        Status.entries.first { it.number == status },
        String(code, Charsets.UTF_8),
        String(message, Charsets.UTF_8),
    )
}
