"""Which captions of a plan are exact, on scenes of another split than those that figures report.

fp32 captions every scene in every language once. A plan is fed those captions in one call per batch
(teacher forcing): where it would have chosen every token itself, its caption is the same and so is
the verdict. Only the others are decoded, which saves most of the work.

Letters: N scenes, J languages, B of one batch, T tokens, P patches, H heads, K head width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.quant.calibration_set import padded
from edgecap.reference.extension import SHIPPED, Extension
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.scenes.exact import is_exact
from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.parse import Parsed, parse
from edgecap.reference.tokens import LANGUAGES
from edgecap.runtime.decode import Generated, generate
from edgecap.runtime.state import State

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel

BATCH = 64  # k and v of an image of S are 3.2 MB
STYLE = "grounded"
KeysValues = tuple[list[Tensor], list[Tensor]]  # keys and values of images, one [B,H,P,K] a layer


@dataclass(frozen=True)
class Batch:
    """Scenes that are looked at together."""

    rows: range  # of all N
    model_inputs: Tensor  # uint8 [B,S,S,3]


class TaskEvaluator:
    """fp32's captions of N scenes in J languages, and what plans make of the same."""

    measure = "exact scenes"

    def __init__(
        self,
        network: CaptionModel,
        scenes: Sequence[tuple[np.ndarray, Scene]],
        languages: Sequence[str] = LANGUAGES,
        extension: Extension = SHIPPED,
    ) -> None:
        """Caption `scenes` (model_input uint8 [S,S,3] and truth) with `network`.

        `extension` is what the network knows beyond the shipped languages.

        Raises InputError where it names none of them exactly: nothing could be lost.
        """
        self._extension, self.languages = extension, tuple(languages)
        self._scenes = [scene for _, scene in scenes]
        model_inputs = torch.from_numpy(np.stack([pixels for pixels, _ in scenes]))
        self._batches = [
            Batch(
                rows := range(i, min(i + BATCH, len(scenes))), model_inputs[rows.start : rows.stop]
            )
            for i in range(0, len(scenes), BATCH)
        ]
        self._captions: dict[tuple[int, str], list[int]] = {}  # with <eos>, where it came
        self.scores = self.score(network, "fp32 captions")  # bool [N,J]
        if not self.scores.any():
            raise InputError(
                "max_drop.nothing",
                f"PyTorch names none of the {len(scenes)} calibration scenes exactly, so no loss "
                "can be seen.",
                "Leave out --max-drop.",
            )

    def score(self, network: CaptionModel, label: str) -> np.ndarray:
        """Which captions of a simulated plan are exact, bool [N,J]."""
        exact = np.zeros((len(self._scenes), len(self.languages)), bool)  # [N,J]
        captioner = reference_captioner(
            TorchSession(network, torch.get_num_threads()), self._extension
        )
        vocabulary = captioner.vocabulary
        for batch in progress(self._batches, label):
            with torch.inference_mode():
                keys, values, _ = network.forward_image(batch.model_inputs)
            for j, lang in enumerate(self.languages):
                prompt = vocabulary.prompt(lang, STYLE)
                rules = vocabulary.rules(lang, STYLE)
                anew = self._differing(network, (keys, values), batch, lang, prompt)
                for row in set(batch.rows) - set(anew):
                    exact[row, j] = self.scores[row, j]
                if not anew:
                    continue
                encoded = _encoded((keys, values), [row - batch.rows.start for row in anew])
                generated = generate(State(captioner.graphs, encoded), rules)
                for row, one in zip(anew, generated, strict=True):
                    raw = captioner.tokenizer.decode(one.tokens)
                    exact[row, j] = is_exact(self._scenes[row], _parsed(raw, lang))
                    self._captions.setdefault((row, lang), _with_end(one, vocabulary.eos))
        return exact

    def _differing(
        self, network: CaptionModel, encoded: KeysValues, batch: Batch, lang: str, prompt: list[int]
    ) -> list[int]:
        """Scenes of a batch whose caption must be decoded: some token would not be the same.

        A token that was chosen under the rule of boxes and is the best without it is the best under
        it, so the rule need not be applied here.
        """
        if (batch.rows.start, lang) not in self._captions:
            return list(batch.rows)
        fed = [[*prompt, *self._captions[row, lang]] for row in batch.rows]
        tokens, lengths = padded(fed, network.config.text_length)  # [B,T]
        with torch.inference_mode():
            chosen = network.logits(network.forward_text(tokens, *encoded)).argmax(-1)  # [B,T]
        begin = len(prompt)
        return [
            row
            for b, row in enumerate(batch.rows)
            if not chosen[b, begin - 1 : lengths[b] - 1].equal(tokens[b, begin : lengths[b]])
        ]


def _encoded(encoded: KeysValues, rows: list[int]) -> dict[str, np.ndarray]:
    """Some images of a batch, as decoding takes them; their embedding is not needed."""
    k, v = (torch.stack([layer[rows] for layer in side]).numpy() for side in encoded)  # [L,b,H,P,K]
    return {"k": k, "v": v}


def _with_end(generated: Generated, eos: int) -> list[int]:
    return [*generated.tokens, *([eos] if generated.complete else [])]


@lru_cache(4096)
def _parsed(raw: str, lang: str) -> Parsed:
    """Plans repeat most of each other's captions."""
    return parse(raw, lang)
