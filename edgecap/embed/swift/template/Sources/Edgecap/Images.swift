#if canImport(CoreGraphics)
import CoreGraphics
import ImageIO

extension Pixels {
    /// A copy of an image's pixels in sRGB; nil where there is no memory.
    ///
    /// - Parameter orientation: of the image's file or camera; a CGImage itself knows none.
    public init?(_ image: CGImage, orientation: CGImagePropertyOrientation = .up) {
        let width = image.width, height = image.height
        var bytes = [UInt8](repeating: 0, count: 4 * width * height)
        let drawn = bytes.withUnsafeMutableBytes { memory -> Bool in
            guard let space = CGColorSpace(name: CGColorSpace.sRGB),
                let context = CGContext(
                    data: memory.baseAddress, width: width, height: height, bitsPerComponent: 8,
                    bytesPerRow: 4 * width, space: space,
                    bitmapInfo: CGImageAlphaInfo.premultipliedLast.rawValue)
            else { return false }
            context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard drawn else { return nil }
        for n in stride(from: 0, to: bytes.count, by: 4) where bytes[n + 3] != 0 && bytes[n + 3] != 255 {
            let alpha = Int(bytes[n + 3]) // Core Graphics draws premultiplied only
            for channel in n..<n + 3 {
                bytes[channel] = UInt8(min(255, (Int(bytes[channel]) * 255 + alpha / 2) / alpha))
            }
        }
        self.init(bytes, width: width, height: height, format: .rgba, orientation: Int(orientation.rawValue))
    }
}
#endif

#if canImport(CoreVideo)
import CoreVideo

extension Pixels {
    /// A copy of a camera's frame in kCVPixelFormatType_32BGRA; nil for other formats.
    public init?(_ frame: CVPixelBuffer, orientation: Int = 1) {
        guard CVPixelBufferGetPixelFormatType(frame) == kCVPixelFormatType_32BGRA,
            CVPixelBufferLockBaseAddress(frame, .readOnly) == kCVReturnSuccess
        else { return nil }
        defer { CVPixelBufferUnlockBaseAddress(frame, .readOnly) }
        guard let base = CVPixelBufferGetBaseAddress(frame) else { return nil }
        let height = CVPixelBufferGetHeight(frame), stride = CVPixelBufferGetBytesPerRow(frame)
        self.init(
            [UInt8](UnsafeRawBufferPointer(start: base, count: stride * height)),
            width: CVPixelBufferGetWidth(frame), height: height, format: .bgra, stride: stride,
            orientation: orientation)
    }
}
#endif
