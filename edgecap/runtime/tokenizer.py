"""Byte-fallback BPE in plain Python, from a Hugging Face `tokenizer.json`.

A small module instead of a compiled dependency: the runtime must install on boards without a
`tokenizers` wheel, and C and JavaScript implement the same rules. Read from the file: vocabulary,
merges and special tokens. Fixed, and checked against the file: normalise by NFC, then replace space
by `▁`; split by the pattern PIECE; merge within each piece; a character without a token becomes its
UTF-8 bytes. The ids equal those of the `tokenizers` library.

A text is encoded with one leading space, so that its first word is encoded like any other, and
`decode` removes one leading space. Callers pass and get plain text.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from edgecap.core.errors import BundleError
from edgecap.core.typed import parse

SPACE = "▁"
# A word with the space before it, or one mark of punctuation.
PIECE = "▁?[^▁.,;:!?、。，；：！？「」()'’\"]+|▁|[.,;:!?、。，；：！？「」()'’\"]"
_PIECES = re.compile(PIECE)
_CACHED_PIECE, _CACHED_PIECES = 32, 1 << 14


class Tokenizer:
    """Text to ids and back. Thread-safe."""

    def __init__(self, data: bytes, where: str = "tokenizer.json") -> None:
        """Read the bytes of a tokenizer.json; BundleError (tokenizer.*) if it is unsupported."""
        spec = _typed(parse(data, where), dict)
        model = _typed(spec.get("model"), dict)
        if model.get("type") != "BPE" or model.get("byte_fallback") is not True:
            raise _unsupported(f"{where} is not a BPE with byte fallback")
        extras = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
        if any(model.get(name) for name in extras):
            raise _unsupported(f"{where} uses one of {', '.join(extras)}")
        self.ids = {
            _typed(t, str): _typed(i, int) for t, i in _typed(model.get("vocab"), dict).items()
        }
        added = _typed(spec.get("added_tokens") or [], list)
        special = [_typed(item, dict) for item in added]
        self.special = {_typed(t.get("content"), str): _typed(t.get("id"), int) for t in special}
        self.ids.update(self.special)
        self.tokens = {i: token for token, i in self.ids.items()}
        if sorted(self.tokens) != list(range(len(self.tokens))):
            raise _unsupported(f"the ids of {where} are not 0 … {len(self.tokens) - 1}")
        self._bytes = [self.ids.get(f"<0x{byte:02X}>", -1) for byte in range(256)]
        if min(self._bytes) < 0:
            raise _unsupported(f"{where} lacks some of the 256 byte tokens")
        self._byte_of = {token: byte for byte, token in enumerate(self._bytes)}
        self._merges = self._read_merges(_typed(model.get("merges"), list))
        _check_normalizer(spec.get("normalizer"), where)
        _check_splitter(spec.get("pre_tokenizer"), where)
        self._special_pattern = _any_of(self.special)
        self._cache: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        """V, special tokens included."""
        return len(self.tokens)

    def id_of(self, token: str) -> int:
        """The id of one token; BundleError if it is not in the vocabulary."""
        if token not in self.ids:
            raise BundleError("tokenizer.token", f"the tokenizer has no token {token!r}.")
        return self.ids[token]

    def encode(self, text: str, allow_special: bool | Collection[str] = False) -> list[int]:
        """Ids of a text, without begin and end tokens.

        With `allow_special`, names of special tokens in the text (all, or those given) become
        special tokens; other names are encoded as plain text, so that user input cannot control the
        model.
        """
        # A lone surrogate cannot be encoded in UTF-8, so it is replaced.
        text = " " + text.encode("utf-8", "replace").decode("utf-8")
        if not allow_special:
            return self._encode_plain(text)
        ids: list[int] = []
        end = 0
        names = self._special_pattern if allow_special is True else _any_of(allow_special)
        for match in names.finditer(text):
            ids += self._encode_plain(text[end : match.start()])
            ids.append(self.special[match.group()])
            end = match.end()
        return ids + self._encode_plain(text[end:])

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """The text of ids; every byte of invalid UTF-8 becomes U+FFFD."""
        text = ""
        pending: list[int] = []
        for i in ids:
            if i in self._byte_of:
                pending.append(self._byte_of[i])
                continue
            text += _utf8(pending)
            pending.clear()
            if i in self.tokens and not (skip_special and self.tokens[i] in self.special):
                text += self.tokens[i].replace(SPACE, " ")
        text += _utf8(pending)
        return text[1:] if text.startswith(" ") else text

    def is_byte(self, token: int) -> bool:
        """Whether this id is a byte token, so that its character may continue in the next id."""
        return token in self._byte_of

    def _read_merges(self, merges: list[Any]) -> dict[tuple[int, int], tuple[int, int]]:
        """(left id, right id) -> (rank, id of the joined token)."""
        ranked = {}
        for rank, merge in enumerate(merges):
            # The library writes pairs since 0.20, and "left right" before.
            parts = merge.split(" ") if isinstance(merge, str) else merge
            if len(_typed(parts, list)) != 2:
                raise _unsupported(f"the merge {rank} does not join two tokens")
            left, right = (_typed(part, str) for part in parts)
            ranked[self.id_of(left), self.id_of(right)] = (rank, self.id_of(left + right))
        return ranked

    def pieces(self, text: str) -> Iterator[str]:
        """The normalised text split into words with their "▁" and punctuation marks."""
        normal = unicodedata.normalize("NFC", text).replace(" ", SPACE)
        end = 0
        for match in _PIECES.finditer(normal):
            yield from filter(None, (normal[end : match.start()], match.group()))
            end = match.end()
        if end < len(normal):
            yield normal[end:]

    def _encode_plain(self, text: str) -> list[int]:
        return [i for piece in self.pieces(text) for i in self.encode_piece(piece)]

    def encode_piece(self, piece: str) -> tuple[int, ...]:
        """Ids of one of `pieces`."""
        cached = self._cache.get(piece)
        if cached is None:
            cached = tuple(self._merge(piece))
            if len(piece) <= _CACHED_PIECE and len(self._cache) < _CACHED_PIECES:
                self._cache[piece] = cached
        return cached

    def _merge(self, piece: str) -> list[int]:
        """Merge the lowest rank first, leftmost among equals, until nothing merges."""
        symbols: list[int] = []
        for character in piece:
            known = self.ids.get(character)
            symbols += [known] if known is not None else self._spell(character)
        following = [*range(1, len(symbols)), -1]
        previous = list(range(-1, len(symbols) - 1))
        queue: list[tuple[int, int, int]] = []  # rank, position, joined id

        def offer(left: int) -> None:
            if left >= 0 and following[left] >= 0:
                pair = self._merges.get((symbols[left], symbols[following[left]]))
                if pair is not None:
                    heapq.heappush(queue, (pair[0], left, pair[1]))

        for position in range(len(symbols) - 1):
            offer(position)
        while queue:
            _, left, joined = heapq.heappop(queue)
            right = following[left]
            if symbols[left] < 0 or right < 0:
                continue
            pair = self._merges.get((symbols[left], symbols[right]))
            if pair is None or pair[1] != joined:
                continue  # one of the two has been merged with another symbol
            symbols[left], symbols[right] = joined, -1
            following[left] = following[right]
            if following[right] >= 0:
                previous[following[right]] = left
            offer(previous[left])
            offer(left)
        return [symbol for symbol in symbols if symbol >= 0]

    def _spell(self, character: str) -> list[int]:
        return [self._bytes[byte] for byte in character.encode("utf-8")]


def _any_of(names: Collection[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _utf8(data: list[int]) -> str:
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        return "\ufffd" * len(data)


def _check_normalizer(spec: Any, where: str) -> None:
    steps = spec.get("normalizers") if isinstance(spec, dict) else None
    expected = [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    ]
    if steps != expected:
        raise _unsupported(f"{where} does not normalise by NFC and space to {SPACE} alone")


def _check_splitter(spec: Any, where: str) -> None:
    """Only the known pattern is accepted: patterns of untrusted files are never run (ReDoS)."""
    expected = {"type": "Split", "pattern": {"Regex": PIECE}, "behavior": "Isolated"}
    if spec != expected | {"invert": False}:
        raise _unsupported(f"{where} does not split words by the pattern that edgecap knows")


def _typed(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _unsupported(f"a field should be {kind.__name__} and is {type(value).__name__}")
    return value


def _unsupported(message: str) -> BundleError:
    return BundleError("tokenizer.unsupported", f"{message}.")
