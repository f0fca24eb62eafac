"""Refine a scene: judge by held-out tracks, adjust, and move everything that hangs on the cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from mast3r_model import Mast3rError
from mast3r_sfm.known_cameras import KnownCameras
from mast3r_sfm.progress import Advance, Progress, shown
from mast3r_sfm.scene import Scene, SceneImage, Tracks
from mast3r_sfm.tracks import join_tracks

from .adjusted import FixedCameras, adjusted_cameras
from .bundle import Bundle
from .moved import move_bundle, points_again
from .results import GroupRefinement, Refinement, RefinementOptions

TrackFinder: TypeAlias = Callable[[tuple[SceneImage, ...]], Tracks]
"""Makes tracks for placed images, such as ``lambda images: tracks_from_matches(images, matches)``."""


def refine_scene(
    scene: Scene,
    *,
    known: KnownCameras | None = None,
    shared_intrinsics: bool = False,
    find_tracks: TrackFinder | None = None,
    options: RefinementOptions | None = None,
    progress: Progress | None = None,
) -> Refinement:
    """Adjust poses, tracks and, if asked for, focal lengths, where held-out tracks agree.

    Known poses of sigma 0 stay to the bit, and so do focal lengths of which anything is known, be it by EXIF.
    Without known poses the world keeps its place and scale: the similarity that brings the new camera centres
    nearest to the old ones is applied. Principal points and ratios of focal lengths in x and y stay. Depth
    maps are scaled by the median ratio of new to old depth of the tracks that their image sees. Tracks are
    triangulated again, and observations that do not fit go. Dense points are made again of the pixels at
    least as confident as the least confident one was.

    Args:
        scene: with tracks.
        known: as it was reconstructed with.
        shared_intrinsics: images of equal size and intrinsics keep equal ones.
        find_tracks: makes the tracks anew with better cameras, which tell right matches from wrong ones
            better; as long as a round helps, another one follows. None: one round with the tracks there are.
        options: how.
        progress: shows a bar.

    Returns:
        The scene, the same object where no group changed; and what became of every group in the first round.
    """
    options = options or RefinementOptions()
    with shown(progress, "refinement", options.rounds) as advance:
        first = last = _refine_once(scene, known, shared_intrinsics, options, advance)
        advance(1)
        again = replace(options, always=False)
        rounds = int(first.accepted)
        while find_tracks is not None and last.accepted:
            scene = replace(last.scene, tracks=find_tracks(last.scene.images))
            last = replace(last, scene=scene)
            if rounds == options.rounds:
                break
            last = _refine_once(scene, known, shared_intrinsics, again, advance)
            advance(1)
            rounds += int(last.accepted)
    return Refinement(last.scene, first.groups, rounds)


def _refine_once(
    scene: Scene,
    known: KnownCameras | None,
    shared_intrinsics: bool,
    options: RefinementOptions,
    advance: Advance,
) -> Refinement:
    """One round with the tracks that are there."""
    parts: dict[int, _Part] = {}
    for component in sorted({image.component for image in scene.images}):
        chosen = np.array([image.component == component for image in scene.images])
        bundle = Bundle.of(
            [image for image in scene.images if image.component == component],
            scene.tracks.of_images(chosen),
            shared_intrinsics=shared_intrinsics,
        )
        fixed = FixedCameras.of(bundle.images, known)
        if not options.free_focals:
            fixed = fixed.with_all_focals()
        parts[component] = _refine_group(component, bundle, fixed, options, advance)
    groups = tuple(part.outcome for part in parts.values())
    if not any(group.accepted for group in groups):
        return Refinement(scene, groups, 0)
    placed = {image.name: image for part in parts.values() for image in part.images}
    images = tuple(placed[image.name] for image in scene.images)
    rows = {image.name: row for row, image in enumerate(images)}
    tracks = join_tracks(
        [(part.tracks, [rows[image.name] for image in part.images]) for part in parts.values()]
    )
    points = points_again(scene.points, images)
    return Refinement(replace(scene, images=images, tracks=tracks, points=points), groups, 1)


@dataclass(frozen=True, eq=False)
class _Part:
    """A group of images after refinement; its tracks' images count in its own."""

    images: tuple[SceneImage, ...]
    tracks: Tracks
    outcome: GroupRefinement


def _refine_group(
    component: int, bundle: Bundle, fixed: FixedCameras, options: RefinementOptions, advance: Advance
) -> _Part:
    images, observations = bundle.well_seen(options.min_observations)
    numbers = np.unique(bundle.tracks.track[observations])
    refusal = _refusal(images, len(numbers), fixed, options)
    if refusal is not None:
        return _unchanged(component, bundle, refusal)
    held = _held_out(numbers, len(bundle.tracks), options)[bundle.tracks.track] & observations
    count = len(np.unique(bundle.tracks.track[held]))
    before = bundle.held_out_error(bundle.cameras, held, options.max_error)
    try:
        trial = adjusted_cameras(bundle, images, observations & ~held, fixed, options)
        advance(0)
        after = bundle.held_out_error(trial, held, options.max_error)
        if not (after < before * (1 - options.least_gain) or options.always):
            reason = "the adjustment hardly helps tracks that it did not see"
            return _unchanged(component, bundle, reason, before, after, count)
        cameras = adjusted_cameras(bundle, images, observations, fixed, options)
        advance(0)
    except Mast3rError as error:
        return _unchanged(component, bundle, error.message, before, None, count)
    moved, tracks = move_bundle(bundle, cameras, fixed, options)
    return _Part(tuple(moved), tracks, GroupRefinement(component, True, "", before, after, count))


def _refusal(
    images: Bool[np.ndarray, " n"], tracks: int, fixed: FixedCameras, options: RefinementOptions
) -> str | None:
    """Why a group cannot be refined, if it cannot."""
    if (fixed.poses & fixed.focals)[images].all() and images.any():
        return "all its cameras are known"
    least = 5 * options.min_held_out
    if images.sum() < 2 or tracks < least:
        return f"{tracks} tracks between images that see {options.min_observations} or more; it takes {least}"
    return None


def _unchanged(
    component: int,
    bundle: Bundle,
    reason: str,
    before: float | None = None,
    after: float | None = None,
    held_out: int = 0,
) -> _Part:
    outcome = GroupRefinement(component, False, reason, before, after, held_out)
    return _Part(bundle.images, bundle.tracks, outcome)


def _held_out(numbers: np.ndarray, tracks: int, options: RefinementOptions) -> Bool[np.ndarray, " t"]:
    """Which tracks judge."""
    count = max(options.min_held_out, round(options.held_out * len(numbers)))
    chosen = np.zeros(tracks, bool)
    chosen[np.random.default_rng(options.seed).permutation(numbers)[:count]] = True
    return chosen
