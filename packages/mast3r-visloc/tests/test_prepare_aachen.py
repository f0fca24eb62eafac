"""Aachen's release into A2's layout, read back by its dataset class (spec 50 D8)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from mast3r_model import InputError
from mast3r_visloc.datasets import VislocAachenDayNight
from mast3r_visloc.preparing import PreparationReport, PreparationRequest, prepare

QUERIES = {
    "day": ["query/day/nexus5x/IMG_1.png SIMPLE_RADIAL 288 216 236.4 144.3 107.2 -0.04"],
    "night": [
        "query/night/nexus5x/IMG_2.png SIMPLE_RADIAL 180 240 205.0 90.0 120.5 0.06",
        "query/night/extra/IMG_4.png SIMPLE_PINHOLE 64 48 60.0 32.0 24.0",
    ],
}


@pytest.fixture(params=["binary", "text"])
def raw(request: pytest.FixtureRequest, tmp_path: Path, goldens: Path) -> Path:
    """The release's layout, with the photos and the model of the recorded dataset."""
    folder = tmp_path / "raw"
    recorded = goldens / "datasets" / "Aachen-Day-Night-v1.1"
    shutil.copytree(recorded / "images", folder / "images_upright")
    model = folder / "3D-models" / "aachen_v_1_1"
    model.mkdir(parents=True)
    source = recorded / "mapping" / "colmap" / "reconstruction"
    if request.param == "text":
        shutil.copytree(source, model, dirs_exist_ok=True)
    else:
        pycolmap.Reconstruction(source).write_binary(model)
    (folder / "queries").mkdir()
    for when, lines in QUERIES.items():
        (folder / "queries" / f"{when}_time_queries_with_intrinsics.txt").write_text("\n".join(lines) + "\n")
    return folder


def run(raw: Path, goldens: Path) -> PreparationReport:
    pairs = goldens / "datasets/Aachen-Day-Night-v1.1/pairsfile/query/fire_top50.txt"
    return prepare(PreparationRequest("aachen", raw, raw.parent / "out", pairs=pairs))


def test_dataset_class_reads_what_it_reads_from_the_recorded_folder(raw: Path, goldens: Path) -> None:
    report = run(raw, goldens)
    as_text = (raw / "3D-models/aachen_v_1_1/images.txt").is_file()
    assert (report.linked, report.copied, report.made) == (8, 0, 3 + 4)  # photos; the model; lists, pairs
    model = raw.parent / "out/mapping/colmap/reconstruction/images.txt"
    assert (model.stat().st_nlink == 2) == as_text
    made = VislocAachenDayNight(raw.parent / "out", subscene="all", pairsfile="fire_top50", topk=3)
    recorded = VislocAachenDayNight(
        goldens / "datasets/Aachen-Day-Night-v1.1", subscene="all", pairsfile="fire_top50", topk=3
    )
    expected = {query.name: query.camera for query in recorded.queries}
    assert [query.name for query in made.queries] == [
        "query/day/nexus5x/IMG_1.png",
        "query/night/nexus5x/IMG_2.png",
    ]
    assert all(query.camera == expected[query.name] for query in made.queries)
    assert all(query.cam2world is None and query.path.is_file() for query in made.queries)
    assert [image.name for image in made.map.images] == [image.name for image in recorded.map.images]
    for image, other in zip(made.map.images, recorded.map.images, strict=True):
        assert image.camera == other.camera
        assert image.path.is_file()
        np.testing.assert_allclose(image.cam2world, other.cam2world, atol=1e-9)
        seen, known = image.load_points(), other.load_points()
        np.testing.assert_array_equal(np.sort(seen.point_ids), np.sort(known.point_ids))
        rows, places = np.argsort(seen.point_ids), np.argsort(known.point_ids)
        np.testing.assert_allclose(seen.xy[rows], known.xy[places], atol=1e-9)
        np.testing.assert_allclose(seen.xyz[rows], known.xyz[places], atol=1e-9)


def test_a_second_run_does_nothing(raw: Path, goldens: Path) -> None:
    run(raw, goldens)
    again = run(raw, goldens)
    assert (again.linked, again.copied, again.made, again.kept) == (0, 0, 0, 8)


def test_missing_photos_are_named(raw: Path, goldens: Path) -> None:
    (raw / "images_upright/db/1001.png").unlink()
    (raw / "images_upright/query/night/nexus5x/IMG_2.png").unlink()
    problems = run(raw, goldens).problems
    assert problems["images/db/1001.png"] == f"not found: {raw / 'images_upright/db/1001.png'}"
    assert "images/query/night/nexus5x/IMG_2.png" in problems


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("3D-models", "no COLMAP model: looked for cameras, images and points3D"),
        ("queries", r"no list of queries: looked for queries/\*_with_intrinsics.txt"),
        ("images_upright", "no photos: looked for images_upright and images"),
    ],
)
def test_what_is_not_there_is_named(raw: Path, goldens: Path, gone: str, said: str) -> None:
    shutil.rmtree(raw / gone)
    with pytest.raises(InputError, match=said) as caught:
        run(raw, goldens)
    assert "\n" not in str(caught.value)


def test_a_query_line_that_is_none_is_named(raw: Path, goldens: Path) -> None:
    path = raw / "queries/day_time_queries_with_intrinsics.txt"
    path.write_text(path.read_text().replace("288", "wide"))
    with pytest.raises(InputError, match="line 1"):
        run(raw, goldens)


@pytest.mark.parametrize("raw", ["binary"], indirect=True)
def test_a_damaged_binary_model_is_named(raw: Path, goldens: Path) -> None:
    path = raw / "3D-models/aachen_v_1_1/images.bin"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"images\.bin"):
        run(raw, goldens)
