"""The architecture of a captioner, and its named sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from edgecap.core.errors import InputError


@dataclass(frozen=True)
class CaptionerConfig:
    """Everything that determines the shapes of the parameters."""

    width: int = 256  # D, of the residual stream
    layers: int = 8  # L
    heads: int = 4  # H; D = H * Dh
    mlp_ratio: int = 4
    vocabulary: int = 4096  # V
    embedding: int = 256  # E, of the shared image-text space
    image_size: int = 224  # px, square
    patch_size: int = 16  # px, square
    text_length: int = 96  # T, prompt and caption together

    def __post_init__(self) -> None:
        if self.width % self.heads or self.image_size % self.patch_size:
            raise InputError(
                "config.shape",
                f"width {self.width} must be a multiple of heads {self.heads}, and image_size "
                f"{self.image_size} of patch_size {self.patch_size}.",
            )

    @property
    def grid(self) -> int:
        """G: patches along one side."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """P = G * G."""
        return self.grid**2

    @property
    def head_width(self) -> int:
        """Dh."""
        return self.width // self.heads

    @property
    def context(self) -> int:
        """Tmax: rows of the KV cache, image first."""
        return self.patches + self.text_length

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


SIZES: dict[str, CaptionerConfig] = {
    "S": CaptionerConfig(),
    "M": CaptionerConfig(width=384, heads=6, embedding=384),
}
