"""A transform: some photos lose their colours."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from mast3r_train.transforms import ImgNorm


class RandomGray:
    """Usable wherever an expression says ``ImgNorm``: ``SlidingWall(n=4, transform=RandomGray(p=0.5))``.

    Args:
        p: share of the photos that become gray.
    """

    def __init__(self, p: float = 0.2) -> None:
        self.p = p

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB image as float32 (3, height, width) in [-1, 1]; draws from torch's global generator."""
        if float(torch.rand(1)) < self.p:
            image = image.convert("L").convert("RGB")
        return ImgNorm(image)

    def __repr__(self) -> str:
        return f"RandomGray(p={self.p})"
