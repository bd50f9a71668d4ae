"""`python -m edgecap`, for launchers such as torchrun."""

import sys

from edgecap.cli.app import main

sys.exit(main())
