"""A network that knows the answer: for tests of everything that comes after the network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from mast3r_model import EncodedImage, InputError, PairPrediction

from .oracle_noise import ImageErrors, OracleNoise, PassErrors, depth_factors, generator
from .point_codes import PointCodes
from .views import SceneViews

PATCH_SIZE = 16

_SKY_DISTANCE = 4.0
"""Depth of the sky in units of the largest depth."""
_SHORTEST_WAVE = 8.0
"""Of descriptors, in pixels (at the views' median distance)."""
_SURE, _UNSURE = 4.0, 0.01
"""Confidence above 1 of a usual point, and of sky."""
_SURE_DESCRIPTOR, _UNSEEN_DESCRIPTOR, _SKY_DESCRIPTOR = 10.0, 0.3, 0.05
"""Confidence of descriptors: of a point that the other image sees too, that it does not see, of sky."""
_SAME_SURFACE = 0.03
"""Relative difference of depth up to which two images see the same point."""


@dataclass(frozen=True, eq=False)
class _View:
    """What the oracle knows about an image; points in metres."""

    digest: str
    points: Float[Tensor, "h w 3"]  # in the camera's frame, sky far away
    is_sky: Bool[Tensor, "h w"]
    K: Float[Tensor, "3 3"]
    cam2world: Float[Tensor, "4 4"]
    errors: ImageErrors

    @property
    def focal(self) -> float:
        return float(self.K[0, 0])

    def in_world(self, points: Tensor) -> Tensor:
        """From the camera's frame."""
        return points @ self.cam2world[:3, :3].T + self.cam2world[:3, 3]

    def in_camera(self, points: Tensor) -> Tensor:
        """From the world's frame."""
        return (points - self.cam2world[:3, 3]) @ self.cam2world[:3, :3]

    def sees(self, world: Float[Tensor, "h w 3"]) -> Bool[Tensor, "h w"]:
        """Which points are seen in this image, and not hidden."""
        height, width = self.is_sky.shape
        seen = self.in_camera(world)
        z = seen[..., 2]
        x, y = ((seen @ self.K.T)[..., :2] / z.clamp_min(1e-6)[..., None]).round().long().unbind(-1)
        inside = (z > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        near = (self.points[y, x, 2] - z).abs() < _SAME_SURFACE * z
        return inside & near & ~self.is_sky[y, x]


class OracleNetwork(nn.Module):
    """Stands where a network stands, for the images of one scene, and answers with the truth and set errors::

        views = render_scene_views(seed=3, views=8)
        scene = reconstruct(views.save("scenes/3"), OracleNetwork(views, OracleNoise.realistic()), size=320)

    Images are recognised by their pixels, so they must come at the size of the views. Points are in metres.
    Descriptors code the world point that a pixel sees, so that a matcher finds true matches to the nearest
    pixel; those of sky are random. Every answer depends on the two images and the noise alone.

    Args:
        views: of one scene; sides that are multiples of 16.
        noise: errors of the answers.

    Raises:
        InputError: views of other sizes.
    """

    def __init__(self, views: SceneViews, noise: OracleNoise | None = None) -> None:
        super().__init__()
        height, width = views.shape
        if height % PATCH_SIZE or width % PATCH_SIZE:
            raise InputError(
                f"views of {width}x{height} pixels", f"give sides that are multiples of {PATCH_SIZE}"
            )
        self.patch_size = PATCH_SIZE
        self.precision = None
        self.config = self.noise = noise or OracleNoise()
        self.fingerprint = f"oracle {_digest_of_views(views)} {self.noise}"
        self._views = [_view(views, index, self.noise) for index in range(len(views))]
        self._number = {view.digest: index for index, view in enumerate(self._views)}
        solid = torch.cat([view.in_world(view.points)[~view.is_sky] for view in self._views])
        footprint = float(torch.cat([(v.points[..., 2] / v.focal)[~v.is_sky] for v in self._views]).median())
        origin = solid.mean(0)
        self._codes = PointCodes.spanning(origin, _SHORTEST_WAVE * footprint, octaves=4)
        self._token_codes = PointCodes.spanning(origin, 3 * PATCH_SIZE * footprint, octaves=3)
        # The only weights, by which its device is known.
        self.frequencies = nn.Parameter(self._codes.frequencies, requires_grad=False)

    @torch.no_grad()
    def encode(
        self, images: Sequence[Float[Tensor, "3 height width"]], *, batch_size: int = 8
    ) -> list[EncodedImage]:
        """Recognise images. Tokens code the points at the patches' centres; local maps hold the number.

        Raises:
            InputError: an image that is not of this scene, or of another size.
        """
        return [self._encoded(self._recognise(image)) for image in images]

    @torch.no_grad()
    def decode_pairs(
        self,
        features: Sequence[EncodedImage],
        pairs: Sequence[tuple[int, int]],
        *,
        batch_size: int = 8,
    ) -> Iterator[PairPrediction]:
        """The truth with errors, for pairs (reference, other) of what `encode` returned."""
        numbers = [_number_of(encoded) for encoded in features]
        for first, second in pairs:
            yield self._answer(self._views[numbers[first]], self._views[numbers[second]])

    def forward(
        self, view1: Mapping[str, Tensor], view2: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Upstream's contract: batches ``img`` (b, 3, h, w) to dictionaries of maps (spec 10 section 6)."""
        first, second = self.encode(list(view1["img"])), self.encode(list(view2["img"]))
        count = len(first)
        answers = list(self.decode_pairs([*first, *second], [(i, count + i) for i in range(count)]))

        def stacked(name: str) -> Tensor:
            return torch.stack([getattr(answer, name) for answer in answers])

        return (
            {name: stacked(f"{name}1") for name in ("pts3d", "conf", "desc", "desc_conf")},
            {"pts3d_in_other_view": stacked("pts3d2_in_view1")}
            | {name: stacked(f"{name}2") for name in ("conf", "desc", "desc_conf")},
        )

    def _recognise(self, image: Float[Tensor, "3 height width"]) -> int:
        pixels = ((image.permute(1, 2, 0) * 0.5 + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)
        number = self._number.get(_digest(pixels))
        if number is None:
            shape = tuple(self._views[0].is_sky.shape)
            raise InputError(
                f"the oracle does not know this image of {tuple(image.shape[1:])} pixels",
                f"it knows the images of one scene, at their size of {shape}: give size={max(shape)}",
            )
        return number

    def _encoded(self, number: int) -> EncodedImage:
        view, half = self._views[number], PATCH_SIZE // 2
        points = view.in_world(view.points[half::PATCH_SIZE, half::PATCH_SIZE])
        is_sky = view.is_sky[half::PATCH_SIZE, half::PATCH_SIZE]
        random = generator(self.noise, "tokens", view.digest)
        tokens = _or_random(self._token_codes(points), is_sky, random)
        positions = torch.nonzero(torch.ones_like(is_sky))
        height, width = view.is_sky.shape
        marker = torch.full((1, 1, 1), float(number))
        return EncodedImage(tokens.flatten(0, 1), positions, (marker,), (height, width))

    def _answer(self, reference: _View, other: _View) -> PairPrediction:
        random = generator(self.noise, "pass", reference.digest, other.digest)
        whole = PassErrors.draw(self.noise, reference.errors, random)
        stretch = torch.tensor([whole.width, whole.width, 1.0]) * whole.scale
        own = reference.points * depth_factors(self.noise, reference.errors, random)[..., None]
        there = other.points * depth_factors(self.noise, other.errors, random)[..., None]
        across = reference.in_camera(other.in_world(there))
        codes = [
            self._codes_of(view, partner, random)
            for view, partner in ((reference, other), (other, reference))
        ]
        return PairPrediction(
            pts3d1=own * stretch,
            conf1=_confidence(reference),
            desc1=codes[0],
            desc_conf1=_descriptor_confidence(reference, other),
            pts3d2_in_view1=across * stretch,
            conf2=_confidence(other),
            desc2=codes[1],
            desc_conf2=_descriptor_confidence(other, reference),
        )

    def _codes_of(self, view: _View, partner: _View, random: torch.Generator) -> Float[Tensor, "h w c"]:
        """Descriptors of a pass, some of them of other pixels than their own."""
        points = view.in_world(self._blurred(view, self.noise.descriptor, random))
        is_sky = view.is_sky
        if self.noise.outliers:
            # Not exactly where the partner's pixel is, or no true match could compete with the false one.
            others = partner.in_world(self._blurred(partner, max(self.noise.descriptor, 1.0), random))
            wrong = torch.nonzero(torch.rand(is_sky.shape, generator=random) < self.noise.outliers).unbind(1)
            drawn = torch.randint(partner.is_sky.numel(), wrong[0].shape, generator=random)
            points[wrong] = others.flatten(0, 1)[drawn]
        return _or_random(self._codes(points), is_sky, random)

    def _blurred(self, view: _View, pixels: float, random: torch.Generator) -> Float[Tensor, "h w 3"]:
        """The points of pixels moved at random, parallel to the image."""
        if not pixels:
            return view.points.clone()
        shift = torch.randn(*view.is_sky.shape, 2, generator=random)
        moved = view.points.clone()
        moved[..., :2] += pixels / view.focal * moved[..., 2:] * view.errors.spread[..., None] * shift
        return moved


def _view(views: SceneViews, index: int, noise: OracleNoise) -> _View:
    depth = torch.from_numpy(views.depth[index]).float()
    K = torch.from_numpy(views.intrinsics[index])
    height, width = depth.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rays = torch.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], torch.ones_like(x)], -1).float()
    is_sky = depth <= 0
    far = _SKY_DISTANCE * float(views.depth.max())
    digest = _digest(torch.from_numpy(views.images[index]))
    return _View(
        digest=digest,
        points=rays * torch.where(is_sky, far, depth)[..., None],
        is_sky=is_sky,
        K=K.float(),
        cam2world=torch.from_numpy(views.cam2world[index]).float(),
        errors=ImageErrors.draw(noise, digest, (height, width)),
    )


def _confidence(view: _View) -> Float[Tensor, "h w"]:
    """At least 1; what is above 1 is an inverse variance, as the weights of alignment take it."""
    return 1 + torch.where(view.is_sky, _UNSURE, _SURE / view.errors.spread.square())


def _descriptor_confidence(view: _View, other: _View) -> Float[Tensor, "h w"]:
    seen = other.sees(view.in_world(view.points))
    sure = torch.where(seen, _SURE_DESCRIPTOR, _UNSEEN_DESCRIPTOR) / view.errors.spread.square()
    return torch.where(view.is_sky, _SKY_DESCRIPTOR, sure)


def _or_random(codes: Tensor, is_sky: Tensor, random: torch.Generator) -> Tensor:
    """Codes, and random unit vectors for sky."""
    if not is_sky.any():
        return codes
    return torch.where(
        is_sky[..., None], normalize(torch.randn(codes.shape, generator=random), dim=-1), codes
    )


def _number_of(encoded: EncodedImage) -> int:
    if not encoded.local:
        raise InputError("features that the oracle did not make")
    return int(encoded.local[0].flatten()[0])


def _digest(pixels: Tensor) -> str:
    return hashlib.sha256(
        repr(tuple(pixels.shape)).encode() + pixels.contiguous().numpy().tobytes()
    ).hexdigest()


def _digest_of_views(views: SceneViews) -> str:
    digest = hashlib.sha256()
    for values in (views.images, views.depth, views.intrinsics, views.cam2world):
        digest.update(values.tobytes())
    return digest.hexdigest()
