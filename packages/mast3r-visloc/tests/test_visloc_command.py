"""``mast3r visloc localize`` and ``index`` on a painted wall with exact truth (spec 50 D7, 60 F)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image

from mast3r_visloc.evaluation import pose_error, read_matches, read_poses

from .colour_network import ColourNetwork
from .painted_wall import LARGE, MAP, QUERIES, SPARSE, Shot, pose_line
from .visloc_cli import Visloc

CAMERA = MAP[0].camera_spec
SMALL = ("--size", 128)
KNOWN = (*SMALL, "--camera", CAMERA)
NEAR = (0.02, 0.3)
"""Metres and degrees: a pixel is 3 cm of the wall, a step of a colour 2 cm."""


def assert_near(poses: dict[str, np.ndarray], shots: tuple[Shot, ...] = QUERIES) -> None:
    assert list(poses) == [shot.name for shot in shots]
    for shot in shots:
        error = pose_error(poses[shot.name], shot.pose)
        assert error.below(NEAR), (shot.name, error)


def poses_of(result: dict) -> dict[str, np.ndarray]:
    return {query["name"]: np.array(query["cam2world"]) for query in result["queries"]}


# What a run prints and writes


def test_a_run_for_people(visloc: Visloc, wall: Path) -> None:
    ran = visloc("localize", wall / "map", wall / "queries", *KNOWN, "-o", "out")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split()[:2] for line in lines] == [[shot.name, "localised"] for shot in QUERIES]
    assert all(" inliers (" in line and line.endswith(" s") for line in lines)
    x, y, z = (float(lines[0].split(f"{axis} ")[1].split()[0]) for axis in "xyz")
    np.testing.assert_allclose([x, y, z], QUERIES[0].pose[:3, 3], atol=0.03)
    assert "map: COLMAP model, 6 photos; 3 to localise" in ran.err
    assert "written: out" in ran.err
    assert "next: open out/report.html" in ran.err


def test_the_files_of_a_run(visloc: Visloc, wall: Path) -> None:
    ran = visloc("localize", wall / "map", wall / "queries", *KNOWN, "-o", "out", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["schema"] == "mast3r.visloc.localize/1"
    assert_near(read_poses(Path("out/poses.txt")))
    report = json.loads(Path("out/report.json").read_text())
    assert report["complete"]
    assert report["queries"] == ran.result["queries"]
    assert report["options"]["camera"] == CAMERA
    for number, query in enumerate(report["queries"]):
        assert query["status"] == "localised"
        assert query["error"] is None
        assert query["camera"]["model"] == "PINHOLE"
        matches = read_matches(Path(f"out/matches/{number:04d}.npz"))
        assert (len(matches), matches.inlier.sum()) == (query["num_matches"], query["num_inliers"])
        projected = QUERIES[number].project(matches.xyz[matches.inlier])
        assert np.median(np.linalg.norm(projected - matches.query_xy[matches.inlier], axis=1)) < 0.5
    page = Path("out/report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert all(shot.name in page for shot in QUERIES)


def test_the_model_with_the_photos_opens_in_colmap(visloc: Visloc, wall: Path) -> None:
    assert visloc("localize", wall / "map", wall / "queries", *KNOWN, "-o", "out").code == 0
    model = pycolmap.Reconstruction("out/colmap")
    assert model.is_valid()
    by_name = {image.name: image for image in model.images.values()}
    assert set(by_name) == {shot.name for shot in (*MAP, *QUERIES)}
    assert len(model.points3D) == len(pycolmap.Reconstruction(wall / "map/sparse/0").points3D) > SPARSE / 2
    for shot in QUERIES:
        assert by_name[shot.name].num_points3D > 50
        np.testing.assert_allclose(by_name[shot.name].projection_center(), shot.pose[:3, 3], atol=0.02)
    assert model.compute_mean_reprojection_error() < 1


@pytest.mark.parametrize("output", [(), ("-o", "out")])
def test_errors_against_the_truth(visloc: Visloc, wall: Path, output: tuple[str, ...]) -> None:
    words = ("localize", wall / "map", wall / "queries", *KNOWN, "--truth", wall / "truth.txt", *output)
    ran = visloc(*words)
    assert ran.code == 0, ran.err
    assert "3 images - median_pos_error=0.0" in ran.out
    assert "acc@0.1m,1deg=100.000" in ran.out
    result = visloc(*words, "--json").result
    for query, shot in zip(result["queries"], QUERIES, strict=True):
        error = pose_error(np.array(query["cam2world"]), shot.pose)
        assert query["error"]["position_m"] == pytest.approx(error.position)
        assert query["error"]["rotation_deg"] == pytest.approx(error.rotation)
    assert result["summary"]["recalls"] == [100.0] * 4


def test_names_and_files_can_be_chosen(visloc: Visloc, wall: Path) -> None:
    shutil.copytree(wall / "queries", "photos/day")
    shutil.copytree(wall / "queries", "photos/night")
    words = ("localize", wall / "map", "photos", "--recursive", *KNOWN, "--no-report", "-o", "out")
    refused = visloc(*words, "--name-style", "base")
    assert refused.code == 1
    assert "are not unique" in refused.error
    assert not Path("out").exists()
    ran = visloc(*words, "--name-style", "parent")
    assert ran.code == 0, ran.err
    names = [f"{folder}/{shot.name}" for folder in ("day", "night") for shot in QUERIES]
    assert list(read_poses(Path("out/poses.txt"))) == names
    assert not Path("out/report.html").exists()


# Going on, and what must make no difference


def test_a_second_run_does_nothing_again(visloc: Visloc, wall: Path, colour_network: ColourNetwork) -> None:
    words = ("localize", wall / "map", wall / "queries", *KNOWN, "-o", "out")
    assert visloc("localize", wall / "map", wall / "queries" / QUERIES[0].name, *KNOWN, "-o", "out").code == 0
    first, encoded = Path("out/report.json").read_text(), colour_network.encoded
    ran = visloc(*words)
    assert ran.code == 0, ran.err
    assert "1 of 3 photos are done already" in ran.err
    assert len(ran.out.splitlines()) == 2
    assert json.loads(first)["queries"][0] == json.loads(Path("out/report.json").read_text())["queries"][0]
    encoded, decoded = colour_network.encoded, colour_network.decoded
    again = visloc(*words)
    assert again.code == 0
    assert "3 of 3 photos are done already" in again.err
    assert (colour_network.encoded, colour_network.decoded) == (encoded, decoded)
    assert_near(read_poses(Path("out/poses.txt")))


@pytest.mark.parametrize(
    "change", [("--topk", 2), ("--threshold", "3px"), ("--model", "other"), ("--seed", 1)]
)
def test_a_run_of_other_options_is_not_mixed(visloc: Visloc, wall: Path, change: tuple) -> None:
    words = ("localize", wall / "map", wall / "queries" / QUERIES[0].name, *KNOWN, "-o", "out")
    assert visloc(*words).code == 0
    refused = visloc(*words, *change)
    assert refused.code == 1
    assert "holds a run with other options" in refused.error
    assert visloc(*words, *change, "--overwrite").code == 0


def test_jobs_and_batches_make_no_difference(visloc: Visloc, wall: Path) -> None:
    words = ("localize", wall / "map", wall / "queries", *KNOWN, "--json")
    one, two, single = (
        visloc(*words, *more).result
        for more in (("--jobs", 1), ("--jobs", 2), ("--jobs", 1, "--batch-size", 1))
    )
    for other in (two, single):
        for mine, theirs in zip(one["queries"], other["queries"], strict=True):
            np.testing.assert_array_equal(mine["cam2world"], theirs["cam2world"])
            assert mine["candidates"] == theirs["candidates"]


def test_an_index_makes_no_difference_but_in_time(
    visloc: Visloc, wall: Path, colour_network: ColourNetwork
) -> None:
    shutil.copytree(wall / "map", "map")
    words = ("localize", "map", wall / "queries", *KNOWN, "--json")
    before = visloc(*words).result
    assert colour_network.encoded == len(MAP) + len(QUERIES)
    made = visloc("index", "map", *SMALL)
    assert made.code == 0, made.err
    assert made.out.startswith("6 photos in the index (6 encoded now, 0 were there)")
    assert "next: mast3r visloc localize map PHOTO" in made.err
    again = visloc("index", "map", *SMALL, "--json").result
    assert (again["images"], again["encoded"], again["skipped"]) == (6, 0, [])
    assert Path(again["folder"]).is_relative_to("map/.mast3r")
    colour_network.encoded = 0
    after = visloc(*words).result
    assert colour_network.encoded == len(QUERIES)
    for mine, theirs in zip(before["queries"], after["queries"], strict=True):
        np.testing.assert_array_equal(mine["cam2world"], theirs["cam2world"])


def test_an_index_follows_its_photos(visloc: Visloc, wall: Path) -> None:
    shutil.copytree(wall / "map", "map")
    assert visloc("index", "map", *SMALL).code == 0
    (features,) = Path("map/.mast3r").glob("*/index.json")
    kept = sorted(features.parent.glob("*.safetensors"))
    kept[0].write_bytes(b"no features")
    ran = visloc("localize", "map", wall / "queries", *KNOWN, "--json")
    assert ran.code == 0, ran.err
    assert_near(poses_of(ran.result))
    Path("map/images", MAP[1].name).write_bytes(Path("map/images", MAP[0].name).read_bytes())
    assert visloc("index", "map", *SMALL, "--json").result["encoded"] == 1
    assert len(sorted(features.parent.glob("*.safetensors"))) == len(MAP)


def test_text_and_binary_models_give_one_pose(visloc: Visloc, wall: Path) -> None:
    """Spec 50 D9; a scene of mast3r sfm is compared in tests/test_visloc_commands.py."""
    model = pycolmap.Reconstruction(wall / "map" / "sparse" / "0")
    found = []
    for kind in ("text", "binary"):
        folder = Path(kind)
        folder.mkdir()
        if kind == "text":
            model.write_text(folder)
        else:
            model.write_binary(folder)
        words = ("localize", folder, wall / "queries", *KNOWN, "--images", wall / "map" / "images", "--json")
        ran = visloc(*words)
        assert ran.code == 0, ran.err
        found.append(poses_of(ran.result))
    for name, pose in found[0].items():
        np.testing.assert_allclose(pose, found[1][name], atol=1e-9)


# Cameras and candidates


@pytest.mark.parametrize(
    "flags",
    [
        ("--camera-from", MAP[2].name),
        ("--camera-id", 1),
        ("--camera", CAMERA, "--focal", "refine"),
        ("--camera", CAMERA, "--solver", "pycolmap", "--threshold", "2px"),
        ("--camera", CAMERA, "--pnp_mode", "cv2", "--reprojection_error", 2),
        ("--camera", CAMERA, "--cluster", "--exhaustive", "--topk", 3),
    ],
)
def test_ways_to_the_same_pose(visloc: Visloc, wall: Path, flags: tuple) -> None:
    ran = visloc("localize", wall / "map", wall / "queries", *SMALL, *flags, "--json")
    assert ran.code == 0, ran.err
    for shot, pose in zip(QUERIES, poses_of(ran.result).values(), strict=True):
        assert pose_error(pose, shot.pose).below((0.08, 0.8))


def test_a_list_of_queries_gives_photos_and_cameras(visloc: Visloc, wall: Path) -> None:
    shutil.copytree(wall / "queries", "queries")
    listed = "".join(f"{shot.name} {CAMERA.replace(',', ' ')}\n" for shot in QUERIES[:2])
    Path("queries/list.txt").write_text(listed)
    alone = visloc("localize", wall / "map", "--queries", "queries/list.txt", *SMALL, "--json")
    assert alone.code == 0, alone.err
    assert_near(poses_of(alone.result), QUERIES[:2])
    beside = visloc("localize", wall / "map", "queries", "--queries", "queries/list.txt", *SMALL, "--json")
    assert [query["camera"]["model"] for query in beside.result["queries"]][:2] == ["PINHOLE"] * 2
    assert beside.result["queries"][2]["camera"]["source"] == "unknown"


def test_an_unknown_focal_length_is_found(visloc: Visloc, wall: Path) -> None:
    ran = visloc("localize", wall / "map", wall / "queries", *SMALL, "--json")
    assert ran.code == 0, ran.err
    for query, shot in zip(ran.result["queries"], QUERIES, strict=True):
        assert query["camera"]["params"][0] == pytest.approx(111, rel=0.1)
        assert np.linalg.norm(np.array(query["cam2world"])[:2, 3] - shot.pose[:2, 3]) < 0.15


def test_which_map_images_are_tried(visloc: Visloc, wall: Path) -> None:
    first = QUERIES[0].name
    words = ("localize", wall / "map", wall / "queries" / first, *KNOWN, "--json")
    Path("pairs.txt").write_text(f"folder/{first} {MAP[4].name}\nfolder/{first} {MAP[1].name}\n")
    Path("prior.txt").write_text(pose_line(Shot(first, MAP[5].pose)) + "\n")

    def tried(*flags: object) -> list[str]:
        return visloc(*words, *flags).result["queries"][0]["candidates"]

    assert tried("--retrieval", "file:pairs.txt") == [MAP[4].name, MAP[1].name]
    assert tried("--retrieval", "near", "--prior", "prior.txt", "--topk", 2) == [MAP[5].name, MAP[4].name]
    assert tried("--retrieval", "near", "--prior", "prior.txt", "--radius", 0.01) == [MAP[5].name]
    assert tried("--retrieval", "all", "--exhaustive") == [shot.name for shot in MAP]
    assert set(tried("--retrieval", "encoder", "--topk", 2)) <= {MAP[0].name, MAP[1].name, MAP[2].name}


def test_a_photo_that_was_turned(visloc: Visloc, wall: Path) -> None:
    """The pose refers to the file's pixels: how the photo is to be shown does not move the camera."""
    plain = Image.open(wall / "queries" / QUERIES[0].name)
    upright = plain.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 8  # turn the file's pixels counter-clockwise to see it upright
    Path("photos").mkdir()
    plain.save("photos/turned.png", exif=exif)
    upright.save("photos/upright.png")
    fx, fy, cx, cy = MAP[0].colmap_params
    cameras = [
        f"turned.png {CAMERA.replace(',', ' ')}\n",
        f"upright.png PINHOLE 96 128 {fy} {fx} {cy} {128 - cx}\n",
    ]
    Path("photos/list.txt").write_text("".join(cameras))
    ran = visloc("localize", wall / "map", "--queries", "photos/list.txt", *SMALL, "--json")
    assert ran.code == 0, ran.err
    poses = poses_of(ran.result)
    assert pose_error(poses["turned.png"], QUERIES[0].pose).below(NEAR)
    quarter = np.array([[0, -1.0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert pose_error(poses["upright.png"], QUERIES[0].pose @ quarter).below(NEAR)


def test_a_large_photo_window_by_window(visloc: Visloc, wall: Path) -> None:
    LARGE.save(Path("photos"))
    words = ("localize", wall / "map", "photos", *SMALL, "--camera", LARGE.camera_spec, "--json")
    coarse, fine = visloc(*words), visloc(*words, "--fine")
    assert coarse.code == fine.code == 0, fine.err
    assert_near(poses_of(fine.result), (LARGE,))
    assert fine.result["queries"][0]["num_matches"] != coarse.result["queries"][0]["num_matches"]
    capped = visloc(*words, "--coarse_to_fine", "--max_image_size", 256, "--no-homography")
    assert_near(poses_of(capped.result), (LARGE,))


# Exit codes


def test_exit_codes(visloc: Visloc, wall: Path) -> None:
    """Spec 60 F2: done, our error, usage, done in part, nothing found."""
    good, other = wall / "queries" / QUERIES[0].name, Path("other.png")
    Image.new("RGB", (128, 96), (120, 120, 255)).save(other)
    cases = {
        0: [wall / "map", good],
        1: [wall / "nowhere", good],
        2: [wall / "map"],
        3: [wall / "map", good, other],
        4: [wall / "map", other],
    }
    for code, words in cases.items():
        ran = visloc("localize", *words, *KNOWN)
        assert ran.code == code, (code, ran)
        document = visloc("localize", *words, *KNOWN, "--json").document
        assert document["ok"] == (code in (0, 3))
    assert (
        visloc("localize", wall / "map", other, *KNOWN, "--json").document["error"]["kind"]
        == "NothingFoundError"
    )


@pytest.mark.parametrize("on_failure", ["skip", "nearest", "identity"])
def test_what_stands_for_a_failure(visloc: Visloc, wall: Path, on_failure: str) -> None:
    Image.new("RGB", (128, 96), (120, 120, 255)).save("other.png")
    words = ("localize", wall / "map", wall / "queries", "other.png", *KNOWN, "--on-failure", on_failure)
    ran = visloc(*words, "-o", "out", "--json")
    assert ran.code == 3
    failed = ran.result["queries"][-1]
    assert (failed["status"], failed["reason"], failed["cam2world"]) == ("failed", "few_matches", None)
    written = read_poses(Path("out/poses.txt"))
    assert ("other.png" in written) == (on_failure != "skip")
    if on_failure == "identity":
        np.testing.assert_array_equal(written["other.png"], np.eye(4))
    if on_failure == "nearest":
        nearest = next(shot for shot in MAP if shot.name == failed["candidates"][0])
        np.testing.assert_allclose(written["other.png"], nearest.pose, atol=1e-9)
