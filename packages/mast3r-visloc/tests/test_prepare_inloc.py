"""InLoc's release into A2's layout, read back by its dataset class (spec 50 D8)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_model import InputError
from mast3r_visloc.datasets import VislocInLoc
from mast3r_visloc.preparing import PreparationReport, PreparationRequest, prepare

from .raw_releases import CUTOUT_FOCAL, InLocTruth, make_inloc, off_the_wall

PAIRS = "pairs-query-netvlad40-temporal"


@pytest.fixture
def truth(tmp_path: Path) -> InLocTruth:
    return make_inloc(tmp_path / "raw")


def run(tmp_path: Path, truth: InLocTruth, **options: object) -> PreparationReport:
    pairs = tmp_path / f"{PAIRS}.txt"
    lines = [
        f"query/iphone7/{query} database/cutouts/{cutout}"
        for query in ("IMG_0731.JPG", "IMG_0732.JPG")
        for cutout in truth.cam2world
    ]
    pairs.write_text("\n".join(lines) + "\n")
    request = PreparationRequest("inloc", tmp_path / "raw", tmp_path / "out", pairs=pairs, **options)
    return prepare(request)


def test_dataset_class_reads_it_with_true_points(tmp_path: Path, truth: InLocTruth) -> None:
    report = run(tmp_path, truth)
    assert report.complete, report.problems
    assert (report.linked, report.copied) == (14, 0)  # 6 cutouts with scans, 2 queries
    dataset = VislocInLoc(tmp_path / "out", pairsfile=PAIRS, topk=20)
    assert [image.name for image in dataset.map.images] == sorted(truth.cam2world)
    assert [candidate.name for candidate in dataset.candidates(1)] == list(truth.cam2world)
    for image in dataset.map.images:
        grid = image.load_points().grid
        known = np.isfinite(grid).all(-1)
        assert known.sum() == known.size - 200
        assert np.abs(off_the_wall(grid[known])).max() < 1e-9
        assert image.cam2world is None
        np.testing.assert_allclose(image.camera.focal_lengths, CUTOUT_FOCAL, atol=0.1)


def test_cutout_poses_are_worked_out_from_the_scans(tmp_path: Path, truth: InLocTruth) -> None:
    assert run(tmp_path, truth, cutout_poses=True).complete
    dataset = VislocInLoc(tmp_path / "out", pairsfile=PAIRS)
    for image in dataset.map.images:
        np.testing.assert_allclose(image.cam2world, truth.cam2world[image.name], atol=2e-3)
    again = run(tmp_path, truth, cutout_poses=True)
    assert (again.linked, again.made) == (0, 0)


def test_query_cameras(tmp_path: Path, truth: InLocTruth) -> None:
    """28 mm unless EXIF says otherwise, over the long side's 36 mm: 3136 px for 4032."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 56
    Image.new("RGB", (144, 108)).save(tmp_path / "raw/query/iphone7/IMG_0733.JPG", exif=exif)
    report = run(tmp_path, truth)
    assert "no pairs for 1 queries: iphone7/IMG_0733.JPG" in " ".join(report.problems.values())
    queries = VislocInLoc(tmp_path / "out", pairsfile=PAIRS).queries
    assert [query.name for query in queries] == [f"iphone7/IMG_073{n}.JPG" for n in (1, 2, 3)]
    assert [query.camera.focal_lengths[0] for query in queries] == [112.0, 112.0, 224.0]
    assert [(query.camera.width, query.camera.height) for query in queries] == [
        (144, 108),
        (108, 144),
        (144, 108),
    ]
    assert queries[1].camera.intrinsics[0, 2] == 54  # the middle, an integer being a pixel's centre


def test_missing_scans_and_alignments_are_named(tmp_path: Path, truth: InLocTruth) -> None:
    cutouts = tmp_path / "raw/database/cutouts"
    lost = cutouts / "DUC1/000/DUC_cutout_000_0_0.png.mat"
    lost.unlink()
    (cutouts / "DUC1/001").rename(cutouts / "DUC1/077")
    report = run(tmp_path, truth)
    name = "mapping/sensors/records_data/DUC1/000/DUC_cutout_000_0_0.png"
    assert report.problems[f"{name}.mat"] == f"not found: {lost}"
    assert "its scan is missing" in report.problems[name]
    assert "the scan 077 is not in" in report.problems["DUC1/077"]
    images = VislocInLoc(tmp_path / "out", pairsfile=PAIRS).map.images
    assert [image.name.split("/")[1] for image in images] == ["000", "013", "013"]
    assert all(image.load_points() for image in images)


def test_a_second_run_does_nothing(tmp_path: Path, truth: InLocTruth) -> None:
    run(tmp_path, truth)
    again = run(tmp_path, truth)
    assert (again.linked, again.copied, again.made, again.kept) == (0, 0, 0, 14)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("database/cutouts", "looked for database/cutouts/DUC1, cutouts/DUC1"),
        ("database/alignments/DUC2", "no alignment of DUC2: looked for all_transformations.txt"),
        ("query", "no queries: looked for query/iphone7"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, truth: InLocTruth, gone: str, said: str) -> None:
    (tmp_path / "raw" / gone).rename(tmp_path / "gone")
    with pytest.raises(InputError, match=said) as caught:
        run(tmp_path, truth)
    assert "\n" not in str(caught.value)
