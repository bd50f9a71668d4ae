import CEdgecap
import Foundation

/// How a bundle is opened.
public struct OpenOptions {
    /// Runs bundles of its own format; on Apple's systems `CoreMLEngine()` unless another is given.
    public var engine: Engine?
    /// The shared library of LiteRT, TensorFlow Lite or ONNX Runtime; nil: its usual names.
    public var library: String?
    /// Of the engine.
    public var threads = 1
    /// Hash every file; false checks names and sizes alone.
    public var verify = true

    public init(engine: Engine? = nil, library: String? = nil) {
        self.engine = engine
        self.library = library
    }
}

/// What a captioner is.
public struct CaptionerInfo: Sendable {
    public let name, format, precision, engine: String
    public let languages, styles, prompts: [String]
    /// Side of the model's input in px.
    public let imageSize: Int
    /// Attention values of a token, a square number.
    public let patches: Int
    /// Length of an embedding; 0: it makes none.
    public let embedding: Int
    public let vocabulary: Int
    /// Of a caption.
    public let maxTokens: Int
    /// Of a text to embed; 0: it embeds no texts.
    public let textTokens: Int
    /// Captions have a confidence, and a lowest one may be asked for.
    public let calibrated: Bool
}

/// A model that captions images. May be used from several threads: calls wait for each other. A
/// call blocks for as long as the model runs; see `stream` for concurrency.
public final class Captioner: @unchecked Sendable {
    public let info: CaptionerInfo
    private let handle: OpaquePointer
    private let engine: EngineTable?
    private let lock = NSRecursiveLock()
    private var busy = false // with the lock held

    /// Opens a bundle: a directory, or a packed file, which Core ML cannot read.
    public init(bundle: String, options: OpenOptions = OpenOptions()) throws {
        var engine = options.engine
        #if canImport(CoreML)
        engine = engine ?? CoreMLEngine()
        #endif
        self.engine = engine.map { EngineTable($0) }
        var params = edgecap_open_default_params()
        params.threads = Int32(clamping: options.threads)
        params.verify = options.verify ? 1 : 0
        params.custom = self.engine.map { UnsafePointer($0.table) }
        var error = edgecap_error()
        let opened = try withText("bundle", bundle) { path in
            try withText("library", options.library) { library in
                params.library = library
                return edgecap_open(path, &params, &error)
            }
        }
        guard let opened else { throw EdgecapError(error) }
        handle = opened
        info = CaptionerInfo(edgecap_get_info(opened))
    }

    deinit {
        edgecap_close(handle)
    }

    /// Captions an image. `onPiece` gets every piece of text as soon as it is certain; false stops.
    public func caption(
        _ image: Pixels, _ request: CaptionRequest = CaptionRequest(),
        onPiece: ((String) -> Bool)? = nil
    ) throws -> Caption {
        try once {
            let buffers = Buffers(edgecap_get_info(handle), attention: request.attention)
            var params = params(of: request)
            let listener = onPiece.map { Listener($0) }
            if let listener {
                params.on_piece = { user, piece, length in
                    let heard = Unmanaged<Listener>.fromOpaque(user!).takeUnretainedValue()
                    let bytes = UnsafeRawBufferPointer(start: piece, count: length)
                    return heard.onPiece(String(decoding: bytes, as: UTF8.self)) ? 0 : 1
                }
                params.user = Unmanaged.passUnretained(listener).toOpaque()
            }
            var error = edgecap_error()
            let status = try withText("language", request.language) { language in
                try withText("style", request.style) { style in
                    try withText("prompt", request.prompt) { prompt in
                        try withImage(image) { pixels in
                            params.language = language
                            params.style = style
                            params.prompt = prompt
                            var pixels = pixels
                            return withExtendedLifetime(listener) {
                                edgecap_describe(handle, &pixels, &params, &buffers.caption, &error)
                            }
                        }
                    }
                }
            }
            guard status == EDGECAP_OK else { throw EdgecapError(error) }
            return buffers.read(patches: info.patches)
        }
    }

    /// An image's embedding, of norm 1; images and texts share one space, the dot product ranks.
    public func embed(_ image: Pixels) throws -> [Float] {
        try embedding { out, error in
            try withImage(image) { pixels in
                var pixels = pixels
                return edgecap_embed_image(handle, &pixels, out.baseAddress, out.count, &error)
            }
        }
    }

    /// A text's embedding.
    public func embed(_ text: String) throws -> [Float] {
        try embedding { out, error in
            try withText("text", text) {
                edgecap_embed_text(handle, $0, out.baseAddress, out.count, &error)
            }
        }
    }

    private func embedding(
        _ call: (UnsafeMutableBufferPointer<Float>, inout edgecap_error) throws -> edgecap_status
    ) throws -> [Float] {
        try once {
            var error = edgecap_error()
            var values = [Float](repeating: 0, count: info.embedding)
            let status = try values.withUnsafeMutableBufferPointer { try call($0, &error) }
            guard status == EDGECAP_OK else { throw EdgecapError(error) }
            return values
        }
    }

    /// C allows one call at a time, so a listener cannot call its own captioner.
    private func once<T>(_ call: () throws -> T) throws -> T {
        lock.lock()
        defer { lock.unlock() }
        guard !busy else {
            throw EdgecapError(.unsupported, "captioner.busy", "a listener cannot call its own captioner.")
        }
        busy = true
        defer { busy = false }
        return try call()
    }
}

private final class Listener {
    let onPiece: (String) -> Bool

    init(_ onPiece: @escaping (String) -> Bool) {
        self.onPiece = onPiece
    }
}

private func params(of request: CaptionRequest) -> edgecap_caption_params {
    var params = edgecap_caption_default_params()
    params.boxes = request.boxes ? 1 : 0
    params.rule = request.rule ? 1 : 0
    params.most_tokens = Int32(clamping: request.maxTokens)
    params.beams = Int32(clamping: request.beams)
    params.min_confidence = request.minConfidence
    if let sampling = request.sampling {
        params.sample = 1
        params.temperature = sampling.temperature
        params.top_k = Int32(clamping: sampling.topK)
        params.top_p = sampling.topP
        params.seed = sampling.seed
        params.index = sampling.index
    }
    return params
}

/// C ends a text at a null byte, so one inside would cut it.
func withText<T>(_ what: String, _ text: String?, _ call: (UnsafePointer<CChar>?) throws -> T) throws -> T {
    guard let text else { return try call(nil) }
    guard !text.utf8.contains(0) else {
        throw EdgecapError(.input, "text.null", "\(what) has a null character.")
    }
    return try text.withCString(call)
}

private func withImage<T>(_ image: Pixels, _ call: (edgecap_image) throws -> T) throws -> T {
    if image.width > 0, image.height > 0 { // edgecap.h refuses the others
        let (rows, overflow) = image.stride.multipliedReportingOverflow(by: image.height - 1)
        guard image.stride >= 0, !overflow,
            image.bytes.count - image.width * image.format.channels >= rows
        else { throw EdgecapError(.input, "image.buffer", "the pixels end before the last row of the image.") }
    }
    return try image.bytes.withUnsafeBufferPointer { bytes in
        try call(
            edgecap_image(
                data: bytes.baseAddress, width: Int32(clamping: image.width),
                height: Int32(clamping: image.height), stride: image.stride,
                format: edgecap_pixels(image.format.rawValue),
                orientation: Int32(clamping: image.orientation)))
    }
}

extension CaptionerInfo {
    init(_ info: edgecap_info) {
        func list(_ names: UnsafePointer<UnsafePointer<CChar>?>?, _ count: Int) -> [String] {
            (0..<count).map { String(cString: names![$0]!) }
        }
        name = String(cString: info.name)
        format = String(cString: info.format)
        precision = String(cString: info.precision)
        engine = String(cString: info.engine)
        languages = list(info.languages, info.language_count)
        styles = list(info.styles, info.style_count)
        prompts = list(info.prompts, info.prompt_count)
        imageSize = Int(info.image_size)
        patches = Int(info.patches)
        embedding = Int(info.embedding)
        vocabulary = Int(info.vocabulary)
        maxTokens = Int(info.most_tokens)
        textTokens = Int(info.text_tokens)
        calibrated = info.calibrated != 0
    }
}
