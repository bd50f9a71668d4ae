"""The model card of a bundle: what it is, what it was checked for, how to run it."""

from __future__ import annotations

import json
from typing import Any

from edgecap.bundle.certificate import Certificate
from edgecap.bundle.manifest import FRONT, SEARCH, Manifest
from edgecap.core.formats import PRECISIONS

FINETUNED = "finetune "  # a language: how the facts of a fine-tuning are called


def card(
    manifest: Manifest,
    directory: str,
    size: int,
    certificate: Certificate | None,
    training: dict[str, Any],
) -> str:
    """Markdown. `directory` is the name of the bundle's, `size` that of the model files in bytes.

    No certificate: it was not checked.
    """
    contract = manifest.contract
    lines = [
        f"# {manifest.name}",
        "",
        "An image captioner that names things, says where they are, and gives images and texts "
        "vectors in one space. **It was trained on drawn scenes** (emoji and coloured shapes) "
        f"{_since(training)}.",
        "",
        f"- Model {manifest.model}: {contract.layers} layers, "
        f"width {contract.heads * contract.head_width}, vocabulary {contract.vocabulary}.",
        f"- {manifest.format}, {manifest.precision} ({PRECISIONS[manifest.precision]}), "
        f"{size / 1e6:.1f} MB.",
        f"- Captions in {', '.join(manifest.languages)}.",
        f"- Licence {manifest.license}.",
        *_search(manifest.plan.get("search")),
        "- Written with "
        + ", ".join(f"{name} {version}" for name, version in sorted(manifest.tools.items()))
        + ".",
        "",
        "## Run it",
        "",
        "```python",
        "from edgecap.runtime import load",
        "",
        f'print(load("{directory}").caption("image.png")[0].text)',
        "```",
        "",
        "`edgecap verify` on this directory replays the golden files on your machine.",
        "",
        "## Parity with PyTorch",
        "",
        *_parity(certificate),
    ]
    if training:
        lines += ["", "## Training", ""]
        lines += [line for key, value in training.items() for line in _fact(key, value)]
    return "\n".join(lines) + "\n"


def _fact(key: str, value: Any) -> list[str]:
    """One line, or one for each of the values in it."""
    if not isinstance(value, dict):
        return [f"- {key}: {value}"]
    return [f"- {key}:", *(f"  - {name}: {json.dumps(one)}" for name, one in value.items())]


def _since(training: dict[str, Any]) -> str:
    """What those scenes leave it without, unless it has learned from other images since."""
    if any(key.startswith(FINETUNED) for key in training):
        return "and then on other captions (see Training)"
    return "and does not understand photographs"


def _search(found: dict[str, Any] | None) -> list[str]:
    """How the plan was found, where it was searched for."""
    if found is None:
        return []
    return [
        f"- Its plan was searched for, within a loss of {found['max_drop']:g} points: on "
        f"{found['scenes']} calibration scenes it loses {found['points']:+.2f} points of exact "
        f"captions against PyTorch (95 % {found['low']:+.2f} … {found['high']:+.2f}); see "
        f"`{SEARCH}` and `{FRONT}`.",
    ]


def _parity(certificate: Certificate | None) -> list[str]:
    if certificate is None:
        return ["**Not checked**: exported with --no-verify."]
    outputs = [
        f"| {o.output} | {o.max_abs:.2g} (≤ {o.allowed_max_abs:g}) "
        f"| {o.cosine:.6f} (≥ {o.allowed_cosine:g}) |"
        for o in certificate.outputs
    ]
    shares = [
        f"- {a.what}: {a.agreement:.2%} the same (≥ {a.required:.1%})"
        for a in certificate.agreements
    ]
    return [
        f"{certificate.target} against {certificate.reference}, {certificate.scenes} scenes in "
        f"{', '.join(certificate.languages)}.",
        "",
        "| output | largest difference | smallest cosine |",
        "| --- | --- | --- |",
        *outputs,
        "",
        *shares,
    ]
