"""Data that upstream's way would compute nonsense from, or die of: told, and the other queries go on (spec 50 A)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mast3r_model import InputError
from mast3r_model.cli import ModelOptions, root, run
from mast3r_visloc.datasets import VislocAachenDayNight, VislocInLoc, VislocSevenScenes
from mast3r_visloc.pnp.reference import run_pnp
from mast3r_visloc.reference import reference_views

from .analytic_network import AnalyticNetwork
from .benchmark_datasets import AACHEN

SHOP = "Cambridge_Landmarks/ShopFacade/seq2"
EXPRESSION = (
    "VislocCambridgeLandmarks({root!r}, subscene='ShopFacade', pairsfile='AP-GeM-LM18_top50', topk=1)"
)


@pytest.fixture
def data(goldens: Path, tmp_path: Path) -> Path:
    """A copy of the datasets that a test may break."""
    return shutil.copytree(goldens / "datasets", tmp_path / "datasets")


def shrink(photo: Path) -> None:
    with Image.open(photo) as opened:
        smaller = opened.resize((opened.width // 2, opened.height // 2))
    smaller.save(photo)


def test_a_photo_of_another_size_than_its_camera(data: Path) -> None:
    """Upstream plans with the camera's size and cuts the photo: another size is no photo of this camera."""
    dataset = VislocAachenDayNight(data / AACHEN, "day", "fire_top50")
    shrink(dataset.queries[0].path)
    with pytest.raises(InputError, match="is for 288x216 pixels, its photo has 144x108"):
        reference_views(dataset, 0, 512)


def test_depth_of_another_size_than_its_photo(data: Path) -> None:
    dataset = VislocSevenScenes(data / "7-scenes", "chess", "APGeM-LM18_top20")
    shrink(dataset.map.images[dataset.map.index_of[dataset.candidates(0)[0].name]].path)
    with pytest.raises(InputError, match="are on a grid of") as caught:
        reference_views(dataset, 0, 512)
    assert "without --parity" in (caught.value.hint or "")


def test_scans_of_another_size_than_their_camera(data: Path) -> None:
    image = VislocInLoc(data / "InLoc", "kapture_pairs").map.images[0]
    savemat(image.path.with_name(f"{image.path.name}.mat"), {"XYZcut": np.zeros((4, 6, 3))})
    assert image.load_points is not None
    with pytest.raises(InputError, match="has 6x4 points, its camera"):
        image.load_points()


def test_frames_whose_depth_has_no_name(data: Path) -> None:
    """Spec 50 A3.5: the depth's name is made of the photo's."""
    records = data / "7-scenes/chess/mapping/sensors/records_camera.txt"
    records.write_text(records.read_text().replace("frame-000000.color.png", "frame-000000.png"))
    image = VislocSevenScenes(data / "7-scenes", "chess", "APGeM-LM18_top20").map.images[0]
    assert image.load_points is not None
    with pytest.raises(InputError, match=r"frame-000000\.png is not known") as caught:
        image.load_points()
    assert "color.png" in (caught.value.hint or "")


def test_a_kapture_folder_without_photos(data: Path) -> None:
    (data / "InLoc/query/sensors/records_camera.txt").unlink()
    with pytest.raises(InputError, match=r"records_camera\.txt lists no photo"):
        _ = VislocInLoc(data / "InLoc", "kapture_pairs").queries


def test_a_sensor_that_is_no_camera_is_named(data: Path) -> None:
    sensors = data / AACHEN / "kapture/query/sensors/sensors.txt"
    sensors.write_text(sensors.read_text().replace("288, 216, 236.4", "288, 216, -236.4"))
    with pytest.raises(InputError, match=r"sensors\.txt, sensor .*focal length"):
        _ = VislocAachenDayNight(data / AACHEN, "day", "fire_top50").queries


@pytest.mark.parametrize("mode", ["cv2", "pycolmap"])
def test_points_that_no_solver_takes_are_a_failure(mode: str) -> None:
    """Spec 50 A7: OpenCV's exceptions, and poses without inliers, count as failures."""
    points2d = np.full((8, 2), np.nan if mode == "cv2" else 0.0, dtype=np.float32)
    points3d = np.full((8, 3), np.nan if mode == "cv2" else 0.0)
    camera = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
    assert run_pnp(points2d, points3d, camera, [0.0] * 4, mode, 5.0, (100, 100)) == (False, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", [Path.unlink, lambda photo: photo.write_bytes(b"no photo")])
@pytest.mark.parametrize("first", [True, False])
def test_a_query_that_cannot_be_read_is_named_and_the_others_go_on(
    data: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    first: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    photo = data / SHOP / ("frame00001.png" if first else "frame00002.png")
    damage(photo)
    monkeypatch.setattr(ModelOptions, "load", lambda *_: AnalyticNetwork(224))
    out = tmp_path / "out"
    words = ["visloc", "evaluate", EXPRESSION.format(root=str(data / "Cambridge_Landmarks")), "--parity"]
    code = run(root(), [*words, "--min-confidence", "0.5", "--threshold", "5px", "-o", str(out)])
    said = capfd.readouterr()
    assert code == 3, said.err
    assert f"skipped: seq2/{photo.name}: " in said.err
    names = [query["name"] for query in json.loads((out / "report.json").read_text())["queries"]]
    assert names == ["seq2/frame00002.png" if first else "seq2/frame00001.png"]
