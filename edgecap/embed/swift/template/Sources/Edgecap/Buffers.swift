import CEdgecap

/// Memory for any caption of a captioner, and what C put there.
final class Buffers {
    var caption = edgecap_caption_init()

    init(_ info: edgecap_info, attention: Bool) {
        let maps = attention ? info.most_tokens * Int(info.patches) : 0
        caption.text = .allocate(capacity: info.most_text_bytes)
        caption.raw = .allocate(capacity: info.most_text_bytes)
        caption.phrases = .allocate(capacity: info.most_boxes)
        caption.boxes = .allocate(capacity: info.most_boxes)
        caption.tokens = .allocate(capacity: info.most_tokens)
        caption.attention = maps > 0 ? .allocate(capacity: maps) : nil
        caption.text_capacity = info.most_text_bytes
        caption.raw_capacity = info.most_text_bytes
        caption.phrase_capacity = info.most_boxes
        caption.box_capacity = info.most_boxes
        caption.token_capacity = info.most_tokens
        caption.attention_capacity = maps
    }

    deinit {
        caption.text.deallocate()
        caption.raw.deallocate()
        caption.phrases.deallocate()
        caption.boxes.deallocate()
        caption.tokens.deallocate()
        caption.attention?.deallocate()
    }

    func read(patches: Int) -> Caption {
        let boxes = UnsafeBufferPointer(start: caption.boxes, count: caption.box_count).map {
            Box(
                x0: $0.x0, y0: $0.y0, x1: $0.x1, y1: $0.y1, score: $0.score,
                confidence: known($0.confidence))
        }
        let mentions = UnsafeBufferPointer(start: caption.phrases, count: caption.phrase_count).map {
            Mention(
                phrase: text(caption.text + $0.begin, $0.end - $0.begin),
                utf8Range: $0.begin..<$0.end,
                boxes: Array(boxes[$0.first_box..<$0.first_box + $0.box_count]))
        }
        let tokens = UnsafeBufferPointer(start: caption.tokens, count: caption.token_count).map {
            Token(id: $0.id, score: $0.score)
        }
        let maps = caption.attention.map { all in
            (0..<tokens.count).map { Array(UnsafeBufferPointer(start: all + $0 * patches, count: patches)) }
        }
        return Caption(
            text: text(caption.text, caption.text_length), raw: text(caption.raw, caption.raw_length),
            mentions: mentions, tokens: tokens, attention: maps, score: caption.score,
            complete: caption.complete != 0, malformed: Int(caption.malformed),
            confidence: known(caption.confidence), declined: caption.declined != 0)
    }

    /// C writes -1 for what it does not know.
    private func known(_ confidence: Double) -> Double? {
        confidence < 0 ? nil : confidence
    }

    private func text(_ begin: UnsafeMutablePointer<CChar>, _ length: Int) -> String {
        String(decoding: UnsafeRawBufferPointer(start: begin, count: length), as: UTF8.self)
    }
}
