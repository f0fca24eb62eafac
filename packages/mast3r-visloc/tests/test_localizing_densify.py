"""Map images without 3D: the network's points in the map's unit (spec 50 D1, --densify)."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_visloc import Localizer, build_index
from mast3r_visloc.localizing.covisible import NEIGHBOURS, CovisibleImages
from mast3r_visloc.localizing.densify import FOLDER, Densifier
from mast3r_visloc.localizing.index import MapIndex
from mast3r_visloc.localizing.options import LocalizationOptions
from mast3r_visloc.maps import DensePoints, LocalizationMap, lookup

from .painted_wall import MAP, write_colmap
from .patch_network import PatchNetwork
from .visloc_cli import Visloc, refused
from .wave_world import Shot, make_map, pose_gap, shot

SIZE = 96
SHOTS = [shot("a.png", -0.7, yaw=4), shot("b.png", 0.1, 0.3), shot("c.png", 0.8, -0.2, yaw=-5)]
QUERY = shot("query.png", 0.3, 0.1, yaw=2, z=0.4)
BARE = 1
"""The image without 3D."""

Prepared = Callable[..., tuple[LocalizationMap, PatchNetwork]]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """A map of which one image has no 3D, or none has, and a network that knows the truth."""

    def make(
        network: PatchNetwork | None = None,
        *,
        shots: list[Shot] = SHOTS,
        kind: str = "sparse",
        **changes: Any,
    ) -> tuple[LocalizationMap, PatchNetwork]:
        network = network or PatchNetwork()
        made = make_map(tmp_path, shots, kind, **changes)
        images = list(made.images)
        images[BARE] = dataclasses.replace(images[BARE], load_points=None)
        QUERY.save(tmp_path)
        for each in (*shots, QUERY):
            network.teach(tmp_path, each, SIZE)
        return dataclasses.replace(made, images=tuple(images)), network

    return make


def densifier(known: LocalizationMap, network: Any, folder: Path | None = None) -> Densifier:
    index = MapIndex(known, network, size=SIZE, folder=folder)
    return Densifier(known, network, index, LocalizationOptions())


def gaps(points: Any, truth: Shot) -> np.ndarray:
    """How far the points behind pixels are from what the photo shows there, relative to their distance."""
    assert isinstance(points, DensePoints)
    height, width = truth.shape
    xy = np.random.default_rng(0).uniform(1, np.array([width, height]) - 2, (400, 2))
    true = truth.wall(xy)
    found = lookup(points, xy, cam2world=truth.pose)
    assert np.isfinite(found).all(axis=1).mean() > 0.9
    return np.linalg.norm(found - true, axis=1) / np.linalg.norm(true - truth.pose[:3, 3], axis=1)


@pytest.mark.parametrize("kind", ["sparse", "dense", "none"])
def test_true_pointmaps_are_put_where_they_belong(prepared: Prepared, kind: str) -> None:
    """The network predicts in a unit of each pair's own; 3D points, or cameras alone, tell the map's."""
    known, network = prepared(kind=kind)
    completed = densifier(known, network).completed()
    load = completed.images[BARE].load_points
    assert load is not None
    assert np.nanmax(gaps(load(), SHOTS[BARE])) < 0.01


def test_only_images_without_points_are_predicted(prepared: Prepared) -> None:
    known, network = prepared()
    made = densifier(known, network)
    assert made.missing == [BARE]
    completed = made.completed()
    assert completed.images[0] is known.images[0]
    assert network.pairs == 0  # nothing before it is asked for
    assert completed.images[BARE].load_points is not None
    completed.images[BARE].load_points()
    assert network.pairs == 2


@pytest.mark.parametrize("kind", ["sparse", "none"])
def test_noise_and_outliers(prepared: Prepared, kind: str) -> None:
    known, network = prepared(PatchNetwork(noise=0.01, outliers=0.3), kind=kind)
    points = densifier(known, network).points(BARE)
    assert isinstance(points, DensePoints)
    height, width = SHOTS[BARE].shape
    y, x = np.mgrid[8:height:16, 8:width:16]
    xy = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    found, true = points.grid[y.ravel(), x.ravel()], SHOTS[BARE].wall(xy)
    gap = np.linalg.norm(found - true, axis=1) / np.linalg.norm(true - SHOTS[BARE].pose[:3, 3], axis=1)
    assert np.nanmedian(gap) < 0.04


@pytest.mark.parametrize("kind", ["sparse", "none"])
def test_points_that_mean_nothing_are_no_points(prepared: Prepared, kind: str) -> None:
    known, network = prepared(PatchNetwork(outliers=1.0), kind=kind)
    points = densifier(known, network).points(BARE)
    assert isinstance(points, DensePoints)
    assert np.isnan(points.grid).all()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_turned_photos(prepared: Prepared, orientation: int) -> None:
    """The network sees them upright; points are those of the file's pixels."""
    turned = SHOTS[BARE].turned("b.png", orientation)
    known, network = prepared(shots=[SHOTS[0].turned("a.png", 8), turned, SHOTS[2]])
    assert np.nanmax(gaps(densifier(known, network).points(BARE), turned)) < 0.01


def test_a_query_is_localised_by_it(prepared: Prepared, tmp_path: Path) -> None:
    known, network = prepared()
    options: dict[str, Any] = {"retrieval": "all", "size": SIZE}
    with Localizer(known, network, **options) as localizer:  # type: ignore[arg-type]
        without = localizer.localize(tmp_path / "query.png", camera=QUERY.camera, candidates=["b.png"])
    assert (without.success, without.reason) == (False, "no_candidates")
    with Localizer(known, network, densify=True, **options) as localizer:  # type: ignore[arg-type]
        alone = localizer.localize(tmp_path / "query.png", camera=QUERY.camera, candidates=["b.png"])
        every = localizer.localize(tmp_path / "query.png", camera=QUERY.camera)
    with Localizer(known, network, densify=True, fine=True, **options) as localizer:  # type: ignore[arg-type]
        fine = localizer.localize(tmp_path / "query.png", camera=QUERY.camera)
    for pose in (alone, every, fine):
        assert pose.method == "pnp"
        metres, degrees = pose_gap(pose.cam2world, QUERY.pose)
        assert metres < 0.03
        assert degrees < 0.5
    assert set(every.correspondences.map_image[every.correspondences.inlier]) == {0, 1, 2}


def test_a_map_of_cameras_alone(prepared: Prepared, tmp_path: Path) -> None:
    known, network = prepared(kind="none")
    with pytest.raises(InputError, match="no image of the map has 3D points") as caught:
        Localizer(known, network, size=SIZE)  # type: ignore[arg-type]
    assert "--densify" in str(caught.value.hint)
    with Localizer(known, network, densify=True, retrieval="all", size=SIZE) as localizer:  # type: ignore[arg-type]
        pose = localizer.localize(tmp_path / "query.png", camera=QUERY.camera)
    assert pose.method == "pnp"
    assert pose_gap(pose.cam2world, QUERY.pose)[0] < 0.03
    alone = dataclasses.replace(known, images=known.images[:1])
    with pytest.raises(InputError, match="1 images of the map have a pose"):
        Localizer(alone, network, densify=True, size=SIZE)  # type: ignore[arg-type]


def test_the_index_keeps_them(prepared: Prepared, tmp_path: Path) -> None:
    known, network = prepared()
    report = build_index(known, network, size=SIZE, densify=True)  # type: ignore[arg-type]
    assert report.densified == 1
    assert network.pairs == 2
    (kept,) = (report.folder / FOLDER).glob("*.npz")
    (report.folder / FOLDER / "stale.npz").write_bytes(b"")
    again = build_index(known, network, size=SIZE, densify=True)  # type: ignore[arg-type]
    assert again.densified == 1
    assert network.pairs == 2
    assert list((report.folder / FOLDER).iterdir()) == [kept]
    with Localizer(known, network, densify=True, retrieval="all", size=SIZE) as localizer:  # type: ignore[arg-type]
        assert localizer.map.images[BARE].load_points is not None
        first = localizer.map.images[BARE].load_points()
    assert network.pairs == 2
    kept.write_bytes(kept.read_bytes()[:-200])  # damaged: predicted again
    mended = densifier(known, network, report.folder).points(BARE)
    assert network.pairs == 4
    assert isinstance(first, DensePoints)
    assert isinstance(mended, DensePoints)
    assert np.array_equal(first.grid, mended.grid, equal_nan=True)
    assert build_index(known, network, size=SIZE).densified == 0  # type: ignore[arg-type]


def test_another_pose_or_other_points_are_predicted_anew(prepared: Prepared) -> None:
    known, network = prepared()
    folder = build_index(known, network, size=SIZE, densify=True).folder  # type: ignore[arg-type]
    pose = np.array(known.images[BARE].cam2world)
    pose[0, 3] += 0.01
    moved = (known.images[0], dataclasses.replace(known.images[BARE], cam2world=pose), known.images[2])
    densifier(dataclasses.replace(known, images=moved), network, folder).points(BARE)
    assert network.pairs == 4
    other = dataclasses.replace(known.images[0], load_points=lambda: SHOTS[0].sparse(seed=3))
    others = (other, *known.images[1:])
    densifier(dataclasses.replace(known, images=others), network, folder).points(BARE)
    assert network.pairs == 6


def test_images_without_pose_or_photo_stay_without(prepared: Prepared) -> None:
    known, network = prepared()
    bare = dataclasses.replace(known.images[BARE], cam2world=None)
    made = densifier(dataclasses.replace(known, images=(known.images[0], bare, known.images[2])), network)
    assert made.missing == []
    assert made.completed().images[BARE].load_points is None
    known.images[BARE].path.write_text("no photo")
    points = densifier(known, network).points(BARE)
    assert len(points.xyz) == 0  # type: ignore[union-attr]


def test_neighbours_see_the_same(tmp_path: Path) -> None:
    """By their points in the image's view; those that look elsewhere, or lie behind, are none."""
    shots = [shot(f"{x}.png", x) for x in (0.0, 0.2, 0.5, 1.0, 2.0, 9.0)]
    shots += [shot("back.png", 0.1, yaw=180)]
    images = list(make_map(tmp_path, shots[:-1]).images)
    shots[-1].save(tmp_path)
    back = dataclasses.replace(images[0], name="back.png", cam2world=shots[-1].pose)
    known = LocalizationMap((*images, back), tmp_path, "test map")
    assert CovisibleImages(known).of(0)[:3] == [1, 2, 3]
    assert {5, 6}.isdisjoint(CovisibleImages(known).of(0))
    without = tuple(dataclasses.replace(image, load_points=None) for image in known.images)
    assert CovisibleImages(dataclasses.replace(known, images=without)).of(0) == [1, 2, 3, 4, 5]
    many = make_map(tmp_path, [shot(f"m{number}.png", 0.01 * number) for number in range(10)])
    assert len(CovisibleImages(many).of(0)) == NEIGHBOURS


def test_commands(visloc: Visloc, wall: Path, tmp_path: Path) -> None:
    """A model without points is read where its cameras alone may be used. The painted wall's network predicts
    every photo's points as from one place, which does not fit where map photos were taken: no points, no pose."""
    write_colmap(tmp_path / "sparse", xyz=np.zeros((0, 3)))
    words = ("sparse", "--images", wall / "map" / "images", "--size", 128)
    queries = (wall / "queries", "--camera", MAP[0].camera_spec)
    refused(visloc("index", *words), "has no photo with 3D points")
    refused(visloc("localize", *words, *queries), "has no photo with 3D points")
    ran = visloc("localize", *words, *queries, "--densify")
    assert ran.code == 4, ran.err
    assert "none of 3 photos was localised" in ran.error
    ran = visloc("localize", *words, *queries, "--align", "--json")
    assert {query["method"] for query in ran.result["queries"]} == {"pointmap"}
    indexed = visloc("index", *words, "--densify", "--json")
    assert indexed.code == 0, indexed.err
    assert (indexed.result["images"], indexed.result["densified"]) == (len(MAP), 0)
    assert len(list(Path(indexed.result["folder"], FOLDER).glob("*.npz"))) == len(MAP)
    shutil.copytree(wall / "map", "map")  # an index beside the shared one would be there for all tests
    said = visloc("index", "map", "--size", 128, "--densify")
    assert "0 photos without 3D have the network's points" in said.out
