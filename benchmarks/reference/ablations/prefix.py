"""A prefix-LM against an encoder and decoder: parameters, operations, time, and what is learnt.

B batch   S model_input side   T text tokens

A floating-point operation is an addition or a multiplication; those of linear layers and attention
are counted, as PyTorch runs them, for one image and a caption of `WORDS` tokens.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgecap.benchmarks.reference.ablations.encoder_decoder import EncoderDecoder
from edgecap.benchmarks.reference.ablations.experiment import Ablation, Arm, Row
from edgecap.benchmarks.reference.ablations.towers import parameters
from edgecap.reference.config import SIZES, CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.runtime.state import State

WORDS = 40  # T of the caption that is counted and timed
ROUNDS = 7
SIZE = "S"


def equal_depth(config: CaptionerConfig) -> EncoderDecoder:
    """An encoder and a decoder, each as deep as the prefix-LM."""
    return EncoderDecoder(config, config.layers, config.layers)


def equal_parameters(config: CaptionerConfig) -> EncoderDecoder:
    """As many numbers in blocks as the prefix-LM has; needs more than four layers.

    A block has 12 D², one with cross-attention 16 D²: e and d layers with 12 e + 16 d = 12 L, d the
    multiple of three that comes nearest to three eighths of L.
    """
    d = 3 * max(1, round(config.layers / 8))
    return EncoderDecoder(config, config.layers - 4 * d // 3, d)


BUILDS: dict[str, Callable[[CaptionerConfig], CaptionModel]] = {
    "prefix-LM": CaptionModel,
    "encoder-decoder, equal depth": equal_depth,
    "encoder-decoder, equal parameters": equal_parameters,
}


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of linear layers and attention."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        work()
    return counter.get_total_flops()


def counts(build: Callable[[CaptionerConfig], CaptionModel], config: CaptionerConfig) -> Row:
    """Parameters, and operations per image, per decode step and per caption of `WORDS`."""
    with torch.device("meta"):
        model = build(config).eval()
        image = torch.zeros(1, config.image_size, config.image_size, 3, dtype=torch.uint8)
        token, position = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        k, _, _ = model.encode_image(image)  # [L,1,H,P,K]
        cache = k.new_zeros(*k.shape[:3], config.context, k.shape[4])  # [L,1,H,C,K]
        encoding = operations(partial(model.encode_image, image))
        step = operations(partial(model.decode, token, position, cache, cache))
    return {
        "parameters": parameters(model),
        "GFLOP image": round(encoding / 1e9, 2),
        "GFLOP step": round(step / 1e9, 4),
        "GFLOP caption": round((encoding + WORDS * step) / 1e9, 2),
    }


def uncached(config: CaptionerConfig) -> int:
    """Operations of a prefix-LM's caption that keeps no keys and values: all for every word."""
    with torch.device("meta"):
        model = CaptionModel(config).eval()
        image = torch.zeros(1, config.image_size, config.image_size, 3, dtype=torch.uint8)
        keys, values, _ = model.forward_image(image)
        texts = [
            torch.zeros(1, length, dtype=torch.int64) for length in range(1, WORDS + 1)
        ]  # [1,t]

        def read() -> None:
            for text in texts:
                model.logits(model.forward_text(text, keys, values)[:, -1])

        return WORDS * operations(partial(model.forward_image, image)) + operations(read)


def times(config: CaptionerConfig, rounds: int = ROUNDS) -> dict[str, Row]:
    """Milliseconds in PyTorch on one thread, all in turns; medians, after a round of warming up.

    The ratio to the prefix-LM is taken round by round.
    """
    image = np.zeros((1, config.image_size, config.image_size, 3), np.uint8)  # [1,S,S,3]
    models = {name: reference_captioner(TorchSession(b(config))) for name, b in BUILDS.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for lap in range(rounds + 1):
        for name, model in models.items():
            begun = time.perf_counter()
            encoded = model.graphs.encode(image)
            encoded_at = time.perf_counter()
            state = State(model.graphs, encoded)
            for _ in range(WORDS):
                state.feed([0])
            ended = time.perf_counter()
            if lap:
                taken[name].append((encoded_at - begun, ended - begun))
    rows = {}
    for name, laps in taken.items():
        against = zip(laps, taken["prefix-LM"], strict=True)
        rows[name] = {
            "ms image": round(1000 * statistics.median(encoded_at for encoded_at, _ in laps), 1),
            "ms caption": round(1000 * statistics.median(whole for _, whole in laps), 1),
            "× prefix-LM": round(statistics.median(a[1] / b[1] for a, b in against), 2),
        }
    return rows


def facts() -> list[Row]:
    """Counts and times of size S."""
    config = SIZES[SIZE]
    timed = times(config)
    rows = [{"name": n, **counts(build, config), **timed[n]} for n, build in BUILDS.items()]
    blank = {key: "–" for key in rows[0]}
    plain = {
        **blank,
        "name": "prefix-LM without a cache",
        "parameters": rows[0]["parameters"],
        "GFLOP caption": round(uncached(config) / 1e9, 2),
    }
    return [*rows, plain]


ABLATION = Ablation(
    name="prefix",
    claim="A prefix-LM is cheaper than an encoder and decoder.",
    rule="Equal images, in the same order, and losses. Equal depth: each stack as deep as the "
    "prefix-LM. Equal parameters: 12 e + 16 d = 12 L layers.",
    images=8_000,
    arms=tuple(Arm(name, build=build) for name, build in BUILDS.items()),
    keys=("loss", "name", "grounding_50", "exact"),
    contrasts=(
        ("prefix-LM", "encoder-decoder, equal depth"),
        ("prefix-LM", "encoder-decoder, equal parameters"),
    ),
    facts=facts,
    facts_about=f"Size {SIZE}, one image and {WORDS} tokens, random weights; PyTorch, one thread, "
    f"{ROUNDS} rounds in turns.",
    drawn=("parameters", "GFLOP caption", "ms caption"),
)
