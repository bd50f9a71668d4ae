"""The model card of a checkpoint's bundle: front matter as hubs read it, and how it was checked."""

from __future__ import annotations

from edgecap.bundle.certificate import Certificate
from edgecap.bundle.schema2 import Manifest


def card(manifest: Manifest, title: str, certificate: Certificate | None) -> str:
    """Front matter, what the bundle is, how to run it, and how it was checked."""
    checked = "**Not checked**: exported with --no-verify."
    if certificate is not None:
        shares = "; ".join(f"{a.what} {a.agreement:.1%}" for a in certificate.agreements)
        checked = (
            f"{certificate.target} against {certificate.reference} on {certificate.scenes} images: "
            f"{shares or 'embeddings'}."
        )
    run = f'load("{title}").caption("photo.jpg")[0].text'
    if not manifest.prompts:
        run = f'load("{title}").embed_images(["photo.jpg"])'
    return "\n".join(
        [
            "---",
            f"license: {manifest.model.license}",
            f"base_model: {manifest.model.source}",
            "library_name: edgecap",
            f"tags: [edgecap, {manifest.format}, {manifest.precision}]",
            "---",
            "",
            f"# {manifest.name}",
            "",
            f"{manifest.model.source} ({manifest.model.family}) for {manifest.format}, "
            f"{manifest.precision}, exported by edgecap.",
            "",
            "```python",
            "from edgecap.runtime import load",
            "",
            f"print({run})",
            "```",
            "",
            f"Parity with PyTorch: {checked}",
            "",
        ]
    )
