"""Ids to text, at once or incrementally. Needs no NumPy, and runs no pattern of a file."""

from __future__ import annotations

from collections.abc import Iterable

from edgecap.bundle.text_spec import MAX_BYTES, TextSpec, text_spec_from_json
from edgecap.core.errors import BundleError
from edgecap.core.typed import parse
from edgecap.runtime.text.cleanup import CleanUp
from edgecap.runtime.text.families import token_decoder


class TextCodec:
    """Decodes ids of one bundle to text. Thread-safe."""

    def __init__(self, spec: TextSpec) -> None:
        self.spec = spec
        self._special = frozenset(spec.special)
        self._ids = {token: i for i, token in enumerate(spec.tokens) if token is not None}

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "tokenizer.json") -> TextCodec:
        """From the bytes of a bundle's tokenizer.json; BundleError (tokenizer.* or bundle.*)."""
        return cls(text_spec_from_json(parse(data, where, MAX_BYTES), where))

    def __len__(self) -> int:
        """V, special tokens and ids without a token included."""
        return len(self.spec.tokens)

    def token(self, id_: int) -> str | None:
        """A token as written in the vocabulary; None for an id without a token."""
        return self.spec.tokens[id_] if 0 <= id_ < len(self.spec.tokens) else None

    def id_of(self, token: str) -> int:
        """The id of one token; BundleError (tokenizer.token) if it is not in the vocabulary."""
        if token not in self._ids:
            raise BundleError("tokenizer.token", f"the tokenizer has no token {token!r}.")
        return self._ids[token]

    def is_special(self, id_: int) -> bool:
        """Whether `skip_special` skips this id."""
        return id_ in self._special

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """The text of ids. Ids without a token are skipped, as in the tokenizers library."""
        stream = self.stream(skip_special)
        return "".join([*map(stream.push, ids), stream.finish()])

    def inside(self, ids: Iterable[int]) -> str:
        """The text of ids that follow others: with the space that separates a word from them.

        Special tokens included, before any clean-up. A part of a character gives U+FFFD.
        """
        decoder = token_decoder(self.spec)
        decoder.push("x")  # now no token is the first of its text
        tokens = (self.token(id_) for id_ in ids)
        return "".join([*(decoder.push(t) for t in tokens if t is not None), decoder.finish()])

    def stream(self, skip_special: bool = True) -> TextStream:
        """A new stream, to which ids are pushed one by one."""
        return TextStream(self, skip_special)


class TextStream:
    """Incremental decoding: the joined results of `push` and `finish` equal `decode`."""

    def __init__(self, codec: TextCodec, skip_special: bool) -> None:
        self._codec, self._skip_special = codec, skip_special
        self._decoder = token_decoder(codec.spec)
        self._clean_up = CleanUp() if codec.spec.clean_up else None

    def push(self, id_: int) -> str:
        """The text completed by this id; empty if more ids are needed."""
        token = self._codec.token(id_)
        if token is None or (self._skip_special and self._codec.is_special(id_)):
            return ""
        text = self._decoder.push(token)
        return text if self._clean_up is None else self._clean_up.push(text)

    def finish(self) -> str:
        """The remaining text; the stream cannot be used afterwards."""
        text = self._decoder.finish()
        return (
            text if self._clean_up is None else self._clean_up.push(text) + self._clean_up.finish()
        )
