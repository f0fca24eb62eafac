"""Depths eliminated: the Schur complement of the fine stage over cameras (spec 30 section 13.3).

Every anchor couples its owner with the cameras that observe it. For each owner the couplings of its anchors
are the rows of a matrix, with one group of columns per camera that sees any of them; the products of these
matrices with themselves, several images at a time, are what elimination subtracts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .block_system import BlockPattern

#: Numbers in the matrices that are in memory at one time.
_PANEL_SIZE = 1 << 21


@dataclass(frozen=True)
class Panel:
    """Matrices of a run of images, padded to one size.

    Attributes:
        anchors: first of their anchors, and one past the last.
        entries: likewise for the couplings of anchors with observers.
        shape: images, rows per image, cameras per image.
        own_place: (anchors,) row and camera, flattened, of an anchor with its owner.
        entry_place: (entries,) of an entry.
        cell: (images * rows) anchor of a row, counted from the first, or their number where there is none.
        camera: (images, cameras) in ascending order; padded with the number of all cameras.
        source: pairs of cameras of an image, flattened, that both exist, the lower one first ...
        target: and the blocks of the whole matrix that they belong to.
    """

    anchors: tuple[int, int]
    entries: tuple[int, int]
    shape: tuple[int, int, int]
    own_place: Int[Tensor, " a"]
    entry_place: Int[Tensor, " e"]
    cell: Int[Tensor, " rows"]
    camera: Int[Tensor, "images cameras"]
    source: Int[Tensor, " s"]
    target: Int[Tensor, " s"]


@dataclass(frozen=True)
class SchurLayout:
    """Blocks of the reduced matrix, and panels from which it is made.

    Attributes:
        pattern: of the blocks; its pairs are the directed ones.
        panels: that cover all images.
    """

    pattern: BlockPattern
    panels: tuple[Panel, ...]

    @classmethod
    def build(
        cls,
        pair_owner: Int[Tensor, " D"],
        pair_observer: Int[Tensor, " D"],
        entry_anchor: Int[Tensor, " E"],
        entry_observer: Int[Tensor, " E"],
        anchor_image: Int[Tensor, " A"],
        num_cameras: int,
    ) -> SchurLayout:
        """Lay out a problem's pairs (sorted by owner and observer) and entries (by anchor and observer)."""
        groups = _CameraGroups.build(pair_owner, pair_observer, num_cameras)
        keys = []
        spans = _spans(groups.count, torch.bincount(anchor_image, minlength=num_cameras))
        for first, last in spans:
            camera = groups.padded(first, last)
            low, high = camera[:, :, None].expand(-1, -1, camera.shape[1]), camera[:, None]
            both = (low <= high) & (high < num_cameras)
            keys.append(torch.unique(BlockPattern.key(low, high, num_cameras)[both]))
        pattern = BlockPattern.build(pair_owner, pair_observer, num_cameras, torch.cat(keys))
        panels = tuple(
            _panel(first, last, groups, entry_anchor, entry_observer, anchor_image, pattern)
            for first, last in spans
        )
        return cls(pattern, panels)

    @staticmethod
    def products(pair_owner: Int[Tensor, " D"], anchor_image: Int[Tensor, " A"], size: int) -> float:
        """Multiplications that forming the matrix takes."""
        count = int(anchor_image.max()) + 1
        width = size * (1.0 + torch.bincount(pair_owner, minlength=count).double())
        return float((torch.bincount(anchor_image, minlength=count) * width.square()).sum())

    def eliminate(
        self,
        blocks: Float[Tensor, "B b b"],
        right: Float[Tensor, "N b"],
        own: Float[Tensor, "A b"],
        coupling: Float[Tensor, "E c"],
        observer: Float[Tensor, "c b"],
        inverse_depth: Float[Tensor, " A"],
        depth_gradient: Float[Tensor, " A"],
    ) -> None:
        """Subtract from the matrix and from the gradient (in place) what the depths account for.

        Args:
            blocks: of the matrix.
            right: gradient of the cameras.
            own: coupling of anchors with their owners.
            coupling: of entries.
            observer: turns that into a coupling with the observer's parameters.
            inverse_depth: inverse of the depths' diagonal.
            depth_gradient: gradient of the depths.
        """
        size = own.shape[1]
        extended = torch.cat((right, right.new_zeros(1, size)))
        for panel in self.panels:
            images, rows, cameras = panel.shape
            matrix = own.new_zeros(images * rows * cameras, size)
            matrix[panel.own_place] = own[slice(*panel.anchors)]
            matrix[panel.entry_place] = coupling[slice(*panel.entries)] @ observer
            matrix = matrix.reshape(images, rows, cameras * size)
            root = _padded(inverse_depth[slice(*panel.anchors)].sqrt(), panel)
            pull = _padded(depth_gradient[slice(*panel.anchors)], panel)
            matrix *= root[..., None]
            product = matrix.transpose(1, 2) @ matrix
            product = product.reshape(images, cameras, size, cameras, size).transpose(2, 3)
            blocks.index_add_(0, panel.target, product.reshape(-1, size, size)[panel.source], alpha=-1)
            pulled = (matrix.transpose(1, 2) @ (root * pull)[..., None]).reshape(-1, size)
            extended.index_add_(0, panel.camera.reshape(-1), pulled, alpha=-1)
        right.copy_(extended[:-1])


def _padded(values: Float[Tensor, " a"], panel: Panel) -> Float[Tensor, "images rows"]:
    """Values of anchors by image and row; 0 where there is no anchor."""
    return torch.cat((values, values.new_zeros(1)))[panel.cell].reshape(panel.shape[:2])


@dataclass(frozen=True)
class _CameraGroups:
    """Cameras that see anchors of each owner, itself included, ascending.

    Attributes:
        owner: (G,) ascending.
        camera: (G,) ascending for each owner.
        start: (N + 1,) first of an owner.
        count: (N,).
    """

    owner: Int[Tensor, " G"]
    camera: Int[Tensor, " G"]
    start: Int[Tensor, " N+1"]
    count: Int[Tensor, " N"]

    @classmethod
    def build(cls, owner: Int[Tensor, " D"], observer: Int[Tensor, " D"], num: int) -> _CameraGroups:
        own = torch.arange(num, device=owner.device)
        key = torch.unique(torch.cat((owner * num + observer, own * (num + 1))))
        count = torch.bincount(key // num, minlength=num)
        return cls(key // num, key % num, torch.cat((count.new_zeros(1), count.cumsum(0))), count)

    def padded(self, first: int, last: int) -> Int[Tensor, "images cameras"]:
        """Cameras of a run of images, one row each, padded with the number of all cameras."""
        begin, end = int(self.start[first]), int(self.start[last])
        width = int(self.count[first:last].max())
        table = self.camera.new_full((last - first, width), len(self.count))
        slot = torch.arange(begin, end, device=table.device) - self.start[self.owner[begin:end]]
        table[self.owner[begin:end] - first, slot] = self.camera[begin:end]
        return table

    def slot(self, owner: Tensor, camera: Tensor) -> Tensor:
        """Where a camera is among those of an owner."""
        num = len(self.count)
        key = self.owner * num + self.camera
        return torch.searchsorted(key, owner * num + camera) - self.start[owner]


def _spans(cameras: Int[Tensor, " N"], anchors: Int[Tensor, " N"]) -> list[tuple[int, int]]:
    """Runs of images whose padded matrices fit in the panels' size."""
    spans, first, rows, wide = [], 0, 0, 0
    for image, (width, height) in enumerate(zip(cameras.tolist(), anchors.tolist(), strict=True)):
        rows, wide = max(rows, height), max(wide, width)
        if image > first and (image + 1 - first) * rows * wide * 10 > _PANEL_SIZE:
            spans.append((first, image))
            first, rows, wide = image, height, width
    return [*spans, (first, len(cameras))]


def _panel(
    first: int,
    last: int,
    groups: _CameraGroups,
    entry_anchor: Tensor,
    entry_observer: Tensor,
    anchor_image: Tensor,
    pattern: BlockPattern,
) -> Panel:
    device, num = anchor_image.device, len(groups.count)
    bounds = torch.searchsorted(anchor_image, torch.arange(first, last + 1, device=device))
    begin, end = int(bounds[0]), int(bounds[-1])
    rows = max(int(bounds.diff().max()), 1)
    camera = groups.padded(first, last)
    images, cameras = camera.shape
    image = anchor_image[begin:end] - first
    row = image * rows + torch.arange(begin, end, device=device) - bounds[image]
    cell = torch.full((images * rows,), end - begin, dtype=torch.int64, device=device)
    cell[row] = torch.arange(end - begin, device=device)
    edges = torch.searchsorted(entry_anchor, torch.tensor([begin, end], device=device)).tolist()
    anchor, observer = entry_anchor[edges[0] : edges[1]], entry_observer[edges[0] : edges[1]]
    owner = anchor_image[anchor]
    low, high = camera[:, :, None].expand(-1, -1, cameras), camera[:, None].expand(-1, cameras, -1)
    source = ((low <= high) & (high < num)).reshape(-1).nonzero()[:, 0]
    key = BlockPattern.key(low, high, num).reshape(-1)[source]
    return Panel(
        anchors=(begin, end),
        entries=(edges[0], edges[1]),
        shape=(images, rows, cameras),
        own_place=row * cameras + groups.slot(image + first, image + first),
        entry_place=row[anchor - begin] * cameras + groups.slot(owner, observer),
        cell=cell,
        camera=camera,
        source=source,
        target=pattern.find(key),
    )
