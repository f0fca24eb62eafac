"""From rendered photos to cameras and back to the truth: everything but the network is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_match import image_similarity
from mast3r_model import load_model
from mast3r_sfm import (
    CameraEvaluation,
    LmOptions,
    ReconstructionOptions,
    Scene,
    compare_cameras,
    open_images,
    read_cameras,
    reconstruct,
)
from mast3r_train.synthetic import OracleNetwork, OracleNoise, SceneViews, render_scene_views

SHAPE = (80, 112)
PLAIN = ReconstructionOptions(refine="none")


@pytest.fixture(scope="module")
def orbit() -> SceneViews:
    return render_scene_views(1, 8, path="orbit", shape=SHAPE, procedural=8)


@pytest.fixture(scope="module")
def folder(orbit: SceneViews, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("orbit")
    orbit.save(path)
    return path


def cameras_of(scene: Scene, folder: Path) -> CameraEvaluation:
    assert len(scene.components()) == 1
    return compare_cameras(scene.cameras(), read_cameras(folder))


def run(folder: Path, network: Any, options: ReconstructionOptions = PLAIN) -> Scene:
    return reconstruct(folder / "images", network, size=max(SHAPE), cache=folder / "cache", options=options)


def test_written_cameras_are_read_back_exactly(orbit: SceneViews, folder: Path) -> None:
    read = read_cameras(folder)
    assert np.array_equal(read.cam2world, orbit.cam2world)
    assert np.array_equal(read.intrinsics, orbit.intrinsics)
    assert read.shapes == (orbit.shape,) * len(orbit)


def test_exact_predictions_give_nearly_exact_cameras(folder: Path, orbit: SceneViews) -> None:
    """What is left comes from matches, which are rounded to pixels of 1 % of the image's width."""
    errors = cameras_of(run(folder, OracleNetwork(orbit)), folder)
    assert errors.registered == 1
    assert errors.rotation_error_max < 0.5
    assert errors.ate_relative < 0.01
    assert errors.focal_error_mean < 0.01
    assert errors.scale == pytest.approx(1, abs=0.01)
    assert errors.rra[5] == errors.rta[5] == 1


def test_without_priors_too(folder: Path, orbit: SceneViews) -> None:
    options = ReconstructionOptions(refine="none", align=LmOptions.without_priors())
    errors = cameras_of(run(folder, OracleNetwork(orbit), options), folder)
    assert errors.rotation_error_mean < 1.0
    assert errors.ate_relative < 0.02


def test_realistic_noise_costs_little(folder: Path, orbit: SceneViews) -> None:
    errors = cameras_of(run(folder, OracleNetwork(orbit, OracleNoise.realistic())), folder)
    assert errors.registered == 1
    assert errors.rotation_error_mean < 1.5
    assert errors.ate_relative < 0.05
    assert errors.focal_error_mean < 0.05
    assert errors.scale == pytest.approx(1, abs=0.05)
    assert errors.maa30 > 0.9


def test_the_oracles_tokens_say_which_photos_overlap(folder: Path, orbit: SceneViews) -> None:
    images = open_images([folder / "images"], size=max(SHAPE))
    network: Any = OracleNetwork(orbit)
    similarity = image_similarity(network, network.encode([image.tensor() for image in images]))
    np.fill_diagonal(similarity, -1)
    assert np.mean(np.abs(similarity.argmax(1) - np.arange(len(images))) <= 2) > 0.7


@pytest.mark.slow
def test_nano_places_most_of_an_orbit(tmp_path: Path) -> None:
    views = render_scene_views(0, 8, path="orbit", shape=(240, 320))
    scene = reconstruct(views.save(tmp_path), load_model("nano"), size=320, options=PLAIN)
    found = max(scene.components(), key=lambda part: len(part.images)).cameras()
    errors = compare_cameras(found, read_cameras(tmp_path))
    assert errors.registered >= 0.75
