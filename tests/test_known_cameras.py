"""What is known about some cameras, on the whole way; for a network that knows the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_sfm import (
    KnownCameras,
    PosedCameras,
    ReconstructionOptions,
    Scene,
    compare_cameras,
    read_cameras,
    reconstruct,
)
from mast3r_train.synthetic import OracleNetwork, OracleNoise, SceneViews, render_scene_views

SHAPE = (80, 112)
NOISE = OracleNoise.realistic()


@pytest.fixture(scope="module")
def views() -> SceneViews:
    return render_scene_views(1, 6, path="orbit", shape=SHAPE, procedural=8)


@pytest.fixture(scope="module")
def folder(views: SceneViews, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orbit")
    views.save(folder)
    return folder


def run(folder: Path, views: SceneViews, known: KnownCameras | None, refine: Any = "auto") -> Scene:
    network: Any = OracleNetwork(views, NOISE)
    return reconstruct(
        folder / "images",
        network,
        size=max(SHAPE),
        known=known,
        cache=folder / "cache",
        options=ReconstructionOptions(refine=refine),
    )


def errors(scene: Scene, truth: PosedCameras) -> tuple[np.ndarray, np.ndarray]:
    """Rotations in degrees and distances of centres, of all photos in the order of their names, not aligned."""
    placed = {image.name: image.cam2world for image in scene.images}
    poses = np.array([placed[Path(name).name] for name in truth.names])
    cosines = (np.einsum("nij,nij->n", poses[:, :3, :3], truth.cam2world[:, :3, :3]) - 1) / 2
    distances = np.linalg.norm(poses[:, :3, 3] - truth.cam2world[:, :3, 3], axis=1)
    return np.degrees(np.arccos(np.clip(cosines, -1, 1))), distances


@pytest.mark.parametrize("chosen", [[1, 4], [0, 1], [2]])
def test_some_poses_are_kept_and_the_others_come_out_in_their_world(
    views: SceneViews, folder: Path, chosen: list[int]
) -> None:
    truth = read_cameras(folder)
    scene = run(folder, views, KnownCameras(poses=truth.subset(chosen)))
    rotations, distances = errors(scene, truth)
    assert distances[chosen].max() < 1e-9
    assert rotations.max() < 2
    assert distances.max() < 0.05 * views.radius
    (scale,) = scene.report["scale"]
    assert scale["from"] == ("known poses" if len(chosen) > 1 else "network")


def test_likely_poses_give_the_world_and_may_be_corrected(views: SceneViews, folder: Path) -> None:
    truth = read_cameras(folder)
    poses = truth.cam2world.copy()
    poses[:, :3, 3] += np.random.default_rng(0).normal(0, 0.05, (6, 3))
    likely = KnownCameras(poses=replace(truth, cam2world=poses), rotation_sigma=0.01, translation_sigma=0.05)
    scene = run(folder, views, likely, refine="none")
    _, distances = errors(scene, truth)
    given = np.linalg.norm(poses[:, :3, 3] - truth.cam2world[:, :3, 3], axis=1)
    assert distances.mean() < 0.75 * given.mean()


def test_a_likely_focal_pulls(views: SceneViews, folder: Path) -> None:
    truth = read_cameras(folder)
    focal = float(truth.intrinsics[0, 0, 0])
    names = [Path(name).name for name in truth.names]
    free, pulled = (
        run(folder, views, known, refine="none")
        for known in (None, KnownCameras(likely_focals=dict.fromkeys(names, focal)))
    )
    before, after = (compare_cameras(scene.cameras(), truth).focal_error_mean for scene in (free, pulled))
    assert after < 0.5 * before
    # Intrinsics that are known count before what is only likely.
    both = KnownCameras(intrinsics=truth, likely_focals=dict.fromkeys(names, 3 * focal))
    known = run(folder, views, both, refine="none")
    np.testing.assert_allclose(known.cameras().intrinsics, truth.intrinsics, rtol=1e-6)


def test_cameras_of_other_photos_are_refused_at_once(views: SceneViews, folder: Path) -> None:
    others = replace(read_cameras(folder), names=tuple(f"other_{k}.png" for k in range(6)))
    for known in (KnownCameras(poses=others), KnownCameras(intrinsics=others)):
        with pytest.raises(InputError, match="name none of the 6 photos"):
            run(folder, views, known)
