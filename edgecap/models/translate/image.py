"""The settings of an image processor -> ImageSpec, and the numbers that go into the graph.

What runs is transformers' PIL backend (5.23): a setting that a file leaves out, or gives as null,
has its class's default. Pixels with alpha are composited over white where do_convert_rgb is set;
elsewhere transformers takes no such image, and alpha is dropped as its load_image does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgecap.bundle.image_spec import MAX_SIDE, Crops, ImageSpec, check_image_spec
from edgecap.core.errors import BundleError, InputError
from edgecap.models.images import PixelScaling
from edgecap.models.translate.checkpoint import Checkpoint, refuse, typed

Settings = Mapping[str, Any]

_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers
_STANDARD = (0.5, 0.5, 0.5)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_STEPS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}


def _defaults(mean: Sequence[float], std: Sequence[float], resample: str, **more: Any) -> Settings:
    numbers = {"image_mean": mean, "image_std": std, "resample": _FILTERS.index(resample)}
    return {**_STEPS, **numbers, "default_to_square": True, **more}


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


# Class attributes of transformers 5.23; a test compares them with the classes.
_DONUT: Settings = _defaults(
    _STANDARD,
    _STANDARD,
    "bilinear",
    size={"height": 2560, "width": 1920},
    do_thumbnail=True,
    do_align_long_axis=False,
    do_pad=True,
)
_IDEFICS3: Settings = _defaults(
    _STANDARD,
    _STANDARD,
    "lanczos",
    size={"longest_edge": 4 * 364},
    max_image_size={"longest_edge": 364},
    do_convert_rgb=True,
    do_image_splitting=True,
    do_pad=True,
    return_row_col_info=False,
)
_CLIP: Settings = _defaults(
    _CLIP_MEAN,
    _CLIP_STD,
    "bicubic",
    size={"shortest_edge": 224},
    default_to_square=False,
    crop_size=_square(224),
    do_center_crop=True,
    do_convert_rgb=True,
)
DEFAULTS: dict[str, Settings] = {
    "ViT": _defaults(_STANDARD, _STANDARD, "bilinear", size=_square(224)),
    "DeiT": _defaults(
        _STANDARD,
        _STANDARD,
        "bicubic",
        size=_square(256),
        crop_size=_square(224),
        do_center_crop=True,
    ),
    "Blip": _defaults(_CLIP_MEAN, _CLIP_STD, "bicubic", size=_square(384), do_convert_rgb=True),
    "CLIP": _CLIP,
    "Siglip": _defaults(
        _STANDARD,
        _STANDARD,
        "bicubic",
        size=_square(224),
        default_to_square=False,
        do_convert_rgb=True,
    ),
    "Donut": _DONUT,
    "Gemma3": _defaults(_STANDARD, _STANDARD, "bilinear", size=_square(224), do_convert_rgb=True),
    "Idefics3": _IDEFICS3,
    "SmolVLM": _IDEFICS3,
    "Llava": {**_CLIP, "do_pad": False},
    "LlavaOnevision": _defaults(
        _CLIP_MEAN,
        _CLIP_STD,
        "bicubic",
        size=_square(384),
        default_to_square=False,
        do_pad=True,
        do_convert_rgb=True,
        image_grid_pinpoints=[[384 * i, 384 * j] for i in range(1, 7) for j in range(1, 7)],
    ),
    "Qwen2VL": _defaults(
        _CLIP_MEAN,
        _CLIP_STD,
        "bicubic",
        size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280},
        default_to_square=False,
        do_convert_rgb=True,
        patch_size=14,
        merge_size=2,
        temporal_patch_size=2,
    ),
}

# Settings that change no pixel of an image, and why.
_LEFT_OUT = {
    "image_processor_type": "names the class",
    "feature_extractor_type": "names the class, before transformers 4.26",
    "processor_class": "names the class around it",
    "auto_map": "names code of others, which is never run",
    "_valid_processor_keys": "lists names of settings",
    "use_fast": "chooses a backend; the PIL backend is what is followed",
    "backend": "the same",
    "data_format": "the layout of the result; a bundle's is its own",
    "input_data_format": "the layout of arrays given",
    "device": "where it runs",
    "return_tensors": "the type of the result",
    "disable_grouping": "batches equal sizes, the result is the same",
    "image_seq_length": "counts tokens of prompts, not pixels",
    "num_image_tokens": "the same",
    "return_row_col_info": "adds facts to the result",
    "video_sampling": "of videos only",
}
_COMMON = {*_STEPS, "image_mean", "image_std", "resample", "size", "default_to_square"}
_COMMON |= {"do_convert_rgb", "do_center_crop", "crop_size", "do_pad", "pad_size"}
_OWN = {
    "CLIP": {"use_square_size"},
    "Donut": {"do_thumbnail", "do_align_long_axis"},
    "Gemma3": {
        "do_pan_and_scan",
        "pan_and_scan_min_crop_size",
        "pan_and_scan_max_num_crops",
        "pan_and_scan_min_ratio_to_activate",
    },
    "Idefics3": {"max_image_size", "do_image_splitting"},
    "SmolVLM": {"max_image_size", "do_image_splitting"},
    "LlavaOnevision": {"image_grid_pinpoints"},
    "Qwen2VL": {"min_pixels", "max_pixels", "patch_size", "merge_size", "temporal_patch_size"},
}


def image_spec(checkpoint: Checkpoint, side: int | None = None) -> tuple[ImageSpec, PixelScaling]:
    """How the checkpoint's image processor makes pixels.

    `side`: px, of a processor that lets images keep their shape: one of its `square_sides`.

    Raises UnsupportedError (checkpoint.unsupported) that names the class or setting which no bundle
    can express, InputError (checkpoint.file, checkpoint.setting) for what is missing or wrong.
    """
    kind, values = _values(checkpoint)
    spec = _BUILDERS.get(kind, _single)(values, side)
    try:
        check_image_spec(spec, "the image processor")
    except BundleError as error:
        raise InputError("checkpoint.setting", error.message) from None
    return spec, _scaling(values)


def square_sides(checkpoint: Checkpoint) -> range:
    """Sides, in px, of the square images that a processor without a fixed size leaves as they are.

    Errors as of `image_spec`, and InputError where there is no such image.
    """
    kind, values = _values(checkpoint)
    if kind != "Qwen2VL":
        raise refuse(f"a size for {kind}'s image processor", "it has its own")
    step = _positive(values, "patch_size") * _positive(values, "merge_size")
    least, most = _pixels(values)
    first = -(-(math.isqrt(max(least, 1) - 1) + 1) // step)  # the root, rounded up, in steps
    sides = range(first * step, min(math.isqrt(max(most, 0)), MAX_SIDE) + 1, step)
    if not sides:
        raise InputError(
            "checkpoint.setting",
            f"no square of a multiple of {step} px has {least} to {most} pixels, as the image "
            "processor wants.",
        )
    return sides


def _values(checkpoint: Checkpoint) -> tuple[str, Settings]:
    """The kind of image processor, and its settings."""
    given = checkpoint.image_processor
    kind = _kind(given)
    known = _COMMON | _OWN.get(kind, set())
    for name, value in given.items():
        if name not in known and name not in _LEFT_OUT and value is not None:
            raise refuse(f"{name} of {kind}'s image processor", "it is not known what it changes")
    values = {**DEFAULTS[kind], **{n: v for n, v in given.items() if v is not None}}
    for name, value in values.items():
        if name.startswith("do_"):
            typed(value, bool, name)
    if not values["do_resize"]:
        raise refuse("do_resize: false", "a bundle's images have one size")
    return kind, values


def _kind(given: Settings) -> str:
    name = given.get("image_processor_type") or given.get("feature_extractor_type")
    if not isinstance(name, str):
        raise InputError("checkpoint.setting", "the image processor does not name its class.")
    kind = name.removesuffix("Pil").removesuffix("Fast")
    kind = kind.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if kind not in DEFAULTS:
        raise refuse(f"the image processor {name}", f"known are those of {', '.join(DEFAULTS)}")
    return kind


def _scaling(values: Settings) -> PixelScaling:
    scale = typed(values["rescale_factor"], (int, float), "rescale_factor")
    mean, std = (_three(values[name], name) for name in ("image_mean", "image_std"))
    if 0 in std:
        raise InputError("checkpoint.setting", "image_std is 0.")
    if not values["do_normalize"]:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return PixelScaling(float(scale) if values["do_rescale"] else 1.0, mean, std)


def _three(value: Any, name: str) -> tuple[float, float, float]:
    several = (
        [value] * 3 if isinstance(value, (int, float)) else list(typed(value, (list, tuple), name))
    )
    if len(several) != 3:
        raise InputError("checkpoint.setting", f"{name} must have 3 values, got {len(several)}.")
    red, green, blue = (float(typed(v, (int, float), name)) for v in several)
    return red, green, blue


def _single(values: Settings, side: int | None) -> ImageSpec:
    """One resize, and perhaps a centre crop: ViT, DeiT, BLIP, CLIP, SigLIP."""
    if values.get("do_pad"):
        raise refuse("do_pad", "it pads after normalisation, with what no pixel means")
    size = values["size"]
    if values.get("use_square_size"):  # Kosmos-2: transformers takes the class's size, squared
        size = _square(DEFAULTS["CLIP"]["size"]["shortest_edge"])
    size = _size(size, values["default_to_square"], "size")
    crop = None
    if values.get("do_center_crop"):
        crop = _sides(_size(values.get("crop_size"), True, "crop_size"), "crop_size")
    if set(size) == {"shortest_edge"}:
        if crop is None:
            raise refuse("a shortest_edge without do_center_crop", "each image has its own size")
        edge = typed(size["shortest_edge"], int, "size.shortest_edge")
        return ImageSpec((edge, edge), "cover", crop=crop, **_colour(values))
    sides = _sides(size, "size")
    crop = None if crop == sides else crop  # Kosmos-2 cuts nothing off
    return ImageSpec(sides, "stretch", crop=crop, **_colour(values))


def _donut(values: Settings, side: int | None) -> ImageSpec:
    if values["do_align_long_axis"]:
        raise refuse("do_align_long_axis", "it turns images by a quarter")
    if values.get("do_center_crop") or values.get("pad_size"):
        raise refuse("do_center_crop or pad_size of Donut", "no checkpoint has it")
    if not (values["do_thumbnail"] and values["do_pad"]):
        raise refuse("Donut without do_thumbnail and do_pad", "each image has its own size")
    size = values["size"]
    # Lists are [width, height] here, and here alone.
    size = size[::-1] if isinstance(size, list) else size
    sides = _sides(_size(size, True, "size"), "size")
    return ImageSpec(sides, "thumbnail", **_colour(values))


def _gemma3(values: Settings, side: int | None) -> ImageSpec:
    if values.get("do_pan_and_scan"):
        raise refuse("do_pan_and_scan", "it cuts more or fewer images out of one")
    return _single(values, side)


def _idefics3(values: Settings, side: int | None) -> ImageSpec:
    if values.get("do_center_crop") or values.get("crop_size") or values.get("pad_size"):
        raise refuse("do_center_crop, crop_size or pad_size", "its image processor knows no such")
    # do_pad makes batches even; the crops of one image are even already.
    longest = _longest(values["size"], "size")
    crops = Crops(
        _longest(values["max_image_size"], "max_image_size"), values["do_image_splitting"]
    )
    return ImageSpec((longest, longest), "longest_edge", crops=crops, **_colour(values))


def _llava(values: Settings, side: int | None) -> ImageSpec:
    if values["do_pad"]:
        raise refuse("do_pad", "its colour may be none of the greys that a bundle fills with")
    return _single(values, side)


def _llava_onevision(values: Settings, side: int | None) -> ImageSpec:
    """The whole image, stretched, that comes before the crops.

    It is the one crop, too, of images that are square and no larger.
    """
    if values.get("do_center_crop") or values.get("crop_size") or values.get("pad_size"):
        raise refuse("do_center_crop, crop_size or pad_size", "no checkpoint has it")
    # do_pad makes batches even; the crops of one image are even already.
    size = _size(values["size"], values["default_to_square"], "size")
    edge = size.get("shortest_edge")
    height, width = _sides(_square(edge) if edge is not None and len(size) == 1 else size, "size")
    grids = typed(values["image_grid_pinpoints"], list, "image_grid_pinpoints")
    if height != width or [height, width] not in grids:
        raise refuse(
            f"image_grid_pinpoints without {height}x{width}", "a bundle's image is one square crop"
        )
    return ImageSpec((height, width), "stretch", **_colour(values))


def _qwen2vl(values: Settings, side: int | None) -> ImageSpec:
    if values.get("do_center_crop") or values.get("do_pad") or values.get("pad_size"):
        raise refuse("do_center_crop, do_pad or pad_size", "its image processor knows no such")
    if side is None:
        raise refuse("an image processor that lets images keep their shape", "a side is missing")
    return ImageSpec((side, side), "stretch", **_colour(values))


def _pixels(values: Settings) -> tuple[int, int]:
    """How many pixels Qwen2VL's images have, at least and at most; the older names win."""
    size = typed(values["size"], dict, "size")
    found = []
    for older, name in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        value = size.get(name) if values.get(older) is None else values[older]
        found.append(typed(value, int, f"size.{name}"))
    return found[0], found[1]


def _positive(values: Settings, name: str) -> int:
    value: int = typed(values[name], int, name)
    if value < 1:
        raise InputError("checkpoint.setting", f"{name} is {value}.")
    return value


_BUILDERS: dict[str, Callable[[Settings, int | None], ImageSpec]] = {
    "Donut": _donut,
    "Gemma3": _gemma3,
    "Idefics3": _idefics3,
    "SmolVLM": _idefics3,
    "Llava": _llava,
    "LlavaOnevision": _llava_onevision,
    "Qwen2VL": _qwen2vl,
}


def _colour(values: Settings) -> dict[str, Any]:
    resample = typed(values["resample"], int, "resample")
    if not 0 <= resample < len(_FILTERS):
        raise InputError("checkpoint.setting", f"resample is {resample}; known: 0-5.")
    background = 255 if values.get("do_convert_rgb") else None
    return {"filter": _FILTERS[resample], "background": background}


def _size(value: Any, square: bool, name: str) -> dict[str, int]:
    """A size as an object, from any form that files have (transformers' get_size_dict)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _square(value) if square else {"shortest_edge": value}
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return {"height": value[0], "width": value[1]}
    return {key: side for key, side in typed(value, dict, name).items() if side is not None}


def _sides(size: Mapping[str, int], name: str) -> tuple[int, int]:
    if set(size) != {"height", "width"}:
        raise refuse(f"{name} by {', '.join(sorted(size))}", "known: height and width")
    height, width = (typed(size[side], int, f"{name}.{side}") for side in ("height", "width"))
    return height, width


def _longest(value: Any, name: str) -> int:
    size = {key: side for key, side in typed(value, dict, name).items() if side is not None}
    if set(size) != {"longest_edge"}:
        raise refuse(f"{name} by {', '.join(sorted(size))}", "known: longest_edge")
    longest: int = typed(size["longest_edge"], int, f"{name}.longest_edge")
    return longest
