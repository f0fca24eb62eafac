"""A scene as it is to be shown: without sky, without unsure pixels, with depths made consistent.

Nothing here asks the network: another view of a saved scene takes seconds (spec 30 sections 7.3, 7.4, 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from numbers import Real

import numpy as np
from jaxtyping import Bool

from mast3r_model import InputError
from mast3r_model.plugins import suggestion

from .appearance import Appearance, ViewFilters
from .backgrounds import is_black, is_white
from .points import automatic_confidence, confident_points
from .progress import Advance, silent
from .scene import PointCloud, Scene, SceneImage, Tracks


def filtered(scene: Scene, filters: ViewFilters) -> Scene:
    """The scene as exporters are to see it::

        scene.save("scene/", shown=filtered(scene, ViewFilters(percentile=20, as_mesh=True)))

    Sky and plain backgrounds first, so that their depths do not pull on others; then consistent depths, then
    cleaning with them, then the threshold; then only some photos' points, so that it is the same for one and
    for all.

    Args:
        scene: whole, as `reconstruct` made it; it is not changed.
        filters: what to show.

    Returns:
        A scene with confidence 0 where pixels are sky, background, contradicted or of photos that are not
        shown, with other depths if ``tsdf`` asks for it, with the points above the threshold, and with the
        `Appearance` that exporters look at.

    Raises:
        InputError: a photo of ``only_photos`` is not in the scene.
    """
    _check_names(scene, filters.only_photos)
    images = tuple(_without_background(image, filters) for image in scene.images)
    if filters.tsdf > 0 or filters.clean_depth:
        pairs = overlapping_pairs(images, scene.tracks)
        if filters.tsdf > 0:
            images = _fused(images, pairs, filters.tsdf)
        if filters.clean_depth:
            images = without_contradictions(images, pairs)
    threshold = _threshold(scene, images, filters)
    if filters.only_photos:
        images = tuple(
            image if image.name in filters.only_photos else _hidden(image, np.True_) for image in images
        )
    return replace(
        scene,
        images=images,
        points=confident_points(images, threshold, filters.max_points) if images else PointCloud.empty(),
        appearance=Appearance(
            min_confidence=threshold,
            as_mesh=filters.as_mesh,
            camera_size=filters.camera_size,
            cameras=filters.cameras,
            max_points=filters.max_points,
        ),
    )


def shown_confidence(scene: Scene) -> float:
    """Above which confidence the scene's pixels are shown.

    That of its appearance, else the one of its report (of its points), else what `automatic_confidence` says.
    """
    for value in (scene.appearance.min_confidence, scene.report.get("min_confidence")):
        if isinstance(value, Real):
            return float(value)
    return automatic_confidence(scene.images) if scene.images else 0.0


def percentile_confidence(images: Sequence[SceneImage], percentile: float) -> float:
    """The confidence above which all but the least certain pixels are.

    Args:
        images: with maps; pixels without depth or with confidence 0 do not count.
        percentile: share of the others that may fall to the threshold or below it, in percent, from 0 to
            below 100. Of pixels that are equally sure none or all do, so fewer may.

    Raises:
        InputError: the percentile is out of its range.
    """
    if not 0 <= percentile < 100:
        raise InputError(f"percentile is {percentile}", "expected from 0 to below 100")
    known = [image.confidence[(image.confidence > 0) & (image.depth > 0)] for image in images]
    values = np.concatenate([np.zeros(0, np.float32), *known])
    if not len(values):
        return 0.0
    first_kept = int(len(values) * percentile / 100)
    return float(np.nextafter(np.partition(values, first_kept)[first_kept], np.float32(-np.inf)))


def overlapping_pairs(images: Sequence[SceneImage], tracks: Tracks) -> list[tuple[int, int]]:
    """Images that see something in common, as pairs of indices, the smaller first.

    Those that share a track; in a group of images where no two do, all of the group.
    """
    from scipy.sparse import coo_array

    ones = np.ones(len(tracks.track), np.int32)
    shape = (len(images), len(tracks))
    sees = coo_array((ones, (tracks.image, tracks.track)), shape=shape).tocsr()
    common = (sees @ sees.T).tocoo()
    rows, columns = (axis.tolist() for axis in common.coords)
    pairs = {(i, j) for i, j in zip(rows, columns, strict=True) if i < j}
    groups: dict[int, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.component, []).append(index)
    connected = {images[i].component for i, _ in pairs}
    for number, members in groups.items():
        if number not in connected:
            pairs.update(combinations(members, 2))
    return sorted(pairs)


def _threshold(scene: Scene, images: Sequence[SceneImage], filters: ViewFilters) -> float:
    """Above which confidence pixels are shown; where two limits are given, both hold."""
    limits = []
    if filters.min_confidence is not None:
        limits.append(max(filters.min_confidence, 0.0))  # 0 says that a pixel is not to be used
    if filters.percentile is not None:
        limits.append(percentile_confidence(images, filters.percentile))
    return max(limits) if limits else shown_confidence(scene)


def _check_names(scene: Scene, wanted: Sequence[str]) -> None:
    names = [image.name for image in scene.images]
    for name in wanted:
        if name not in names:
            raise InputError(f"no photo of the scene is named {name!r}", suggestion(name, names))


def _without_background(image: SceneImage, filters: ViewFilters) -> SceneImage:
    if filters.mask_sky:
        from .sky import segment_sky

        image = _hidden(image, segment_sky(image.color))
    if filters.drop_black:
        image = _hidden(image, is_black(image.color))
    if filters.drop_white:
        image = _hidden(image, is_white(image.color))
    return image


def _hidden(image: SceneImage, where: Bool[np.ndarray, "h w"] | np.bool_) -> SceneImage:
    return replace(image, confidence=np.where(where, 0, image.confidence))


def _fused(
    images: tuple[SceneImage, ...], pairs: list[tuple[int, int]], truncation: float
) -> tuple[SceneImage, ...]:
    import torch

    from .tsdf import fuse_depths

    if not images:
        return images
    depths = fuse_depths(
        [torch.from_numpy(image.depth) for image in images],
        [torch.from_numpy(image.confidence) for image in images],
        torch.from_numpy(np.stack([image.network_intrinsics for image in images])),
        torch.from_numpy(np.stack([image.cam2world for image in images])),
        truncation=truncation,
        pairs=pairs,
    )
    return tuple(
        replace(image, depth=np.maximum(depth.numpy(), 0))
        for image, depth in zip(images, depths, strict=True)
    )


def without_contradictions(
    images: tuple[SceneImage, ...], pairs: Sequence[tuple[int, int]], *, advance: Advance = silent
) -> tuple[SceneImage, ...]:
    """Confidence 0 for pixels in front of what another image sees more surely (spec 30 section 7.3).

    Args:
        images: of one world.
        pairs: that overlap; only these are compared.
        advance: called after every image.
    """
    import torch

    from .sparse.cleaning import clean_pointcloud

    if not images:
        return images
    confidences = clean_pointcloud(
        [torch.from_numpy(image.confidence) for image in images],
        torch.from_numpy(np.stack([image.network_intrinsics for image in images])),
        torch.from_numpy(np.stack([image.cam2world for image in images])),
        [torch.from_numpy(image.depth) for image in images],
        [torch.from_numpy(image.pts3d()) for image in images],
        pairs=pairs,
        advance=advance,
    )
    return tuple(
        replace(image, confidence=confidence.numpy())
        for image, confidence in zip(images, confidences, strict=True)
    )
