// The few declarations of Core ML that CoreMLEngine.swift uses; see CoreVideo.swift beside it.
import CoreVideo
import Foundation

public enum MLComputeUnits: Int { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }
public enum MLMultiArrayDataType: Int { case double, float32, float16, int32 }

open class MLModelConfiguration {
    public init() {}
    public var computeUnits = MLComputeUnits.all
    public var functionName: String?
}

open class MLMultiArrayConstraint {
    public var shape: [NSNumber] { fatalError() }
    public var dataType: MLMultiArrayDataType { fatalError() }
}

open class MLImageConstraint {
    public var pixelsHigh: Int { fatalError() }
    public var pixelsWide: Int { fatalError() }
}

open class MLFeatureDescription {
    public var imageConstraint: MLImageConstraint? { fatalError() }
    public var multiArrayConstraint: MLMultiArrayConstraint? { fatalError() }
}

open class MLModelDescription {
    public var inputDescriptionsByName: [String: MLFeatureDescription] { fatalError() }
    public var outputDescriptionsByName: [String: MLFeatureDescription] { fatalError() }
}

open class MLMultiArray {
    public init(
        dataPointer: UnsafeMutableRawPointer, shape: [NSNumber], dataType: MLMultiArrayDataType,
        strides: [NSNumber], deallocator: ((UnsafeMutableRawPointer) -> Void)? = nil
    ) throws {}
    public var dataPointer: UnsafeMutableRawPointer { fatalError() }
    public var strides: [NSNumber] { fatalError() }
}

open class MLFeatureValue {
    public init(pixelBuffer: CVPixelBuffer) {}
    public init(multiArray: MLMultiArray) {}
    public var multiArrayValue: MLMultiArray? { fatalError() }
}

public protocol MLFeatureProvider {
    func featureValue(for name: String) -> MLFeatureValue?
}

open class MLDictionaryFeatureProvider: MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}
    public func featureValue(for name: String) -> MLFeatureValue? { fatalError() }
}

open class MLPredictionOptions {
    public init() {}
    public var outputBackings: [String: Any] = [:]
}

open class MLState {}

open class MLModel {
    public func makeState() -> MLState { fatalError() }
    public func prediction(
        from input: MLFeatureProvider, using state: MLState, options: MLPredictionOptions
    ) throws -> MLFeatureProvider { fatalError() }
    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {}
    public var modelDescription: MLModelDescription { fatalError() }
    public class func compileModel(at url: URL) throws -> URL { fatalError() }
    public func prediction(from input: MLFeatureProvider, options: MLPredictionOptions) throws -> MLFeatureProvider {
        fatalError()
    }
}
