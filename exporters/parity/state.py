"""The gate's view of `decode_stateful`: the same questions, asked of the step that has a state.

Letters as in session.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecap.bundle.certificate import Certificate, extended
from edgecap.bundle.manifest import STATEFUL
from edgecap.mil.program import Program
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.session import ImageCode, Session, Step


class StatefulSession:
    """A session whose decode ignores the cache's text rows: the program's state holds them.

    For one caption at a time, from its first token to its last.
    """

    batch = 1

    def __init__(self, plain: Session, package: Path, patches: int) -> None:
        self._plain, self._patches = plain, patches
        self._step = Program.open(package).function(STATEFUL)
        self._state = self._step.make_state()

    def encode_image(self, image: np.ndarray) -> ImageCode:
        return self._plain.encode_image(image)

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        if position[0] == 0:
            self._state = self._step.make_state()
        P = self._patches
        out = self._step.run(
            {
                "token": token,
                "position": position,
                "k_image": np.ascontiguousarray(k[:, :, :, :P]),  # [L,1,H,P,Dh]
                "v_image": np.ascontiguousarray(v[:, :, :, :P]),
            },
            self._state,
        )
        nothing = np.zeros_like(k[:, :, :, :1])  # [L,1,H,1,Dh]
        return Step(out["logits"], nothing, nothing, out["attention"])

    def decode_attention(
        self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> Step:
        return self._plain.decode_attention(token, position, k, v)

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        return self._plain.encode_text(tokens, length)


def with_state(captioner: Captioner, package: Path) -> Captioner:
    """The same captioner, decoding through the state of the .mlpackage `package`."""
    manifest = captioner.manifest
    session = StatefulSession(captioner.session, package, manifest.contract.patches)
    return Captioner(session, manifest, captioner.tokenizer, captioner.backend)


def joined(plain: Certificate, stateful: Certificate) -> Certificate:
    """One certificate for both: what the state touches is listed a second time, by its function."""
    outputs = tuple(
        replace(o, output=f"{STATEFUL} {o.output}")
        for o in stateful.outputs
        if o.output in ("logits", "attention")
    )
    agreements = tuple(replace(a, what=f"{STATEFUL} {a.what}") for a in stateful.agreements)
    return extended(plain, outputs, agreements)
