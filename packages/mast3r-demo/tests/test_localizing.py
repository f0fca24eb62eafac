"""The third tab: localizers by the hook, maps of the page and of uploads, and the result in 3D."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import trimesh
from PIL import Image

from mast3r_demo import localizing
from mast3r_demo.downloads import build_download
from mast3r_demo.jobs import Cancelled, JobControl
from mast3r_demo.limits import Limits
from mast3r_demo.localizing import LocalizedPhoto, localize_photo, map_of_result, map_of_upload
from mast3r_demo.session_folder import Session
from mast3r_demo.views import ViewSettings, map_scene, with_localized, write_localized_glb
from mast3r_model import InputError, hookimpl, temporary_plugin
from mast3r_sfm import Scene

from .small_scene import small_result

POSE = np.array([[1, 0, 0, 0.25], [0, 1, 0, 0.1], [0, 0, 1, -1], [0, 0, 0, 1.0]])


@dataclass
class Found:
    success: bool
    cam2world: np.ndarray | None
    num_inliers: int
    reason: str | None


class Known:
    """Localises everything at one place, or nowhere."""

    closed: ClassVar[list[Path]] = []

    def __init__(self, map_path: Path, model: Any) -> None:
        self.map_path = Path(map_path)
        self.scene = map_scene(self.map_path)

    def localize(self, photo: Path) -> Found:
        with Image.open(photo) as opened:
            if opened.width < 50:
                return Found(False, None, 3, "too few pixels")
        return Found(True, POSE, 321, None)

    def close(self) -> None:
        Known.closed.append(self.map_path)


class Plugin:
    @hookimpl
    def mast3r_localizers(self) -> dict[str, Any]:
        return {"known": Known}


@pytest.fixture
def known() -> Iterator[None]:
    with temporary_plugin(Plugin(), "known-plugin"):
        yield


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path / ("0" * 32))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "query.jpg"
    Image.effect_noise((160, 120), 60).convert("RGB").save(path)
    return path


def test_a_photo_is_localised_in_the_page_s_own_scene(known: None, session: Session, photo: Path) -> None:
    folder = map_of_result(small_result(session.uploads), session)
    scene = Scene.load(folder)
    assert Path(scene.image_folder) == session.uploads
    found = localize_photo(folder, photo, None, JobControl(60), localizer="known")
    assert found.success
    assert found.sentence() == "Found at (0.25, 0.10, -1.00): 321 matches agree."
    assert Known.closed[-1] == folder


def test_a_failure_says_why_and_the_localizer_is_closed(
    known: None, session: Session, tmp_path: Path
) -> None:
    folder = map_of_result(small_result(session.uploads), session)
    tiny = tmp_path / "tiny.png"
    Image.new("RGB", (20, 20)).save(tiny)
    closed = len(Known.closed)
    found = localize_photo(folder, tiny, None, JobControl(60), localizer="known")
    assert not found.success
    assert found.cam2world is None
    assert found.sentence() == "Not found: too few pixels."
    control = JobControl(60)
    control._cancelled.set()
    with pytest.raises(Cancelled):
        localize_photo(folder, tiny, None, control, localizer="known")
    assert len(Known.closed) == closed + 1


def test_nobody_is_there(session: Session, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localizing, "localizer_names", tuple)
    with pytest.raises(InputError):
        localize_photo(session.folder, photo, None, JobControl(60))


@pytest.mark.parametrize("outer", ["", "my map/"])
def test_an_uploaded_colmap_model_is_a_map(
    outer: str, known: None, session: Session, photo: Path, tmp_path: Path
) -> None:
    result = small_result(session.uploads)
    view = ViewSettings(percentile=0)
    download = build_download("colmap", result, view, session, with_photos=True)
    packed = tmp_path / "map.zip"
    with zipfile.ZipFile(download) as source, zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            target.writestr(outer + name, source.read(name))
    folder = map_of_upload(packed, session, Limits())
    assert (folder / "sparse" / "0").is_dir()
    found = localize_photo(folder, photo, None, JobControl(60), localizer="known")
    path = session.exports / "found.glb"
    write_localized_glb(folder, found, path, Limits())
    parts = list(trimesh.load(path).geometry.values())
    (cloud,) = (part for part in parts if isinstance(part, trimesh.PointCloud))
    assert len(cloud.vertices) == 20  # each sparse point once
    assert len(parts) == 1 + 3 + 1 + 1  # points, the map's cameras, the photo's, the frame


def test_points_of_a_colmap_model_are_where_they_were(session: Session, tmp_path: Path) -> None:
    result = small_result(session.uploads)
    download = build_download("colmap", result, ViewSettings(percentile=0), session)
    scene = map_scene(map_of_upload(download, session, Limits()))
    points = np.concatenate([image.pts3d()[image.depth > 0] for image in scene.images])
    distance = np.linalg.norm(points[:, None] - result.scene.tracks.positions[None], axis=2)
    assert distance.min(axis=0).max() < 0.03  # a pixel at 4 m
    for image, truth in zip(scene.images, result.scene.images, strict=True):
        np.testing.assert_allclose(image.cam2world, truth.cam2world, atol=1e-6)
        np.testing.assert_allclose(image.intrinsics, truth.intrinsics, atol=1e-6)


def test_the_localised_camera_joins_a_scene(session: Session, photo: Path) -> None:
    scene = small_result(session.uploads).scene
    joined = with_localized(scene, LocalizedPhoto(photo, True, POSE, 5, None))
    assert len(joined.images) == 4
    np.testing.assert_array_equal(joined.images[3].cam2world, POSE)
    assert joined.images[3].color.shape == (120, 160, 3)
    assert not joined.images[3].confidence.any()
    assert with_localized(scene, LocalizedPhoto(photo, False, None, 0, "no")) is scene


def test_uploads_that_are_no_map_are_refused(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing")
        archive.writestr("more.txt", "nothing")
    with pytest.raises(InputError, match="neither"):
        map_scene(map_of_upload(path, session, Limits()))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.txt", "no")
    with pytest.raises(InputError):
        map_of_upload(path, session, Limits())
    assert not (session.folder / "outside.txt").exists()


def test_turned_photos_are_made_upright_and_keep_their_focal_length(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 28  # focal length for a 35 mm film
    Image.effect_noise((160, 120), 60).convert("RGB").save(path, exif=exif)
    localizing.make_upright(path)
    with Image.open(path) as turned:
        assert turned.size == (120, 160)
        assert turned.getexif()[0x0112] == 1
        assert turned.getexif().get_ifd(0x8769)[0xA405] == 28
    data = path.read_bytes()
    localizing.make_upright(path)
    assert path.read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == ["turned.jpg"]


def test_asking_who_localises_imports_nothing_heavy() -> None:
    code = (
        "from mast3r_demo.localizing import localizer_names; import sys; names = localizer_names();"
        "assert 'torch' not in sys.modules and 'mast3r_visloc.localizing' not in sys.modules; print(names)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "visloc" in ran.stdout
