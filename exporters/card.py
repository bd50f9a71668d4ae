"""The model card of a bundle: front matter as hubs read it, what it is, how it was checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgecap.bundle.certificate import Certificate
from edgecap.bundle.files import FRONT, SEARCH
from edgecap.bundle.manifest import Manifest
from edgecap.core.formats import INT8_PRECISIONS, PRECISIONS
from edgecap.core.hub import is_id

FINETUNED = "finetune "  # a language: how the facts of a fine-tuning are called


def front_matter(
    license: str,
    format: str,
    precision: str,
    source: str = "",
    captions: bool = True,
    languages: Sequence[str] = (),
) -> list[str]:
    """The first lines of a card, in YAML.

    `source`: the model that it was made from, named only if it is a hub id, which hubs link to.
    """
    tags = ["edgecap", format, precision, *(["image-captioning"] if captions else [])]
    lines = [
        "---",
        f"license: {license.lower()}",
        "library_name: edgecap",
        f"pipeline_tag: {'image-to-text' if captions else 'zero-shot-image-classification'}",
        f"tags: [{', '.join(tags)}]",
    ]
    if is_id(source):
        lines.append(f"base_model: {source}")
        if precision in INT8_PRECISIONS:
            lines.append("base_model_relation: quantized")
    if languages:
        lines.append(f"language: [{', '.join(languages)}]")
    return [*lines, "---", ""]


@dataclass(frozen=True)
class About:
    """What a card says of one kind of model alone."""

    text: str  # a paragraph
    model: str  # its source, and perhaps its sizes
    training: dict[str, Any] = field(default_factory=dict)  # facts of it, by name


def card(
    manifest: Manifest,
    directory: str,
    size: int,
    certificate: Certificate | None,
    about: About,
) -> str:
    """Markdown. `directory` is the name of the bundle's, `size` that of the model files in bytes.

    No certificate: it was not checked.
    """
    model, captions = manifest.model, bool(manifest.prompts)
    run = f'load("{directory}").caption("image.png")[0].text'
    if not captions:
        run = f'load("{directory}").embed_images(["image.png"])'
    lines = [
        *front_matter(
            model.license,
            manifest.format,
            manifest.precision,
            model.source,
            captions,
            manifest.languages,
        ),
        f"# {manifest.name}",
        "",
        about.text,
        "",
        f"- Model {about.model}.",
        f"- {manifest.format}, {manifest.precision} ({PRECISIONS[manifest.precision]}), "
        f"{size / 1e6:.1f} MB.",
        *_prompts(manifest),
        f"- Licence {model.license}.",
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
        f"print({run})",
        "```",
        "",
        "`edgecap verify` on this directory replays the golden files on your machine.",
        "",
        "## Parity with PyTorch",
        "",
        *_parity(certificate),
    ]
    if about.training:
        lines += ["", "## Training", ""]
        lines += [line for key, value in about.training.items() for line in _fact(key, value)]
    return "\n".join(lines) + "\n"


def _prompts(manifest: Manifest) -> list[str]:
    if manifest.languages:
        return [f"- Captions in {', '.join(manifest.languages)}."]
    return [f"- Prompts: {', '.join(manifest.prompts)}."] if manifest.prompts else []


def _fact(key: str, value: Any) -> list[str]:
    """One line, or one for each of the values in it."""
    if not isinstance(value, dict):
        return [f"- {key}: {value}"]
    return [f"- {key}:", *(f"  - {name}: {json.dumps(one)}" for name, one in value.items())]


def _search(found: dict[str, Any] | None) -> list[str]:
    """How the plan was found, where it was searched for."""
    if found is None:
        return []
    return [
        f"- Its plan was searched for, within a loss of {found['max_drop']:g} points: on "
        f"{found['scenes']} images it loses {found['points']:+.2f} points of "
        f"{found.get('measure', 'exact scenes')} against PyTorch "
        f"(95 % {found['low']:+.2f} … {found['high']:+.2f}); see "
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
        f"- {a.what}: {a.agreement:.2%} the same" + (f" (≥ {a.required:.1%})" if a.required else "")
        for a in certificate.agreements
    ]
    languages = f" in {', '.join(certificate.languages)}" if certificate.languages else ""
    return [
        f"{certificate.target} against {certificate.reference}, {certificate.scenes} images"
        f"{languages}.",
        "",
        "| output | largest difference | smallest cosine |",
        "| --- | --- | --- |",
        *outputs,
        "",
        *shares,
    ]
