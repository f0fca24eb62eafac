"""DL3DV: the release, depth from COLMAP or imported, labels, variants, samples (spec 41 section 14)."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mast3r_model import ConfigError, InputError
from mast3r_train.datasets.dl3dv import DL3DV, DL3DVFolder, is_val_scene
from mast3r_train.datasets.dl3dv_labels import COLUMNS, SceneLabels, read_labels, write_labels
from mast3r_train.errors import SampleError
from mast3r_train.preparing import PrepareRequest
from mast3r_train.preparing.dl3dv import plan
from mast3r_train.preparing.dl3dv_page import read_page

from .posed_checks import (
    assert_dataset_is_sound,
    assert_names_missing_pairs,
    assert_refuses_broken_image,
    assert_resumable,
    build,
    mast3r,
    prepare,
)
from .standin_rigs import render_rig
from .standin_scenes import StandinView

NATURAL, INDOORS = "1K/" + "0a" * 32, "3K/" + "1b" * 32
SCENES = (NATURAL, INDOORS)
FRAMES, SIZE_WH, MARGIN = 3, (160, 96), 24
DISTORTION = (0.06, -0.015, 0.002, -0.001)
UNIT = 1.9
"""Units of transforms.json in one of the dense reconstruction."""


def views(scene: str, margin: int = 0) -> list[StandinView]:
    """Pinhole views, perhaps with some pixels more on every side."""
    width, height = SIZE_WH
    focal = 90.0
    wide = (width + 2 * margin, height + 2 * margin)
    fov = float(np.degrees(2 * np.arctan(wide[0] / 2 / focal)))
    center = (82.3 - 0.5 + margin, 45.6 - 0.5 + margin)
    return render_rig(FRAMES, wide, fov=fov, center=center, seed=SCENES.index(scene))


def distorted(scene: str) -> list[np.ndarray]:
    """What a camera with the lens of the release sees: the wide pinhole view, bent."""
    K = views(scene)[0].K
    u, v = np.meshgrid(np.arange(SIZE_WH[0], dtype=np.float64), np.arange(SIZE_WH[1], dtype=np.float64))
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
    straight = cv2.undistortPoints(pixels, K, np.array(DISTORTION), P=K).reshape(*u.shape, 2) + MARGIN
    x, y = straight.astype(np.float32).transpose(2, 0, 1)
    return [cv2.remap(view.rgb, x, y, cv2.INTER_CUBIC) for view in views(scene, MARGIN)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes as released: nerfstudio's format, an applied transform, photos at a fourth of ``w``."""
    root = tmp_path_factory.mktemp("dl3dv_raw")
    applied = np.eye(4)
    applied[:3] = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]]
    for scene in SCENES:
        (root / scene / "images_4").mkdir(parents=True)
        frames = []
        for number, (view, photo) in enumerate(zip(views(scene), distorted(scene), strict=True), start=1):
            name = f"frame_{number:05d}.png"
            Image.fromarray(photo).save(root / scene / "images_4" / name)
            opengl = applied @ view.cam2world @ np.diag([1, -1, -1, 1])
            frames.append({"file_path": f"images/{name}", "transform_matrix": opengl.tolist()})
        K = views(scene)[0].K
        document = {
            "w": 4 * SIZE_WH[0], "h": 4 * SIZE_WH[1], "fl_x": 4 * K[0, 0], "fl_y": 4 * K[1, 1],
            "cx": 4 * (K[0, 2] + 0.5), "cy": 4 * (K[1, 2] + 0.5),
            **dict(zip(("k1", "k2", "p1", "p2"), DISTORTION, strict=True)),
            "camera_model": "OPENCV", "frames": frames, "applied_transform": applied[:3].tolist(),
        }  # fmt: skip
        (root / scene / "transforms.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dense reconstructions by COLMAP, each in its own world and unit, of images a bit larger than the photos."""
    root = tmp_path_factory.mktemp("dl3dv_dense")
    for number, scene in enumerate(SCENES):
        world = np.eye(4)
        world[:3, :3] = Rotation.from_euler("xyz", (20, 70, 10 + number), degrees=True).as_matrix()
        world[:3, 3] = (3, 1, number)
        model = pycolmap.Reconstruction()
        wide = views(scene, 6)
        for index, view in enumerate(wide, start=1):
            height, width = view.depth.shape
            K = view.K
            camera = pycolmap.Camera(
                camera_id=index, model="PINHOLE", width=width, height=height,
                params=[K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5],
            )  # fmt: skip
            model.add_camera_with_trivial_rig(camera)
            pose = view.cam2world.copy()
            pose[:3, 3] /= UNIT
            image = pycolmap.Image(name=f"frame_{index:05d}.png", camera_id=index, image_id=index)
            world2cam = np.linalg.inv(world @ pose)
            model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(world2cam[:3]))
            maps = root / scene / "stereo" / "depth_maps"
            maps.mkdir(parents=True, exist_ok=True)
            depth = (view.depth / UNIT).astype(np.float32)
            pycolmap.DepthMap.from_array(depth, 0.1, 100).write(maps / f"{image.name}.geometric.bin")
        (root / scene / "sparse").mkdir()
        model.write(root / scene / "sparse")
    return root


PAGE = f"""# Preview
| | hash | subset | bounded | reflection | transparency | light | place | category | device |
|--|--|--|--|--|--|--|--|--|--|
| 1 | `{NATURAL[3:]}` | 1K | unbd | low | none | nlight | outdoor | park | phone |
| 2 | [{INDOORS[3:]}](https://example.org) | 3K | bd | high | low | hlight | indoor | shop | drone |
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dl3dv_page") / "preview.md"
    path.write_text(PAGE)
    return path


@pytest.fixture(scope="module")
def processed(raw: Path, dense: Path, page: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dl3dv") / "dl3dv_processed"
    report = prepare(plan, raw, out, depth=dense, labels=page)
    assert report.failed == {}
    assert report.complete
    assert report.made == 2 * FRAMES
    return out


def test_processed_files(processed: Path) -> None:
    """Undistorted photos, poses and depth are those of the pinhole views."""
    folder = DL3DVFolder(processed)
    assert folder.scenes() == sorted(SCENES)
    for scene in SCENES:
        truth = views(scene)
        poses = []
        for number, view in enumerate(truth, start=1):
            frame = f"frame_{number:05d}"
            K, pose = folder.camera(scene, frame)
            assert pytest.approx(view.K, abs=1e-9) == K
            poses.append(pose)
            photo = np.array(Image.open(folder.files(scene, frame)[0]))
            inner = (slice(8, -8), slice(8, -8))
            assert np.median(np.abs(photo[inner].astype(int) - view.rgb[inner])) <= 2
            depth = folder.depth(scene, frame)
            known = depth > 0
            assert known.mean() > 0.7
            assert np.allclose(depth[known], view.depth[known], rtol=1e-4)  # also in its scale
            assert np.array_equal(known[inner], (view.depth > 0)[inner])
        relative = np.linalg.inv(poses[0]) @ poses[2]
        assert relative == pytest.approx(np.linalg.inv(truth[0].cam2world) @ truth[2].cam2world, abs=1e-9)


def test_samples(processed: Path) -> None:
    make = partial(DL3DV, ROOT=processed)
    assert_dataset_is_sound(make)
    dataset = make(resolution=(96, 64), seed=0)
    assert not dataset.is_metric_scale
    assert dataset[0][0]["dataset"] == "DL3DV"


def test_splits(processed: Path, tmp_path: Path) -> None:
    make = partial(DL3DV, ROOT=processed, resolution=64)

    def scenes(split: str | None) -> set[str]:
        dataset = make(split=split)
        return {dataset.pairs[i][0] for i in range(len(dataset))}

    assert scenes("nlight") == {NATURAL}
    assert scenes("not-nlight") == {INDOORS}
    assert scenes(None) == set(SCENES)
    assert scenes("train") == set(SCENES)
    names = [f"1K/{number:064x}" for number in range(4000)]
    share = sum(map(is_val_scene, names)) / len(names)
    assert 0.018 < share < 0.032
    assert is_val_scene("5K/" + names[0][3:]) == is_val_scene(names[0])
    chosen = next(name for name in names if is_val_scene(name))
    root = tmp_path / "more"
    shutil.copytree(processed / NATURAL, root / chosen)
    shutil.copytree(processed / INDOORS, root / INDOORS)
    code, _, _ = mast3r("data", "pairs", "DL3DV", "--root", root, "--max_pairs", "4", "--min_overlap", "0.05")
    assert code == 0
    assert len(DL3DV(ROOT=root, resolution=64)) == 4
    val = DL3DV(ROOT=root, resolution=64, split="val")
    assert {val.pairs[i][0] for i in range(len(val))} == {chosen}
    with pytest.raises(InputError, match=r"dl3dv_labels\.csv") as caught:
        DL3DV(ROOT=root, resolution=64, split="nlight")
    assert "--labels" in str(caught.value.hint)
    write_labels(root / "dl3dv_labels.csv", [SceneLabels("f" * 64, light="nlight")])
    unlabelled = DL3DV(ROOT=root, resolution=64, split="not-nlight")
    assert len(unlabelled) == 4


def test_variants_are_drawn_per_view(processed: Path, tmp_path: Path) -> None:
    root = shutil.copytree(processed, tmp_path / "variants")
    colors = {"foggy": (250, 0, 0), "snow": (0, 250, 0), "other": (0, 0, 250)}
    for name, color in colors.items():
        folder = root / NATURAL / "dense" / "rgb_cosxl" / name
        folder.mkdir(parents=True)
        for number in (1, 2) if name != "other" else (1,):
            Image.new("RGB", SIZE_WH, color).save(folder / f"frame_{number:05d}.png")
    plain = DL3DV(ROOT=root, resolution=(96, 64), split="nlight", cosxl_augmentations=None)

    def seen(dataset: DL3DV, scene: str, frame: str, seed: int) -> tuple[str, int]:
        """Which photo a view shows, and the generator's next number."""
        rng = np.random.default_rng(seed)
        image = np.array(dataset._image(scene, frame, rng))
        flat = next((name for name, color in colors.items() if (image == color).all()), "photo")
        return flat, int(rng.integers(1 << 30))

    drawing = DL3DV(ROOT=root, resolution=(96, 64), split="nlight")
    found = {seen(drawing, NATURAL, "frame_00001", seed)[0] for seed in range(30)}
    assert found == {"photo", "foggy", "snow"}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        drawn = ("photo", "foggy", "snow")[rng.integers(3)]
        assert seen(drawing, NATURAL, "frame_00002", seed) == (drawn, int(rng.integers(1 << 30)))
        untouched = int(np.random.default_rng(seed).integers(1 << 30))
        assert seen(plain, NATURAL, "frame_00002", seed) == ("photo", untouched)
        assert seen(drawing, NATURAL, "frame_00003", seed) == ("photo", untouched)  # has none: no draw
    own = DL3DV(ROOT=root, resolution=(96, 64), split="nlight", cosxl_augmentations=["other"])
    assert {seen(own, NATURAL, "frame_00001", seed)[0] for seed in range(20)} == {"photo", "other"}
    assert_dataset_is_sound_with_variants(root)


def assert_dataset_is_sound_with_variants(root: Path) -> None:
    """Depth and poses are those of the photo, whichever variant is drawn."""
    a = DL3DV(ROOT=root, resolution=(96, 64), seed=3)
    b = DL3DV(ROOT=root, resolution=(96, 64), seed=3, cosxl_augmentations=None)
    for index in range(len(a)):
        for ours, other in zip(a[index], b[index], strict=True):
            assert np.array_equal(ours["pts3d"], other["pts3d"])


def test_masks(processed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = shutil.copytree(processed, tmp_path / "masked")
    DL3DV(ROOT=root, resolution=64)
    assert "no masks" in caplog.text
    caplog.clear()
    for kind, box in (("sky_mask", (0, 0, 30, 30)), ("outlier_mask", (20, 0, 50, 30))):
        (root / NATURAL / "dense" / kind).mkdir()
        for number in range(1, FRAMES + 1):
            mask = np.zeros(SIZE_WH[::-1], np.uint8)
            mask[box[1] : box[3], box[0] : box[2]] = 127
            mask[-1, -1] = 126
            Image.fromarray(mask).save(root / NATURAL / "dense" / kind / f"frame_{number:05d}.png")
    folder = DL3DVFolder(root)
    depth, before = folder.depth(NATURAL, "frame_00002"), DL3DVFolder(processed).depth(NATURAL, "frame_00002")
    assert (depth[:30, :20] == -1).all()
    assert (depth[:30, 20:50] == 0).all()  # an outlier is unknown, sky or not
    assert np.array_equal(depth[30:], before[30:])
    DL3DV(ROOT=root, resolution=64)
    assert "no masks" not in caplog.text
    (root / NATURAL / "dense/sky_mask/frame_00002.png").unlink()
    with pytest.raises(SampleError, match=r"sky_mask/frame_00002\.png does not exist"):
        folder.depth(NATURAL, "frame_00002")
    Image.new("L", (9, 9)).save(root / NATURAL / "dense/sky_mask/frame_00002.png")
    with pytest.raises(SampleError, match="9x9 pixels, the depth 160x96"):
        folder.depth(NATURAL, "frame_00002")


def test_import_of_a_folder_in_the_layout(raw: Path, processed: Path, tmp_path: Path) -> None:
    source = shutil.copytree(processed, tmp_path / "source")
    for name in ("dl3dv_pairs.npz", "dl3dv_labels.csv"):
        (source / name).unlink()
    depth = source / NATURAL / "dense/depth/frame_00002.npy"
    depth.write_bytes(depth.read_bytes()[:90])
    report = prepare(plan, raw, tmp_path / "out", import_from=source)
    assert list(report.failed) == [f"{NATURAL}/frame_00002"]
    assert "frame_00002.npy" in report.failed[f"{NATURAL}/frame_00002"]
    assert report.missing == ()
    dataset = DL3DV(ROOT=tmp_path / "out", resolution=64)
    assert ("frame_00001", "frame_00003") in [
        dataset.pairs[i][1:] for i in range(len(dataset)) if dataset.pairs[i][0] == NATURAL
    ]


def test_without_depth_it_says_so_and_goes_on_later(
    raw: Path, dense: Path, page: Path, tmp_path: Path
) -> None:
    words = ("data", "prepare", "dl3dv", "--raw", raw, "--out", tmp_path / "out")
    code, document, errors = mast3r(*words)
    assert code == 3
    assert document["result"]["made"] == 2 * FRAMES
    assert "the DL3DV release has photos and poses but no depth: give --depth DIR" in errors
    assert any("dense/depth/frame_00001.npy and 2 more" in one for one in document["result"]["missing"])
    assert "dl3dv_pairs.npz" in document["result"]["missing"]
    code, document, errors = mast3r(*words, "--depth", dense, "--labels", page)
    assert code == 0, errors
    assert document["result"]["missing"] == []
    assert len(DL3DV(ROOT=tmp_path / "out", resolution=64, split="nlight")) >= 1


def test_resumed_and_corrupt(raw: Path, dense: Path, processed: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(raw, tmp_path / "raw")
    assert_resumable(
        plan, damaged, processed, processed / INDOORS / "dense/depth/frame_00002.npy",
        damaged / INDOORS / "images_4/frame_00002.png", [f"{INDOORS}/frame_00002"], depth=dense,
    )  # fmt: skip
    maps = shutil.copytree(dense, tmp_path / "dense")
    (maps / NATURAL / "stereo/depth_maps/frame_00003.png.geometric.bin").unlink()
    report = prepare(plan, raw, tmp_path / "out", depth=maps)
    assert report.complete
    assert report.made == 2 * FRAMES - 1


def test_broken_scenes_are_named(raw: Path, dense: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(raw, tmp_path / "raw")
    path = damaged / NATURAL / "transforms.json"
    document = json.loads(path.read_text())
    document["frames"][1]["transform_matrix"][0][3] += 40
    path.write_text(json.dumps(document))
    (damaged / INDOORS / "transforms.json").write_text('{"w": 3}')
    report = prepare(plan, damaged, tmp_path / "out", depth=dense)
    assert "its cameras are not those of transforms.json" in report.failed[NATURAL]
    assert "transforms.json does not have nerfstudio's format" in report.failed[INDOORS]
    bare = tmp_path / "no_runs"
    bare.mkdir()
    assert "no sparse and stereo/depth_maps" in prepare(plan, raw, tmp_path / "b", depth=bare).failed[NATURAL]


ROWS = [
    ["1K", "unbd", "low", "none", "nlight", "outdoor", "park", "phone"],
    ["3K", "bd", "", "", "", "", "", ""],
]


def _csv(heading: bool) -> str:
    rows = [",".join([name[3:], *row]) for name, row in zip(SCENES, ROWS, strict=True)]
    return "\n".join(([",".join(COLUMNS)] if heading else []) + rows)


def _html() -> str:
    rows = [
        f"<tr><td>{number}</td><td><a href='https://x/{name[3:]}'>scene</a></td>"
        + "".join(f"<td>{w}</td>" for w in row)
        for number, (name, row) in enumerate(zip(SCENES, ROWS, strict=True), start=1)
    ]
    return (
        "<html><body><p>text</p><table><tr><th>#</th></tr>"
        + "</tr>\n".join(rows)
        + "</tr></table></body></html>"
    )


@pytest.mark.parametrize("text", [_csv(True), _csv(False), _html()], ids=["heading", "plain", "html"])
def test_pages_of_labels(text: str, tmp_path: Path) -> None:
    (tmp_path / "page").write_text(text)
    found = read_page(tmp_path / "page")
    assert found == [SceneLabels(name[3:], *row) for name, row in zip(SCENES, ROWS, strict=True)]
    write_labels(tmp_path / "dl3dv_labels.csv", found)
    assert read_labels(tmp_path / "dl3dv_labels.csv") == {scene.hash: scene for scene in found}
    assert (tmp_path / "dl3dv_labels.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_pages_that_are_none(page: Path, tmp_path: Path) -> None:
    assert [scene.light for scene in read_page(page)] == ["nlight", "hlight"]
    (tmp_path / "a").write_text("no table")
    with pytest.raises(InputError, match="no table row"):
        read_page(tmp_path / "a")
    (tmp_path / "b").write_text(f"{NATURAL[3:]},nlight,1K,unbd\n")
    with pytest.raises(InputError, match="expected the columns hash, subset"):
        read_page(tmp_path / "b")
    (tmp_path / "c.csv").write_text("hash,light\n")
    with pytest.raises(InputError, match="no column subset"):
        read_labels(tmp_path / "c.csv")


def test_published_expressions(processed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAST3R_DATA_ROOT", str(processed.parent))
    options = "resolution=[(512, 384), (512, 160)], aug_crop='auto', aug_monocular=0.005, transform=ColorJitter, n_corres=8192, nneg=0.5"
    text = f"22_800 @ DL3DV(split='nlight', {options}) + 22_800 @ DL3DV(split='not-nlight', cosxl_augmentations=None, {options})"
    assert len(build(text)) == 45_600


def test_bad_input(processed: Path, tmp_path: Path) -> None:
    make = partial(DL3DV, ROOT=processed)
    assert_names_missing_pairs(make, processed / "dl3dv_pairs.npz")
    scene, frame, _ = make(resolution=64).pairs[0]
    assert_refuses_broken_image(make, processed / scene / "dense/rgb" / f"{frame}.png")
    with pytest.raises(ConfigError, match="'not-nlight'"):
        make(split="hlight", resolution=64)
    for wrong in ("foggy", ["../x"], [3]):
        with pytest.raises(ConfigError, match="cosxl_augmentations"):
            make(cosxl_augmentations=wrong, resolution=64)
    with pytest.raises(InputError, match=r"1K/<hash>/transforms\.json"):
        plan(PrepareRequest(tmp_path, tmp_path / "out"))
    with pytest.raises(InputError, match="not both"):
        plan(PrepareRequest(tmp_path, tmp_path / "out", options={"depth": tmp_path, "import_from": tmp_path}))
