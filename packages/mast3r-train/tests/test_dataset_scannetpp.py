"""ScanNet++: from a raw release to training pairs (spec 41 section 7).

The stand-in is a room that is a box, whose walls have a colour at each point: rays have an exact answer.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.datasets.scannetpp import ScanNetpp
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareReport, PrepareRequest, run_preparation
from mast3r_train.preparing.colmap_text import read_colmap_cameras, read_colmap_images
from mast3r_train.preparing.mesh_depth import MeshDepth
from mast3r_train.preparing.scannetpp import plan

from .prepared_checks import assert_true_matches, run_mast3r, snapshot

HALF = np.array([2.0, 3.0, 1.5])
"""Half the sides of the room, in metres."""

SIZE = (120, 80)
LENSES = {
    "dslr": ("OPENCV_FISHEYE", (62.0, 62.5, 60.7, 39.2, 0.02, -0.01, 0.004, -0.001)),
    "iphone": ("OPENCV", (90.0, 91.0, 59.1, 40.9, 0.08, -0.1, 0.002, -0.001)),
}
NAMES = ("DSC00001", "frame_000010", "DSC00007", "frame_000020", "DSC00009")
WIDTH = 96


def pose_of(number: int) -> np.ndarray:
    """Near the room's middle, each turned a little further; upright."""
    cam2world = np.eye(4)
    turn = Rotation.from_euler("z", 12 * number, degrees=True).as_matrix()
    cam2world[:3, :3] = turn @ np.transpose([(1, 0, 0), (0, 0, -1), (0, 1, 0)])
    cam2world[:3, 3] = 0.1 * number - 0.2, 0.15 * number - 0.5, 0.1
    return cam2world


def look(rays: np.ndarray, cam2world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth and colour of the wall that rays (h, w, 3) with z = 1 of a camera in the room meet."""
    directions = rays @ cam2world[:3, :3].T
    with np.errstate(divide="ignore"):
        depth = ((np.sign(directions) * HALF - cam2world[:3, 3]) / directions).min(-1)
    points = cam2world[:3, 3] + depth[..., None] * directions
    waves = np.stack([np.sin(points @ (3 + k, 2 * k - 3, 4 - k) + k) for k in range(3)], axis=-1)
    return depth, np.round(127.5 + 100 * waves).astype(np.uint8)


def pinhole_rays(K: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    columns, rows = np.meshgrid(*(np.arange(side, dtype=float) for side in size_wh))
    return np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones_like(rows)], axis=-1)


def lens_rays(folder: str) -> np.ndarray:
    """Rays of a raw photo's pixels, through its lens."""
    _, (fx, fy, cx, cy, *distortion) = LENSES[folder]
    K = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    pixels = (
        np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1).reshape(-1, 1, 2).astype(float)
    )
    undistort = cv2.fisheye.undistortPoints if folder == "dslr" else cv2.undistortPoints
    if folder == "dslr":
        plane = undistort(pixels, K, np.array(distortion))
    else:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-12)
        plane = undistort(pixels, K, np.array(distortion), criteria=criteria)
    rays = np.ones((SIZE[1], SIZE[0], 3))
    rays[..., :2] = np.clip(plane.reshape(SIZE[1], SIZE[0], 2), -20, 20)  # corners, where the lens model ends
    return rays


def write_scene(raw: Path, pairs: Path, scene: str) -> None:
    """A scene as the release has it."""
    folder = raw / "data" / scene
    (folder / "scans").mkdir(parents=True)
    trimesh.creation.box(extents=2 * HALF).export(folder / "scans" / "mesh_aligned_0.05.ply")
    for capture, photos, masks, suffix in (
        ("dslr", "resized_images", "resized_anon_masks", "JPG"),
        ("iphone", "rgb", "rgb_masks", "jpg"),
    ):
        model, parameters = LENSES[capture]
        for name in (photos, masks, "colmap"):
            (folder / capture / name).mkdir(parents=True)
        lines = ["# Image list with two lines of data per image:", "#   IMAGE_ID, QW, ...", "#   POINTS2D[]"]
        rays = lens_rays(capture)
        for number, name in enumerate(NAMES):
            if name.startswith("DSC") != (capture == "dslr"):
                continue
            cam2world = pose_of(number)
            world2cam = np.linalg.inv(cam2world)
            x, y, z, w = Rotation.from_matrix(world2cam[:3, :3]).as_quat().tolist()
            translation = " ".join(repr(float(value)) for value in world2cam[:3, 3])
            stored = f"{name}.{suffix}" if capture == "dslr" else f"video/{name}.jpg"
            lines += [
                f"{number + 1} {w!r} {x!r} {y!r} {z!r} {translation} 7 {stored}",
                "1.5 2.5 -1 3.0 4.0 17" if number else "",
            ]
            Image.fromarray(look(rays, cam2world)[1]).save(
                folder / capture / photos / f"{name}.{suffix}", quality=98
            )
            mask = np.full((SIZE[1], SIZE[0]), 255, np.uint8)
            if name == "DSC00007":
                mask[30:50, 50:70] = 0
            Image.fromarray(mask).save(folder / capture / masks / f"{name}.png")
        (folder / capture / "colmap" / "images.txt").write_text("\n".join(lines) + "\n")
        camera = f"# Camera list\n7 {model} {SIZE[0]} {SIZE[1]} {' '.join(map(str, parameters))}\n"
        (folder / capture / "colmap" / "cameras.txt").write_text(camera)
    (pairs / scene).mkdir(parents=True)
    chosen = np.array([[0, 1, 0.8], [1, 2, 0.3], [3, 2, 0.5], [3, 4, 0.5]])
    np.savez(pairs / scene / "selected_pairs.npz", selection=np.array(NAMES), pairs=chosen)


@pytest.fixture
def release(tmp_path: Path) -> tuple[Path, Path]:
    """Raw folder and pairs' folder: two scenes."""
    raw, pairs = tmp_path / "raw", tmp_path / "pairs"
    for scene in ("036bce3393", "0a5c013435"):
        write_scene(raw, pairs, scene)
    (pairs / "scene_list.json").write_text(json.dumps(["036bce3393", "0a5c013435"]))
    return raw, pairs


def prepare(release: tuple[Path, Path], out: Path) -> PrepareReport:
    return run_preparation(
        plan(PrepareRequest(release[0], out, release[1], options={"target_resolution": WIDTH}))
    )


@pytest.fixture
def prepared(release: tuple[Path, Path], tmp_path: Path) -> Path:
    assert prepare(release, tmp_path / "out").complete
    return tmp_path / "out"


def test_depth_of_a_mesh_is_exact_at_pixel_centres() -> None:
    """The room from inside, turned any way, with an off-centre principal point."""
    mesh = MeshDepth(trimesh.creation.box(extents=2 * HALF))
    K = np.array([[150.0, 0, 85.3], [0, 155, 58.2], [0, 0, 1]])
    for seed in range(4):
        cam2world = np.eye(4)
        cam2world[:3, :3] = Rotation.random(rng=seed).as_matrix()
        cam2world[:3, 3] = 0.5, -1.0, 0.3
        exact, _ = look(pinhole_rays(K, (160, 120)), cam2world)
        np.testing.assert_allclose(mesh.render(K, cam2world, (160, 120)), exact, rtol=2e-7)


def test_both_sides_near_and_far_of_a_mesh() -> None:
    """A plate 3 m in front of a wall: seen from either side, and through it where it is too near."""
    plate = trimesh.Trimesh([(-9, -9, 1), (9, -9, 1), (9, 9, 1), (-9, 9, 1)], [(0, 1, 2), (0, 2, 3)])
    wall = trimesh.creation.box(extents=(40, 40, 1))
    wall.apply_translation((0, 0, 4.5))
    mesh = MeshDepth(trimesh.util.concatenate([plate, wall]))
    K = np.array([[100.0, 0, 3.5], [0, 100, 2.5], [0, 0, 1]])

    def seen(z: float, *, back: bool = False, **limits: float) -> float:
        cam2world = np.diag([1.0, -1, -1, 1]) if back else np.eye(4)
        cam2world[2, 3] = z
        depth = mesh.render(K, cam2world, (8, 6), **limits)
        assert np.ptp(depth) < 1e-6
        return float(depth.mean())

    assert seen(0.0) == pytest.approx(1.0)
    assert seen(2.0, back=True) == pytest.approx(1.0)
    assert seen(0.94) == pytest.approx(0.06)
    assert seen(0.96) == pytest.approx(3.04)  # nearer than 0.05
    assert seen(-18.0) == pytest.approx(19.0)
    assert seen(-19.5) == 0  # farther than 20
    assert seen(4.0, back=True, far=2.0) == 0  # from within the wall: its front is at 0
    assert seen(0.0, near=0.5, far=0.9) == 0


def test_raw_files_become_true_pairs(prepared: Path) -> None:
    def make(**options: object) -> ScanNetpp:
        return ScanNetpp(ROOT=prepared, split="train", **options)

    dataset = make(resolution=(64, 48), n_corres=64, seed=1)
    assert len(dataset) == 8
    assert_conforms(dataset)
    assert_options_work(make, resolution=(64, 48))
    assert_true_matches(dataset)
    first, second = dataset[5]
    assert (first["dataset"], first["label"], first["instance"]) == (
        "ScanNet++",
        "0a5c013435_frame_000010",
        "5_6",
    )
    assert (second["label"], second["instance"]) == ("0a5c013435_DSC00007", "5_7")


@pytest.mark.parametrize(("name", "number"), [("DSC00001", 0), ("frame_000010", 1)])
def test_prepared_photos_and_depth_are_those_of_a_pinhole_camera(
    prepared: Path, name: str, number: int
) -> None:
    with np.load(prepared / "036bce3393/scene_metadata.npz") as stored:
        K = stored["intrinsics"][number]
        np.testing.assert_allclose(stored["trajectories"][number], pose_of(number), atol=1e-12)
    K[:2, 2] -= 0.5  # stored with corners at integers
    photo = np.asarray(Image.open(prepared / f"036bce3393/images/{name}.jpg")).astype(int)
    assert photo.shape == (72, 108, 3)  # covers 96 x 72
    depth = cv2.imread(str(prepared / f"036bce3393/depth/{name}.png"), cv2.IMREAD_UNCHANGED)
    exact, _ = look(pinhole_rays(K, (108, 72)), pose_of(number))
    known = depth > 0
    assert known.mean() > 0.98
    assert np.abs(depth[known] - (exact[known] * 1000).astype(int)).max() <= 1

    def differs(dx: float, dy: float) -> float:
        """From what a camera sees whose principal point is elsewhere."""
        moved = K + np.array([[0, 0, dx], [0, 0, dy], [0, 0, 0]])
        color = look(pinhole_rays(moved, (108, 72)), pose_of(number))[1].astype(int)
        return float(np.abs(photo - color)[12:-12, 16:-16].mean())  # beyond the lens, photos are reflected

    assert differs(0, 0) < 8  # JPEG, and interpolated twice
    for shift in ((0.3, 0), (-0.3, 0), (0, 0.3), (0, -0.3)):
        assert differs(*shift) > 1.1 * differs(0, 0)


def test_hidden_parts_have_no_depth(prepared: Path) -> None:
    depth = cv2.imread(str(prepared / "036bce3393/depth/DSC00007.png"), cv2.IMREAD_UNCHANGED)
    assert (depth[28:44, 46:62] == 0).all()
    assert 0.02 < (depth == 0).mean() < 0.2


def test_principal_points_are_stored_half_a_pixel_off(prepared: Path) -> None:
    """Upstream's trap: the telephone's optimal camera is centred, so its stored value is known exactly."""
    dataset = ScanNetpp(ROOT=prepared, split="train", resolution=(96, 72), seed=0)
    stored = dataset.metadata.intrinsics[1][:2, 2]
    scale = 72 / 80 + 1e-8
    centre = (np.array([(120 - 1) / 2, (80 - 1) / 2]) + 0.5) * scale - 0.5 * (
        np.array(SIZE) * scale - (108, 72)
    )
    np.testing.assert_allclose(stored, centre, atol=1e-5)
    (_, phone) = dataset[0]
    assert phone["camera_intrinsics"][0, 2] == pytest.approx(stored[0] - 6, abs=1e-4)


def test_photos_that_the_release_lacks_are_left_out_and_counted(
    release: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = release[0] / "data/036bce3393"
    (folder / "iphone/rgb/frame_000010.jpg").unlink()
    listed = (folder / "dslr/colmap/images.txt").read_text().splitlines()
    (folder / "dslr/colmap/images.txt").write_text(
        "\n".join(listed[:-2]) + "\n"
    )  # DSC00009 is not in the model
    assert prepare(release, tmp_path / "out").complete
    assert "2 selected images are not in this release; they are left out, with 3 pairs" in caplog.text
    with np.load(tmp_path / "out/all_metadata.npz") as stored:
        assert stored["images"].tolist() == ["DSC00001", "DSC00007", "frame_000020", *NAMES]
        assert stored["pairs"].tolist()[:2] == [[2, 1, 0.5], [3, 4, 0.8]]
        assert stored["counts"].tolist() == [0, 3]
    assert_conforms(ScanNetpp(ROOT=tmp_path / "out", resolution=(64, 48)))


def test_the_command_names_a_broken_photo_and_a_second_run_mends_it(
    release: tuple[Path, Path], tmp_path: Path
) -> None:
    broken = release[0] / "data/036bce3393/dslr/resized_images/DSC00007.JPG"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:300])
    untouched = snapshot(release[0])
    arguments = (
        "--raw",
        release[0],
        "--pairs",
        release[1],
        "--out",
        tmp_path / "out",
        "--target_resolution",
        WIDTH,
    )
    ended = run_mast3r("data", "prepare", "scannetpp", *arguments)
    assert ended.returncode == 3, ended.stderr
    assert "DSC00007.JPG" in ended.stderr
    assert snapshot(release[0]) == untouched
    assert len(ScanNetpp(ROOT=tmp_path / "out", resolution=(64, 48))) == 6
    before = snapshot(tmp_path / "out")
    broken.write_bytes(whole)
    report = prepare(release, tmp_path / "out")
    assert report.complete
    assert (report.made, report.kept) == (1, 1)
    after = snapshot(tmp_path / "out")
    images = {name for name in after if after[name] != before.get(name) and name.endswith((".jpg", ".png"))}
    assert images == {"036bce3393/images/DSC00007.jpg", "036bce3393/depth/DSC00007.png"}
    assert len(ScanNetpp(ROOT=tmp_path / "out", resolution=(64, 48))) == 8


def test_what_is_wrong_with_a_release_is_named(release: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = (release[0] / "data" / scene for scene in ("036bce3393", "0a5c013435"))
    for path in (first / "iphone/rgb").iterdir():
        path.unlink()
    (first / "iphone/rgb").rmdir()
    (second / "scans/mesh_aligned_0.05.ply").write_text("ply\nnothing\n")
    failed = prepare(release, tmp_path / "out").failed
    assert "iphone/rgb does not exist: extract the videos' frames" in failed["036bce3393"]
    assert "mesh_aligned_0.05.ply" in failed["0a5c013435"]
    with pytest.raises(InputError, match=r"scene_list\.json"):
        plan(PrepareRequest(release[0], tmp_path / "o", release[0]))
    with pytest.raises(InputError, match="data folder"):
        plan(PrepareRequest(release[0] / "data", tmp_path / "o", release[1]))


def test_wrong_folders_and_splits_are_refused(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'val'"):
        ScanNetpp(ROOT=prepared, split="val", resolution=64)
    with pytest.raises(InputError, match=r"all_metadata\.npz"):
        ScanNetpp(ROOT=tmp_path, split="train", resolution=64)
    (prepared / "036bce3393/depth/DSC00001.png").write_bytes(b"")
    with pytest.raises(SampleError, match=r"DSC00001\.png"):
        ScanNetpp(ROOT=prepared, split="train", resolution=64)[0]


def test_colmap_text_files_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text("# comment\n1 PINHOLE 10 10 5 5 4\n")
    with pytest.raises(InputError, match="line 2: PINHOLE has 4 parameters, got 3"):
        read_colmap_cameras(path)
    path.write_text("1 THIN_PRISM 10 10 5 5 4\n")
    with pytest.raises(InputError, match="camera model THIN_PRISM"):
        read_colmap_cameras(path)
    path.write_text(
        "1 1 0 0 0 0 0 0 1 a b.jpg\n\n2 1 0 0 0 0 0 1 1 c.jpg\n1 2 3 4 5 6 7 8 9\n3 1 0 0 broken\n"
    )
    with pytest.raises(InputError, match="line 5"):
        read_colmap_images(path)
    path.write_text("1 1 0 0 0 0 0 0 1 a b.jpg\n\n2 1 0 0 0 0 0 1 1 c.jpg\n1 2 3 4 5 6 7 8 9\n")
    assert [image.name for image in read_colmap_images(path)] == ["a b.jpg", "c.jpg"]
    path.write_text("1 SIMPLE_RADIAL 10 8 9 5 4 0.1\n")
    camera = read_colmap_cameras(path)[1]
    assert camera.matrix.tolist() == [[9, 0, 5], [0, 9, 4], [0, 0, 1]]
    assert camera.distortion == (0.1,)
