"""One's own map as a dataset: listed photos are held out, with their poses as truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mast3r_model import InputError
from mast3r_visloc.datasets import LocalizationDataset
from mast3r_visloc.maps.as_dataset import ColmapMap, RgbdFolder

from .map_world import World, one_camera_world

WORLD = World()
FIRST, SECOND, THIRD, FOURTH = (shot.name for shot in WORLD.shots)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    WORLD.write_colmap(tmp_path / "sparse/0")
    WORLD.write_photos(tmp_path / "images")
    return tmp_path


def test_listed_photos_of_the_map_are_held_out(folder: Path) -> None:
    (folder / "list.txt").write_text(f"# held out\n{SECOND}\n\n{FOURTH}\n")
    (folder / "pairs.txt").write_text(f"{SECOND} {FIRST}\n{SECOND} {FOURTH}\n{SECOND} {THIRD}\n")
    dataset = ColmapMap(folder, queries=folder / "list.txt", pairsfile=folder / "pairs.txt", topk=2)
    assert isinstance(dataset, LocalizationDataset)
    assert [query.name for query in dataset.queries] == [SECOND, FOURTH]
    assert {image.name for image in dataset.map.images} == {FIRST, THIRD}
    for query, shot in zip(dataset.queries, (WORLD.shots[1], WORLD.shots[3]), strict=True):
        np.testing.assert_allclose(query.cam2world, shot.pose, atol=1e-9)
        np.testing.assert_allclose(query.camera.intrinsics, shot.K, atol=1e-9)
        assert query.path.is_file()
    assert [candidate.name for candidate in dataset.candidates(0)] == [FIRST, THIRD]
    with pytest.raises(InputError, match="no pairs") as raised:
        dataset.candidates(1)
    assert "--retrieval" in raised.value.hint


def test_queries_beside_the_map(folder: Path) -> None:
    WORLD.shots[0].picture().save(folder / "images/new.png")
    (folder / "list.txt").write_text("new.png PINHOLE 64 48 60 62 32 24\n")
    dataset = ColmapMap(str(folder), queries=str(folder / "list.txt"))
    (query,) = dataset.queries
    assert query.path == folder / "images/new.png"
    assert query.camera.params == (60, 62, 32, 24)
    assert query.cam2world is None
    assert len(dataset.map) == 4
    (other,) = ColmapMap(folder, queries=["new.png"], query_images=folder / "images").queries
    assert other.camera is None
    assert ColmapMap(folder).queries == ()


def test_what_is_wrong_is_said(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no query .*absent\.jpg"):
        _ = ColmapMap(folder, queries=["absent.jpg"]).queries
    with pytest.raises(InputError, match="leaves the dataset's folder"):
        _ = ColmapMap(folder, queries=["../absent.jpg"]).queries
    with pytest.raises(InputError, match="every photo of the map is a query"):
        _ = ColmapMap(folder, queries=[FIRST, SECOND, THIRD, FOURTH]).map
    with pytest.raises(InputError, match="topk"):
        ColmapMap(folder, topk=0)
    with pytest.raises(InputError, match="cannot read"):
        _ = ColmapMap(folder, queries="absent.txt").queries


def test_rgbd(tmp_path: Path) -> None:
    one_camera_world().write_rgbd(tmp_path)
    dataset = RgbdFolder(tmp_path, queries=[THIRD])
    assert (len(dataset.map), len(dataset.queries)) == (2, 1)
    assert dataset.name.startswith("RgbdFolder")
    np.testing.assert_allclose(dataset.queries[0].cam2world, WORLD.shots[2].pose, atol=1e-9)
