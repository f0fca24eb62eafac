"""Known cameras and masks of the page: by whose name they are, and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_demo.known_inputs import known_cameras, masks_folder
from mast3r_demo.limits import Limits
from mast3r_demo.session import SessionStore
from mast3r_demo.uploads import Taken, take_photos
from mast3r_demo.visits import Visit, Visits
from mast3r_model import InputError

LIMITS = Limits()


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Visit]:
    with SessionStore(tmp_path / "sessions") as store:
        yield Visits(store).enter(None)


@pytest.fixture
def photos(visit: Visit, tmp_path: Path) -> Taken:
    """An upright photo, and one that EXIF turns."""
    first, second = tmp_path / "left.jpg", tmp_path / "right view.jpg"
    Image.new("RGB", (40, 30), "red").save(first)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30), "blue").save(second, exif=exif)
    return take_photos(visit, [str(first), str(second)], LIMITS)


def mask(folder: Path, name: str) -> str:
    path = folder / name
    Image.new("L", (40, 30), len(name)).save(path)
    return str(path)


def contents(folder: tuple[Path, ...] | None) -> dict[str, int]:
    """Which mask a photo got: our masks differ by one grey level for each letter of their names."""
    assert folder is not None
    return {path.name: Image.open(path).getpixel((0, 0)) for path in folder[0].iterdir()}  # type: ignore[misc]


def test_nothing_is_known_of_nothing(visit: Visit, photos: Taken) -> None:
    assert known_cameras(visit, None, None, photos, LIMITS) is None
    assert known_cameras(visit, None, 0, photos, LIMITS) is None
    assert masks_folder(visit, None, photos, LIMITS) is None


def test_a_focal_length_is_of_upright_photos(visit: Visit, photos: Taken) -> None:
    known = known_cameras(visit, None, 50.0, photos, LIMITS)
    assert known is not None
    assert known.intrinsics is not None
    assert known.intrinsics.names == ("0001.jpg", "0002.jpg")
    assert known.intrinsics.shapes == ((30, 40), (40, 30))
    np.testing.assert_allclose(known.intrinsics.intrinsics[1], [[50, 0, 14.5], [0, 50, 19.5], [0, 0, 1]])
    assert np.isnan(known.intrinsics.cam2world).all()


def test_a_matrix_is_of_all_photos(visit: Visit, photos: Taken, tmp_path: Path) -> None:
    file = tmp_path / "K.txt"
    file.write_text("50 0 20\n0 50 15\n0 0 1\n")
    known = known_cameras(visit, str(file), None, photos, LIMITS)
    assert known is not None
    assert known.shared_intrinsics is not None
    assert known.shared_intrinsics[0, 2] == 20
    with pytest.raises(InputError, match="both"):
        known_cameras(visit, str(file), 50.0, photos, LIMITS)


def transforms(names: list[str]) -> str:
    frames = [{"file_path": f"images/{name}", "transform_matrix": np.eye(4).tolist()} for name in names]
    camera = {"fl_x": 33.0, "fl_y": 33.0, "cx": 20.0, "cy": 15.0, "w": 40, "h": 30}
    return json.dumps({"camera_model": "PINHOLE", **camera, "frames": frames})


def test_a_files_cameras_find_their_photos_by_the_visitors_names(
    visit: Visit, photos: Taken, tmp_path: Path
) -> None:
    file = tmp_path / "transforms.json"
    file.write_text(transforms(["right view.jpg", "another.jpg"]))
    known = known_cameras(visit, str(file), None, photos, LIMITS)
    assert known is not None
    assert known.intrinsics is not None
    assert known.intrinsics.names == ("0002.jpg",)
    assert known.intrinsics.intrinsics[0, 0, 0] == 33
    assert known.poses is None, "only intrinsics were asked for"


def test_a_zip_is_looked_into(visit: Visit, photos: Taken, tmp_path: Path) -> None:
    packed = tmp_path / "model.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model/transforms.json", transforms(["left.jpg"]))
    known = known_cameras(visit, str(packed), None, photos, LIMITS)
    assert known is not None
    assert known.intrinsics is not None
    assert known.intrinsics.names == ("0001.jpg",)


def test_cameras_of_other_photos_are_refused(visit: Visit, photos: Taken, tmp_path: Path) -> None:
    file = tmp_path / "transforms.json"
    file.write_text(transforms(["elsewhere.jpg"]))
    with pytest.raises(InputError, match="names none of the photos") as caught:
        known_cameras(visit, str(file), None, photos, LIMITS)
    assert "elsewhere.jpg" in (caught.value.hint or "")
    assert "left.jpg" in (caught.value.hint or "")


def test_masks_go_by_name(visit: Visit, photos: Taken, tmp_path: Path) -> None:
    given = [mask(tmp_path, "right view.png"), mask(tmp_path, "left.jpg.png")]
    found = contents(masks_folder(visit, given, photos, LIMITS))
    assert found == {"0002.jpg.png": len("right view.png"), "0001.jpg.png": len("left.jpg.png")}
    only = contents(masks_folder(visit, given[:1], photos, LIMITS))
    assert only == {"0002.jpg.png": len("right view.png")}, "photos without a mask have none"


def test_masks_without_names_go_by_order_or_are_for_all(visit: Visit, photos: Taken, tmp_path: Path) -> None:
    given = [mask(tmp_path, "m.png"), mask(tmp_path, "mm.png")]
    assert contents(masks_folder(visit, given, photos, LIMITS)) == {"0001.jpg.png": 5, "0002.jpg.png": 6}
    assert contents(masks_folder(visit, given[1:], photos, LIMITS)) == {"0001.jpg.png": 6, "0002.jpg.png": 6}


def test_masks_that_fit_no_photo_are_refused(visit: Visit, photos: Taken, tmp_path: Path) -> None:
    given = [mask(tmp_path, f"{name}.png") for name in ("a", "b", "c")]
    with pytest.raises(InputError, match="3 masks for 2 photos"):
        masks_folder(visit, given, photos, LIMITS)
    text = tmp_path / "mask.png"
    text.write_text("no picture")
    with pytest.raises(InputError, match=r"mask\.png is no photo"):
        masks_folder(visit, [str(text)], photos, LIMITS)
