"""Bundle adjustment of new photos in a scene whose own photos stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.keypoints import PairMatches
from mast3r_sfm.known_cameras import KnownCameras, known_intrinsics, known_poses
from mast3r_sfm.mapping import MappingTask
from mast3r_sfm.photos import ImageSet
from mast3r_sfm.refinement import RefinementOptions, refine_scene
from mast3r_sfm.scene import Scene, SceneImage
from mast3r_sfm.tracks import tracks_from_matches

from .joined import JoinedPhotos


def refined(
    task: MappingTask, joined: JoinedPhotos, scene: Scene, matches: PairMatches
) -> tuple[Scene, dict[str, Any]]:
    """The scene after bundle adjustment as ``options.refine`` says, and what became of it, ready for JSON.

    Args:
        task: how.
        joined: which photos stay.
        scene: with all placed photos, the old ones first, and tracks.
        matches: of all of them.
    """
    if task.options.refine == "none" or len(scene.images) == joined.old:
        return scene, {"accepted": False, "reason": "not asked for"}
    kept = joined.scene.images

    def restored(images: Sequence[SceneImage]) -> tuple[SceneImage, ...]:
        """With the old photos' own depth, which the adjustment fits to new tracks."""
        return (*kept, *images[len(kept) :])

    result = refine_scene(
        scene,
        known=_known(task, joined, scene),
        shared_intrinsics=task.options.shared_intrinsics,
        find_tracks=lambda images: tracks_from_matches(restored(images), matches, progress=task.progress),
        options=RefinementOptions(
            always=task.options.refine == "ba", free_focals=task.options.refine == "ba"
        ),
        progress=task.progress,
    )
    return replace(result.scene, images=restored(result.scene.images)), result.as_report()


def _known(task: MappingTask, joined: JoinedPhotos, scene: Scene) -> KnownCameras:
    """The cameras that must not move: of old photos, and of new ones those that are known exactly."""
    known, count = task.known or KnownCameras(), len(scene.images)
    by_name = {image.name: image for image in task.images}
    placed = ImageSet(tuple(by_name[image.name] for image in scene.images))
    exact = known.rotation_sigma == known.translation_sigma == 0
    poses = known_poses(placed, known) if exact else [False] * count
    focals = [matrix is not None for matrix in known_intrinsics(placed, known)]
    if task.options.shared_intrinsics:  # new photos have the old ones' camera
        worlds = {image.component for image in joined.scene.images}
        focals = [
            focal or image.component in worlds for focal, image in zip(focals, scene.images, strict=True)
        ]
    cameras = scene.cameras()

    def chosen(fixed: Sequence[bool]) -> PosedCameras:
        return cameras.subset(row for row in range(count) if row < joined.old or fixed[row])

    return KnownCameras(intrinsics=chosen(focals), poses=chosen(poses), likely_focals=known.likely_focals)
