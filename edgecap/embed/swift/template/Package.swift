// swift-tools-version:5.9
import PackageDescription

// Sources/CEdgecap is the C core; `edgecap embed --target ios` puts it there.
let package = Package(
    name: "Edgecap",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "Edgecap", targets: ["Edgecap"])],
    targets: [
        .target(
            name: "CEdgecap",
            linkerSettings: [
                .linkedLibrary("m", .when(platforms: [.linux])),
                .linkedLibrary("dl", .when(platforms: [.linux])),
            ]
        ),
        .target(name: "Edgecap", dependencies: ["CEdgecap"]),
        .testTarget(name: "EdgecapTests", dependencies: ["Edgecap"]),
    ],
    cLanguageStandard: .c99
)
