"""The commands: which there are, in which group, and each in one sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command; its module `edgecap.cli.<name>` has `run`, and `DETAILS` for its own help."""

    name: str
    group: str
    summary: str


DEPLOY, RUN, EXPLORE, REFERENCE = "Deploy", "Run", "Explore", "Reference model"

_TABLE = (
    Command("export", DEPLOY, "Convert a captioner to ONNX, TFLite or CoreML and verify it."),
    Command("verify", DEPLOY, "Check a bundle's files and replay its golden cases here."),
    Command("bench", DEPLOY, "Measure size, latency, memory and accuracy of bundles."),
    Command("eval", DEPLOY, "Score a captioner on your captions, or on drawn scenes."),
    Command("compare", DEPLOY, "Compare two captioners output by output and layer by layer."),
    Command("calibrate", DEPLOY, "Fit a bundle's confidence to your images."),
    Command("inspect", DEPLOY, "Show what a bundle or a model file contains."),
    Command("embed", DEPLOY, "Write a project for an app, with bundle and runtime inside."),
    Command("pack", DEPLOY, "Pack a bundle into one file that runs as it is."),
    Command("unpack", DEPLOY, "Unpack a packed bundle into a directory."),
    Command("doctor", DEPLOY, "Report what works on this machine, or what a model's exports need."),
    Command("push", DEPLOY, "Upload a bundle to a Hugging Face hub."),
    Command("pull", DEPLOY, "Download a bundle or a checkpoint from a Hugging Face hub."),
    Command("qat", DEPLOY, "Fine-tune weights under quantisation, for int8 that loses less."),
    Command("caption", RUN, "Caption images, with boxes in the pixels of each image."),
    Command("ground", EXPLORE, "Find the box that a phrase refers to."),
    Command("rank", EXPLORE, "Rank statements by how well an image supports them."),
    Command("classify", EXPLORE, "Rank labels by similarity to an image, without training."),
    Command("index", EXPLORE, "Embed a folder of images for searching."),
    Command("search", EXPLORE, "Search an index by text or by image."),
    Command("explain", EXPLORE, "Show where the model looked, for every word of a caption."),
    Command("scenes", REFERENCE, "Write drawn scenes with boxes and captions."),
    Command("train", REFERENCE, "Train a captioner on drawn scenes."),
    Command("finetune", REFERENCE, "Teach a captioner a language, or your own images."),
    Command("faithfulness", REFERENCE, "Measure how far attention maps can be trusted."),
)
COMMANDS = {command.name: command for command in _TABLE}
RENAMED = {"ask": "rank"}  # still understood


def by_group() -> dict[str, list[Command]]:
    """The commands of each group, in the order of `edgecap --help`."""
    groups: dict[str, list[Command]] = {}
    for command in COMMANDS.values():
        groups.setdefault(command.group, []).append(command)
    return groups
