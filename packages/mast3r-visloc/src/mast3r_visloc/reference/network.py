"""Asking the network about pairs of images, as upstream's scripts do (spec 50 A5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mast3r_model import InputError

from .matching import DescribedImage, PointedImage


class _PatchEmbed(Protocol):
    @property
    def img_size(self) -> tuple[int, int]: ...


class PairNetwork(Protocol):
    """A network by upstream's dict contract, such as `load_model` returns."""

    @property
    def patch_embed(self) -> _PatchEmbed:
        """Says the size of the network's inputs."""
        ...

    def __call__(
        self, view1: Mapping[str, Any], view2: Mapping[str, Any], /
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Predict a batch of pairs."""
        ...


def long_side(model: PairNetwork) -> int:
    """Longest side of the network's inputs, in pixels."""
    return max(model.patch_embed.img_size)


class PairPredictor:
    """Asks a network on its own device.

    Args:
        model: the network.
    """

    def __init__(self, model: PairNetwork) -> None:
        self._model = model
        parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
        self._device = torch.device("cpu") if parameter is None else parameter.device

    @torch.no_grad()
    def _predict(
        self, queries: Float[Tensor, "b 3 h w"], map_images: Float[Tensor, "b 3 h2 w2"]
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        return self._model(self._view(queries, "query"), self._view(map_images, "map"))

    def _view(self, images: Float[Tensor, "b 3 h w"], role: str) -> dict[str, Any]:
        count, _, height, width = images.shape
        return {
            "img": images.to(self._device),
            "true_shape": torch.tensor([[height, width]], dtype=torch.int32).expand(count, 2),
            # Names that never repeat between the sides: no batch may look symmetrised.
            "instance": [f"{role}{number}" for number in range(count)],
        }

    def describe(
        self, queries: Float[Tensor, "b 3 h w"], map_images: Float[Tensor, "b 3 h2 w2"]
    ) -> list[tuple[DescribedImage, DescribedImage]]:
        """Descriptors of both images of each pair, in one call.

        Raises:
            InputError: the network has none.
        """
        found1, found2 = self._predict(queries, map_images)
        _check(found1, "desc", "desc_conf", hint="use matcher 'points3d' for a DUSt3R network")
        sides = (map(DescribedImage, found["desc"], found["desc_conf"]) for found in (found1, found2))
        return list(zip(*sides, strict=True))

    def point(
        self, query: Float[Tensor, "3 h w"], map_image: Float[Tensor, "3 h2 w2"]
    ) -> tuple[PointedImage, PointedImage]:
        """Points of both images of a pair in the query's frame.

        Raises:
            InputError: the network does not say how confident it is.
        """
        found1, found2 = self._predict(query[None], map_image[None])
        _check(found1, "conf", hint="use a network with a conf_mode")
        return (
            PointedImage(found1["pts3d"][0], found1["conf"][0]),
            PointedImage(found2["pts3d_in_other_view"][0], found2["conf"][0]),
        )


def _check(found: Mapping[str, Tensor], *needed: str, hint: str) -> None:
    missing = [key for key in needed if key not in found]
    if missing:
        raise InputError(
            f"this matcher needs {' and '.join(missing)} of the network, which gives {', '.join(found)}", hint
        )
