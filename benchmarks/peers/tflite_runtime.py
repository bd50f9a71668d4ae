"""The last tflite-runtime, of 2023: an environment with numpy below 2 and Python below 3.12."""

from __future__ import annotations

import sys

from edgecap.benchmarks.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
