"""Opens exports with Optimum's ORT classes, in an interpreter that has it; prints JSON.

Arguments: the directories of an encoder-decoder and of CLIP, and their inputs (.npz).
"""

import json
import sys

import numpy as np
import torch
from optimum.onnxruntime import ORTModelForVision2Seq, ORTModelForZeroShotImageClassification

captioner, clip, inputs = sys.argv[1:]
given = {name: torch.from_numpy(value) for name, value in np.load(inputs).items()}
model = ORTModelForVision2Seq.from_pretrained(captioner, use_cache=False, use_merged=False)
ids = model.generate(given["photo"], max_new_tokens=12, do_sample=False, num_beams=1)
both = ORTModelForZeroShotImageClassification.from_pretrained(clip)
answer = both(
    input_ids=given["ids"],
    pixel_values=given["pixels"],
    attention_mask=torch.ones_like(given["ids"]),
)
json.dump({"ids": ids.tolist(), "logits": answer.logits_per_image.tolist()}, sys.stdout)
