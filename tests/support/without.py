"""The command line on a machine that lacks some packages."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name + " is blocked", name=name)

sys.meta_path.insert(0, Block())
from edgecap.cli.app import main
sys.exit(main({arguments!r}))
"""


def without(blocked: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fresh process in which these packages cannot be imported."""
    code = WITHOUT.format(blocked=blocked, arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
