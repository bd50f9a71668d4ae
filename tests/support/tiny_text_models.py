"""Random text models of a few thousand weights, and one step at a time without a cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers import BartConfig, BartForConditionalGeneration, GPT2Config, GPT2LMHeadModel

V = 37


@cache
def gpt2(seed: int) -> Any:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=V, n_positions=64, n_embd=16, n_layer=2, n_head=2, initializer_range=0.6
    )
    config.bos_token_id = config.eos_token_id = None
    return GPT2LMHeadModel(config).eval()


@cache
def bart(seed: int) -> Any:
    torch.manual_seed(seed)
    config = BartConfig(
        vocab_size=V,
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        init_std=0.6,
    )
    model = BartForConditionalGeneration(config).eval()
    model.generation_config.forced_eos_token_id = None
    return model


class Stepper:
    """A model without a cache behind the interface of beams.search."""

    def __init__(self, model: Any, begin: Sequence[int], **inputs: torch.Tensor) -> None:
        self.model, self.inputs, self.rows = model, inputs, [list(begin)]

    def logits(self) -> np.ndarray:
        """f32 [k,V] after the last id of every row."""
        ids = torch.tensor(self.rows)
        with torch.no_grad():
            if self.inputs:
                repeated = {k: v.repeat(len(ids), 1) for k, v in self.inputs.items()}
                out = self.model(**repeated, decoder_input_ids=ids, use_cache=False)
            else:
                out = self.model(input_ids=ids, use_cache=False)
        return out.logits[:, -1].numpy()

    def step(self, tokens: Sequence[int], parents: Sequence[int]) -> np.ndarray:
        self.rows = [[*self.rows[p], t] for t, p in zip(tokens, parents, strict=True)]
        return self.logits()
