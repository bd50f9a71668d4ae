"""Put the page together: python examples/web/build.py -o DIR --modules NODE_MODULES BUNDLE...

The page, the JavaScript runtime, the engines' files that it needs and the bundles, as plain files
that any web server can give out. What is listed in content.json is kept for offline use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

from PIL import Image

from edgecap.bundle.confidence_spec import CONFIDENCE
from edgecap.bundle.io import Bundle, open_bundle
from edgecap.reference.scenes.shipped import load_set
from edgecap.runtime.confidence import AUTO

HERE = Path(__file__).parent
RUNTIME = HERE.parents[1] / "edgecap" / "embed" / "js" / "src"
PAGE = ("*.html", "*.css", "*.js", "*.svg", "*.webmanifest")
SAMPLES = 12
# What of an engine's package a page needs, under vendor/.
ENGINES = {
    "onnx": {
        "ort/ort.wasm.min.mjs": "onnxruntime-web/dist/ort.wasm.min.mjs",
        "ort/ort-wasm-simd-threaded.mjs": "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
        "ort/ort-wasm-simd-threaded.wasm": "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    },
    "tflite": {
        "litert/index.js": "@litertjs/core/dist/index.js",
        "litert/wasm-utils.js": "@litertjs/wasm-utils/dist/index.js",
        **{
            f"litert/wasm/litert_wasm_{kind}internal.{end}": (
                f"@litertjs/core/wasm/litert_wasm_{kind}internal.{end}"
            )
            for kind in ("", "compat_", "threaded_", "jspi_")
            for end in ("js", "wasm")
        },
    },
}
SELDOM = ("litert_wasm_compat", "litert_wasm_jspi")  # not fetched before they are needed


def main() -> None:
    arguments = _arguments()
    out: Path = arguments.output
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for pattern in PAGE:
        for file in HERE.glob(pattern):
            shutil.copy(file, out / file.name)
    shutil.copytree(RUNTIME, out / "edgecap")
    bundles = [open_bundle(path) for path in arguments.bundles]
    for format_ in {bundle.manifest.format for bundle in bundles}:
        for name, source in ENGINES[format_].items():
            _copy(arguments.modules / source, out / "vendor" / name)
    models = [_model(bundle, out / "models") for bundle in bundles]
    images = _samples(out / "samples")
    (out / "content.json").write_text(json.dumps(_content(out, models, images), indent=1))
    print(f"{out}: {', '.join(model['label'] for model in models)}; {len(images)} sample images")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--modules", type=Path, required=True, help="a node_modules directory")
    return parser.parse_args()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _model(bundle: Bundle, models: Path) -> dict[str, str | None]:
    """Copy what a host needs of a bundle; its entry in the page's list."""
    manifest = bundle.manifest
    name = bundle.path.resolve().name
    for file in ("manifest.json", *manifest.files):
        if not file.startswith("golden/"):
            _copy(bundle.path / file, models / name / file)
    engine = {"onnx": "onnxruntime", "tflite": "LiteRT"}[manifest.format]
    model = manifest.model if isinstance(manifest.model, str) else manifest.model.source
    label = f"{model}, {manifest.precision}, {engine}"
    minimum = AUTO if CONFIDENCE in manifest.files else None  # of the calibration, where one is
    return {"name": name, "label": label, "format": manifest.format, "minConfidence": minimum}


def _samples(folder: Path) -> list[str]:
    """The first scenes of the shipped evaluation as PNG files."""
    folder.mkdir()
    names = []
    for number, (pixels, _) in enumerate(load_set("evaluation", SAMPLES)):  # uint8 [224,224,3]
        names.append(f"scene-{number + 1:02d}.png")
        Image.fromarray(pixels).save(folder / names[-1])
    return names


def _content(
    out: Path, models: list[dict[str, str | None]], images: list[str]
) -> dict[str, object]:
    """What the page shows and what is kept offline; a bundle's own files the runtime keeps."""
    files = []
    digest = hashlib.sha256()
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = path.relative_to(out).as_posix()
        kept_by_runtime = name.startswith("models/") and path.name != "manifest.json"
        if not kept_by_runtime and name != "sw.js" and not any(part in name for part in SELDOM):
            files.append(name)
            digest.update(name.encode() + path.read_bytes())
    return {"version": digest.hexdigest()[:16], "models": models, "images": images, "files": files}


if __name__ == "__main__":
    main()
