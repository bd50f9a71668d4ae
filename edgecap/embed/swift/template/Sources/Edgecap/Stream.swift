import Dispatch

/// What a stream gives: pieces, then the caption.
public enum CaptionEvent: Sendable {
    /// A piece of text as soon as it is certain; joined they are `Caption.raw`.
    case piece(String)
    case done(Caption)
}

extension Captioner {
    /// Captions an image on a thread of its own while the stream is read. A reader that leaves stops
    /// the model at its next token.
    public func stream(
        _ image: Pixels, _ request: CaptionRequest = CaptionRequest()
    ) -> AsyncThrowingStream<CaptionEvent, Error> {
        AsyncThrowingStream { continuation in
            let read = ReaderIsThere()
            continuation.onTermination = { _ in read.leave() }
            DispatchQueue.global(qos: .userInitiated).async {
                do {
                    let caption = try self.caption(image, request) { piece in
                        continuation.yield(.piece(piece))
                        return read.isThere
                    }
                    continuation.yield(.done(caption))
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }
}

/// Whether somebody reads; asked by one thread and told by another.
private final class ReaderIsThere: @unchecked Sendable {
    private let queue = DispatchQueue(label: "edgecap.reader")
    private var there = true

    var isThere: Bool { queue.sync { there } }

    func leave() {
        queue.sync { there = false }
    }
}
