"""The four dataset classes return what upstream's return (goldens ``loaders``)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mast3r_model import ConfigError
from mast3r_visloc.datasets import LocalizationDataset
from mast3r_visloc.maps import DensePoints, SparsePoints
from mast3r_visloc.reference.views import ReferenceView

from .benchmark_datasets import AACHEN, CONFIGS, open_config

VIEWS_OF_QUERY = {
    "intrinsics",
    "distortion",
    "cam_to_world",
    "rgb",
    "rgb_rescaled",
    "to_orig",
    "idx",
    "image_name",
}


@pytest.fixture(scope="module")
def recorded(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "loaders.json").read_text())


@pytest.fixture(scope="module")
def arrays(goldens: Path) -> Mapping[str, np.ndarray]:
    with np.load(goldens / "loaders.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def model_of(maxdim: int) -> SimpleNamespace:
    return SimpleNamespace(patch_embed=SimpleNamespace(img_size=(maxdim, maxdim)))


def test_every_recorded_configuration_is_tested(recorded: dict[str, Any]) -> None:
    assert set(recorded) == set(CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_views_are_upstreams(
    goldens: Path, recorded: dict[str, Any], arrays: Mapping[str, np.ndarray], config: str
) -> None:
    expected = recorded[config]
    dataset = open_config(goldens, config, topk=expected["num_views"] - 1)
    dataset.set_resolution(model_of(expected["maxdim"]))
    assert len(dataset) == expected["len"]
    assert [query.name for query in dataset.queries] == expected["queries"]
    for index, views in enumerate(dataset[index] for index in range(len(dataset))):
        assert [view.image_name for view in views] == expected["views"][expected["queries"][index]]
        assert [view.idx for view in views] == list(range(len(views)))
        for view in views:
            check_view(view, expected["meta"][view.image_name], arrays, f"{config}/{view.image_name}#")


def check_view(view: ReferenceView, meta: dict[str, Any], arrays: Mapping[str, np.ndarray], key: str) -> None:
    given = {field.name for field in dataclasses.fields(view) if getattr(view, field.name) is not None}
    assert given == set(meta["keys"])
    assert list(view.rgb.size) == meta["rgb_size"]
    assert hashlib.sha256(np.asarray(view.rgb).tobytes()).hexdigest() == meta["rgb_sha256"]
    assert list(view.rgb_rescaled.shape) == meta["rgb_rescaled_shape"]
    assert type(view.distortion).__name__ == meta["distortion_type"]
    for name, tolerance in (
        ("intrinsics", 1e-4),
        ("cam_to_world", 2e-6),
        ("distortion", 0),
        ("to_orig", 1e-12),
    ):
        value, expected = np.asarray(getattr(view, name)), arrays[key + name]
        assert value.dtype == expected.dtype, name
        np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance, err_msg=key + name)
    pixels = view.rgb_rescaled.numpy()
    np.testing.assert_allclose(
        pixels[:, ::16, ::16], arrays[key + "rgb_rescaled[::16]"], rtol=0, atol=2e-5, err_msg=key
    )
    np.testing.assert_allclose(pixels.mean(axis=(1, 2)), meta["rgb_rescaled_mean"], rtol=0, atol=2e-5)
    if view.pts3d is not None:
        check_points(view.pts3d, view.valid, meta["pts3d"], arrays, key, "pts3d", "valid_yx")
        check_points(
            view.pts3d_rescaled,
            view.valid_rescaled,
            meta["pts3d_rescaled"],
            arrays,
            key,
            "pts3d_rescaled",
            "valid_rescaled_yx",
        )


def check_points(
    points: np.ndarray | None,
    valid: np.ndarray | None,
    meta: dict[str, Any],
    arrays: Mapping[str, np.ndarray],
    key: str,
    name: str,
    places: str,
) -> None:
    assert points is not None
    assert valid is not None
    assert list(points.shape) == meta["shape"]
    assert str(points.dtype) == meta["dtype"]
    assert valid.sum() == meta["n_valid"]
    assert np.array_equal(np.isfinite(points).all(axis=-1), valid)
    step = 1 if meta["subset"] == "all" else 97
    found = np.argwhere(valid)[::step]
    np.testing.assert_array_equal(found, arrays[key + places])
    np.testing.assert_allclose(points[tuple(found.T)], arrays[key + name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_candidates_are_the_sorted_pairs(goldens: Path, recorded: dict[str, Any], config: str) -> None:
    expected = recorded[config]
    everything = open_config(goldens, config, topk=100)
    best = open_config(goldens, config, topk=1)
    for index, name in enumerate(expected["queries"]):
        pairs = [[found.name, found.score] for found in everything.candidates(index)]
        assert pairs == expected["pairs"][name]
        assert [[found.name, found.score] for found in best.candidates(index)] == pairs[:1]


@pytest.mark.parametrize("config", CONFIGS[:6])
def test_datasets_satisfy_the_protocol(goldens: Path, config: str) -> None:
    dataset = open_config(goldens, config, topk=1)
    assert isinstance(dataset, LocalizationDataset)
    assert dataset.thresholds == ((0.1, 1.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))


@pytest.mark.parametrize("config", ["aachen_all@512", "cambridge@512"])
def test_maps_of_colmap_models_are_shifted_once(
    goldens: Path, arrays: Mapping[str, np.ndarray], config: str
) -> None:
    """Upstream's principal points of the map are half a pixel too small (trap 1); the exact ones are not."""
    dataset = open_config(goldens, config, topk=1)
    for image in dataset.map.images:
        upstream = arrays[f"{config}/{image.name}#intrinsics"]
        assert image.camera is not None
        np.testing.assert_allclose(
            image.camera.intrinsics - upstream, [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], atol=1e-4
        )


def test_sparse_points_are_the_observations(goldens: Path) -> None:
    dataset = open_config(goldens, "aachen_all@512", topk=1)
    image = dataset.map.images[dataset.map.index_of["db/1001.png"]]
    assert image.load_points is not None
    points = image.load_points()
    assert isinstance(points, SparsePoints)
    lines = (
        (goldens / "datasets" / AACHEN / "mapping/colmap/reconstruction/images.txt").read_text().splitlines()
    )
    header = next(number for number, line in enumerate(lines) if line.endswith(" db/1001.png"))
    fields = np.array(lines[header + 1].split(), dtype=np.float64).reshape(-1, 3)
    observed = fields[fields[:, 2] >= 0]
    np.testing.assert_array_equal(points.point_ids, observed[:, 2])
    np.testing.assert_allclose(points.xy, observed[:, :2] - 0.5, rtol=0, atol=1e-12)
    model = goldens / "datasets" / AACHEN / "mapping/colmap/reconstruction/points3D.txt"
    known = {
        int(line.split()[0]): [float(field) for field in line.split()[1:4]]
        for line in model.read_text().splitlines()
        if not line.startswith("#")
    }
    np.testing.assert_allclose(
        points.xyz, [known[number] for number in points.point_ids.tolist()], atol=1e-12
    )


def test_an_image_without_observations_has_no_points(goldens: Path) -> None:
    dataset = open_config(goldens, "aachen_all@512", topk=1)
    image = dataset.map.images[dataset.map.index_of["db/empty.png"]]
    assert image.load_points is not None
    points = image.load_points()
    assert isinstance(points, SparsePoints)
    assert points.xy.shape == (0, 2)
    assert points.xyz.shape == (0, 3)


@pytest.mark.parametrize("config", ["sevenscenes@512", "inloc_hlocpairs@512"])
def test_dense_points_lie_on_the_photos_pixels(goldens: Path, config: str) -> None:
    for image in open_config(goldens, config, topk=1).map.images:
        assert image.load_points is not None
        assert image.camera is not None
        points = image.load_points()
        assert isinstance(points, DensePoints)
        assert points.grid.shape[:2] == image.camera.shape
        pixel = np.array([[3.0, 5.0]])
        np.testing.assert_array_equal(points.transform.points_to_network(pixel), pixel)


def test_unknown_poses_are_unknown_except_in_upstreams_views(goldens: Path) -> None:
    dataset = open_config(goldens, "aachen_all@512", topk=1)
    assert [query.cam2world is None for query in dataset.queries] == [False, True, True]
    dataset.set_resolution(model_of(512))
    np.testing.assert_array_equal(dataset[1][0].cam_to_world, np.eye(4))


def test_views_need_the_networks_size(goldens: Path) -> None:
    with pytest.raises(ConfigError, match="size of the network's input"):
        open_config(goldens, "cambridge@512", topk=1)[0]


def test_iterating_ends(goldens: Path) -> None:
    dataset = open_config(goldens, "cambridge@512", topk=1)
    dataset.set_resolution(model_of(224))
    assert [len(views) for views in dataset] == [2, 2]


def test_photos_are_read_only_when_asked_for(goldens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a photo was opened")

    monkeypatch.setattr("PIL.Image.open", refuse)
    for config in CONFIGS[:6]:
        dataset = open_config(goldens, config, topk=1)
        assert len(dataset.map)
        assert dataset.queries
        assert dataset.candidates(0)
