#if canImport(CoreML)
import CoreML
import CoreVideo
import Foundation

/// Runs CoreML bundles with Core ML, one function of a package at a time.
///
/// Not yet run on a device. Packages are compiled when they are opened first, and kept in the caches
/// folder. A package of several functions needs iOS 18 or macOS 15.
public final class CoreMLEngine: Engine {
    public let name = "coreml"
    public let format = "coreml"
    private let units: MLComputeUnits
    private let stateful: Bool
    private var compiled: [String: URL] = [:]

    /// - Parameters:
    ///   - computeUnits: `.all` lets Core ML choose; `.cpuOnly` gives the same numbers on every device.
    ///   - stateful: keep the text's rows in Core ML's own state, where the bundle was exported for
    ///     that; one beam at a time. Needs iOS 18 or macOS 15.
    public init(computeUnits: MLComputeUnits = .all, stateful: Bool = false) {
        units = computeUnits
        self.stateful = stateful
    }

    public func load(path: String, entry: String, inputs: [String], outputs: [String]) throws -> EngineFunction {
        let model = try open(path, entry)
        guard stateful, entry == "decode" else {
            return try CoreMLFunction(model, inputs: inputs, outputs: outputs)
        }
        guard #available(iOS 18, macOS 15, *) else {
            throw EdgecapError(.unsupported, "backend.format", "states need iOS 18 or macOS 15.")
        }
        let kinds = try CoreMLFunction(model, inputs: inputs, outputs: outputs)
        return try CoreMLStatefulFunction(open(path, "decode_stateful"), as: kinds)
    }

    private func open(_ path: String, _ entry: String) throws -> MLModel {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        if entry != "main" { // packages of one function have this one
            guard #available(iOS 18, macOS 15, *) else {
                throw EdgecapError(.unsupported, "backend.format", "functions in one package need iOS 18 or macOS 15.")
            }
            configuration.functionName = entry
        }
        return try MLModel(contentsOf: try compile(path), configuration: configuration)
    }

    /// The compiled form of a package, of an earlier start where the package is the same.
    private func compile(_ path: String) throws -> URL {
        if let known = compiled[path] { return known }
        let package = URL(fileURLWithPath: path)
        let files = FileManager.default
        let caches = try files.url(for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let kept = caches.appendingPathComponent("edgecap-\(try stamp(of: package)).mlmodelc")
        if !files.fileExists(atPath: kept.path) {
            let fresh = try MLModel.compileModel(at: package)
            _ = try? files.moveItem(at: fresh, to: kept) // another process may have been faster
        }
        compiled[path] = kept
        return kept
    }

    /// Tells a changed package from the one that was compiled: size and time of every file.
    private func stamp(of package: URL) throws -> String {
        let keys: [URLResourceKey] = [.fileSizeKey, .contentModificationDateKey]
        let files = FileManager.default.enumerator(at: package, includingPropertiesForKeys: keys)
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 // FNV-1a
        while let file = files?.nextObject() as? URL {
            let values = try file.resourceValues(forKeys: Set(keys))
            let time = values.contentModificationDate?.timeIntervalSince1970 ?? 0
            for byte in "\(file.path) \(values.fileSize ?? 0) \(time)".utf8 {
                hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
            }
        }
        return String(hash, radix: 16)
    }
}

/// A loaded function; its inputs and outputs wrap the memory that edgecap owns.
private final class CoreMLFunction: EngineFunction {
    let inputs, outputs: [TensorKind]
    private let model: MLModel
    private var pixels: CVPixelBuffer?

    init(_ model: MLModel, inputs: [String], outputs: [String]) throws {
        let description = model.modelDescription
        self.model = model
        self.inputs = try inputs.map { try kind(of: description.inputDescriptionsByName[$0], named: $0) }
        self.outputs = try outputs.map { try kind(of: description.outputDescriptionsByName[$0], named: $0) }
        guard description.inputDescriptionsByName.count == inputs.count else {
            throw EdgecapError(.bundle, "bundle.model", "it has other inputs than the manifest says.")
        }
    }

    func run(inputs: [Tensor], outputs: [Tensor]) throws {
        var features: [String: MLFeatureValue] = [:]
        for tensor in inputs {
            features[tensor.name] = tensor.kind.type == .uint8
                ? MLFeatureValue(pixelBuffer: try pixelBuffer(of: tensor))
                : MLFeatureValue(multiArray: try tensor.array())
        }
        let options = MLPredictionOptions()
        var backings: [String: Any] = [:]
        for tensor in outputs { backings[tensor.name] = try tensor.array() }
        options.outputBackings = backings
        let made = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: features), options: options)
        for tensor in outputs {
            guard let values = made.featureValue(for: tensor.name)?.multiArrayValue else {
                throw EdgecapError(.engine, "engine.failed", "Core ML made no \(tensor.name).")
            }
            tensor.fill(from: values)
        }
    }

    /// RGB [1,S,S,3] as the 32-bit buffer that an image input takes.
    private func pixelBuffer(of tensor: Tensor) throws -> CVPixelBuffer {
        let height = tensor.kind.shape[1], width = tensor.kind.shape[2]
        if pixels == nil {
            CVPixelBufferCreate(nil, width, height, kCVPixelFormatType_32BGRA, nil, &pixels)
        }
        guard let buffer = pixels, CVPixelBufferLockBaseAddress(buffer, []) == kCVReturnSuccess,
            let base = CVPixelBufferGetBaseAddress(buffer)
        else { throw EdgecapError(.memory, "memory.exhausted", "no pixel buffer could be made.") }
        defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
        let stride = CVPixelBufferGetBytesPerRow(buffer)
        let from = tensor.data.assumingMemoryBound(to: UInt8.self)
        let to = base.assumingMemoryBound(to: UInt8.self)
        for y in 0..<height {
            for x in 0..<width {
                let (rgb, bgra) = (from + 3 * (y * width + x), to + y * stride + 4 * x)
                bgra[0] = rgb[2]
                bgra[1] = rgb[1]
                bgra[2] = rgb[0]
                bgra[3] = 255
            }
        }
        return buffer
    }
}

func kind(of feature: MLFeatureDescription?, named name: String) throws -> TensorKind {
    if let image = feature?.imageConstraint {
        return TensorKind(.uint8, [1, image.pixelsHigh, image.pixelsWide, 3])
    }
    guard let array = feature?.multiArrayConstraint, let type = ElementType(array.dataType) else {
        throw EdgecapError(.bundle, "bundle.model", "it has no tensor \(name) of a type that is known.")
    }
    return TensorKind(type, array.shape.map(\.intValue))
}

extension Tensor {
    /// The memory as Core ML's array, not copied.
    func array() throws -> MLMultiArray {
        var strides: [NSNumber] = []
        var step = 1
        for size in kind.shape.reversed() {
            strides.insert(NSNumber(value: step), at: 0)
            step *= size
        }
        return try MLMultiArray(
            dataPointer: data, shape: kind.shape.map { NSNumber(value: $0) },
            dataType: kind.type.coreML, strides: strides)
    }

    /// Core ML may answer in memory of its own, with gaps between rows.
    func fill(from values: MLMultiArray) {
        if values.dataPointer == data { return }
        let shape = kind.shape
        let strides = values.strides.map(\.intValue)
        let width = byteCount / max(1, shape.reduce(1, *))
        let row = shape.last ?? 1
        for n in 0..<(byteCount / (width * row)) {
            var rest = n, from = 0
            for axis in (0..<shape.count - 1).reversed() {
                from += rest % shape[axis] * strides[axis]
                rest /= shape[axis]
            }
            for x in 0..<row {
                (data + (n * row + x) * width).copyMemory(
                    from: values.dataPointer + (from + x * (strides.last ?? 1)) * width, byteCount: width)
            }
        }
    }
}

extension ElementType {
    init?(_ type: MLMultiArrayDataType) {
        switch type {
        case .float32: self = .float32
        case .float16: self = .float16
        case .int32: self = .int32
        default: return nil
        }
    }

    var coreML: MLMultiArrayDataType {
        self == .float16 ? .float16 : self == .int32 ? .int32 : .float32
    }
}
#endif
