/// What to ask. The defaults are the model's own.
public struct CaptionRequest: Sendable {
    /// Of models that are asked by language; nil: "en".
    public var language: String?
    /// nil: "grounded", or "plain" where `boxes` is false.
    public var style: String?
    /// Of models that have named prompts; nil: the first. See `CaptionerInfo.prompts`.
    public var prompt: String?
    /// Say where things are.
    public var boxes = true
    /// Allow only well-formed boxes.
    public var rule = true
    /// The end included; 0: all the model can.
    public var maxTokens = 0
    /// 1-32; 0: as the model ships, one where it streams.
    public var beams = 0
    /// nil: take the most probable token.
    public var sampling: Sampling?
    /// Also return where the model looked, for every token.
    public var attention = false
    /// Captions of a lower confidence are declined; 0: none is; or `autoConfidence`. Other values
    /// need a calibrated model: `CaptionerInfo.calibrated`.
    public var minConfidence = 0.0

    /// Decline as the model's calibration recommends.
    public static let autoConfidence = -1.0

    public init(language: String? = nil, style: String? = nil, prompt: String? = nil) {
        self.language = language
        self.style = style
        self.prompt = prompt
    }
}

/// Draw tokens at random.
public struct Sampling: Sendable {
    /// 0.01-100.
    public var temperature = 1.0
    /// Draw among so many; 0: all.
    public var topK = 0
    /// Draw among the most probable of this sum; 0: all.
    public var topP = 0.0
    /// The same seed and index give the same caption.
    public var seed: UInt32
    /// Of the image among those drawn with one seed.
    public var index: UInt32 = 0

    public init(seed: UInt32 = 0) {
        self.seed = seed
    }
}

/// A rectangle in px of the upright image; `score` is the geometric mean probability of its tokens.
public struct Box: Sendable, Equatable {
    public let x0, y0, x1, y1, score: Double
    /// 0-1: it is right; nil where the model is not calibrated for it.
    public let confidence: Double?
}

/// Words of a caption and where they are in the image.
public struct Mention: Sendable {
    public let phrase: String
    /// Bytes of `Caption.text` in UTF-8: `text.utf8`.
    public let utf8Range: Range<Int>
    public let boxes: [Box]
}

/// A token and the natural log of the probability that the model gave it.
public struct Token: Sendable {
    public let id: Int32
    public let score: Float
}

public struct Caption: Sendable {
    /// Words alone.
    public let text: String
    /// With location tokens; the pieces of a stream joined.
    public let raw: String
    public let mentions: [Mention]
    /// Without the end.
    public let tokens: [Token]
    /// A row of `CaptionerInfo.patches` values for every token; nil unless asked for.
    public let attention: [[Float]]?
    /// Mean log-probability.
    public let score: Double
    /// False where the length limit cut it.
    public let complete: Bool
    /// Location runs that made no box; 0 under the rule.
    public let malformed: Int
    /// 0-1: the caption is right; nil where the model is not calibrated for it.
    public let confidence: Double?
    /// Less confident than asked for: there are no words and no boxes.
    public let declined: Bool
}
