"""Mention dropout x data: what makes colour and shape pairs nameable that were never trained?

With dropout, two of five captions name shapes by their colour or by their kind alone, so the
decoder cannot rely on which shape a colour usually has. In the ablations' common world, and with
their budget, no arm names an unseen pair; so here images show one shape each.
"""

from __future__ import annotations

from dataclasses import replace

from edgecap.benchmarks.reference.ablations.experiment import SHAPES, SMALL_RUN, Ablation, Arm

WHOLE_NAMES = replace(SMALL_RUN, styles={"grounded": 0.9, "plain": 0.1})

ABLATION = Ablation(
    name="mentions",
    claim="Captions that name one attribute only make unseen pairs of colour and shape nameable, "
    "more than twice the images do.",
    rule="Equal images and rows of captions, so unequal words: a shorter caption leaves room for "
    "another one. What dropout takes from is the full caption.",
    images=24_000,
    arms=(
        Arm("dropout", world=SHAPES),
        Arm("no dropout", run=WHOLE_NAMES, world=SHAPES),
        Arm("dropout, half the images", world=SHAPES, share=0.5),
        Arm("no dropout, half the images", run=WHOLE_NAMES, world=SHAPES, share=0.5),
    ),
    keys=("pair_named", "name", "exact"),
    contrasts=(
        ("dropout", "no dropout"),
        ("dropout, half the images", "no dropout, half the images"),
        ("dropout", "dropout, half the images"),
        ("no dropout", "no dropout, half the images"),
    ),
)
