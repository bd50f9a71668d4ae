import Edgecap
import PhotosUI
import SwiftUI

/// The sample app: choose a photo, read its caption, see where things are. Add this file, the
/// package, and `bundle` as a folder reference to an app target in Xcode.
@main
struct CaptionsApp: App {
    var body: some Scene {
        WindowGroup { CaptionView() }
    }
}

struct CaptionView: View {
    @State private var picked: PhotosPickerItem?
    @State private var image: UIImage?
    @State private var words = ""
    @State private var mentions: [Mention] = []
    @State private var model = Model()

    var body: some View {
        VStack {
            if let image {
                Image(uiImage: image)
                    .resizable()
                    .scaledToFit()
                    .overlay { Boxes(mentions: mentions, size: image.size) }
                    .accessibilityLabel(words)
            }
            Text(words).font(.title3)
            PhotosPicker("Choose an image", selection: $picked, matching: .images)
        }
        .padding()
        .task(id: picked) { await caption() }
    }

    private func caption() async {
        guard let data = try? await picked?.loadTransferable(type: Data.self),
            let chosen = UIImage(data: data), let upright = chosen.upright(), let drawn = upright.cgImage,
            let pixels = Pixels(drawn)
        else { return }
        image = upright
        words = ""
        mentions = []
        do {
            let captioner = try await model.captioner()
            var request = CaptionRequest()
            if captioner.info.calibrated { request.minConfidence = CaptionRequest.autoConfidence }
            for try await event in captioner.stream(pixels, request) {
                if case .done(let caption) = event {
                    words = told(caption)
                    mentions = caption.mentions
                }
            }
        } catch {
            words = "\(error)"
        }
    }
}

/// The caption and how sure the model is of it, in words.
private func told(_ caption: Caption) -> String {
    guard let confidence = caption.confidence else { return caption.text }
    let percent = Int(100 * confidence)
    if caption.declined { return "I am not sure enough to say what this image shows (\(percent) % sure)." }
    return "\(caption.text)\n\(percent) % sure that this is right"
}

/// Opens the bundle once, away from the main thread.
private actor Model {
    private var opened: Captioner?

    func captioner() throws -> Captioner {
        if let opened { return opened }
        let path = Bundle.main.bundleURL.appendingPathComponent("bundle").path
        let captioner = try Captioner(bundle: path)
        opened = captioner
        return captioner
    }
}

private struct Boxes: View {
    let mentions: [Mention]
    let size: CGSize // px of the upright image

    var body: some View {
        GeometryReader { place in
            let scale = place.size.width / max(1, size.width)
            ForEach(Array(mentions.enumerated()), id: \.offset) { n, mention in
                let colour = [Color.yellow, .cyan, .pink, .green][n % 4]
                ForEach(Array(mention.boxes.enumerated()), id: \.offset) { _, box in
                    Rectangle()
                        .stroke(colour, lineWidth: 2)
                        .overlay(alignment: .topLeading) { Text(mention.phrase).foregroundStyle(colour) }
                        .frame(width: (box.x1 - box.x0) * scale, height: (box.y1 - box.y0) * scale)
                        .offset(x: box.x0 * scale, y: box.y0 * scale)
                }
            }
        }
        .accessibilityHidden(true)
    }
}

extension UIImage {
    /// Turned as it is displayed, one point a pixel, and not larger than a model needs.
    fileprivate func upright(longest: CGFloat = 1344) -> UIImage? {
        let scale = min(1, longest / max(size.width, size.height, 1))
        let fitted = CGSize(width: (size.width * scale).rounded(), height: (size.height * scale).rounded())
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        return UIGraphicsImageRenderer(size: fitted, format: format).image { _ in
            draw(in: CGRect(origin: .zero, size: fitted))
        }
    }
}
