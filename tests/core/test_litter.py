"""What is passed over in folders is the same in Python and in C."""

import ast
import re
from pathlib import Path

from edgecap.core.litter import LITTER, is_litter

C = Path(__file__).parents[2] / "edgecap" / "embed" / "c" / "bundle_files.c"


def test_c_knows_the_same_names() -> None:
    (listed,) = re.findall(r"is_litter.*?known\[\] = \{(.*?)\};", C.read_text(), re.DOTALL)
    assert {ast.literal_eval(name) for name in re.findall(r'"[^"]*"', listed)} == LITTER


def test_what_is_passed_over() -> None:
    for name in (".DS_Store", "._a.png", "Icon\r", "a.png:Zone.Identifier", *LITTER):
        assert is_litter(name)
    for name in ("a.png", "snapshot", "recycle", "Thumbs", "a:b.png"):
        assert not is_litter(name)
