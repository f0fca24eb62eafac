"""What the dense alignment starts from: every edge's two pointmaps, packed (spec 30 section 9.1).

Maps of all sizes lie in one tensor, as flat lists of samples padded with confidence 0, so that an iteration
costs the same number of operations for any number of images. ``stride`` keeps every stride-th pixel of every
stride-th row only, which divides memory and time by its square.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from mast3r_model import InputError
from mast3r_sfm.predictions.records import TwoViewPrediction


@dataclass(frozen=True, eq=False)
class EdgePrediction:
    """One pass of the network over the directed edge (i, j).

    Attributes:
        i: number of the reference image.
        j: number of the other image.
        pts3d_i: (hi, wi, 3), points of image i's pixels in camera i's frame.
        conf_i: (hi, wi).
        pts3d_j: (hj, wj, 3), points of image j's pixels in camera i's frame.
        conf_j: (hj, wj).
    """

    i: int
    j: int
    pts3d_i: Float[Tensor, "hi wi 3"]
    conf_i: Float[Tensor, "hi wi"]
    pts3d_j: Float[Tensor, "hj wj 3"]
    conf_j: Float[Tensor, "hj wj"]


def edges_of(predictions: Iterable[TwoViewPrediction]) -> Iterator[EdgePrediction]:
    """The two directed edges of every pair: (0, 1) from the first pass, (1, 0) from the second."""
    for pair in predictions:
        first, second = pair.image0, pair.image1
        yield EdgePrediction(first, second, pair.pts3d_00, pair.conf_00, pair.pts3d_10, pair.conf_10)
        yield EdgePrediction(second, first, pair.pts3d_11, pair.conf_11, pair.pts3d_01, pair.conf_01)


@dataclass(frozen=True, eq=False)
class DenseProblem:
    """All edges' pointmaps, packed. Side 0 of an edge (i, j) is image i, side 1 image j, both in i's frame.

    Samples of an image are its grid of pixels (stride // 2 + stride * column, the same for rows) in raster
    order; entries beyond an image's own number of samples are padding: points 0, confidence 0.

    Attributes:
        edges: (edges, 2) the two images' numbers.
        image_shapes: (height, width) of every image, network pixels.
        stride: distance of neighbouring samples in pixels; 1 keeps all.
        pixels: (images, 2, samples) the samples' (x, y), network pixels.
        pts3d: (edges, 2, 3, samples) float32.
        confidence: (edges, 2, samples) raw, 0 also where the network's point is not finite.
        confidence_maps: per image (height, width), the largest confidence that any edge predicts per pixel.
    """

    edges: Int[Tensor, "edges 2"]
    image_shapes: tuple[tuple[int, int], ...]
    stride: int
    pixels: Float[Tensor, "images 2 samples"]
    pts3d: Float[Tensor, "edges 2 3 samples"]
    confidence: Float[Tensor, "edges 2 samples"]
    confidence_maps: tuple[Float[Tensor, "h w"], ...]

    @classmethod
    def from_edges(
        cls,
        predictions: Iterable[EdgePrediction],
        *,
        stride: int = 1,
        device: torch.device | str | None = None,
    ) -> DenseProblem:
        """Pack the predictions of all edges; they are read once, in order, and only samples are kept.

        Args:
            predictions: of directed edges; their images must be numbered from 0 without holes.
            stride: keep every stride-th pixel in both directions.
            device: where the problem lives; None follows the first prediction.

        Raises:
            InputError: no edges, an edge from an image to itself, holes in the numbering, an image that
                comes in two sizes, maps whose shapes do not fit each other.
        """
        if stride < 1:
            raise InputError(f"stride is {stride}, expected at least 1")
        edges: list[tuple[int, int]] = []
        shapes: dict[int, tuple[int, int]] = {}
        best: dict[int, Tensor] = {}
        sampled: list[tuple[Tensor, Tensor]] = []
        for edge in predictions:
            if edge.i == edge.j:
                raise InputError(f"edge ({edge.i}, {edge.j}) joins an image to itself")
            device = edge.pts3d_i.device if device is None else device
            edges.append((edge.i, edge.j))
            for image, pts3d, conf in (
                (edge.i, edge.pts3d_i, edge.conf_i),
                (edge.j, edge.pts3d_j, edge.conf_j),
            ):
                _check_shape(shapes, image, pts3d, conf)
                conf = conf.to(device, torch.float32)
                best[image] = torch.maximum(best[image], conf) if image in best else conf.clone()
                sampled.append(_samples(pts3d, conf, stride))
        if not edges:
            raise InputError("the dense alignment got no edges", hint="give at least two overlapping images")
        count = len(shapes)
        if sorted(shapes) != list(range(count)):
            missing = sorted(set(range(max(shapes) + 1)) - set(shapes))
            raise InputError(
                f"images must be numbered 0..n-1 without holes, but no edge touches {missing[:5]}",
                hint="renumber the images that have edges",
            )
        image_shapes = tuple(shapes[image] for image in range(count))
        pts3d, confidence = _pack(sampled)
        return cls(
            edges=torch.tensor(edges, device=device),
            image_shapes=image_shapes,
            stride=stride,
            pixels=_pixel_lists(image_shapes, stride, torch.device(device or "cpu")),
            pts3d=pts3d,
            confidence=confidence,
            confidence_maps=tuple(best[image] for image in range(count)),
        )

    @classmethod
    def from_predictions(
        cls,
        predictions: Iterable[TwoViewPrediction],
        *,
        stride: int = 1,
        device: torch.device | str | None = None,
    ) -> DenseProblem:
        """Pack both passes of every pair; see `from_edges`."""
        return cls.from_edges(edges_of(predictions), stride=stride, device=device)

    @property
    def image_count(self) -> int:
        """Number of images."""
        return len(self.image_shapes)

    @property
    def grid_shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of every image's samples."""
        return tuple(sample_grid(shape, self.stride) for shape in self.image_shapes)

    @property
    def sample_counts(self) -> Int[Tensor, " images"]:
        """Number of every image's samples, without padding."""
        return torch.tensor([rows * columns for rows, columns in self.grid_shapes], device=self.edges.device)

    @property
    def centers(self) -> Float[Tensor, "images 2"]:
        """The default principal point (W/2, H/2) of every image, network pixels (spec 30 section 1)."""
        sizes = torch.tensor(self.image_shapes, dtype=torch.float32, device=self.edges.device)
        return sizes.flip(-1) / 2

    @property
    def valid(self) -> Bool[Tensor, "images samples"]:
        """Which samples are no padding."""
        return torch.arange(self.pixels.shape[-1], device=self.edges.device) < self.sample_counts[:, None]

    @property
    def image_confidence(self) -> Float[Tensor, "images samples"]:
        """The largest confidence that any edge predicts for a sample; 0 in padding."""
        result = torch.zeros_like(self.pixels[:, 0])
        index = self.edges.flatten()[:, None].expand(-1, result.shape[1])
        return result.scatter_reduce_(0, index, self.confidence.flatten(0, 1), "amax")

    @property
    def edge_scores(self) -> Float[Tensor, " edges"]:
        """Mean confidence of side 0 times mean confidence of side 1 (spec 30 section 9.5)."""
        return (self.confidence.sum(-1) / self.sample_counts[self.edges]).prod(dim=-1)

    @property
    def is_symmetrized(self) -> bool:
        """Whether every edge's reverse is there too."""
        pairs = {(i, j) for i, j in self.edges.tolist()}
        return all((j, i) in pairs for i, j in pairs)


def sample_grid(shape: tuple[int, int], stride: int) -> tuple[int, int]:
    """(rows, columns) of the samples of an image of this (height, width)."""
    rows, columns = (len(range(stride // 2, size, stride)) for size in shape)
    return rows, columns


def _check_shape(shapes: dict[int, tuple[int, int]], image: int, pts3d: Tensor, conf: Tensor) -> None:
    if pts3d.shape != (*conf.shape, 3) or conf.ndim != 2:
        raise InputError(
            f"image {image}: a pointmap of shape {tuple(pts3d.shape)} with confidences of shape "
            f"{tuple(conf.shape)}, expected (h, w, 3) and (h, w)"
        )
    height, width = conf.shape
    if shapes.setdefault(image, (height, width)) != (height, width):
        raise InputError(f"image {image} comes in two sizes: {shapes[image]} and {(height, width)}")


def _samples(pts3d: Tensor, conf: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Samples of a map as (3, n) and (n,); points that are not finite become 0 with confidence 0."""
    start = stride // 2
    points = pts3d[start::stride, start::stride].reshape(-1, 3).T.to(conf.device, torch.float32)
    weights = conf[start::stride, start::stride].reshape(-1)
    finite = points.isfinite().all(dim=0) & weights.isfinite()
    return torch.where(finite, points, 0), torch.where(finite, weights, 0)


def _pack(sampled: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Pad the maps (two an edge) to the largest; the list is emptied on the way to hold everything once."""
    samples = max(conf.shape[0] for _, conf in sampled)
    first = sampled[0][1]
    pts3d = first.new_empty(len(sampled), 3, samples)
    confidence = first.new_empty(len(sampled), samples)
    for index in reversed(range(len(sampled))):
        points, conf = sampled.pop()
        pts3d[index] = pad(points, (0, samples - conf.shape[0]))
        confidence[index] = pad(conf, (0, samples - conf.shape[0]))
    return pts3d.view(-1, 2, 3, samples), confidence.view(-1, 2, samples)


def _pixel_lists(shapes: tuple[tuple[int, int], ...], stride: int, device: torch.device) -> Tensor:
    counts = [rows * columns for rows, columns in (sample_grid(shape, stride) for shape in shapes)]
    pixels = torch.zeros(len(shapes), 2, max(counts), device=device)
    for image, (height, width) in enumerate(shapes):
        rows, columns = (torch.arange(stride // 2, size, stride, device=device) for size in (height, width))
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        pixels[image, :, : counts[image]] = torch.stack([x.flatten(), y.flatten()])
    return pixels
