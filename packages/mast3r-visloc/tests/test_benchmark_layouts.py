"""Wrong layouts of the benchmarks give errors that say what was looked for."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from mast3r_model import ConfigError, InputError, Mast3rError
from mast3r_visloc.datasets import (
    VislocAachenDayNight,
    VislocCambridgeLandmarks,
    VislocInLoc,
    VislocSevenScenes,
)
from mast3r_visloc.maps import SparsePoints
from mast3r_visloc.reference.views import reference_views

from .benchmark_datasets import AACHEN


@pytest.fixture
def data(goldens: Path, tmp_path: Path) -> Path:
    """A copy of the datasets that a test may break."""
    return shutil.copytree(goldens / "datasets", tmp_path / "datasets")


def failure(error: pytest.ExceptionInfo[Mast3rError]) -> str:
    """Message and hint, each one line."""
    assert "\n" not in error.value.message
    return f"{error.value.message} | {error.value.hint}"


@pytest.mark.parametrize("subscene", [None, "", "all"])
def test_aachen_without_a_subscene_is_all_of_it(goldens: Path, subscene: str | None) -> None:
    dataset = VislocAachenDayNight(goldens / "datasets" / AACHEN, subscene, "fire_top50")
    assert len(dataset) == 3
    assert dataset.topk == 1


def test_unknown_subscenes_list_the_known_ones(goldens: Path) -> None:
    root = goldens / "datasets"
    with pytest.raises(InputError) as error:
        VislocAachenDayNight(root / AACHEN, "dusk", "fire_top50")
    assert "all, day, night" in failure(error)
    with pytest.raises(InputError) as error:
        VislocCambridgeLandmarks(root / "Cambridge_Landmarks", "Shop", "AP-GeM-LM18_top50")
    assert "Cambridge_Landmarks/Shop" in failure(error)
    assert "ShopFacade, GreatCourt" in failure(error)
    with pytest.raises(InputError) as error:
        VislocSevenScenes(root / "7-scenes", "", "APGeM-LM18_top20")
    assert "chess, fire, heads, office, pumpkin, redkitchen, stairs" in failure(error)


@pytest.mark.parametrize("name", ["../7-scenes", "..", "chess/mapping"])
def test_names_are_no_paths(goldens: Path, name: str) -> None:
    with pytest.raises(InputError, match="plain name"):
        VislocSevenScenes(goldens / "datasets" / "7-scenes", name, "APGeM-LM18_top20")
    with pytest.raises(InputError, match="plain name"):
        VislocInLoc(goldens / "datasets" / "InLoc", name)


def test_missing_pairs_name_both_folders_and_what_is_there(goldens: Path) -> None:
    with pytest.raises(InputError) as error:
        VislocInLoc(goldens / "datasets" / "InLoc", "netvlad")
    said = failure(error)
    assert "InLoc/pairfiles/query/netvlad.txt" in said
    assert "InLoc/pairsfile/query/netvlad.txt" in said
    assert "kapture_pairs, pairs-query-netvlad40-temporal" in said


@pytest.mark.parametrize(
    ("scene", "old", "new"),
    [
        (AACHEN, "pairsfile", "pairfiles"),
        ("7-scenes/chess", "pairfiles", "pairsfile"),
        ("InLoc", "pairfiles", "pairsfile"),
    ],
)
def test_both_spellings_of_the_pairs_folder(data: Path, scene: str, old: str, new: str) -> None:
    (data / scene / old).rename(data / scene / new)
    if scene == AACHEN:
        assert len(VislocAachenDayNight(data / AACHEN, "all", "fire_top50").candidates(0)) == 1
    elif scene == "InLoc":
        assert len(VislocInLoc(data / "InLoc", "kapture_pairs", 2).candidates(0)) == 2
    else:
        assert len(VislocSevenScenes(data / "7-scenes", "chess", "APGeM-LM18_top20").candidates(0)) == 1


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("", "7-scenes"),
        ("chess/mapping/sensors/sensors.txt", "chess/mapping/sensors/sensors.txt"),
        ("chess/query", "chess/query/sensors/sensors.txt"),
        ("chess/pairfiles", "chess/pairfiles/query/APGeM-LM18_top20.txt"),
    ],
)
def test_what_is_missing_of_sevenscenes_is_named(data: Path, missing: str, said: str) -> None:
    path = data / "7-scenes" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError) as error:
        VislocSevenScenes(data / "7-scenes", "chess", "APGeM-LM18_top20")
    assert said in failure(error)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("images", "there is no folder"),
        ("kapture", "kapture/query/sensors/sensors.txt"),
        ("mapping/colmap/reconstruction/points3D.txt", "no COLMAP model in"),
    ],
)
def test_what_is_missing_of_aachen_is_named(data: Path, missing: str, said: str) -> None:
    path = data / AACHEN / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError) as error:
        VislocAachenDayNight(data / AACHEN, "all", "fire_top50")
    assert said in failure(error)
    assert AACHEN in failure(error)


@pytest.mark.parametrize("topk", [0, -1, 1.5, True])
def test_topk_is_a_positive_number(goldens: Path, topk: object) -> None:
    with pytest.raises(ConfigError, match="topk"):
        VislocInLoc(goldens / "datasets" / "InLoc", "kapture_pairs", topk)  # type: ignore[arg-type]


def test_a_query_without_pairs_fails_when_it_is_reached(data: Path) -> None:
    pairs = data / "7-scenes/chess/pairfiles/query/APGeM-LM18_top20.txt"
    kept = [line for line in pairs.read_text().splitlines() if "frame-000001.color.png, seq-02" not in line]
    pairs.write_text("\n".join(kept))
    dataset = VislocSevenScenes(data / "7-scenes", "chess", "APGeM-LM18_top20")
    assert len(dataset) == 2
    assert dataset.candidates(0)
    with pytest.raises(InputError, match=r"no pairs for the query seq-01/frame-000001\.color\.png"):
        dataset.candidates(1)


def test_pairs_with_photos_outside_the_map(data: Path) -> None:
    pairs = data / "InLoc/pairfiles/query/kapture_pairs.txt"
    pairs.write_text("iphone7/IMG_0731.png, DUC9/000/nowhere.png, 1\n")
    with pytest.raises(InputError, match=r"DUC9/000/nowhere\.png, which is not in the map"):
        VislocInLoc(data / "InLoc", "kapture_pairs").candidates(0)


def test_damaged_maps_name_themselves(data: Path) -> None:
    model = data / AACHEN / "mapping/colmap/reconstruction"
    (model / "points3D.txt").write_text("1 2 3\n")
    with pytest.raises(InputError, match="broken COLMAP model"):
        _ = VislocAachenDayNight(data / AACHEN, "all", "fire_top50").map


def test_photos_of_a_colmap_model_stay_in_their_folder(data: Path) -> None:
    images = data / AACHEN / "mapping/colmap/reconstruction/images.txt"
    images.write_text(images.read_text().replace(" db/1001.png", " ../../1001.png"))
    with pytest.raises(InputError, match="leaves the dataset's folder"):
        _ = VislocAachenDayNight(data / AACHEN, "all", "fire_top50").map


def test_missing_and_foreign_depth_maps(data: Path) -> None:
    folder = data / "7-scenes/chess/mapping/sensors/records_data/seq-02"
    (folder / "frame-000000.depth.reg").unlink()
    (folder / "frame-000001.depth.reg").write_bytes(b"1234")
    images = VislocSevenScenes(data / "7-scenes", "chess", "APGeM-LM18_top20").map.images
    for image, message in zip(images, (r"frame-000000\.depth\.reg", "has 4 bytes"), strict=False):
        assert image.load_points is not None
        with pytest.raises(InputError, match=message):
            image.load_points()


def test_scans_without_an_alignment(data: Path) -> None:
    (data / "InLoc/mapping/DUC1_alignment/all_transformations.txt").write_text(
        "001\nAfter general icp:\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
    )
    shutil.rmtree(data / "InLoc/mapping/DUC2_alignment")
    dataset = VislocInLoc(data / "InLoc", "kapture_pairs")
    first, _, last = dataset.map.images
    assert first.load_points is not None
    assert last.load_points is not None
    with pytest.raises(InputError, match="alignment of DUC1 has no scan '000'"):
        first.load_points()
    with pytest.raises(InputError, match="DUC2_alignment"):
        last.load_points()


def test_sevenscenes_without_rigs_or_poses(data: Path) -> None:
    """Poses may be the sensors' own; without any there is no 3D, and parity mode says so."""
    mapping = data / "7-scenes/chess/mapping/sensors"
    (mapping / "rigs.txt").unlink()
    text = (mapping / "trajectories.txt").read_text()
    (mapping / "trajectories.txt").write_text(
        text.replace("kinect,", "kinect_rgb,").replace("6, kinect", "9, kinect")
    )
    dataset = VislocSevenScenes(data / "7-scenes", "chess", "APGeM-LM18_top20")
    assert [image.load_points is None for image in dataset.map.images] == [False, True, False]
    with pytest.raises(InputError, match=r"frame-000001\.color\.png has no 3D points"):
        reference_views(dataset, 0, 512)


def test_cameras_that_upstream_does_not_know(data: Path) -> None:
    """The exact data hold any camera; upstream's views do not (spec 50 A3.3)."""
    sensors = data / AACHEN / "kapture/query/sensors/sensors.txt"
    sensors.write_text(
        sensors.read_text().replace("SIMPLE_RADIAL, 288, 216, 236.4", "PINHOLE, 288, 216, 236, 236")
    )
    sensors.write_text(sensors.read_text().replace("144.3, 107.2, -0.04", "144.3, 107.2"))
    dataset = VislocAachenDayNight(data / AACHEN, "day", "fire_top50")
    assert dataset.queries[0].camera is not None
    assert dataset.queries[0].camera.model == "PINHOLE"
    with pytest.raises(InputError, match="the reference pipeline knows SIMPLE_PINHOLE, SIMPLE_RADIAL"):
        reference_views(dataset, 0, 512)


def test_headers_of_cameras_are_comments_not_three_lines(data: Path) -> None:
    """Trap 26: upstream drops the first three lines whatever they are."""
    model = data / AACHEN / "mapping/colmap/reconstruction"
    text = (model / "cameras.txt").read_text().splitlines()
    (model / "cameras.txt").write_text("\n".join(text[3:]) + "\n")
    dataset = VislocAachenDayNight(data / AACHEN, "all", "fire_top50")
    assert len(dataset.map) == 5
    assert all(image.camera is not None for image in dataset.map.images)


def test_binary_models_are_text_models(data: Path) -> None:
    model = data / AACHEN / "mapping/colmap/reconstruction"
    as_text = VislocAachenDayNight(data / AACHEN, "all", "fire_top50").map
    points = [image.load_points() for image in as_text.images if image.load_points]
    pycolmap.Reconstruction(model).write_binary(model)
    for file in model.glob("*.txt"):
        file.unlink()
    as_binary = VislocAachenDayNight(data / AACHEN, "all", "fire_top50").map
    assert [image.name for image in as_binary.images] == [image.name for image in as_text.images]
    for image, text_image, expected in zip(as_binary.images, as_text.images, points, strict=True):
        assert image.load_points is not None
        assert image.camera == text_image.camera
        found = image.load_points()
        assert isinstance(found, SparsePoints)
        assert isinstance(expected, SparsePoints)
        np.testing.assert_array_equal(found.point_ids, expected.point_ids)
        np.testing.assert_allclose(found.xy, expected.xy, atol=1e-12)
        np.testing.assert_allclose(found.xyz, expected.xyz, atol=1e-12)


def test_a_point_observed_twice_counts_at_its_last_place(data: Path) -> None:
    model = data / AACHEN / "mapping/colmap/reconstruction"
    (model / "cameras.txt").write_text("1 SIMPLE_RADIAL 301 200 250.3 150.7 99.6 -0.05\n")
    (model / "images.txt").write_text("1 1 0 0 0 0 0 0 1 db/1001.png\n10 20 5 30 40 6 50 60 5\n")
    (model / "points3D.txt").write_text("5 1 2 3 0 0 0 1 1 0\n6 4 5 6 0 0 0 1 1 1\n")
    (image,) = VislocAachenDayNight(data / AACHEN, "all", "fire_top50").map.images
    assert image.load_points is not None
    points = image.load_points()
    assert isinstance(points, SparsePoints)
    np.testing.assert_array_equal(points.point_ids, [5, 6])
    np.testing.assert_array_equal(points.xy, [[49.5, 59.5], [29.5, 39.5]])


def test_the_cache_switch_is_accepted_and_keeps_nothing(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = sorted(data.rglob("*"))
    with caplog.at_level(logging.INFO, logger="mast3r.visloc"):
        dataset = VislocAachenDayNight(data / AACHEN, "all", "fire_top50", 1, True)
        assert len(dataset.map) == 5
    assert len(caplog.records) == 1
    assert "cache_sfm does nothing" in caplog.text
    assert sorted(data.rglob("*")) == before
