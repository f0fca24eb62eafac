"""Scaling, crops, virtual cameras, turns and whole items, as upstream recorded them (train/views)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_train.geometry import (
    crop_homography,
    crop_resize,
    nearest_pixels,
    random_crops,
    reciprocal_pixels,
    rescale,
    rotate_quarter_turns,
    to_landscape,
    world_points_of_map,
)
from mast3r_train.geometry.matching_pixels import PointView

from .view_goldens import StoredPair, ViewGoldens


@pytest.fixture(scope="module")
def recorded(request: pytest.FixtureRequest) -> ViewGoldens:
    folder = Path(__file__).parent / "goldens"
    return ViewGoldens.load(lambda relative: folder / relative)


def assert_image(image: object, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("case", range(6))
def test_rescale(recorded: ViewGoldens, case: int) -> None:
    entry = recorded.cases["rescale"][case]
    image, depth, K = rescale(
        *recorded.input(entry["input"]), tuple(entry["output_resolution"]), force=entry["force"]
    )
    assert list(image.size) == entry["out_size"]
    assert_image(image, recorded.arrays[f"rescale.{case}.img"])
    np.testing.assert_array_equal(depth, recorded.arrays[f"rescale.{case}.depth"])
    np.testing.assert_allclose(K, recorded.arrays[f"rescale.{case}.K"], atol=1e-4)


@pytest.mark.parametrize("case", range(25))
def test_crop_resize(recorded: ViewGoldens, case: int) -> None:
    entry = recorded.cases["crop_resize"][case]
    image, depth, K = crop_resize(
        *recorded.input(entry["input"]),
        tuple(entry["resolution"]),
        np.random.default_rng(entry["rng_seed"]),
        style="dust3r" if entry["variant"] == "centred" else "mast3r",
        aug_crop=entry["aug_crop"],
    )
    assert list(image.size) == entry["out_size"]
    assert_image(image, recorded.arrays[f"crop.{case}.img"])
    np.testing.assert_array_equal(depth, recorded.arrays[f"crop.{case}.depth"])
    np.testing.assert_allclose(K, recorded.arrays[f"crop.{case}.K"], atol=1e-4)


@pytest.mark.parametrize("case", range(8))
def test_crops_and_homographies(recorded: ViewGoldens, case: int) -> None:
    entry = recorded.cases["homography"][case]
    resolution = tuple(entry["resolution"])
    rng = np.random.default_rng(entry["rng_seed"])
    boxes = random_crops(tuple(entry["imsize"]), 4, resolution, entry["aug_crop"], rng)
    np.testing.assert_allclose(boxes, entry["crops"], atol=1e-6)
    for name, box, target in (("with_target", boxes[0], resolution), ("no_target", boxes[1], None)):
        camera = crop_homography(np.array(entry["K"]), box, target)
        expected = entry[name]
        assert list(camera.size_wh) == expected["imsize"]
        np.testing.assert_allclose(camera.intrinsics, expected["K_new"], atol=1e-6)
        np.testing.assert_allclose(camera.rotation, expected["R"], atol=1e-6)
        np.testing.assert_allclose(camera.homography, expected["H"], atol=1e-6)


@pytest.mark.parametrize("case", range(2))
def test_correspondences(recorded: ViewGoldens, case: int) -> None:
    entry = recorded.cases["corres"][case]
    views = []
    for number in range(2):
        depth, K, pose, valid = (
            recorded.arrays[f"corres.{case}.view{number}.{key}"]
            for key in ("depth", "K", "pose", "valid_mask")
        )
        views.append(PointView(world_points_of_map(depth, K, pose), K, pose, valid))
    for name, source, target in (("c12", *views), ("c21", *views[::-1])):
        found = nearest_pixels(source.points, target)
        # On other processors a pixel on a rounding boundary may fall to either side.
        assert (found == recorded.arrays[f"corres.{case}.{name}"]).mean() > 0.999
    pairs = reciprocal_pixels(*views, require_valid=False)
    if len(pairs) != entry["n_reciprocal"]:
        pytest.skip("this processor rounds a boundary pixel differently: indices shift")
    assert len(reciprocal_pixels(*views)) == entry["n_reciprocal_both_valid"]
    for number, sample in enumerate(entry["samples"]):
        drawn = pairs.sample(sample["n"], sample["nneg"], np.random.default_rng(sample["rng_seed"]))
        prefix = f"corres.{case}.s{number}."
        np.testing.assert_array_equal(drawn.xy1, recorded.arrays[prefix + "xy1"])
        np.testing.assert_array_equal(drawn.xy2, recorded.arrays[prefix + "xy2"])
        np.testing.assert_array_equal(drawn.valid, recorded.arrays[prefix + "valid"])
        assert drawn.valid.sum() == sample["n_valid"]


@pytest.mark.parametrize("case", range(21))
def test_items(recorded: ViewGoldens, case: int) -> None:
    entry = recorded.cases["items"][case]
    dataset = StoredPair(
        recorded,
        entry["scene"],
        cropped_by_loader=entry["pre_crop"],
        resolution=tuple(entry["resolution"]),
        seed=entry["seed"],
        require_valid_corres=False,
        **entry["options"],
    )
    for number, (view, expected) in enumerate(zip(dataset[0], entry["views"], strict=True)):
        prefix = f"item.{case}.{number}."
        levels = ((view["img"] * 0.5 + 0.5) * 255).round().to(torch.uint8).numpy()
        assert_image(levels, recorded.arrays[prefix + "img"])
        for key in ("valid_mask", "sky_mask"):
            np.testing.assert_array_equal(view[key], recorded.arrays[prefix + key])
        # The turn of a virtual camera is good to float32's last digit.
        np.testing.assert_allclose(view["depthmap"], recorded.arrays[prefix + "depthmap"], rtol=2e-7)
        np.testing.assert_allclose(view["camera_pose"], expected["camera_pose"], atol=1e-6)
        np.testing.assert_allclose(view["camera_intrinsics"], expected["camera_intrinsics"], atol=1e-4)
        total = np.abs(view["pts3d"].astype(np.float64)).sum()
        np.testing.assert_allclose(total, expected["pts3d_sum"], rtol=1e-6)
        assert view["true_shape"].tolist() == expected["true_shape"]
        assert list(view["idx"]) == expected["idx"]
        for key in ("rng", "label", "instance", "is_metric_scale"):
            assert view[key] == expected[key], key
        for key in ("corres", "valid_corres"):
            if prefix + key in recorded.arrays:
                np.testing.assert_array_equal(view[key], recorded.arrays[prefix + key])


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns(recorded: ViewGoldens, turns: int) -> None:
    entry = recorded.cases["rotate90"][turns]
    depth = recorded.arrays["rot.depthmap"]
    height, width = depth.shape
    view = {
        "img": torch.zeros(3, height, width),
        "depthmap": depth,
        "camera_pose": recorded.arrays["rot.pose"],
        "camera_intrinsics": recorded.arrays["rot.K"],
        "corres": recorded.arrays["rot.corres"].astype(np.int64),
        "true_shape": np.array([height, width], dtype=np.int32),
    }
    rotate_quarter_turns(view, turns)
    assert view["true_shape"].tolist() == entry["true_shape"]
    np.testing.assert_allclose(view["camera_intrinsics"], entry["K"], atol=1e-3)
    np.testing.assert_allclose(view["camera_pose"], entry["pose"], atol=1e-6)
    np.testing.assert_array_equal(view["corres"], entry["corres"])
    to_landscape(view)
    np.testing.assert_allclose(view["camera_intrinsics"], entry["K_landscape"], atol=1e-3)
    np.testing.assert_array_equal(view["corres"], entry["corres_landscape"])
    assert list(view["depthmap"].shape) == entry["landscape_shape"]
    rows, columns = np.indices(view["depthmap"].shape) + 1
    np.testing.assert_allclose(
        (np.abs(view["depthmap"]).astype(np.float64) * rows * columns).sum(), entry["depth_sha"], rtol=1e-6
    )
