"""Time and memory of encoding crops together or one at a time, at SmolVLM's size.

    python -m edgecap.benchmarks.crops --crops 4 [--together]

A SigLIP encoder with random weights (12 layers of width 768, crops of 512 px in patches of 16) in
PyTorch, one thread; the memory is what a call adds to the weights.

Letters: n crops, P patches, D width.
"""

from __future__ import annotations

import argparse
import sys
import time

from edgecap.benchmarks.machine import cpu_model, peak_rss_mb
from edgecap.core.command import check_numbers, run_command


def main() -> None:
    """Print one line: CPU seconds, and MB beside the weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--crops", type=int, default=4, help="how many")
    parser.add_argument("--together", action="store_true", help="in one call")
    asked = parser.parse_args()
    check_numbers(asked, "crops", crops=1)
    import torch
    from transformers import SmolVLMVisionConfig
    from transformers.models.smolvlm.modeling_smolvlm import SmolVLMEncoder

    torch.set_num_threads(1)
    config = SmolVLMVisionConfig(
        **{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12},
        **{"num_attention_heads": 12, "image_size": 512, "patch_size": 16},
    )
    encoder = SmolVLMEncoder(config).eval()
    patches = torch.randn(asked.crops, 1024, 768)  # [n,P,D]
    before, begun = peak_rss_mb(), time.process_time()
    with torch.no_grad():
        for part in patches.split(asked.crops if asked.together else 1):
            encoder(inputs_embeds=part)
    how = "together" if asked.together else "one at a time"
    seconds, added = time.process_time() - begun, peak_rss_mb() - before
    print(f"{asked.crops} crops {how}: {seconds:.1f} CPU s, {added:.0f} MB; {cpu_model()}")


if __name__ == "__main__":
    sys.exit(run_command("crops", main))
