"""From the JSON files of a Hugging Face checkpoint to the fields of a bundle. No torch, no hub.

Image processor, tokenizer and generation settings become data that edgecap's runtime carries out,
or are refused by name. Nothing that changes pixels or tokens is dropped silently; each module lists
the settings it leaves out and why they change neither.
"""

from edgecap.models.translate.checkpoint import Checkpoint
from edgecap.models.translate.generation import generation_spec, start_id
from edgecap.models.translate.image import image_spec, square_sides
from edgecap.models.translate.regions import has_places, regions_spec, without_tags
from edgecap.models.translate.text import prompt_ids, text_spec

__all__ = [
    "Checkpoint",
    "generation_spec",
    "has_places",
    "image_spec",
    "prompt_ids",
    "regions_spec",
    "square_sides",
    "start_id",
    "text_spec",
    "without_tags",
]
