"""The C library through ctypes: built once, called as an app calls it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SOURCES = Path(__file__).resolve().parents[2] / "edgecap" / "embed" / "c"
RUNNER = Path(__file__).resolve().parents[1] / "embed"
NOT_CORE = ("cli.c", "cli_options.c", "pnm.c", "codecs.c")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
CHECKED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FORMATS = {"grey": 0, "grey_alpha": 1, "rgb": 2, "bgr": 3, "rgba": 4, "bgra": 5}
CHANNELS = {"grey": 1, "grey_alpha": 2, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}


def core() -> list[str]:
    """The files of the library itself."""
    return [str(f) for f in sorted(SOURCES.glob("*.c")) if f.name not in NOT_CORE]


def compilers() -> list[str]:
    """C compilers of this machine that the core must please; gcc is needed."""
    return [name for name in ("gcc", "clang") if name == "gcc" or shutil.which(name)]


def compile_c(*arguments: str, compiler: str = "gcc", directory: Path | None = None) -> None:
    """Compile, in `directory` where object files are to lie there."""
    command = [compiler, *STRICT, f"-I{SOURCES}", *arguments]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


class Error(ctypes.Structure):
    _fields_ = [
        ("status", ctypes.c_int),
        ("code", ctypes.c_char * 32),
        ("message", ctypes.c_char * 224),
    ]


class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("allocate", "release", "user")]


class OpenParams(ctypes.Structure):
    _fields_ = [
        ("engine", ctypes.c_char_p),
        ("library", ctypes.c_char_p),
        ("threads", ctypes.c_int32),
        ("verify", ctypes.c_int32),
        ("memory", Memory),
        ("custom", ctypes.c_void_p),
    ]


class Info(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_char_p) for name in ("name", "format", "precision", "engine")),
        ("language_count", ctypes.c_size_t),
        ("style_count", ctypes.c_size_t),
        ("languages", ctypes.POINTER(ctypes.c_char_p)),
        ("styles", ctypes.POINTER(ctypes.c_char_p)),
        *((name, ctypes.c_int32) for name in ("image_size", "patches", "embedding", "vocabulary")),
        *((name, ctypes.c_size_t) for name in ("most_tokens", "most_text_bytes", "most_boxes")),
        ("prompt_count", ctypes.c_size_t),
        ("prompts", ctypes.POINTER(ctypes.c_char_p)),
        ("text_tokens", ctypes.c_int32),
        ("calibrated", ctypes.c_int32),
    ]


class Image(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("stride", ctypes.c_ssize_t),
        ("format", ctypes.c_int),
        ("orientation", ctypes.c_int32),
    ]


ON_PIECE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t
)


class CaptionParams(ctypes.Structure):
    _fields_ = [
        ("language", ctypes.c_char_p),
        ("style", ctypes.c_char_p),
        *((name, ctypes.c_int32) for name in ("boxes", "rule", "most_tokens", "beams", "sample")),
        ("temperature", ctypes.c_double),
        ("top_k", ctypes.c_int32),
        ("top_p", ctypes.c_double),
        ("seed", ctypes.c_uint32),
        ("on_piece", ON_PIECE),
        ("user", ctypes.c_void_p),
        ("prompt", ctypes.c_char_p),
        ("index", ctypes.c_uint32),
        ("min_confidence", ctypes.c_double),
    ]


class Box(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in ("x0", "y0", "x1", "y1", "score", "confidence")]


class Phrase(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("begin", "end", "first_box", "box_count")]


class Token(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int32), ("score", ctypes.c_float)]


class Caption(ctypes.Structure):
    _fields_ = [
        ("text", ctypes.c_void_p),
        ("text_capacity", ctypes.c_size_t),
        ("text_length", ctypes.c_size_t),
        ("raw", ctypes.c_void_p),
        ("raw_capacity", ctypes.c_size_t),
        ("raw_length", ctypes.c_size_t),
        ("phrases", ctypes.POINTER(Phrase)),
        ("phrase_capacity", ctypes.c_size_t),
        ("phrase_count", ctypes.c_size_t),
        ("boxes", ctypes.POINTER(Box)),
        ("box_capacity", ctypes.c_size_t),
        ("box_count", ctypes.c_size_t),
        ("tokens", ctypes.POINTER(Token)),
        ("token_capacity", ctypes.c_size_t),
        ("token_count", ctypes.c_size_t),
        ("attention", ctypes.c_void_p),
        ("attention_capacity", ctypes.c_size_t),
        ("score", ctypes.c_double),
        ("complete", ctypes.c_int32),
        ("malformed", ctypes.c_int32),
        ("encode_seconds", ctypes.c_double),
        ("decode_seconds", ctypes.c_double),
        ("confidence", ctypes.c_double),
        ("declined", ctypes.c_int32),
    ]


class Refused(Exception):
    """An error that the library returned."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"[{error.code.decode()}] {error.message.decode(errors='replace')}")
        self.status, self.code = error.status, error.code.decode()


@dataclass(frozen=True)
class Said:
    """A caption as the library gave it."""

    text: str
    raw: str
    tokens: tuple[int, ...]
    scores: tuple[float, ...]
    mentions: tuple[tuple[str, tuple[tuple[float, ...], ...]], ...]  # phrase, boxes
    attention: np.ndarray  # f32 [K,P]
    score: float
    complete: bool
    malformed: int
    pieces: tuple[str, ...]
    confidence: float
    sure: tuple[tuple[float, ...], ...]  # confidences of the boxes of each phrase
    declined: bool


class Library:
    """edgecap as a shared library."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "libedgecap.so"
        compile_c("-O2", "-fPIC", "-shared", *core(), "-o", str(self.path), "-lm", "-ldl")
        self.c = ctypes.CDLL(str(self.path))
        self.c.edgecap_open_default_params.restype = OpenParams
        self.c.edgecap_caption_default_params.restype = CaptionParams
        self.c.edgecap_get_info.restype = Info
        self.c.edgecap_get_info.argtypes = [ctypes.c_void_p]
        self.c.edgecap_open.restype = ctypes.c_void_p
        self.c.edgecap_open.argtypes = [
            ctypes.c_char_p,
            ctypes.POINTER(OpenParams),
            ctypes.POINTER(Error),
        ]
        self.c.edgecap_open_bytes.restype = ctypes.c_void_p
        self.c.edgecap_open_bytes.argtypes = [
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.POINTER(OpenParams),
            ctypes.POINTER(Error),
        ]
        self.c.edgecap_close.argtypes = [ctypes.c_void_p]
        self.c.edgecap_describe.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(Image),
            ctypes.POINTER(CaptionParams),
            ctypes.POINTER(Caption),
            ctypes.POINTER(Error),
        ]
        self.c.edgecap_embed_image.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(Image),
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.POINTER(Error),
        ]
        self.c.edgecap_embed_tokens.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.POINTER(Error),
        ]
        self.c.edgecap_embed_text.argtypes = [
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.POINTER(Error),
        ]

    def open(self, bundle: Path | bytes, **changes: Any) -> Captioner:
        """`changes`: fields of OpenParams. Raises Refused."""
        name = bundle if isinstance(bundle, bytes) else str(bundle).encode()
        return self._open(self.c.edgecap_open, [name], changes)

    def open_bytes(self, address: int | None, size: int, **changes: Any) -> Captioner:
        """As `open`, for a packed bundle in memory, which must stay."""
        return self._open(self.c.edgecap_open_bytes, [address, size], changes)

    def _open(self, function: Any, source: list[Any], changes: dict[str, Any]) -> Captioner:
        params = self.c.edgecap_open_default_params()
        for name, value in changes.items():
            setattr(params, name, str(value).encode() if name in ("engine", "library") else value)
        error = Error()
        handle = function(*source, params, error)
        if not handle:
            raise Refused(error)
        assert error.status == 0
        return Captioner(self, handle)


class Captioner:
    def __init__(self, library: Library, handle: int) -> None:
        self._library, self.handle = library, handle
        self.info = library.c.edgecap_get_info(handle)

    def close(self) -> None:
        self._library.c.edgecap_close(self.handle)
        self.handle = 0

    def image(self, pixels: np.ndarray, format_: str = "rgb", orientation: int = 1) -> Image:
        """Borrows [h,w,channels] of uint8: keep it."""
        h, w = pixels.shape[:2]
        return Image(pixels.ctypes.data, w, h, pixels.strides[0], FORMATS[format_], orientation)

    def describe(
        self,
        pixels: np.ndarray,
        format_: str = "rgb",
        orientation: int = 1,
        on_piece: Callable[[str], int] | None = None,
        **changes: Any,
    ) -> Said:
        """`changes`: fields of CaptionParams. Raises Refused."""
        params = self._library.c.edgecap_caption_default_params()
        for name, value in changes.items():
            setattr(params, name, value.encode() if isinstance(value, str) else value)
        pieces: list[bytes] = []

        def take(_: int, piece: Any, length: int) -> int:
            pieces.append(piece[:length])
            return on_piece(pieces[-1].decode()) if on_piece else 0

        if on_piece is not None:
            params.on_piece = ON_PIECE(take)
        caption, keep = self.buffers()
        error = Error()
        status = self._library.c.edgecap_describe(
            self.handle, self.image(pixels, format_, orientation), params, caption, error
        )
        if status != 0:
            raise Refused(error)
        return self._read(caption, keep, [piece.decode() for piece in pieces])

    def buffers(self, attention: bool = True) -> tuple[Caption, dict[str, Any]]:
        """Enough for any caption."""
        info = self.info
        keep = {
            "text": ctypes.create_string_buffer(info.most_text_bytes),
            "raw": ctypes.create_string_buffer(info.most_text_bytes),
            "phrases": (Phrase * info.most_boxes)(),
            "boxes": (Box * info.most_boxes)(),
            "tokens": (Token * info.most_tokens)(),
            "attention": np.zeros((info.most_tokens, info.patches), np.float32),
        }
        caption = Caption(
            text=ctypes.addressof(keep["text"]),
            raw=ctypes.addressof(keep["raw"]),
            phrases=keep["phrases"],
            boxes=keep["boxes"],
            tokens=keep["tokens"],
            attention=keep["attention"].ctypes.data if info.patches and attention else None,
            text_capacity=info.most_text_bytes,
            raw_capacity=info.most_text_bytes,
            phrase_capacity=info.most_boxes,
            box_capacity=info.most_boxes,
            token_capacity=info.most_tokens,
            attention_capacity=keep["attention"].size,
        )
        return caption, keep

    def _read(self, caption: Caption, keep: dict[str, Any], pieces: Sequence[str]) -> Said:
        text = keep["text"].raw[: caption.text_length]
        tokens = keep["tokens"][: caption.token_count]
        mentions, sure = [], []
        for phrase in keep["phrases"][: caption.phrase_count]:
            boxes = keep["boxes"][phrase.first_box : phrase.first_box + phrase.box_count]
            shown = tuple((b.x0, b.y0, b.x1, b.y1) for b in boxes)
            sure.append(tuple(b.confidence for b in boxes))
            mentions.append((text[phrase.begin : phrase.end].decode(), shown))
        return Said(
            text.decode(),
            keep["raw"].raw[: caption.raw_length].decode(),
            tuple(token.id for token in tokens),
            tuple(token.score for token in tokens),
            tuple(mentions),
            keep["attention"][: caption.token_count],
            caption.score,
            bool(caption.complete),
            caption.malformed,
            tuple(pieces),
            caption.confidence,
            tuple(sure),
            bool(caption.declined),
        )

    def embed_image(self, pixels: np.ndarray) -> np.ndarray:
        out = np.zeros(self.info.embedding, np.float32)
        error = Error()
        if self._library.c.edgecap_embed_image(
            self.handle, self.image(pixels), out.ctypes.data, out.size, error
        ):
            raise Refused(error)
        return out

    def embed_tokens(self, tokens: Sequence[int]) -> np.ndarray:
        given, error = np.array(tokens, np.int32), Error()
        out = np.zeros(self.info.embedding, np.float32)
        if self._library.c.edgecap_embed_tokens(
            self.handle, given.ctypes.data, given.size, out.ctypes.data, out.size, error
        ):
            raise Refused(error)
        return out

    def embed_text(self, text: bytes) -> np.ndarray:
        out = np.zeros(self.info.embedding, np.float32)
        error = Error()
        if self._library.c.edgecap_embed_text(self.handle, text, out.ctypes.data, out.size, error):
            raise Refused(error)
        return out


def engine_library(format_: str) -> Path:
    """The shared library that the Python package of an engine carries."""
    from importlib.util import find_spec

    package, pattern = {
        "tflite": ("ai_edge_litert", "libLiteRt.so"),
        "onnx": ("onnxruntime", "capi/libonnxruntime.so*"),
    }[format_]
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    (found,) = Path(spec.submodule_search_locations[0]).glob(pattern)
    return found
