"""The gate's view of `decode_stateful`: the same comparison, for the step that has a state.

Letters as in bundle/interface.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecap.bundle.certificate import Certificate, extended
from edgecap.bundle.interface import DECODE, DECODE_STATEFUL
from edgecap.mil.program import Program
from edgecap.runtime.backends.single import Arrays, FunctionSession
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.graphs import Graphs


class StatefulSession(FunctionSession):
    """A session whose decode ignores the cache's text rows: the program's state holds them.

    For one caption at a time, from its first token to its last.
    """

    def __init__(self, plain: FunctionSession, package: Path, patches: int) -> None:
        self._plain, self._patches = plain, patches
        self._step = Program.open(package).function(DECODE_STATEFUL)
        self._state = self._step.make_state()

    def run(self, name: str, inputs: Arrays) -> Arrays:
        if name != DECODE:
            return self._plain.run(name, inputs)
        if inputs["position"][0] == 0:
            self._state = self._step.make_state()
        k, v = (inputs[side][..., : self._patches, :] for side in ("k", "v"))  # [L,1,H,P,Dh]
        out = self._step.run(
            {
                "token": inputs["token"],
                "position": inputs["position"],
                "k_image": np.ascontiguousarray(k),
                "v_image": np.ascontiguousarray(v),
            },
            self._state,
        )
        nothing = np.zeros_like(k[..., :1, :])  # [L,1,H,1,Dh]
        return {**out, "new_k": nothing, "new_v": nothing}


def with_state(captioner: Captioner, package: Path) -> Captioner:
    """The same captioner, decoding through the state of the .mlpackage `package`."""
    manifest, plain = captioner.manifest, captioner.graphs
    session = StatefulSession(plain.session, package, manifest.interface.dims["P"])
    return Captioner(
        Graphs(session, manifest.interface),
        manifest,
        captioner.codec,
        captioner.backend,
        tokenizer=lambda: captioner.tokenizer,
    )


def joined(plain: Certificate, stateful: Certificate) -> Certificate:
    """One certificate for both: what the state touches is listed a second time, by its function."""
    outputs = tuple(
        replace(o, output=f"{DECODE_STATEFUL} {o.output}")
        for o in stateful.outputs
        if o.output in ("logits", "attention")
    )
    agreements = tuple(replace(a, what=f"{DECODE_STATEFUL} {a.what}") for a in stateful.agreements)
    return extended(plain, outputs, agreements)
