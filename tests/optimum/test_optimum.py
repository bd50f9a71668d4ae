"""Optimum's ORT classes, of another transformers, open the exports and say what PyTorch says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_checkpoints import make_whole

from edgecap.exporters.optimum import export

PYTHON = os.environ["EDGECAP_OPTIMUM_PYTHON"]


@pytest.mark.parametrize("variant", ["gpt2", "trocr"])
def test_captions_and_scores_are_those_of_pytorch(variant: str, tmp_path: Path) -> None:
    captioner = make_whole("vision-encoder-decoder", variant, tmp_path / "captioner")
    clip = make_whole("clip", "tiny", tmp_path / "clip")
    export(str(captioner), tmp_path / "captioner-onnx")
    export(str(clip), tmp_path / "clip-onnx")
    rng = np.random.default_rng(1)
    inputs = {
        "photo": rng.standard_normal((3, 3, 32, 32), np.float32),  # another batch than at export
        "pixels": rng.standard_normal((4, 3, 32, 32), np.float32),
        "ids": rng.integers(5, 60, (3, 9)),
    }
    inputs["ids"][:, -1] = 60
    np.savez(tmp_path / "inputs.npz", **inputs)
    script = Path(__file__).with_name("open_them.py")
    paths = [str(tmp_path / name) for name in ("captioner-onnx", "clip-onnx", "inputs.npz")]
    done = subprocess.run([PYTHON, str(script), *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    model = transformers.VisionEncoderDecoderModel.from_pretrained(captioner).eval()
    photo = torch.from_numpy(inputs["photo"])
    ids = model.generate(photo, max_new_tokens=12, do_sample=False, num_beams=1)
    assert found["ids"] == ids.tolist()
    both = transformers.CLIPModel.from_pretrained(clip).eval()
    with torch.no_grad():
        answer = both(torch.from_numpy(inputs["ids"]), torch.from_numpy(inputs["pixels"]))
    np.testing.assert_allclose(found["logits"], answer.logits_per_image.numpy(), atol=1e-4)
