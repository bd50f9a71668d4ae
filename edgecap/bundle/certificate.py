"""parity.json: the deviation of a bundle's outputs from the reference model, and the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edgecap.core.errors import BundleError
from edgecap.core.typed import decode, dump

SCHEMA = 1


@dataclass(frozen=True)
class OutputParity:
    """The deviation of one output over all scenes, and its bounds."""

    output: str  # a name of the graph contract, optionally with a prefix: "golden logits"
    max_abs: float  # largest absolute difference
    cosine: float  # smallest cosine similarity of one scene
    allowed_max_abs: float
    allowed_cosine: float
    worst: str  # where max_abs occurred, as text

    @property
    def passed(self) -> bool:
        return self.max_abs <= self.allowed_max_abs and self.cosine >= self.allowed_cosine


@dataclass(frozen=True)
class AgreementParity:
    """The share of scenes with an identical discrete output."""

    # tokens, tokens_or_tie (the same, or parting where the reference scores both almost alike),
    # boxes, text; per step: next_token, close_logits, close_attention; optionally with a prefix
    what: str
    agreement: float  # 0-1
    required: float  # 0-1; 0 where it is only reported

    @property
    def passed(self) -> bool:
        return self.agreement >= self.required


@dataclass(frozen=True)
class Divergence:
    """Where a greedy caption diverges from the reference, and the reference's margin there."""

    scene: int
    lang: str
    step: int  # index of the first token that differs
    margin: float  # nats between the reference's best and second best token at that step


@dataclass(frozen=True)
class Certificate:
    """The whole comparison; `verdict` is "pass" or "fail", computed from the figures."""

    schema: int
    reference: str  # e.g. "torch 2.13.0 fp32"
    target: str  # e.g. "onnxruntime 1.32.0 w8"
    scenes: int
    languages: tuple[str, ...]
    outputs: tuple[OutputParity, ...]
    agreements: tuple[AgreementParity, ...]
    verdict: str
    divergences: tuple[Divergence, ...] = ()  # of the scenes whose tokens differ
    versions: dict[str, str] = field(
        default_factory=dict
    )  # name -> version, of the target's runtime

    @property
    def failures(self) -> tuple[str, ...]:
        """One line per figure outside its bound: name, value, bound, place."""
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
    """A certificate with the verdict computed from its figures."""
    good = all(o.passed for o in outputs) and all(a.passed for a in agreements)
    verdict = "pass" if good else "fail"
    return Certificate(SCHEMA, reference, target, scenes, languages, outputs, agreements, verdict)


def extended(
    certificate: Certificate,
    outputs: tuple[OutputParity, ...],
    agreements: tuple[AgreementParity, ...] = (),
) -> Certificate:
    """The same certificate with more figures; the verdict is computed from all of them."""
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
            f"parity.json has the verdict {certificate.verdict!r}, which contradicts its figures.",
        )
    return certificate
