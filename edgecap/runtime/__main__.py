"""Captions without the command line's packages: python -m edgecap.runtime BUNDLE IMAGE...

A line per image, or a JSON object per image with --json. Exit codes: 0 done, 1 an image failed and
others were done, 2 nothing could be done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from edgecap.core.errors import EdgecapError
from edgecap.runtime import Caption
from edgecap.runtime.loading import load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the arguments (by default those of the process); returns the exit code."""
    options = _parser().parse_args(arguments)
    request = {"lang": options.lang, "prompt": options.prompt, "beams": options.beams}
    request = {name: value for name, value in request.items() if value is not None}
    failed = 0
    try:
        captioner = load(options.bundle, backend=options.backend, threads=options.threads)
        results = captioner.caption_many(options.images, on_error="skip", **request)
        for path, result in zip(options.images, results, strict=True):
            if isinstance(result, Caption):
                print(_json(path, result) if options.json else f"{path}: {result.text}", flush=True)
            else:
                failed += 1
                print(f"edgecap-caption: {result}", file=sys.stderr)
    except EdgecapError as error:
        print(f"edgecap-caption: {error}", file=sys.stderr)
        return 2
    return 0 if not failed else 1 if failed < len(options.images) else 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("edgecap-caption", description="Caption images.")
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle directory or .edgecap file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    parser.add_argument("--lang", help="language of the captions, such as de")
    parser.add_argument("--prompt", help="one of the model's prompts, where it has prompts")
    parser.add_argument("--beams", type=int, help="beam width")
    parser.add_argument("--backend", default="auto", help="engine: auto, onnx, tflite, coreml")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the engine")
    parser.add_argument("--json", action="store_true", help="a JSON object per image, with boxes")
    return parser


def _json(path: str, caption: Caption) -> str:
    mentions = [
        {"phrase": one.phrase, "span": one.span, "boxes": one.boxes, "scores": one.scores}
        for one in caption.mentions
    ]
    value = {"image": path, "text": caption.text, "mentions": mentions, "score": caption.score}
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
