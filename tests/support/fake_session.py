"""A session that says what it was told to: tests of host code need no model.

Letters as in bundle/interface.py.
The upper left pixel's red value, v, chooses the script: scripts[v].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from method_session import ImageCode, MethodSession, Step

PROMPT = 2  # tokens before the script


class FakeSession(MethodSession):
    """Plays one token list per image; every array has the shape the contract asks for.

    The cache is used honestly: the script's number is written into the image rows, every token into
    its text row, and `decode` fails where the host lost or mixed up rows.
    """

    def __init__(
        self,
        scripts: Sequence[Sequence[int]],
        vocabulary: int,
        patches: int = 4,
        embedding: int = 3,
        batch: int | None = None,
        width: int = 1,
    ) -> None:
        self.scripts, self.vocabulary = scripts, vocabulary
        self.patches, self.embedding = patches, embedding
        self.batch, self.width = batch, width
        self.steps: list[int] = []  # B of every decode call

    def encode_image(self, image: np.ndarray) -> ImageCode:
        red = image[:, 0, 0, 0].astype(np.float32)  # [B]
        rows = (1, len(red), 1, self.patches, self.width)
        k = np.broadcast_to(red[None, :, None, None, None], rows)
        embedding = np.eye(self.embedding, dtype=np.float32)[image[:, 0, 0, 0] % self.embedding]
        return ImageCode(k.copy(), k.copy(), embedding)  # [1,B,1,P,Dh] twice, [B,E]

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        B = len(token)
        self.steps.append(B)
        assert self.batch is None or self.batch == B
        logits = np.zeros((B, self.vocabulary), np.float32)  # [B,V]
        for b in range(B):
            script = self.scripts[int(k[0, b, 0, 0, 0])]
            seen = k[0, b, 0, self.patches :, 0]  # [T]
            said = [*map(int, seen[: position[b]]), int(token[b, 0])][PROMPT:]
            assert said == list(script[: len(said)]), "the host mixed up the rows of its cache"
            assert not seen[position[b] :].any(), "rows from the future"
            logits[b, script[len(said)]] = 5.0
        new = token.astype(np.float32)[None, :, None, :, None]  # [1,B,1,1,1]
        new = np.repeat(new, self.width, -1)  # [1,B,1,1,Dh]
        attention = np.full((B, self.patches), 1 / self.patches, np.float32)  # [B,P]
        return Step(logits, new, new, attention)

    def decode_attention(
        self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> Step:
        step = self.decode(token, position, k, v)
        return step._replace(attention=step.attention[:, None, None])  # [B,1,1,P]

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        return np.eye(self.embedding, dtype=np.float32)[length % self.embedding]  # [B,E]
