"""parity.json: how far a bundle's outputs lie from the reference model's, and the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edgecap.core.errors import BundleError
from edgecap.core.typed import decode, dump

SCHEMA = 1


@dataclass(frozen=True)
class OutputParity:
    """One output over all scenes, next to what was allowed."""

    output: str  # a name of the graph contract, maybe behind what it is of: "golden logits"
    max_abs: float  # largest absolute difference
    cosine: float  # smallest cosine similarity of one scene
    allowed_max_abs: float
    allowed_cosine: float
    worst: str  # where max_abs was met, for people

    @property
    def passed(self) -> bool:
        return self.max_abs <= self.allowed_max_abs and self.cosine >= self.allowed_cosine


@dataclass(frozen=True)
class AgreementParity:
    """The share of scenes in which something discrete came out the same."""

    # tokens, boxes, text; of steps: next_token, close_logits, close_attention; maybe behind what
    # they are of
    what: str
    agreement: float  # 0-1
    required: float  # 0-1

    @property
    def passed(self) -> bool:
        return self.agreement >= self.required


@dataclass(frozen=True)
class Divergence:
    """Where a greedy caption left the reference's, and how sure the reference was there."""

    scene: int
    lang: str
    step: int  # of the caption's tokens, the first that differs
    margin: float  # nats between the reference's best token at that step and its second best


@dataclass(frozen=True)
class Certificate:
    """The whole comparison; `verdict` is "pass" or "fail" and follows from the rest."""

    schema: int
    reference: str  # e.g. "torch 2.13.0 fp32"
    target: str  # e.g. "onnxruntime 1.32.0 w8"
    scenes: int
    languages: tuple[str, ...]
    outputs: tuple[OutputParity, ...]
    agreements: tuple[AgreementParity, ...]
    verdict: str
    divergences: tuple[Divergence, ...] = ()  # of the scenes whose tokens differ
    versions: dict[str, str] = field(default_factory=dict)  # what ran the target: name -> version

    @property
    def failures(self) -> tuple[str, ...]:
        """One line per figure outside its bound: what, by how much, where."""
        lines = [
            f"{o.output}: max abs {o.max_abs:.3g} (allowed {o.allowed_max_abs:.3g}), "
            f"cosine {o.cosine:.6f} (allowed {o.allowed_cosine:.6f}), worst at {o.worst}"
            for o in self.outputs
            if not o.passed
        ]
        lines += [
            f"{a.what}: {a.agreement:.2%} agree (required {a.required:.1%})"
            for a in self.agreements
            if not a.passed
        ]
        return tuple(lines)


def certify(
    reference: str,
    target: str,
    scenes: int,
    languages: tuple[str, ...],
    outputs: tuple[OutputParity, ...],
    agreements: tuple[AgreementParity, ...],
) -> Certificate:
    """A certificate whose verdict follows from its figures."""
    good = all(o.passed for o in outputs) and all(a.passed for a in agreements)
    verdict = "pass" if good else "fail"
    return Certificate(SCHEMA, reference, target, scenes, languages, outputs, agreements, verdict)


def extended(
    certificate: Certificate,
    outputs: tuple[OutputParity, ...],
    agreements: tuple[AgreementParity, ...] = (),
) -> Certificate:
    """The same comparison with more figures; the verdict follows from all of them."""
    again = certify(
        certificate.reference,
        certificate.target,
        certificate.scenes,
        certificate.languages,
        (*certificate.outputs, *outputs),
        (*certificate.agreements, *agreements),
    )
    return replace(again, divergences=certificate.divergences, versions=certificate.versions)


def certificate_to_json(certificate: Certificate) -> bytes:
    return dump(asdict(certificate))


def certificate_from_json(value: Any) -> Certificate:
    """Decode parity.json; raises BundleError when its verdict contradicts its figures."""
    certificate = decode(Certificate, value, "parity")
    if certificate.schema != SCHEMA:
        raise BundleError("bundle.schema", f"parity.json has schema {certificate.schema}.")
    if certificate.verdict != ("fail" if certificate.failures else "pass"):
        raise BundleError(
            "bundle.certificate",
            f"parity.json says {certificate.verdict!r} and its figures say otherwise.",
        )
    return certificate
