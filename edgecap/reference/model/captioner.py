"""The reference captioner: one pre-LN transformer for images and text.

Letters used on every line that makes a tensor:

    B batch   P patches (196)   G patches a side (14)   T text tokens   C rows of the KV cache
    L layers  D width           H heads                 K = Dh head width
    V vocabulary                E embedding width

An image is P patch tokens that attend only to each other, so its keys, values and embedding do not
depend on any text: computed once, they serve every caption and every search. A text token attends
to the whole image and to the text before it (prefix-LM: GIT, arXiv 2205.14100). Boxes are location
tokens of the vocabulary (Pix2Seq, arXiv 2109.10852); there is no box head. The token table is also
the output head (tied weights).

Deviations from a textbook transformer: no biases in the linears (simpler int8), position as a row
plus a column embedding, and a decode step that takes the cache as an input and returns only its
new rows. That halves the step time: four megabytes need not be copied to add two kilobytes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.reference.config import CaptionerConfig


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm, each added to the residual stream."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        D = config.width
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(D)
        self.qkv = nn.Linear(D, 3 * D, bias=False)
        self.attention_out = nn.Linear(D, D, bias=False)
        self.mlp_norm = nn.LayerNorm(D)
        self.mlp_in = nn.Linear(D, config.mlp_ratio * D, bias=False)
        self.mlp_out = nn.Linear(config.mlp_ratio * D, D, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of `x` [B,T,D], each [B,H,T,K]."""
        B, T, D = x.shape
        qkv = self.qkv(self.attention_norm(x))  # [B,T,3D]
        q, k, v = qkv.view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        return q, k, v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attention output [B,H,T,K], then the MLP, to the residual `x` [B,T,D]."""
        merged = attended.transpose(1, 2).flatten(2)  # [B,T,D]
        x = x + self.attention_out(merged)  # [B,T,D]
        hidden = F.gelu(self.mlp_in(self.mlp_norm(x)), approximate="tanh")  # [B,T,4D]
        return x + self.mlp_out(hidden)  # [B,T,D]


def initialise(module: nn.Module, sums: int) -> None:
    """Initialise weights in place; `sums` sublayers add to the residual stream."""
    for name, parameter in module.named_parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.02)
        if name.endswith(("attention_out.weight", "mlp_out.weight")):
            # Keeps the residual stream's variance independent of depth (GPT-2).
            nn.init.normal_(parameter, std=0.02 / math.sqrt(sums))


def text_mask(tokens: Tensor, segments: Tensor | None = None) -> Tensor:
    """Causal attention mask of `tokens` [B,T], bool [T,T].

    With `segments` int [B,T], also restricted to tokens of the same text: bool [B,1,T,T].
    """
    T = tokens.shape[1]
    mask = torch.ones(T, T, dtype=torch.bool, device=tokens.device).tril()  # [T,T]
    if segments is None:
        return mask
    return (mask & (segments[:, :, None] == segments[:, None])).unsqueeze(1)  # [B,1,T,T]


class CaptionModel(nn.Module):
    """Parameters, the three contract functions, and the teacher-forced forward of training."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        D, G = config.width, config.grid
        self.patch = nn.Linear(3 * config.patch_size**2, D, bias=False)
        self.row = nn.Parameter(torch.zeros(G, D))
        self.column = nn.Parameter(torch.zeros(G, D))
        self.token = nn.Embedding(config.vocabulary, D)
        self.text_position = nn.Embedding(config.text_length, D)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(D)
        # Query of the attention pooling in `embed_image`; zeros give the mean.
        self.pool = nn.Parameter(torch.zeros(D))
        self.image_embedding = nn.Linear(D, config.embedding, bias=False)
        self.text_embedding = nn.Linear(D, config.embedding, bias=False)
        # Of the sigmoid contrastive loss (SigLIP, arXiv 2303.15343); not part of any export.
        self.contrast_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.contrast_bias = nn.Parameter(torch.tensor(-10.0))
        initialise(self, 2 * config.layers)

    # ------------------------------------------------------------------ the contract

    def encode_image(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode an image: cache rows and embedding.

        Args:
            image: uint8 [B,224,224,3], RGB; scaling happens inside.

        Returns:
            k, v float [L,B,H,P,K] for the cache, and the embedding float [B,E] of norm 1.
        """
        keys, values, states = self.forward_image(image)
        return torch.stack(keys), torch.stack(values), self.embed_image(states[-1])

    def decode(
        self, token: Tensor, position: Tensor, k: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One decode step.

        Args:
            token: int [B,1], the previous token.
            position: int [B], number of text tokens already in the cache.
            k, v: float [L,B,H,C,K]; rows 0 … P-1 are the image, then the text; rows from
                P + position on are ignored.

        Returns:
            logits [B,V]; k_new, v_new [L,B,H,1,K], for row P + position of the caller's cache;
            attention [B,P], attention of this step to each patch, mean over layers and heads.
        """
        logits, k_new, v_new, attention = self.decode_attention(token, position, k, v)
        return logits, k_new, v_new, attention.mean((1, 2))  # [B,P]

    def decode_attention(
        self, token: Tensor, position: Tensor, k: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`decode` with the attention [B,L,H,P] of every layer and head."""
        P, C = self.config.patches, self.config.context
        x = self.token(token) + self.text_position(position).unsqueeze(1)  # [B,1,D]
        rows = torch.arange(C, device=token.device)  # [C]
        unused = rows[None] >= (P + position)[:, None]  # [B,C]
        bias = unused.to(x.dtype)[:, None, None] * -1e4  # [B,1,1,C], exp gives 0 in fp16 too
        scale = 1 / math.sqrt(self.config.head_width)
        new_keys, new_values, attentions = [], [], []
        for layer, block in enumerate(self.blocks):
            q, k_new, v_new = block.project(x)  # each [B,H,1,K]
            past = q @ k[layer].transpose(-1, -2) * scale + bias  # [B,H,1,C]
            self_score = (q * k_new).sum(-1, keepdim=True) * scale  # [B,H,1,1]
            weights = torch.cat([past, self_score], -1).softmax(-1)  # [B,H,1,C+1]
            attended = weights[..., :C] @ v[layer] + weights[..., C:] * v_new  # [B,H,1,K]
            x = block.finish(x, attended)  # [B,1,D]
            new_keys.append(k_new)
            new_values.append(v_new)
            attentions.append(weights)
        logits = self.logits(x[:, 0])  # [B,V]
        # Slice after concatenating: one slice per layer costs more than the concatenation.
        attention = torch.cat(attentions, 2)[..., :P].transpose(1, 2)  # [B,L,H,P]
        return logits, torch.stack(new_keys), torch.stack(new_values), attention

    def encode_text(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Embed texts.

        Args:
            tokens: int [B,T], `<text>` words `<eos>`, padded with anything.
            length: int [B], number of valid tokens, in 1 … T.

        Returns:
            float [B,E] of norm 1.
        """
        x = self.forward_text(tokens)  # [B,T,D]
        place = torch.arange(tokens.shape[1], device=tokens.device)  # [T]
        last = (place[None] == (length - 1)[:, None]).to(x.dtype)  # [B,T], one-hot
        x = (x * last[..., None]).sum(1)  # [B,D]
        return F.normalize(self.text_embedding(self.final_norm(x)), dim=-1)  # [B,E]

    # ------------------------------------------------------------------ building blocks

    def forward_image(
        self, image: Tensor, corner: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Patch tokens through all layers.

        Args:
            image: uint8 [B,S,S,3]; S = 224, or less for a window of the image.
            corner: int [B,2], row and column of the window's upper left patch in the G x G grid
                (training curriculum only).

        Returns:
            keys and values, L of [B,H,p,K] with p = (S/16)^2, and the hidden state after each
            layer, L of [B,p,D].
        """
        x = self.embed_patches(image, corner)  # [B,g*g,D]
        keys, values, states = [], [], []
        for block in self.blocks:
            q, k, v = block.project(x)  # each [B,H,g*g,K]
            x = block.finish(x, F.scaled_dot_product_attention(q, k, v))  # [B,g*g,D]
            keys.append(k)
            values.append(v)
            states.append(x)
        return keys, values, states

    def embed_patches(self, image: Tensor, corner: Tensor | None = None) -> Tensor:
        """Patches of an image as in `forward_image`, with their positions, [B,g*g,D]."""
        B, S, p = image.shape[0], image.shape[1], self.config.patch_size
        g = S // p
        # Exact in float16 and bfloat16, and on an int8 grid over the whole range.
        pixels = (image.to(self.patch.weight.dtype) - 128) / 128  # [B,S,S,3]
        # Four axes: CoreML supports five at most.
        strips = pixels.view(B * g, p, g, 3 * p).transpose(1, 2)  # [B*g,g,p,3p]
        patches = strips.reshape(B, g * g, 3 * p * p)
        return self.patch(patches) + self.position_embedding(g, corner)  # [B,g*g,D]

    def position_embedding(self, g: int, corner: Tensor | None) -> Tensor:
        """Position embeddings of g x g patches, [g*g,D].

        With `corner` as in `forward_image`, [B,g*g,D].
        """
        if corner is None:
            return (self.row[:g, None] + self.column[None, :g]).flatten(0, 1)  # [g*g,D]
        span = torch.arange(g, device=corner.device)  # [g]
        row = F.embedding(corner[:, :1] + span, self.row)  # [B,g,D]
        column = F.embedding(corner[:, 1:] + span, self.column)  # [B,g,D]
        return (row[:, :, None] + column[:, None]).flatten(1, 2)  # [B,g*g,D]

    def embed_image(self, x: Tensor) -> Tensor:
        """Hidden patches [B,P,D] to embeddings [B,E] of norm 1.

        Attention pooling with one learned query. In a plain mean, a small object on a large
        background would contribute about a hundredth.
        """
        x = self.final_norm(x)  # [B,P,D]
        share = (x * self.pool).sum(-1, keepdim=True).softmax(1)  # [B,P,1]
        return F.normalize(self.image_embedding((x * share).sum(1)), dim=-1)  # [B,E]

    def forward_text(
        self,
        tokens: Tensor,
        keys: list[Tensor] | None = None,
        values: list[Tensor] | None = None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Text tokens through all layers in one pass, with or without an image.

        Args:
            tokens: int [B,T].
            keys, values: L of [B,H,P,K], of the image.
            segments: int [B,T], for rows that pack several texts: which text each token belongs to;
                texts of one row do not attend to each other.
            positions: int [B,T], the position of each token in its own text.

        Returns the hidden state [B,T,D]. With an image this is the teacher-forced equivalent of T
        calls of `decode`.
        """
        x = self.embed_words(tokens, positions)  # [B,T,D]
        mask = text_mask(tokens, segments)  # [T,T] or [B,1,T,T]
        if keys is not None:
            mask = F.pad(mask, (keys[0].shape[2], 0), value=True)  # [...,T,P+T]
        for layer, block in enumerate(self.blocks):
            q, k, v = block.project(x)  # each [B,H,T,K]
            if keys is not None and values is not None:
                k = torch.cat([keys[layer], k], 2)  # [B,H,P+T,K]
                v = torch.cat([values[layer], v], 2)
            x = block.finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        return x

    def embed_words(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Tokens int [B,T] at `positions` int [B,T], by default 0 … T-1, to [B,T,D]."""
        if positions is None:
            return self.token(tokens) + self.text_position.weight[: tokens.shape[1]]  # [B,T,D]
        return self.token(tokens) + self.text_position(positions)  # [B,T,D]

    def logits(self, x: Tensor) -> Tensor:
        """Hidden text [...,D] to logits of the next token [...,V]."""
        return F.linear(self.final_norm(x), self.token.weight)
