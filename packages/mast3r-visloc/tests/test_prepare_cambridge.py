"""Cambridge Landmarks' release into A2's layout, read back by its dataset class (spec 50 D8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mast3r_match import Matches
from mast3r_model import InputError
from mast3r_visloc.datasets import VislocCambridgeLandmarks
from mast3r_visloc.preparing import PreparationReport, PreparationRequest, prepare
from mast3r_visloc.preparing.nvm import NvmCamera, read_nvm_cameras

from .raw_releases import SIZE_WH, CambridgeTruth, make_cambridge, off_the_wall


@pytest.fixture
def truth(tmp_path: Path) -> CambridgeTruth:
    return make_cambridge(tmp_path / "raw")


def run(tmp_path: Path, match: object = None, **options: object) -> PreparationReport:
    pairs = tmp_path / "pairs.txt"
    lines = [f"{query}, {photo}, 0.5" for query in CambridgeTruth.test for photo in CambridgeTruth.train]
    pairs.write_text("\n".join(lines) + "\n")
    request = PreparationRequest("cambridge", tmp_path / "raw", tmp_path / "out", pairs=pairs, **options)
    return prepare(request, match=match)


def opened(tmp_path: Path) -> VislocCambridgeLandmarks:
    return VislocCambridgeLandmarks(tmp_path / "out", subscene="ShopFacade", pairsfile="pairs", topk=3)


def check_against(dataset: VislocCambridgeLandmarks, truth: CambridgeTruth) -> None:
    """Names, poses, and that points lie on the wall and where the camera sees them."""
    assert sorted(image.name for image in dataset.map.images) == sorted(truth.train)
    assert [query.name for query in dataset.queries] == list(truth.test)
    for image in [*dataset.map.images, *dataset.queries]:
        np.testing.assert_allclose(image.cam2world, truth.cam2world[image.name[:-4]], atol=2e-6)
        assert (image.camera.model, image.camera.width, image.camera.height) == ("SIMPLE_RADIAL", *SIZE_WH)
        assert image.camera.focal_lengths == (truth.focal,)
    for image in dataset.map.images:
        seen = image.load_points()
        assert len(seen) > 40
        assert np.abs(off_the_wall(seen.xyz)).max() < 0.01
        world2cam = np.linalg.inv(image.cam2world)
        local = seen.xyz @ world2cam[:3, :3].T + world2cam[:3, 3]
        projected = image.camera.to_colmap().img_from_cam(local) - 0.5
        assert np.linalg.norm(projected - seen.xy, axis=1).max() < 0.3


def test_dataset_class_reads_the_nvms_points(tmp_path: Path, truth: CambridgeTruth) -> None:
    report = run(tmp_path)
    assert report.complete, report.problems
    assert (report.linked, report.copied) == (5, 0)
    dataset = opened(tmp_path)
    check_against(dataset, truth)
    for image in dataset.map.images:
        seen = image.load_points()
        nearest = np.abs(seen.xyz[:, None] - truth.points[None]).max(-1)
        assert nearest.min(1).max() < 1e-9
        # VisualSFM's pixels count from the photo's middle; ours from the centre of the first pixel
        expected = truth.pixels(image.name)[nearest.argmin(1)] + np.array(SIZE_WH) / 2 - 0.5
        np.testing.assert_allclose(seen.xy, expected, atol=1e-9)


@pytest.mark.parametrize("wrong", [False, True])
def test_triangulated_points_lie_on_the_wall(tmp_path: Path, truth: CambridgeTruth, wrong: bool) -> None:
    asked: list[tuple[str, str]] = []

    def match(photos: Sequence[Path], pairs: Sequence[tuple[int, int]]) -> Iterator[Matches]:
        names = [str(photo.relative_to(tmp_path / "out" / "ShopFacade")) for photo in photos]
        for first, second in pairs:
            asked.append((names[first], names[second]))
            xy = [truth.pixels(names[k]) + np.array(SIZE_WH) / 2 - 0.5 for k in (first, second)]
            inside = np.logical_and.reduce([((p > 0) & (p < np.array(SIZE_WH) - 1)).all(1) for p in xy])
            if wrong:
                xy[1][::10] += [30, -50]
            yield Matches(xy[0][inside], xy[1][inside], np.ones(inside.sum()))

    report = run(tmp_path, match, points="triangulate")
    assert report.complete, report.problems
    assert sorted(asked) == sorted(set(asked))
    assert {name for pair in asked for name in pair} == set(truth.train)
    dataset = opened(tmp_path)
    if not wrong:
        check_against(dataset, truth)
    for image in dataset.map.images:
        np.testing.assert_allclose(image.cam2world, truth.cam2world[image.name[:-4]], atol=2e-6)
        # two photos cannot tell a wrong match along the epipolar line
        assert (np.abs(off_the_wall(image.load_points().xyz)) < 0.01).mean() > 0.9
    assert run(tmp_path, match, points="triangulate").made == 0


def test_triangulation_needs_a_network(tmp_path: Path, truth: CambridgeTruth) -> None:
    with pytest.raises(InputError, match="network"):
        run(tmp_path, points="triangulate")


@pytest.mark.parametrize("distortion", [-0.08, 0.0, 0.08])
def test_radial_inverts_visual_sfms_distortion(distortion: float) -> None:
    """``undistorted = (1 + r d^2) d`` against COLMAP's ``distorted = (1 + k u^2) u``, over the whole photo."""
    camera = NvmCamera("a", 1670.0, np.eye(4), distortion)
    k = camera.radial((1920, 1080))
    distorted = np.linspace(0, np.hypot(960, 540) / 1670, 50)
    undistorted = (1 + distortion * distorted**2) * distorted
    assert np.abs((1 + k * undistorted**2) * undistorted - distorted).max() * 1670 < 1.0
    assert np.sign(k) == -np.sign(distortion)


def test_a_second_run_does_nothing_and_a_lost_file_comes_back(tmp_path: Path, truth: CambridgeTruth) -> None:
    run(tmp_path)
    again = run(tmp_path)
    assert (again.linked, again.copied, again.made, again.kept) == (0, 0, 0, 5)
    (tmp_path / "out/ShopFacade/seq1/frame00001.png").unlink()
    (tmp_path / "out/mapping/ShopFacade/colmap/reconstruction/points3D.txt").unlink()
    third = run(tmp_path)
    assert third.linked == 1
    check_against(opened(tmp_path), truth)


def test_photos_share_the_raw_files_bytes(tmp_path: Path, truth: CambridgeTruth) -> None:
    run(tmp_path)
    for name in (*truth.train, *truth.test):
        assert (tmp_path / "out/ShopFacade" / name).samefile(tmp_path / "raw/ShopFacade" / name)


def test_without_links_photos_are_copied(tmp_path: Path, truth: CambridgeTruth, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr("os.link", refuse)
    report = run(tmp_path)
    assert (report.linked, report.copied) == (0, 5)
    assert report.complete


def test_missing_photos_are_named_and_join_later(tmp_path: Path, truth: CambridgeTruth) -> None:
    photo = tmp_path / "raw/ShopFacade/seq1/frame00002.png"
    photo.rename(tmp_path / "kept.png")
    report = run(tmp_path)
    assert report.problems["ShopFacade/seq1/frame00002.png"] == f"not found: {photo}"
    assert len(opened(tmp_path).map.images) == 2
    (tmp_path / "kept.png").rename(photo)
    assert run(tmp_path).complete
    check_against(opened(tmp_path), truth)


def test_a_photo_without_camera_is_named(tmp_path: Path, truth: CambridgeTruth) -> None:
    with (tmp_path / "raw/ShopFacade/dataset_test.txt").open("a") as file:
        file.write("seq9/frame00001.png 0 0 0 1 0 0 0\n")
    problem = run(tmp_path).problems["ShopFacade/seq9/frame00001.png"]
    assert "no camera in" in problem
    assert "reconstruction.nvm" in problem


def test_names_cannot_leave_the_folder(tmp_path: Path, truth: CambridgeTruth) -> None:
    path = tmp_path / "raw/ShopFacade/dataset_test.txt"
    path.write_text(path.read_text().replace("seq2/frame00001.png", "../../seq2/frame00001.png"))
    nvm = tmp_path / "raw/ShopFacade/reconstruction.nvm"
    nvm.write_text(nvm.read_text().replace("seq2/frame00001.jpg", "../../seq2/frame00001.jpg"))
    with pytest.raises(InputError, match="leaves the"):
        run(tmp_path)


@pytest.mark.parametrize("cut", [5, 30, 300, 2000])
def test_a_damaged_nvm_names_the_line(tmp_path: Path, truth: CambridgeTruth, cut: int) -> None:
    nvm = tmp_path / "raw/ShopFacade/reconstruction.nvm"
    nvm.write_text(nvm.read_text()[:cut])
    if cut < 2000:
        with pytest.raises(InputError, match=r"reconstruction\.nvm"):
            read_nvm_cameras(nvm)
    else:
        assert any("line" in text and "damaged" in text for text in run(tmp_path).problems.values())


def test_a_wrong_raw_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=r"reconstruction\.nvm, dataset_train\.txt") as caught:
        run(tmp_path)
    assert "\n" not in str(caught.value)


def test_out_must_not_lie_in_raw(tmp_path: Path, truth: CambridgeTruth) -> None:
    with pytest.raises(InputError, match="never written to"):
        prepare(PreparationRequest("cambridge", tmp_path / "raw", tmp_path / "raw" / "out"))
