/// The order of channels in memory, 8 bits each. Alpha is not premultiplied.
public enum PixelFormat: UInt32, Sendable {
    case grey = 0, greyAlpha, rgb, bgr, rgba, bgra

    public var channels: Int { [1, 2, 3, 3, 4, 4][Int(rawValue)] }
}

/// An image in memory, the upper row first.
public struct Pixels: Sendable {
    public var bytes: [UInt8]
    public var width: Int
    public var height: Int
    public var format: PixelFormat
    /// Bytes from one row to the next.
    public var stride: Int
    /// As in EXIF, 1-8; 1 is upright.
    public var orientation: Int

    /// - Parameter stride: nil where rows have no gaps.
    public init(
        _ bytes: [UInt8], width: Int, height: Int, format: PixelFormat = .rgb,
        stride: Int? = nil, orientation: Int = 1
    ) {
        self.bytes = bytes
        self.width = width
        self.height = height
        self.format = format
        self.stride = stride ?? width * format.channels
        self.orientation = orientation
    }
}
