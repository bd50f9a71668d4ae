"""A small BLIP of transformers, trained here on drawn scenes: a real captioner of a foreign family.

    python -m edgecap.benchmarks.reference.small_captioner -o DIR [--minutes 30]
    python -m edgecap.benchmarks.reference.small_captioner --images IMAGES [--n 160]
    edgecap export DIR --format all --int8 --calib-data IMAGES

Random weights say how large the errors of int8 are and not what they cost; this model has captions
to lose. Scenes are 48 px, one to four shapes on any background; the caption counts their colours
from left to right ("a red object and two blue objects."): naming the shapes too takes a model of
this size hours, and colours half an hour. The result is a checkpoint as
`save_pretrained` writes it, so that `edgecap export DIR` takes it as it takes any other.

Letters: B batch, n tokens of a caption, V vocabulary.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.core.atomic import atomic_dir
from edgecap.core.command import check_numbers, run_command
from edgecap.core.errors import InputError
from edgecap.reference.scenes.describe import mentions
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import COLORS, Mention, Name, Scene, Statement
from edgecap.reference.scenes.render import render
from edgecap.reference.scenes.sample import SceneRules, sample_drawing

SIDE, PATCH = 48, 8  # px
RULES = SceneRules(size=SIDE, things=(1, 4), px=(12, 24), copies=(2, 3), repeat=0.25, nouns=())
STREAMS = {"train": 101, "held-out": 102, "calibration": 103}  # seeds that no other split has
PAD, UNKNOWN, BEGIN, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
CALIBRATION = 160  # images: to calibrate on, and some to compare on
BATCH = 32
RATE, WARM_UP, DECAY = 1e-3, 0.03, 0.05  # AdamW; warm-up as a share of the time


def scene(stream: str, index: int) -> tuple[np.ndarray, Scene]:
    """Scene `index` of a stream: uint8 [48,48,3], and what it shows."""
    drawing = sample_drawing(np.random.default_rng((STREAMS[stream], index)), RULES)
    return render(drawing), drawing.scene


def caption(shown: Scene) -> str:
    """The true caption: every colour with its number, from left to right, in lower case."""
    listed = tuple(Mention(mention.name, mention.count) for mention in mentions(shown, "color"))
    return for_language("en").render(Statement(listed)).lower()


def vocabulary() -> list[str]:
    """Every word of every caption, after the special tokens."""
    grammar = for_language("en")
    phrases = [
        grammar.noun_phrase(Name("", color), count)
        for color in COLORS
        for count in range(1, RULES.things[1] + 1)
    ]
    words = sorted({word for phrase in phrases for word in phrase.split()})
    return [PAD, UNKNOWN, BEGIN, END, "[MASK]", *words, "and", ",", "."]


def tokenizer() -> Any:
    """A WordPiece tokenizer in which every word is one token."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {word: i for i, word in enumerate(vocabulary())}
    made = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing((END, ids[END]), (BEGIN, ids[BEGIN]))
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        **{"pad_token": PAD, "unk_token": UNKNOWN, "cls_token": BEGIN, "sep_token": END},
        **{"bos_token": BEGIN, "eos_token": END, "mask_token": "[MASK]"},
    )


def model() -> Any:
    """5 M parameters: a ViT of 4 layers, 192 wide, and a text decoder of 3, 256 wide."""
    import transformers

    special = {"pad_token_id": 0, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    config = transformers.BlipConfig(
        text_config={
            **{"vocab_size": len(vocabulary()), "hidden_size": 256, "encoder_hidden_size": 192},
            **{"intermediate_size": 1024, "num_hidden_layers": 3, "num_attention_heads": 4},
            **{"max_position_embeddings": 32, "initializer_range": 0.04},
            **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **special},
        },
        vision_config={
            **{"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4},
            **{"num_attention_heads": 3, "image_size": SIDE, "patch_size": PATCH},
            **{"initializer_range": 0.04},  # transformers' own, 1e-10, is for loading weights
        },
        projection_dim=64,
    )
    return transformers.BlipForConditionalGeneration(config)


def batches(processor: Any, words: Any) -> Iterator[tuple[Any, Any]]:
    """Endless: what the model sees float [B,3,48,48], and tokens int [B,n], padded with 0."""
    import torch

    index = 0
    while True:
        drawn = [scene("train", i) for i in range(index, index + BATCH)]
        index += BATCH
        tokens = words([caption(shown) for _, shown in drawn], padding=True, return_tensors="pt")
        pixels = processor([image for image, _ in drawn], return_tensors="pt")
        yield pixels["pixel_values"].to(torch.float32), tokens["input_ids"]


def loss(captioner: Any, pixels: Any, tokens: Any) -> Any:
    """Mean cross-entropy of every next token."""
    import torch

    features = captioner.vision_model(pixel_values=pixels).last_hidden_state  # [B,P,D]
    logits = captioner.text_decoder(
        input_ids=tokens[:, :-1],
        attention_mask=(tokens[:, :-1] != 0).long(),
        encoder_hidden_states=features,
        return_dict=True,
    ).logits  # [B,n-1,V]
    labels = tokens[:, 1:].masked_fill(tokens[:, 1:] == 0, -100)  # [B,n-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def train(minutes: float, seed: int = 0) -> Any:
    """A trained model; the rate follows a cosine over the time, so a slow machine sees less."""
    import torch
    import transformers

    torch.manual_seed(seed)
    captioner = model().train()
    processor = transformers.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    optimizer = torch.optim.AdamW(
        captioner.parameters(), RATE, betas=(0.9, 0.98), weight_decay=DECAY
    )
    begun, recent = time.monotonic(), 0.0
    for step, (pixels, tokens) in enumerate(batches(processor, tokenizer()), 1):
        share = (time.monotonic() - begun) / (60 * minutes)
        if share >= 1:
            break
        rate = RATE * min(share / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * share)) + 1e-6
        for group in optimizer.param_groups:
            group["lr"] = rate
        found = loss(captioner, pixels, tokens)
        optimizer.zero_grad()
        found.backward()
        torch.nn.utils.clip_grad_norm_(captioner.parameters(), 1.0)
        optimizer.step()
        recent = found.item() if step == 1 else 0.98 * recent + 0.02 * found.item()
        if step % 50 == 0:
            print(f"{share:6.1%}  {step * BATCH} scenes  loss {recent:.3f}", flush=True)
    return captioner.eval()


def save(captioner: Any, out: Path) -> None:
    """Write the checkpoint with its tokenizer, image processor and a card."""
    import transformers

    captioner.save_pretrained(out)
    tokenizer().save_pretrained(out)
    transformers.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(out)
    (out / "README.md").write_text("---\nlicense: apache-2.0\n---\nA small BLIP of drawn scenes.\n")


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m edgecap.benchmarks.reference.small_captioner",
        description="Train a small BLIP on drawn scenes.",
    )
    parser.add_argument("-o", "--output", type=Path, help="directory of the trained checkpoint")
    parser.add_argument("--images", type=Path, help="directory of images to draw")
    parser.add_argument("--n", type=int, default=CALIBRATION, help="how many images")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to train")
    parser.add_argument("--overwrite", action="store_true", help="replace such a directory")
    options = parser.parse_args(arguments)
    return run_command("small_captioner", lambda: _run(options))


def write_images(out: Path, n: int = CALIBRATION, overwrite: bool = False) -> None:
    """Write the first `n` scenes of calibration as PNG files."""
    from PIL import Image

    with atomic_dir(out, overwrite, marker="000.png") as folder:
        for i in range(n):
            Image.fromarray(scene("calibration", i)[0]).save(folder / f"{i:03d}.png")


def _run(options: argparse.Namespace) -> None:
    check_numbers(options, "small_captioner", n=1)
    if options.images is not None:
        write_images(options.images, options.n, options.overwrite)
        print(f"wrote {options.images}: {options.n} images to calibrate and to learn on")
    if options.output is None:
        if options.images is None:
            raise InputError("train.output", "give -o DIR to train, or --images DIR to draw.")
        return
    if not options.minutes > 0:
        raise InputError("train.minutes", f"minutes must be above 0, got {options.minutes}.")
    with atomic_dir(options.output, options.overwrite, marker="config.json") as out:
        save(train(options.minutes), out)
    print(f"wrote {options.output}; next: edgecap export {options.output} --format onnx --int8")


if __name__ == "__main__":
    sys.exit(main())
