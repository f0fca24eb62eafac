"""What the encoder makes of images: computed once per image, however many pairs the image is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mast3r_model.heads import LocalMaps


@dataclass(frozen=True)
class EncodedImage:
    """One encoded image, in its natural orientation.

    Attributes:
        tokens: encoder output after its last norm.
        positions: (row, column) of each token.
        local: feature maps (channels, height, width) of the heads' local module, None if they have none.
        image_shape: (height, width) of the image in network pixels.
    """

    tokens: Float[Tensor, "tokens channels"]
    positions: Int[Tensor, "tokens 2"]
    local: LocalMaps | None
    image_shape: tuple[int, int]

    def to(self, device: torch.device | str) -> EncodedImage:
        """The same features on another device, for instance to keep those of many images in main memory."""
        local = None if self.local is None else tuple(feature_map.to(device) for feature_map in self.local)
        return EncodedImage(self.tokens.to(device), self.positions.to(device), local, self.image_shape)


@dataclass(frozen=True)
class EncodedBatch:
    """Encoded images of one tensor size.

    A portrait image stored in a landscape tensor (spec 10 section 2, ManyAR) has the tokens and positions of
    the upright image, but its local maps lie as the tensor does.

    Attributes:
        tokens: encoder output after its last norm.
        positions: (row, column) of each token.
        local: feature maps (batch, channels, height, width) of the heads' local module, lying as the tensor
            does; None without one.
        image_shape: (height, width) of the tensor.
        true_shape: (height, width) of each image as it was shot, int64 on the CPU.
    """

    tokens: Float[Tensor, "batch tokens channels"]
    positions: Int[Tensor, "batch tokens 2"]
    local: LocalMaps | None
    image_shape: tuple[int, int]
    true_shape: Int[Tensor, "batch 2"]

    @classmethod
    def stack(cls, images: Sequence[EncodedImage], device: torch.device | str) -> EncodedBatch:
        """Images of one size as a batch on `device`."""
        moved = [image.to(device) for image in images]
        local = None
        if moved[0].local is not None:
            local = tuple(
                torch.stack(maps) for maps in zip(*(image.local or () for image in moved), strict=True)
            )
        shape = moved[0].image_shape
        return cls(
            tokens=torch.stack([image.tokens for image in moved]),
            positions=torch.stack([image.positions for image in moved]),
            local=local,
            image_shape=shape,
            true_shape=torch.tensor(shape).expand(len(moved), 2),
        )

    @classmethod
    def interleave(cls, even: EncodedBatch, odd: EncodedBatch) -> EncodedBatch:
        """Rows even0, odd0, even1, odd1, ... of two batches of one tensor size."""

        def mix(first: Tensor, second: Tensor) -> Tensor:
            return torch.stack([first, second], dim=1).flatten(0, 1)

        local = None
        if even.local is not None and odd.local is not None:
            local = tuple(map(mix, even.local, odd.local))
        return cls(
            tokens=mix(even.tokens, odd.tokens),
            positions=mix(even.positions, odd.positions),
            local=local,
            image_shape=even.image_shape,
            true_shape=mix(even.true_shape, odd.true_shape),
        )

    def rows(self, rows: slice | Int[Tensor, " selected"]) -> EncodedBatch:
        """Some rows of the batch."""
        return EncodedBatch(
            tokens=_take(self.tokens, rows),
            positions=_take(self.positions, rows),
            local=None if self.local is None else tuple(_take(maps, rows) for maps in self.local),
            image_shape=self.image_shape,
            true_shape=_take(self.true_shape, rows),
        )

    def uniform_shape(self) -> tuple[int, int] | None:
        """The (height, width) that all images of the batch have, None if they differ."""
        height, width = self.true_shape[0].tolist()
        return (height, width) if bool((self.true_shape == self.true_shape[0]).all()) else None

    def upright_local(self) -> LocalMaps | None:
        """The local maps in the natural orientation of the images, which must all have one size."""
        if self.local is None or self.uniform_shape() == self.image_shape:
            return self.local
        return tuple(maps.transpose(2, 3) for maps in self.local)

    def images(self) -> list[EncodedImage]:
        """The images of a batch of one size, one by one."""
        shape = self.uniform_shape()
        if shape is None:
            raise ValueError("the images of this batch differ in size: take rows of one size first")
        local = self.upright_local()
        return [
            EncodedImage(
                tokens=self.tokens[row],
                positions=self.positions[row],
                local=None if local is None else tuple(maps[row] for maps in local),
                image_shape=shape,
            )
            for row in range(len(self.tokens))
        ]


def _take(values: Tensor, rows: slice | Tensor) -> Tensor:
    return values[rows] if isinstance(rows, slice) else values[rows.to(values.device)]
