"""The metrics of captions equal those of pycocoevalcap, which COCO's tables are made with."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sentences import CANDIDATES, IMAGES

from edgecap.apps.caption_metrics import score_captions, tokenize
from edgecap.reference.scenes.dataset import caption_rows
from edgecap.reference.scenes.shipped import load_set

PYTHON = os.environ["EDGECAP_SCORES_PYTHON"]
RECORDED = Path(__file__).parents[1] / "support" / "coco_scores.json"


def coco(candidates: list[str], references: list[list[str]], texts: list[str]) -> dict[str, Any]:
    def joined(text: str) -> str:
        return " ".join(tokenize(text))

    given = {
        "candidates": [joined(text) for text in candidates],
        "references": [[joined(text) for text in each] for each in references],
        "texts": texts,
    }
    script = Path(__file__).with_name("coco.py")
    done = subprocess.run(
        [PYTHON, str(script)], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def check(candidates: list[str], references: list[list[str]], texts: list[str]) -> dict[str, Any]:
    """The scores of pycocoevalcap, after ours were found to equal them."""
    theirs = coco(candidates, references, texts)
    ours = score_captions(candidates, references)
    for name in ("cider_d", "bleu_4", "rouge_l"):
        # Theirs adds 1e-15 where no n-gram is right, of which BLEU takes the fourth root.
        allowed = 1e-3 if name == "bleu_4" and ours.bleu_4 == 0 else 1e-6
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=allowed), name
    return theirs


def test_sentences() -> None:
    """Scores, and how the sentences are split into words."""
    texts = [text for each in IMAGES for text in each] + CANDIDATES
    theirs = check(CANDIDATES, IMAGES, texts)
    assert theirs["tokens"] is not None, "Java is missing, which the reference splits words with"
    for text, tokens in zip(texts, theirs["tokens"], strict=True):
        assert tokenize(text) == tokens, text
    assert json.loads(RECORDED.read_text()) == theirs  # what `make test` compares with


def test_random_captions() -> None:
    """Of few words, so that n-grams repeat; empty, short and long ones, one to five references."""
    rng = random.Random(3)

    def caption(least: int) -> str:
        return " ".join(rng.choices("abcdefg", k=rng.randint(least, 14)))

    for _ in range(8):
        n = rng.randint(2, 60)
        references = [[caption(1) for _ in range(rng.randint(1, 5))] for _ in range(n)]
        check([caption(1) for _ in range(n)], references, ["a"])


def test_captions_of_scenes() -> None:
    texts = [
        row["text"]
        for i, (_, scene) in enumerate(load_set("gate", 64))
        for row in caption_rows("", scene, "test", i, languages=("en",))
    ]
    theirs = check(texts[1:] + texts[:1], [[text] for text in texts], texts)
    assert [tokenize(text) for text in texts] == theirs["tokens"]
