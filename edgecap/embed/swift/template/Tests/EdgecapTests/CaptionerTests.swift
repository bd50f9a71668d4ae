import Foundation
import XCTest

@testable import Edgecap

/// What Python said of the bundles in EDGECAP_TEST_BUNDLES; `make check-swift` writes them.
private struct Expected: Decodable {
    struct Case: Decodable {
        let bundle, library: String
        let tokens, german, sampled: [Int32]
        let text: String
        let confidence: Double
        let declined: Bool
        let boxConfidences: [Double]
        let image, textEmbedding: [Float]
    }

    let width, height: Int
    let pixels: String
    let cases: [Case]
    let coreml: String
}

final class CaptionerTests: XCTestCase {
    private func expected() throws -> (Expected, Pixels) {
        let path = try XCTUnwrap(ProcessInfo.processInfo.environment["EDGECAP_TEST_BUNDLES"])
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        let expected = try JSONDecoder().decode(Expected.self, from: data)
        let pixels = try Data(contentsOf: URL(fileURLWithPath: expected.pixels))
        return (expected, Pixels([UInt8](pixels), width: expected.width, height: expected.height))
    }

    func testCaptionsAreThoseOfPython() throws {
        let (expected, image) = try expected()
        for one in expected.cases {
            let captioner = try Captioner(bundle: one.bundle, options: OpenOptions(library: one.library))
            let said = try captioner.caption(image)
            XCTAssertEqual(said.tokens.map(\.id), one.tokens)
            XCTAssertEqual(said.text, one.text)
            var german = CaptionRequest(language: "de")
            german.beams = 3
            german.attention = true
            let other = try captioner.caption(image, german)
            XCTAssertEqual(other.tokens.map(\.id), one.german)
            XCTAssertEqual(other.attention?.count, other.tokens.count)
            XCTAssertEqual(other.attention?.first?.count, captioner.info.patches)
            var drawn = CaptionRequest()
            drawn.sampling = Sampling(seed: 7)
            drawn.sampling?.temperature = 20
            XCTAssertEqual(try captioner.caption(image, drawn).tokens.map(\.id), one.sampled)
            XCTAssertEqual(try captioner.embed(image), one.image)
            XCTAssertEqual(try captioner.embed("ein Äffchen 🐒"), one.textEmbedding)
        }
    }

    func testConfidencesAreThoseOfPython() throws {
        let (expected, image) = try expected()
        for one in expected.cases {
            let captioner = try Captioner(bundle: one.bundle, options: OpenOptions(library: one.library))
            XCTAssertTrue(captioner.info.calibrated)
            var request = CaptionRequest()
            let sure = try XCTUnwrap(captioner.caption(image, request).confidence)
            XCTAssertEqual(sure, one.confidence, accuracy: 1e-5)
            request.sampling = Sampling(seed: 7)
            request.sampling?.temperature = 20
            let boxes = try captioner.caption(image, request).mentions.flatMap(\.boxes)
            XCTAssertEqual(boxes.count, one.boxConfidences.count)
            for (box, told) in zip(boxes, one.boxConfidences) {
                XCTAssertEqual(try XCTUnwrap(box.confidence), told, accuracy: 1e-5)
            }
            request.minConfidence = CaptionRequest.autoConfidence
            XCTAssertEqual(try captioner.caption(image, request).declined, one.declined)
            request.minConfidence = 1
            let declined = try captioner.caption(image, request)
            XCTAssertTrue(declined.declined && declined.text.isEmpty && declined.mentions.isEmpty)
            XCTAssertNil(try captioner.caption(image, CaptionRequest(style: "plain")).confidence)
        }
    }

    func testStreams() async throws {
        let (expected, image) = try expected()
        let one = expected.cases[0]
        let captioner = try Captioner(bundle: one.bundle, options: OpenOptions(library: one.library))
        var pieces = ""
        var whole: Caption?
        for try await event in captioner.stream(image) {
            switch event {
            case .piece(let piece): pieces += piece
            case .done(let caption): whole = caption
            }
        }
        XCTAssertEqual(pieces, whole?.raw)
        var count = 0
        for try await _ in captioner.stream(image) {
            count += 1
            if count == 2 { break }
        }
        let raws = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<4 { group.addTask { try captioner.caption(image).raw } }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        XCTAssertEqual(raws, [pieces])
    }

    func testRefusals() throws {
        let (expected, image) = try expected()
        let one = expected.cases[0]
        let captioner = try Captioner(bundle: one.bundle, options: OpenOptions(library: one.library))
        func code(_ call: () throws -> Any) -> String {
            do {
                return "accepted \(try call())"
            } catch {
                return (error as? EdgecapError)?.code ?? "\(error)"
            }
        }
        XCTAssertEqual(code { try captioner.caption(image, CaptionRequest(language: "tlh")) }, "language.unknown")
        XCTAssertEqual(code { try captioner.caption(image) { _ in false } }, "caption.stopped")
        XCTAssertEqual(code { try captioner.embed("a\0b") }, "text.null")
        XCTAssertEqual(code { try captioner.embed(" ") }, "text.empty")
        XCTAssertEqual(code { try captioner.caption(Pixels([0, 0], width: 1, height: 1)) }, "image.buffer")
        XCTAssertEqual(code { try captioner.caption(Pixels([], width: 0, height: 1)) }, "image.empty")
        XCTAssertEqual(
            code { try captioner.caption(Pixels([0, 0, 0], width: 1, height: 1, stride: -3)) }, "image.buffer")
        XCTAssertEqual(code { try Captioner(bundle: one.bundle + "-not") }, "bundle.missing")
        XCTAssertEqual(
            code { try Captioner(bundle: one.bundle, options: OpenOptions(library: "none.so")) }, "engine.missing")
        var inner = ""
        _ = try captioner.caption(image) { _ in
            inner = code { try captioner.embed("a") }
            return true
        }
        XCTAssertEqual(inner, "captioner.busy")
        XCTAssertEqual(try captioner.caption(image).tokens.map(\.id), one.tokens)
    }

    /// An engine written in Swift, as CoreMLEngine is: its words are known, so every tensor that
    /// crosses is seen.
    func testAnEngineOfOnesOwn() throws {
        let (expected, image) = try expected()
        let engine = ScriptedEngine()
        do {
            let captioner = try Captioner(bundle: expected.coreml, options: OpenOptions(engine: engine))
            XCTAssertEqual(captioner.info.engine, "scripted")
            var request = CaptionRequest()
            request.rule = false
            request.maxTokens = 3
            let said = try captioner.caption(image, request)
            XCTAssertEqual(said.tokens.map(\.id), [500, 501, 502])
            XCTAssertEqual(engine.positions, [0, 1, 2, 3])
            XCTAssertTrue(engine.imageBytes.contains { $0 != engine.imageBytes[0] })
            engine.fails = true
            XCTAssertThrowsError(try captioner.caption(image)) { error in
                XCTAssertEqual((error as? EdgecapError)?.code, "engine.failed")
                XCTAssertTrue("\(error)".contains("Hot"))
            }
        }
        XCTAssertEqual(engine.alive, 0) // functions were given back
    }
}

private final class ScriptedEngine: Engine {
    let name = "scripted"
    let format = "coreml"
    var positions: [Int32] = []
    var imageBytes: [UInt8] = []
    var fails = false
    var alive = 0

    func load(path: String, entry: String, inputs: [String], outputs: [String]) throws -> EngineFunction {
        ScriptedFunction(self, inputs: inputs, outputs: outputs)
    }
}

private struct Hot: Error {}

/// The sizes are those of the tiny bundle: one layer, one head of width 8, 196 patches, 96 tokens.
private final class ScriptedFunction: EngineFunction {
    private let engine: ScriptedEngine
    let inputs, outputs: [TensorKind]

    init(_ engine: ScriptedEngine, inputs: [String], outputs: [String]) {
        let kinds: [String: TensorKind] = [
            "image": TensorKind(.uint8, [1, 224, 224, 3]),
            "token": TensorKind(.int32, [1, 1]), "position": TensorKind(.int32, [1]),
            "logits": TensorKind(.float32, [1, 4096]), "attention": TensorKind(.float32, [1, 196]),
            "image_embedding": TensorKind(.float32, [1, 4]),
            "k_new": TensorKind(.float32, [1, 1, 1, 1, 8]), "v_new": TensorKind(.float32, [1, 1, 1, 1, 8]),
        ]
        let rows = inputs.contains("image") ? 196 : 292
        let cache = TensorKind(.float32, [1, 1, 1, rows, 8])
        self.engine = engine
        self.inputs = inputs.map { kinds[$0] ?? cache }
        self.outputs = outputs.map { kinds[$0] ?? cache }
        engine.alive += 1
    }

    deinit {
        engine.alive -= 1
    }

    func run(inputs: [Tensor], outputs: [Tensor]) throws {
        if engine.fails { throw Hot() }
        for tensor in inputs {
            switch tensor.name {
            case "image":
                engine.imageBytes = Array(UnsafeRawBufferPointer(start: tensor.data, count: tensor.byteCount))
            case "position":
                engine.positions.append(tensor.data.load(as: Int32.self))
            default: break
            }
        }
        for tensor in outputs where tensor.name == "logits" {
            let logits = tensor.data.assumingMemoryBound(to: Float.self)
            logits.update(repeating: 0, count: 4096)
            // The prompt takes positions 0 and 1; what is said begins after it.
            logits[500 + max(0, engine.positions.count - 2)] = 9
        }
    }
}
