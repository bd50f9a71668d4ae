import CEdgecap

/// An error of edgecap.
public struct EdgecapError: Error, CustomStringConvertible {
    /// What kind of error it is; the numbers are those of edgecap.h.
    public enum Status: UInt32, Sendable {
        /// An argument, image or text that cannot be used.
        case input = 1
        /// A bundle that is missing, altered, truncated or foreign.
        case bundle = 2
        /// A combination that cannot work.
        case unsupported = 3
        /// The engine is missing, too old, or failed.
        case engine = 4
        case memory = 5
        /// Not seen from Swift, which gives buffers of the right size.
        case buffer = 6
        /// The listener asked to stop.
        case stopped = 7
    }

    public let status: Status
    /// Stable, such as "bundle.altered"; docs/errors.md lists the codes.
    public let code: String
    public let message: String

    public var description: String { "[\(code)] \(message)" }

    init(_ status: Status, _ code: String, _ message: String) {
        self.status = status
        self.code = code
        self.message = message
    }

    init(_ error: edgecap_error) {
        var error = error
        status = Status(rawValue: UInt32(error.status.rawValue)) ?? .engine
        code = text(of: &error.code)
        message = text(of: &error.message)
    }
}

/// A null-terminated text in an array of C, which Swift sees as a tuple.
func text<Tuple>(of tuple: inout Tuple) -> String {
    withUnsafeBytes(of: &tuple) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
