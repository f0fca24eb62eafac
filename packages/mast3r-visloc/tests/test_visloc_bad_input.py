"""What a user can do wrong with ``mast3r visloc``: one line that says it, never a traceback (spec 60 F2)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .colour_network import ColourNetwork
from .painted_wall import MAP, QUERIES, K, pose_line, write_colmap
from .visloc_cli import Ran, Visloc, refused, wall_expression

CAMERA = MAP[0].camera_spec
KNOWN = ("--size", 128, "--camera", CAMERA)
FIRST = QUERIES[0].name


# The map


def an_empty_folder(wall: Path, folder: Path) -> None:
    folder.mkdir()


def only_photos(wall: Path, folder: Path) -> None:
    shutil.copytree(wall / "map" / "images", folder)


def a_file_of_no_model(wall: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("no map")


def no_points(wall: Path, folder: Path) -> None:
    shutil.copytree(wall / "map" / "images", folder / "images")
    write_colmap(folder / "sparse" / "0", xyz=np.empty((0, 3)))


def no_photos(wall: Path, folder: Path) -> None:
    write_colmap(folder / "sparse" / "0")


def half_a_model(wall: Path, folder: Path) -> None:
    shutil.copytree(wall / "map", folder)
    path = folder / "sparse" / "0" / "points3D.bin"
    path.write_bytes(path.read_bytes()[:1000])


def names_that_leave(wall: Path, folder: Path) -> None:
    write_colmap(folder / "sparse" / "0", shots=(*MAP[:2], MAP[2].__class__("../secret.png", MAP[2].pose)))


def a_kapture_folder_of_nothing(wall: Path, folder: Path) -> None:
    (folder / "sensors").mkdir(parents=True)
    (folder / "sensors" / "sensors.txt").write_text("# kapture format: 1.1\n")


@pytest.mark.parametrize(
    ("make", "parts", "hint"),
    [
        (None, ["there is no map", "made"], "check the path"),
        (a_kapture_folder_of_nothing, ["made names no photo with a pose"], None),
        (an_empty_folder, ["made holds no map"], "a COLMAP model"),
        (a_file_of_no_model, ["made holds no map"], "a COLMAP model"),
        (only_photos, ["made holds 6 photos, but no map"], "mast3r sfm made -o MAP"),
        (no_points, ["has no photo with 3D points or depth"], "mast3r sfm"),
        (no_photos, ["none of the map's 6 photos", "map_0.png"], "--images DIR"),
        (half_a_model, ["points3D.bin is cut short"], None),
        (names_that_leave, ["'../secret.png'"], None),
    ],
)
@pytest.mark.parametrize("command", ["localize", "index"])
def test_maps(
    visloc: Visloc,
    wall: Path,
    command: str,
    make: Callable[[Path, Path], None] | None,
    parts: list[str],
    hint: str | None,
    colour_network: ColourNetwork,
) -> None:
    if make is not None:
        make(wall, Path("made"))
    photos = [wall / "queries"] if command == "localize" else []
    output = ["-o", "out"] if command == "localize" else []
    refused(visloc(command, "made", *photos, *output), *parts, hint=hint)
    assert not Path("out").exists()
    assert colour_network.encoded == 0


def test_photos_of_the_map_elsewhere(visloc: Visloc, wall: Path) -> None:
    write_colmap(Path("model"))
    refused(
        visloc("localize", "model", wall / "queries", "--images", "nowhere"), "there is no folder nowhere"
    )
    refused(
        visloc("localize", "model", wall / "queries", "--images", wall / "queries"),
        "none of the map's 6 photos",
    )
    ran = visloc("localize", "model", wall / "queries" / FIRST, *KNOWN, "--images", wall / "map" / "images")
    assert ran.code == 0, ran.err


def test_a_map_that_lost_some_photos(visloc: Visloc, wall: Path) -> None:
    shutil.copytree(wall / "map", "map")
    Path("map/images", MAP[2].name).unlink()
    Path("map/images", MAP[3].name).write_text("no picture")
    ran = visloc("localize", "map", wall / "queries", *KNOWN)
    assert ran.code == 0, ran.err
    assert "2 of the map's 6 photos are missing or unreadable" in ran.err
    assert "Traceback" not in ran.err
    cut = Path("map/images", MAP[1].name)
    MAP[1].picture().save(cut, format="JPEG")
    cut.write_bytes(cut.read_bytes()[:1000])  # a header that can be read, and no more
    ran = visloc("localize", "map", wall / "queries", *KNOWN)
    assert ran.code == 0, ran.err
    assert ran.err.count("a map image is left out") == 1
    indexed = visloc("index", "map", "--size", 128)
    assert indexed.code == 3
    assert f"skipped: {MAP[1].name} cannot be read" in indexed.err


def test_points_on_a_line_do_not_fix_a_pose_but_a_plane_does(visloc: Visloc, wall: Path) -> None:
    shutil.copytree(wall / "map" / "images", "images")
    x = np.linspace(-1.7, 1.7, 200)
    # Points far away from all cameras on one straight line through the wall's colours.
    line = np.stack([x, 0.2 * x, np.full(200, 4.0)], 1)
    write_colmap(Path("line"), xyz=line)
    ran = visloc("localize", "line", wall / "queries" / FIRST, *KNOWN, "--images", "images")
    refused_after_work(ran, code=4)
    assert "few_matches" in ran.error or "few_inliers" in ran.error
    for shot in (*MAP, QUERIES[0]):
        flat(shot).save(Path("flat") / shot.name)
    x, y = np.random.default_rng(1).uniform(-1.7, 1.7, (2, 250))
    write_colmap(Path("plane"), xyz=np.stack([x, y, np.full(250, 4.0)], 1))
    ran = visloc("localize", "plane", Path("flat") / FIRST, *KNOWN, "--images", "flat", "--json")
    assert ran.code == 0, ran.err
    found = np.array(ran.result["queries"][0]["cam2world"])
    np.testing.assert_allclose(found[:3, 3], QUERIES[0].pose[:3, 3], atol=0.05)


def flat(shot: object) -> Image.Image:
    """The photo of a wall without relief."""
    y, x = np.indices((96, 128))
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T @ shot.pose[:3, :3].T
    points = shot.pose[:3, 3] + (4 - shot.pose[2, 3]) / rays[..., 2:] * rays
    colours = np.concatenate([(points[..., :2] + 2.5) / 5, np.full((96, 128, 1), 0.2)], -1)
    Path("flat").mkdir(exist_ok=True)
    return Image.fromarray(np.rint(255 * colours.clip(0, 1)).astype(np.uint8))


def refused_after_work(ran: Ran, *, code: int) -> None:
    assert ran.code == code, ran
    assert ran.error


# The photos


def test_photos_that_cannot_be_read_are_named_and_skipped(visloc: Visloc, wall: Path) -> None:
    Path("text.jpg").write_text("this is no photo")
    Path("empty.png").touch()
    Path("cut.png").write_bytes((wall / "queries" / FIRST).read_bytes()[:3000])
    Image.new("RGB", (3, 3)).save("tiny.png")
    bad = ["missing.jpg", "text.jpg", "empty.png", "cut.png", "tiny.png"]
    ran = visloc("localize", wall / "map", *bad, wall / "queries" / FIRST, *KNOWN[:2], "-o", "out")
    assert ran.code == 3, ran.err
    assert ran.out.splitlines()[0].startswith(FIRST)
    assert "Traceback" not in ran.err
    for name in bad:
        assert len([line for line in ran.err.splitlines() if "skipped" in line and name in line]) == 1, (
            ran.err
        )
    for name in bad:
        alone = visloc("localize", wall / "map", name)
        refused(alone, "none of 1 photos was localised", "no photo could be read", code=4)
        assert "--retrieval" not in alone.err  # nothing that helps with matching helps here


def test_strict_stops_at_a_photo_that_cannot_be_read(visloc: Visloc, wall: Path) -> None:
    Path("broken.png").write_text("no photo")
    words = ("localize", wall / "map", wall / "queries" / FIRST, "broken.png", "--size", 128)
    assert visloc(*words).code == 3
    assert visloc(*words, "--strict").code == 1


def test_a_photo_that_does_not_fit_its_camera_is_skipped(visloc: Visloc, wall: Path) -> None:
    """One photo of another size does not stop a run; nor does one whose EXIF lacks the wanted focal length."""
    Image.new("RGB", (100, 90)).save("cropped.png")
    words = ("localize", wall / "map", "cropped.png", wall / "queries" / FIRST)
    ran = visloc(*words, *KNOWN, "--jobs", 1)
    assert ran.code == 3, ran.err
    assert "skipped: cropped.png: the photo has 100x90 pixels, its camera 128x96" in ran.err
    assert ran.out.startswith(FIRST)
    assert visloc(*words, *KNOWN, "--strict").code == 1
    refused(visloc(*words[:3], *KNOWN), "none of 1 photos was localised", "none fits its camera", code=4)
    Path("list.txt").write_text(f"{FIRST} {CAMERA.replace(',', ' ')}\n")
    ran = visloc(*words, *KNOWN[:2], "--queries", "list.txt", "--focal", "known")
    assert ran.code == 3, ran.err
    assert "skipped: cropped.png: the focal length is to be taken as known" in ran.err


def test_folders_lists_and_globs_without_photos(visloc: Visloc, wall: Path) -> None:
    Path("empty").mkdir()
    Path("list.txt").write_text("# nothing\n")
    refused(visloc("localize", wall / "map", "empty"), "no photos in empty", hint="--recursive")
    refused(visloc("localize", wall / "map", "*.jpg"), "no file matches *.jpg")
    refused(visloc("localize", wall / "map", "list.txt"), "list.txt names no photo")
    ran = visloc("localize", wall / "map")
    assert ran.code == 2
    assert "name photos to localise" in ran.err


def test_a_photo_of_another_place(visloc: Visloc, wall: Path) -> None:
    """Confident and wrong: its colours lie in another order than those of any view of the wall."""
    random = np.random.default_rng(3)
    noise = random.integers(60, 190, (96, 128, 3), dtype=np.uint8)
    noise[..., 2] = 50
    Image.fromarray(noise).save("elsewhere.png")
    ran = visloc("localize", wall / "map", "elsewhere.png", *KNOWN)
    assert ran.code == 4
    assert "chance" in ran.error or "few_inliers" in ran.error
    assert ran.out.startswith("elsewhere.png   failed ")
    assert " inliers" in ran.out
    assert "nearest photo: map_" in ran.out


def test_a_photo_without_a_match(visloc: Visloc, wall: Path) -> None:
    Image.new("RGB", (128, 96), (120, 120, 255)).save("unsure.png")
    ran = visloc("localize", wall / "map", "unsure.png", *KNOWN)
    assert ran.code == 4
    assert "few_matches" in ran.error
    assert "too few matches (0)" in ran.out


# The camera


@pytest.mark.parametrize(
    ("flags", "parts", "hint"),
    [
        (["--camera", "PINHOLE,128,96,100"], ["PINHOLE"], None),
        (["--camera", "FISHEYE,128,96,100,64,48"], ["FISHEYE"], None),
        (["--camera", "128"], ["cannot read the camera '128'"], "write it like SIMPLE_RADIAL,"),
        (["--camera", "PINHOLE,128,96,x,100,64,48"], ["cannot read the camera"], "write it like"),
        (["--camera", "PINHOLE,128,96,-100,100,64,48"], ["-100"], None),
        (["--camera-from", "map_9.png"], ["no photo 'map_9.png' with a camera"], "a photo there: map_0.png"),
        (["--camera-id", 7], ["the map has no camera 7"], "its cameras: [1]"),
        (["--camera", CAMERA, "--camera-id", 1], ["all name the camera"], "give one of them"),
        (["--queries", "absent.txt"], ["absent.txt"], None),
        (["--queries", "bad.txt"], ["bad.txt, line 2"], None),
        (["--queries", "others.txt"], ["others.txt names none of the photos"], "it names other.png"),
    ],
)
def test_cameras(visloc: Visloc, wall: Path, flags: list[object], parts: list[str], hint: str | None) -> None:
    words = CAMERA.replace(",", " ")
    Path("bad.txt").write_text(f"{FIRST} {words}\n{QUERIES[1].name} PINHOLE 128\n")
    Path("others.txt").write_text(f"other.png {words}\n")
    ran = visloc("localize", wall / "map", wall / "queries" / FIRST, "--size", 128, *flags)
    refused(ran, *parts, hint=hint)


def test_a_list_may_not_name_photos_elsewhere(visloc: Visloc, wall: Path) -> None:
    Path("lists").mkdir()
    for name in ("../secret.png", "/secret.png"):
        Path("lists/list.txt").write_text(f"{name} {CAMERA.replace(',', ' ')}\n")
        refused(visloc("localize", wall / "map", "--queries", "lists/list.txt"), repr(name))


# Retrieval, solver, thresholds


@pytest.mark.parametrize(
    ("flags", "parts", "hint"),
    [
        (["--retrieval", "near"], ["needs rough poses", "1 of 1 have no GPS", FIRST], "give --prior FILE"),
        (["--retrieval", "near", "--prior", "absent.txt"], ["absent.txt"], None),
        (["--retrieval", "near", "--prior", "prior.txt"], ["no rough pose of 1 of 1 photos", FIRST], None),
        (["--prior", "prior.txt"], ["--prior is for --retrieval near"], None),
        (["--radius", 3], ["--radius is for --retrieval near"], None),
        (["--retrieval", "encodr"], ["--retrieval encodr: neither a file nor"], "did you mean encoder?"),
        (["--retrieval", "absent.pth"], ["--retrieval absent.pth"], None),
        (["--retrieval", "file:absent.txt"], ["absent.txt"], None),
        (["--retrieval", "file:others.txt"], ["names no photo of the map, but other_0.png"], "map_0.png"),
        (["--retrieval", "file:queries.txt"], ["has no pairs of 1 of 1 photos", FIRST], "other.png"),
        (["--retrieval", "file:prior.txt"], ["prior.txt"], None),
        (["--solver", "posel"], ["no PnP solver is called 'posel'"], "did you mean poselib?"),
        (["--threshold", "wide"], ["positive number of pixels or per cent, got 'wide'"], "0.8%"),
        (["--threshold", "0px"], ["got '0px'"], None),
        (["--threshold", "2px", "--reprojection-error", 2], ["both give the threshold"], None),
    ],
)
def test_choices(
    visloc: Visloc,
    wall: Path,
    flags: list[object],
    parts: list[str],
    hint: str | None,
    colour_network: ColourNetwork,
) -> None:
    Path("prior.txt").write_text(pose_line(QUERIES[1]) + "\n")
    Path("others.txt").write_text(f"{FIRST} other_0.png\n{FIRST} other_1.png\n")
    Path("queries.txt").write_text(f"other.png {MAP[0].name}\n")
    ran = visloc("localize", wall / "map", wall / "queries" / FIRST, *KNOWN, *flags, "-o", "out")
    refused(ran, *parts, hint=hint)
    assert colour_network.encoded == 0
    assert not Path("out").exists()


def test_pairs_of_which_the_map_lacks_some(visloc: Visloc, wall: Path) -> None:
    Path("pairs.txt").write_text(f"{FIRST} other.png\n{FIRST} {MAP[1].name}\n")
    words = (wall / "map", wall / "queries" / FIRST, *KNOWN, "--retrieval", "file:pairs.txt")
    ran = visloc("localize", *words)
    assert ran.code == 0, ran.err
    assert "names 1 photos that the map lacks: other.png" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["--min-inliers", 2],
        ["--topk", 0],
        ["--size", 8],
        ["--jobs", 0],
        ["--pixel-tolerance", 0],
        ["--radius", -1],
        ["--focal", "guess"],
        ["--on-failure", "retry"],
        ["--name-style", "short"],
        ["--no-such-flag"],
    ],
)
def test_usage(visloc: Visloc, wall: Path, words: list[object]) -> None:
    ran = visloc("localize", wall / "map", wall / "queries", *words)
    assert ran.code == 2
    assert str(words[0]).lstrip("-") in ran.err
    assert "Traceback" not in ran.err


def test_truth(visloc: Visloc, wall: Path) -> None:
    refused(
        visloc("localize", wall / "map", wall / "queries", "--truth", "absent.txt"),
        "no such file or folder of true poses",
    )
    Path("truth.txt").write_text("other.png 1 0 0 0 0 0 0\n")
    refused(
        visloc("localize", wall / "map", wall / "queries", "--truth", "truth.txt"),
        "has no pose of 3 of 3 photos",
    )
    Path("truth.txt").write_text(f"{FIRST} 1 0 0\n")
    refused(visloc("localize", wall / "map", wall / "queries", "--truth", "truth.txt"), "truth.txt")


# Where results go


def test_folders_of_something_else_are_left_alone(visloc: Visloc, wall: Path) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    for words in (
        ("localize", wall / "map", wall / "queries" / FIRST, *KNOWN),
        ("evaluate", wall_expression(wall), "--size", 128),
    ):
        refused(visloc(*words, "-o", "mine"), "mine is not empty and holds no run", hint="--overwrite")
        refused(visloc(*words, "-o", "mine/notes.txt"), "mine/notes.txt")
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]
    assert Path("mine/notes.txt").read_text() == "mine"


def test_a_colmap_project_is_not_deleted(visloc: Visloc, wall: Path) -> None:
    words = ("localize", wall / "map", wall / "queries" / FIRST, *KNOWN, "-o", "mine", "--overwrite")
    shutil.copytree(wall / "map" / "sparse" / "0", "mine/colmap")
    files = sorted(path.name for path in Path("mine/colmap").iterdir())
    refused(visloc(*words), "mine/colmap holds files that no run wrote", hint="another folder")
    assert sorted(path.name for path in Path("mine/colmap").iterdir()) == files
    assert visloc(*words[:-2], "run").code == 0
    Path("run/colmap/sparse").mkdir()
    again = ("localize", wall / "map", wall / "queries" / FIRST, *KNOWN, "-o", "run", "--overwrite")
    refused(visloc(*again), "run/colmap holds files that no run wrote")
    Path("run/colmap/sparse").rmdir()
    assert visloc(*again).code == 0


def test_a_map_is_not_replaced_by_what_is_localised_in_it(visloc: Visloc, wall: Path) -> None:
    photo = wall / "queries" / FIRST
    assert visloc("localize", wall / "map", photo, *KNOWN, "-o", "out").code == 0
    before = {path: path.read_bytes() for path in Path("out/colmap").iterdir()}
    shutil.copytree(wall / "map" / "images", "images")
    shutil.copy(photo, "images")
    words = ("localize", "out/colmap", photo, "--images", "images", *KNOWN)
    refused(visloc(*words, "-o", "out", "--overwrite"), "out/colmap is the map", hint="another folder")
    assert {path: path.read_bytes() for path in Path("out/colmap").iterdir()} == before
    assert visloc(*words, "-o", "next").code == 0


@pytest.mark.parametrize("flag", ["--pixel-tolerance", "--min-confidence", "--max-chance"])
def test_numbers_that_are_none(visloc: Visloc, wall: Path, flag: str) -> None:
    ran = visloc("localize", wall / "map", wall / "queries" / FIRST, flag, "nan")
    refused(ran, flag[2:].replace("-", "_"), "nan")


def test_a_damaged_run_is_not_gone_on_with(visloc: Visloc, wall: Path) -> None:
    words = ("localize", wall / "map", wall / "queries" / FIRST, *KNOWN, "--no-report", "-o", "out")
    assert visloc(*words).code == 0
    lines = Path("out/records.jsonl").read_text().splitlines()
    Path("out/records.jsonl").write_text("\n".join([lines[0], "{}", lines[1]]) + "\n")
    refused(visloc(*words), "records.jsonl is damaged", hint="--overwrite")
    assert visloc(*words, "--overwrite").code == 0


def test_a_map_that_cannot_be_written_to(visloc: Visloc, wall: Path) -> None:
    shutil.copytree(wall / "map", "map")
    Path("map/.mast3r").write_text("in the way")
    refused(
        visloc("index", "map", "--size", 128),
        "cannot make map/.mast3r",
        hint="copy the map to a folder of yours",
    )
    ran = visloc("localize", "map", wall / "queries" / FIRST, *KNOWN)
    assert ran.code == 0, ran.err


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_read_only_map(visloc: Visloc, wall: Path) -> None:
    shutil.copytree(wall / "map", "map")
    Path("map").chmod(0o555)
    try:
        refused(
            visloc("index", "map", "--size", 128), "cannot make", hint="copy the map to a folder of yours"
        )
    finally:
        Path("map").chmod(0o755)


def test_an_unknown_network(wall: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from mast3r_model.cli import root, run

    code = run(
        root(),
        ["visloc", "localize", str(wall / "map"), str(wall / "queries"), "--model", "nanno", "--offline"],
    )
    refused(Ran(code, *capfd.readouterr()), "nanno")
