"""Starting the gate in a process of its own, and what its silence means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgecap.bundle.certificate import Certificate, certificate_from_json
from edgecap.bundle.files import CERTIFICATE
from edgecap.core.errors import GateError
from edgecap.core.scratch import scratch_dir
from edgecap.core.typed import read_json

GATE_SECONDS = 3600  # a gate that hangs is a gate that fails


def run_gate(
    bundle: Path, references: Path, module: str, seconds: int = GATE_SECONDS
) -> Certificate:
    """The certificate of a bundle, of whatever verdict.

    `references` is the directory that the reference's outputs were written to; `module` compares
    them: `python -m MODULE BUNDLE REFERENCES CERTIFICATE`. Raises GateError where the
    process does not end, or ends without a certificate.
    """
    with scratch_dir("edgecap-parity-") as scratch:
        result = scratch / CERTIFICATE
        command = [sys.executable, "-P", "-m", module]
        command += [str(bundle), str(references), str(result)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise GateError(
                "parity.timeout", f"the parity gate did not end in {seconds} s."
            ) from None
        if run.returncode or not result.is_file():
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            raise GateError(
                "parity.crashed",
                f"the bundle could not be run (exit status {run.returncode}): {last}",
                "Look at this machine's engines with: edgecap doctor",
            )
        return certificate_from_json(read_json(result, CERTIFICATE))
