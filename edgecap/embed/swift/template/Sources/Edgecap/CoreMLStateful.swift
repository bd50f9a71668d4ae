#if canImport(CoreML)
import CoreML
import Foundation

/// `decode` by the function `decode_stateful`: image rows go in unchanged at every step, the text's
/// rows live in a state that begins with each caption. What `decode` would leave is not made, so
/// that memory is zero.
///
/// Not yet run on a device.
@available(iOS 18, macOS 15, *)
final class CoreMLStatefulFunction: EngineFunction {
    let inputs, outputs: [TensorKind]
    private let model: MLModel
    private var state: MLState?
    private var caption: UnsafeMutableRawPointer? // the cache of the caption that the state is of
    private var rows: [String: MLFeatureValue] = [:]

    /// - Parameter decode: the portable function, for the tensors that edgecap holds it to.
    init(_ model: MLModel, as decode: EngineFunction) throws {
        self.model = model
        inputs = decode.inputs
        outputs = decode.outputs
        let there = model.modelDescription.inputDescriptionsByName
        guard there["k_image"] != nil, there["v_image"] != nil else {
            throw EdgecapError(.bundle, "bundle.model", "it has no decode_stateful: export it with --stateful.")
        }
    }

    func run(inputs: [Tensor], outputs: [Tensor]) throws {
        guard let position = inputs.first(where: { $0.name == "position" }),
            let token = inputs.first(where: { $0.name == "token" }),
            let cache = inputs.first(where: { $0.name == "k" })
        else { throw EdgecapError(.bundle, "bundle.model", "decode has other tensors than a state needs.") }
        if position.data.load(as: Int32.self) == 0 {
            state = model.makeState()
            caption = cache.data
            for name in ["k", "v"] {
                let whole = inputs.first { $0.name == name }
                rows["\(name)_image"] = try whole.map { MLFeatureValue(multiArray: try imageRows(of: $0)) }
            }
        }
        guard let state, caption == cache.data else {
            throw EdgecapError(.unsupported, "caption.beams", "a state is of one beam: set beams to 1.")
        }
        var features: [String: Any] = rows
        features["token"] = MLFeatureValue(multiArray: try token.array())
        features["position"] = MLFeatureValue(multiArray: try position.array())
        let made = try model.prediction(
            from: MLDictionaryFeatureProvider(dictionary: features), using: state, options: MLPredictionOptions())
        for tensor in outputs {
            if let values = made.featureValue(for: tensor.name)?.multiArrayValue {
                tensor.fill(from: values)
            } else {
                tensor.data.initializeMemory(as: UInt8.self, repeating: 0, count: tensor.byteCount)
            }
        }
    }

    /// The rows [L,1,H,P,Dh] of the image, which stand first in the cache [L,1,H,P+T,Dh].
    private func imageRows(of cache: Tensor) throws -> MLMultiArray {
        let wanted = try kind(of: model.modelDescription.inputDescriptionsByName["\(cache.name)_image"], named: cache.name)
        let shape = wanted.shape, all = cache.kind.shape
        guard shape.count == 5, all.count == 5, shape[3] <= all[3] else {
            throw EdgecapError(.bundle, "bundle.model", "decode_stateful has image rows of another size.")
        }
        let width = cache.byteCount / all.reduce(1, *)
        let block = shape[3] * shape[4] * width, step = all[3] * all[4] * width
        let blocks = all[0] * all[1] * all[2]
        let copy = UnsafeMutableRawPointer.allocate(byteCount: blocks * block, alignment: 64)
        for n in 0..<blocks {
            (copy + n * block).copyMemory(from: cache.data + n * step, byteCount: block)
        }
        var strides: [NSNumber] = []
        var stride = 1
        for size in shape.reversed() {
            strides.insert(NSNumber(value: stride), at: 0)
            stride *= size
        }
        return try MLMultiArray(
            dataPointer: copy, shape: shape.map { NSNumber(value: $0) }, dataType: wanted.type.coreML,
            strides: strides, deallocator: { $0.deallocate() })
    }
}
#endif
