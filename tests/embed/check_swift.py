"""`make check-swift`: the Swift package's tests on Linux, over real engines and tiny bundles.

    python tests/embed/check_swift.py ROOT

ROOT is a directory with a Debian that has Swift in it (the make target installs one: 3.3 GB), in
which the tests run; as root. What Core ML, UIKit and SwiftUI need is not compiled here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))

DECLARED = REPOSITORY / "tests" / "embed" / "swift" / "declared"
# Tests, then the sources for Apple's systems against hand-written declarations of these.
CHECK = """
mount -t proc proc /proc # without it, Swift does not find its own libraries
trap "umount /proc" EXIT
cd /edgecap/package
EDGECAP_TEST_BUNDLES=/edgecap/bundles/expected.json swift test -j 2
cd /edgecap/declared
for module in CoreVideo CoreML; do
    swiftc -emit-module -parse-as-library -module-name $module -I . \\
        -o $module.swiftmodule $module.swift
done
map=$(find /edgecap/package/.build/ -path '*CEdgecap.build/module.modulemap' | head -n 1)
swiftc -typecheck -I . -Xcc -fmodule-map-file="$map" ../package/Sources/Edgecap/*.swift
swiftc -frontend -parse ../package/App/*.swift
echo "The sources for Core ML fit their declarations; the app's were parsed."
"""
ENGINES = {"onnx": "libonnxruntime.so", "tflite": "libLiteRt.so"}
NOISE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
IMAGE = np.kron(NOISE, np.ones((11, 9, 1), np.uint8))  # [55,63,3]


def expectations(out: Path, at: Path) -> None:
    """Bundles, engines, pixels, and what Python says of them; `at` is `out` as Swift sees it."""
    from c_edgecap import engine_library
    from calibrated import calibrated, middling
    from tiny_formats import write

    from edgecap.runtime import load
    from edgecap.runtime.sampling import Sampling

    cases = []
    for format_, name in ENGINES.items():
        bundle = write(format_, out)
        calibrated(bundle, middling(bundle, [IMAGE]))
        shutil.copy(engine_library(format_), out / name)
        python = load(bundle)
        plain, german, sampled = (
            python.caption(IMAGE, **asked)[0]
            for asked in (
                {},
                {"lang": "de", "beams": 3},
                {"sampling": Sampling(20.0, seed=7)},
            )
        )
        sure = load(bundle, min_confidence="auto")
        (limited,) = sure.caption(IMAGE, sampling=Sampling(20.0, seed=7))
        cases.append(
            {
                "bundle": str(at / bundle.name),
                "library": str(at / name),
                "tokens": plain.tokens,
                "text": plain.text,
                "german": german.tokens,
                "sampled": sampled.tokens,
                "confidence": plain.confidence,
                "declined": limited.declined,
                "boxConfidences": [c for m in sampled.mentions for c in m.confidences],
                "image": python.embed_images(IMAGE)[0].tolist(),
                "textEmbedding": python.embed_texts("ein Äffchen 🐒")[0].tolist(),
            }
        )
    coreml = write("coreml", out)
    (out / "image.rgb").write_bytes(IMAGE.tobytes())
    height, width = IMAGE.shape[:2]
    told = {"width": width, "height": height, "pixels": str(at / "image.rgb")}
    told |= {"cases": cases, "coreml": str(at / coreml.name)}
    (out / "expected.json").write_text(json.dumps(told))


def main(root: Path) -> int:
    from tiny_formats import write

    from edgecap.embed.project import write_project

    work = root / "edgecap"
    for name in ("bundles", "new"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir(parents=True)
    for name in ("Package.swift", "Sources", "Tests", "App"):  # what SwiftPM built stays
        old = work / "package" / name
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
    expectations(work / "bundles", Path("/edgecap/bundles"))
    write_project("ios", write("coreml", work / "new"), work / "new" / "project")
    shutil.copytree(work / "new" / "project", work / "package", dirs_exist_ok=True)
    shutil.copytree(DECLARED, work / "declared", dirs_exist_ok=True)
    (work / "check.sh").write_text(CHECK)
    return subprocess.run(["chroot", root, "sh", "-e", "/edgecap/check.sh"]).returncode


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "usr/libexec/swift/bin/swift").exists():
        sys.exit("usage: check_swift.py ROOT, a directory with usr/libexec/swift in it")
    sys.exit(main(Path(sys.argv[1]).resolve()))
