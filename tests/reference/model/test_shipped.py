"""The weights that come with the package are what their names say, and see."""

from edgecap.models.loading import load
from edgecap.reference.config import SIZES
from edgecap.reference.model import weights
from edgecap.reference.scenes.hard_negatives import names_in, names_of
from edgecap.reference.scenes.parse import parse
from edgecap.reference.scenes.shipped import load_set
from edgecap.reference.shipped import shipped


def test_one_size_is_shipped() -> None:
    assert shipped().keys() == {"S"} < SIZES.keys()


def test_it_is_of_its_size_and_names_what_is_there() -> None:
    assert weights.load(shipped()["S"]).config == SIZES["S"]
    captioner = load("S")
    right = 0
    for image, scene in load_set("evaluation", 4):
        (caption,) = captioner.caption([image], "en")
        right += names_of(parse(caption.raw, "en").statement) == names_in(scene)
    assert right >= 3
