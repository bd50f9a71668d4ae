import CEdgecap

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

/// Types of numbers; those of edgecap_engine.h.
public enum ElementType: Int32, Sendable {
    case float32 = 1, int32 = 2, uint8 = 3, int64 = 4, float16 = 10
}

/// What a tensor of a model file is; -1 in a shape: any.
public struct TensorKind: Sendable {
    public let type: ElementType
    public let shape: [Int]

    public init(_ type: ElementType, _ shape: [Int]) {
        self.type = type
        self.shape = shape
    }
}

/// A tensor in memory that edgecap owns: rows without gaps, 64-byte aligned.
public struct Tensor {
    public let name: String
    public let kind: TensorKind
    public let data: UnsafeMutableRawPointer
    public let byteCount: Int
}

/// Runs the model files of one format, in place of the engines that the C core opens.
public protocol Engine: AnyObject {
    /// Told in `CaptionerInfo.engine`.
    var name: String { get }
    /// Of the bundles that it runs, such as "coreml".
    var format: String { get }

    func load(path: String, entry: String, inputs: [String], outputs: [String]) throws -> EngineFunction
}

/// A function of a model file. Called by one thread at a time.
public protocol EngineFunction: AnyObject {
    /// In the order of the names that `load` was given.
    var inputs: [TensorKind] { get }
    var outputs: [TensorKind] { get }

    /// Reads inputs and fills outputs; the memory is the same in every call of a caption.
    func run(inputs: [Tensor], outputs: [Tensor]) throws
}

/// An engine as the table of functions that C calls; lives as long as its captioner.
final class EngineTable {
    private let engine: Engine
    private let name: UnsafeMutablePointer<CChar>
    private let format: UnsafeMutablePointer<CChar>
    let table = UnsafeMutablePointer<edgecap_engine>.allocate(capacity: 1)

    init(_ engine: Engine) {
        self.engine = engine
        name = strdup(engine.name)
        format = strdup(engine.format)
        table.initialize(
            to: edgecap_engine(
                name: name, format: format, user: nil, load: loadFunction, run: runFunction,
                release: releaseFunction, load_files: nil))
        table.pointee.user = Unmanaged.passUnretained(self).toOpaque()
    }

    deinit {
        free(name)
        free(format)
        table.deallocate()
    }

    fileprivate func load(
        _ path: String, _ entry: String,
        _ inputs: UnsafeMutableBufferPointer<edgecap_tensor>,
        _ outputs: UnsafeMutableBufferPointer<edgecap_tensor>
    ) throws -> UnsafeMutableRawPointer {
        let function = try engine.load(
            path: path, entry: entry, inputs: inputs.map { String(cString: $0.name) },
            outputs: outputs.map { String(cString: $0.name) })
        try tell(function.inputs, to: inputs)
        try tell(function.outputs, to: outputs)
        return Unmanaged.passRetained(Loaded(function)).toOpaque()
    }

    private func tell(_ kinds: [TensorKind], to tensors: UnsafeMutableBufferPointer<edgecap_tensor>) throws {
        guard kinds.count == tensors.count, kinds.allSatisfy({ $0.shape.count <= EDGECAP_MOST_RANK })
        else { throw EdgecapError(.bundle, "bundle.model", "a tensor is missing or has too many axes.") }
        for (n, kind) in kinds.enumerated() {
            tensors[n].type = kind.type.rawValue
            tensors[n].rank = Int32(kind.shape.count)
            withUnsafeMutableBytes(of: &tensors[n].shape) { bytes in
                let shape = bytes.bindMemory(to: Int64.self)
                for (axis, size) in kind.shape.enumerated() { shape[axis] = Int64(size) }
            }
        }
    }
}

/// Any class of an app, held as one kind of object.
private final class Loaded {
    let function: EngineFunction

    init(_ function: EngineFunction) {
        self.function = function
    }
}

private func tell(_ error: Error, _ reason: UnsafeMutablePointer<CChar>?) {
    let line = "\(error)".utf8.map { $0 < 0x20 ? 0x20 : $0 }.prefix(EDGECAP_MOST_REASON - 1)
    for (n, byte) in line.enumerated() { reason?[n] = CChar(bitPattern: byte) }
    reason?[line.count] = 0
}

private func loadFunction(
    user: UnsafeMutableRawPointer?, path: UnsafePointer<CChar>?, entry: UnsafePointer<CChar>?,
    inputs: UnsafeMutablePointer<edgecap_tensor>?, inputCount: Int,
    outputs: UnsafeMutablePointer<edgecap_tensor>?, outputCount: Int,
    reason: UnsafeMutablePointer<CChar>?
) -> UnsafeMutableRawPointer? {
    let table = Unmanaged<EngineTable>.fromOpaque(user!).takeUnretainedValue()
    do {
        return try table.load(
            String(cString: path!), String(cString: entry!),
            UnsafeMutableBufferPointer(start: inputs, count: inputCount),
            UnsafeMutableBufferPointer(start: outputs, count: outputCount))
    } catch {
        tell(error, reason)
        return nil
    }
}

private func runFunction(
    user: UnsafeMutableRawPointer?, function: UnsafeMutableRawPointer?,
    inputs: UnsafePointer<edgecap_tensor>?, inputCount: Int,
    outputs: UnsafePointer<edgecap_tensor>?, outputCount: Int,
    reason: UnsafeMutablePointer<CChar>?
) -> Int32 {
    let loaded = Unmanaged<Loaded>.fromOpaque(function!).takeUnretainedValue()
    do {
        try loaded.function.run(
            inputs: UnsafeBufferPointer(start: inputs, count: inputCount).map(tensor),
            outputs: UnsafeBufferPointer(start: outputs, count: outputCount).map(tensor))
        return 1
    } catch {
        tell(error, reason)
        return 0
    }
}

private func releaseFunction(user: UnsafeMutableRawPointer?, function: UnsafeMutableRawPointer?) {
    Unmanaged<Loaded>.fromOpaque(function!).release()
}

private func tensor(_ given: edgecap_tensor) -> Tensor {
    var given = given
    let shape = withUnsafeBytes(of: &given.shape) { bytes in
        bytes.bindMemory(to: Int64.self).prefix(Int(given.rank)).map { Int($0) }
    }
    return Tensor(
        name: String(cString: given.name),
        kind: TensorKind(ElementType(rawValue: given.type)!, shape),
        data: given.data, byteCount: given.bytes)
}
