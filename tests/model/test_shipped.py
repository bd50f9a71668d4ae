"""The weights that come with the package are what their names say, and see."""

import pytest

from edgecap.core.config import SIZES
from edgecap.core.shipped import shipped
from edgecap.model import weights
from edgecap.runtime import load
from edgecap.scenes.parse import parse
from edgecap.scenes.shipped import load_set
from edgecap.scenes.twins import names_in, names_of


def test_both_sizes_are_shipped() -> None:
    assert shipped().keys() == SIZES.keys() == {"S", "M"}


@pytest.mark.parametrize("name", SIZES)
def test_it_is_of_its_size_and_tells_what_is_there(name: str) -> None:
    assert weights.load(shipped()[name]).config == SIZES[name]
    captioner = load(name)
    right = 0
    for picture, scene in load_set("evaluation", 4):
        (caption,) = captioner.caption([picture], "en")
        right += names_of(parse(caption.raw, "en").statement) == names_in(scene)
    assert right >= 3
