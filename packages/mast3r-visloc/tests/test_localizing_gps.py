"""GPS in EXIF as the prior of ``--retrieval near`` (spec 50 D2)."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin
from scipy.spatial.transform import Rotation

from mast3r_model import InputError
from mast3r_visloc.localizing.geo_registration import geo_register
from mast3r_visloc.localizing.similarity import Similarity
from mast3r_visloc.maps import LocalizationMap, MapImage
from mast3r_visloc.maps.gps import GeoPosition, east_north_up, photo_position

from .painted_wall import MAP, QUERIES
from .visloc_cli import Visloc, refused

ORIGIN = GeoPosition(48.2205, 2.0, 120.0)
METRES_A_DEGREE = 111_320.0
"""Of latitude, roughly."""


def place(enu: np.ndarray, altitude: bool = True) -> GeoPosition:
    """The inverse of `east_north_up`, found by steps."""
    guess = np.array([ORIGIN.latitude, ORIGIN.longitude, ORIGIN.altitude])
    scale = np.array([METRES_A_DEGREE * math.cos(math.radians(ORIGIN.latitude)), METRES_A_DEGREE, 1.0])
    for _ in range(20):
        gap = enu - east_north_up([GeoPosition(*guess)], ORIGIN)[0]
        guess += (gap / scale)[[1, 0, 2]]
    return GeoPosition(guess[0], guess[1], guess[2] if altitude else None)


def save(path: Path, position: GeoPosition | None, **changes: object) -> Path:
    """A small photo with GPS in EXIF, to a tenth of a millimetre."""
    exif = Image.Exif()
    if position is not None:
        exif[ExifTags.IFD.GPSInfo] = gps_tags(position) | {
            getattr(ExifTags.GPS, name): value for name, value in changes.items()
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(path, exif=exif)
    return path


def gps_tags(position: GeoPosition) -> dict[int, object]:
    tags: dict[int, object] = {
        ExifTags.GPS.GPSLatitudeRef: "N" if position.latitude >= 0 else "S",
        ExifTags.GPS.GPSLatitude: sexagesimal(position.latitude),
        ExifTags.GPS.GPSLongitudeRef: "E" if position.longitude >= 0 else "W",
        ExifTags.GPS.GPSLongitude: sexagesimal(position.longitude),
    }
    if position.altitude is not None:
        tags[ExifTags.GPS.GPSAltitudeRef] = b"\x01" if position.altitude < 0 else b"\x00"
        tags[ExifTags.GPS.GPSAltitude] = TiffImagePlugin.IFDRational(
            round(abs(position.altitude) * 10**4), 10**4
        )
    return tags


def sexagesimal(angle: float) -> tuple[TiffImagePlugin.IFDRational, ...]:
    degrees, rest = divmod(abs(angle), 1)
    minutes, rest = divmod(rest * 60, 1)
    parts = (int(degrees), 1), (int(minutes), 1), (round(rest * 60 * 10**6), 10**6)
    return tuple(TiffImagePlugin.IFDRational(*part) for part in parts)


WORLD_FROM_ENU = Similarity(
    0.2, Rotation.from_euler("zyx", [50, 20, -70], degrees=True).as_matrix(), np.array([3, 1, 2.0])
)
PLACES = np.random.default_rng(2).uniform([-30, -40, -3], [30, 40, 3], (8, 3))


def geo_map(
    folder: Path,
    enu: np.ndarray = PLACES,
    *,
    noted: np.ndarray | None = None,
    altitude: bool = True,
    without: int = 0,
) -> LocalizationMap:
    """Photos at places of the earth, in a frame of their own; the last ones have no GPS.

    Args:
        folder: for the photos.
        enu: where they were taken.
        noted: what their GPS says instead.
        altitude: whether it says how high.
        without: so many say nothing.
    """
    images = []
    for number, (true, said) in enumerate(zip(enu, enu if noted is None else noted, strict=True)):
        pose = np.eye(4)
        pose[:3, 3] = WORLD_FROM_ENU.apply(true[None])[0]
        position = None if number >= len(enu) - without else place(said, altitude)
        images.append(MapImage(f"{number}.jpg", save(folder / f"{number}.jpg", position), None, pose))
    return LocalizationMap(images, folder, "test map")


@pytest.mark.parametrize(
    "position",
    [
        GeoPosition(48.8583701, 2.2944813, 67.25),
        GeoPosition(-33.8567844, -151.2152967),
        GeoPosition(31.5, 35.5, -430.5),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_gps_is_read(tmp_path: Path, position: GeoPosition, suffix: str) -> None:
    found = photo_position(save(tmp_path / f"a.{suffix}", position))
    assert found is not None
    assert found.latitude == pytest.approx(position.latitude, abs=1e-9)
    assert found.longitude == pytest.approx(position.longitude, abs=1e-9)
    assert found.altitude == position.altitude


@pytest.mark.parametrize(
    "changes",
    [
        {"GPSLatitude": (TiffImagePlugin.IFDRational(0, 0),) * 3},
        {"GPSLatitude": (TiffImagePlugin.IFDRational(91, 1), 0.0, 0.0)},
        {"GPSLongitude": (1.0, 2.0)},
        {"GPSLatitudeRef": "X"},
        {"GPSLongitudeRef": ""},
    ],
)
def test_gps_that_means_nothing_is_none(tmp_path: Path, changes: dict) -> None:
    assert photo_position(save(tmp_path / "good.jpg", ORIGIN)) is not None
    assert photo_position(save(tmp_path / "a.jpg", ORIGIN, **changes)) is None


def test_no_gps_and_no_photo(tmp_path: Path) -> None:
    assert photo_position(save(tmp_path / "a.jpg", None)) is None
    (tmp_path / "b.jpg").write_text("no photo")
    assert photo_position(tmp_path / "b.jpg") is None
    assert photo_position(tmp_path / "missing.jpg") is None


def test_east_north_up() -> None:
    """A degree of latitude at the equator is 110.574 km, of longitude 111.320 km."""
    equator = GeoPosition(0, 0, 0)
    moved = east_north_up([GeoPosition(0.001, 0), GeoPosition(0, 0.001), GeoPosition(0, 0, 25)], equator)
    np.testing.assert_allclose(moved, [[0, 110.574, 0], [111.320, 0, 0], [0, 0, 25]], atol=2e-3)
    north = east_north_up([GeoPosition(60, 24.001, 10)], GeoPosition(60, 24, 10))
    np.testing.assert_allclose(north, [[55.8, 0, 0]], atol=2e-2)


@pytest.mark.parametrize("altitude", [True, False])
def test_a_place_in_the_map(tmp_path: Path, altitude: bool) -> None:
    flat = PLACES * [1, 1, 0 if not altitude else 1]
    registered = geo_register(geo_map(tmp_path, flat, altitude=altitude, without=2))
    assert registered.photos == 6
    assert registered.gap < 1e-3
    for query in (np.array([10.0, -20, 0]), np.array([90.0, 50, 0])):
        expected = WORLD_FROM_ENU.apply(query[None])[0]
        np.testing.assert_allclose(registered.centre(place(query, altitude)), expected, atol=2e-3)
    near_enough = registered.centre(place(np.array([10.0, -20, 0]), altitude=False))
    assert np.linalg.norm(near_enough - WORLD_FROM_ENU.apply(np.array([[10.0, -20, 0]]))[0]) < 3 * 0.2


def test_wrong_positions_do_not_count(tmp_path: Path) -> None:
    noted = PLACES + np.random.default_rng(1).normal(0, 0.5, PLACES.shape)
    noted[3] += [0, 300, 0]
    registered = geo_register(geo_map(tmp_path, noted=noted))
    assert registered.photos == 7
    query = np.array([10.0, -20, 0])
    assert np.linalg.norm(registered.centre(place(query)) - WORLD_FROM_ENU.apply(query[None])[0]) < 2 * 0.2


def test_photos_along_a_street(tmp_path: Path) -> None:
    """How the map is turned about the street is not known, so a place beside it counts as on it."""
    along = np.array([2.0, 1, 0]) / math.sqrt(5)
    street = np.linspace(-50, 50, 12)[:, None] * along
    noise = np.random.default_rng(1).normal(0, 0.3, street.shape)
    registered = geo_register(geo_map(tmp_path, street, noted=street + noise))
    assert registered.along is not None
    assert abs(registered.along @ along) > 0.999
    beside = 20 * along + np.array([-1.0, 2, 0]) * 3
    found = registered.centre(place(beside))
    assert np.linalg.norm(found - WORLD_FROM_ENU.apply((20 * along)[None])[0]) < 1 * 0.2


def test_maps_that_are_not_geo_registered(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="3 of its 8 photos with a pose have a GPS position in EXIF, 4 are"
    ) as few:
        geo_register(geo_map(tmp_path / "few", without=5))
    assert "--prior" in str(few.value.hint)
    anywhere = np.random.default_rng(9).permutation(PLACES)[::-1]
    with pytest.raises(InputError, match="do not lie as its cameras do"):
        geo_register(geo_map(tmp_path / "anywhere", noted=anywhere))
    with pytest.raises(InputError, match="do not lie as its cameras do"):
        geo_register(geo_map(tmp_path / "one", noted=np.zeros_like(PLACES)))


@pytest.fixture
def geo_wall(tmp_path: Path, wall: Path) -> Path:
    """The painted wall's map, its photos with GPS: the wall's x is east, y down, z north, a metre is ten."""
    import shutil

    shutil.copytree(wall / "map", tmp_path / "map")
    for folder, shots in (("map/images", MAP), ("queries", QUERIES)):
        (tmp_path / folder).mkdir(exist_ok=True)
        for shot in shots:
            x, y, z = 10 * shot.pose[:3, 3]
            exif = Image.Exif()
            exif[ExifTags.IFD.GPSInfo] = gps_tags(place(np.array([x, z, -y])))
            shot.picture().save(tmp_path / folder / shot.name, exif=exif)
    return tmp_path


def test_near_by_gps(visloc: Visloc, geo_wall: Path) -> None:
    words = ("localize", "map", "queries", "--size", 128, "--camera", MAP[0].camera_spec)
    ran = visloc(*words, "--retrieval", "near", "--topk", 1, "--json", "--min-inliers", 4)
    assert ran.code == 0, ran.err
    centres = np.array([shot.pose[:3, 3] for shot in MAP])
    for query, shot in zip(ran.result["queries"], QUERIES, strict=True):
        nearest = np.linalg.norm(centres - shot.pose[:3, 3], axis=1).argmin()
        assert query["candidates"] == [MAP[nearest].name]
    said = visloc(*words, "--retrieval", "near", "--radius", 0.3)
    assert "geo-registered by the GPS of 6 of its photos" in said.err
    headings = [float(text) for text in re.findall(r"heading ([0-9.]+)°", said.out)]
    for heading, shot in zip(headings, QUERIES, strict=True):  # z is north, x is east
        expected = math.degrees(math.atan2(shot.pose[0, 2], shot.pose[2, 2]))
        assert (heading - expected + 180) % 360 - 180 == pytest.approx(0, abs=0.5)


def test_near_by_gps_in_a_map_without(visloc: Visloc, geo_wall: Path) -> None:
    for shot in MAP:
        shot.save(geo_wall / "map" / "images")
    ran = visloc("localize", "map", "queries", "--size", 128, "--retrieval", "near")
    refused(ran, "not geo-registered", "0 of its 6 photos", hint="--prior FILE")
