"""CoreML ML programs, evaluated anywhere in NumPy: from the protobuf and the weight file up.

The layers, each seeing only those before it: schema, dtypes, mil (what a program is), blob,
picture, package (reading it), ops (what operations mean), checking, constants, plan, features,
program (running it), session (as a backend). A correctness evaluator: its latency is not a
device's, and what a Neural Engine computes may differ (see program.py).
"""

from __future__ import annotations

from edgecap.bundle.io import Bundle
from edgecap.runtime.session import Session


def open_session(bundle: Bundle, threads: int) -> Session:
    """Open a bundle's .mlpackage; BundleError where that fails.

    `threads` is that of NumPy's BLAS, which is set when NumPy is loaded (OMP_NUM_THREADS).
    """
    from edgecap.runtime.backends.mlprogram.session import ProgramSession

    return ProgramSession(bundle)
