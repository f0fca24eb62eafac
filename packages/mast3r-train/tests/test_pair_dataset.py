"""The pair pipeline beyond the goldens: geometry's properties, options, seeds, errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mast3r_model import ConfigError, ExpressionError, InputError, parse_expression
from mast3r_train.conformance import assert_conforms, assert_options_work, check_dataset
from mast3r_train.datasets.roots import find_root, named_roots, parse_named_root
from mast3r_train.errors import SampleError
from mast3r_train.geometry import crop_homography, rescale, resize_nearest, rotate_quarter_turns
from mast3r_train.transforms import ColorJitter, ImgNorm
from mast3r_train.views import PairDataset

from .view_goldens import StoredPair, ViewGoldens


@pytest.fixture(scope="module")
def recorded() -> ViewGoldens:
    folder = Path(__file__).parent / "goldens"
    return ViewGoldens.load(lambda relative: folder / relative)


def make(recorded: ViewGoldens, **options: Any) -> StoredPair:
    options = {"resolution": (80, 56), "cropped_by_loader": True, **options}
    return StoredPair(recorded, options.pop("scene", "land"), **options)


@given(
    st.tuples(st.integers(40, 300), st.integers(40, 300)),
    st.tuples(st.integers(16, 200), st.integers(16, 200)),
)
def test_a_rescaled_image_covers_the_size_and_points_stay_on_their_pixels(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    K = np.array([[100.0, 0, size[0] / 2], [0, 110.0, size[1] / 2], [0, 0, 1]])
    image, depth, new = rescale(Image.new("RGB", size), np.ones(size[::-1], np.float32), K, wanted)
    assert image.size[0] >= wanted[0]
    assert image.size[1] >= wanted[1]
    assert depth is not None
    assert depth.shape == image.size[::-1]
    # A ray's place as a share of the image moves by less than a pixel.
    for axis in range(2):
        place = (K[axis, 2] + 0.5) / size[axis] * image.size[axis] - 0.5
        assert abs(place - new[axis, 2]) < 1


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
def test_nearest_is_opencvs(width: int, height: int, new_width: int, new_height: int) -> None:
    cv2 = pytest.importorskip("cv2")
    array = np.arange(width * height, dtype=np.float32).reshape(height, width)
    expected = cv2.resize(array, (new_width, new_height), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(resize_nearest(array, (new_width, new_height)), expected)


@given(
    st.tuples(st.floats(50, 400), st.floats(0.9, 1.1), st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(8, 60)),
)
def test_a_virtual_camera_meets_the_far_corner_of_its_crop(
    lens: tuple[float, float, float, float], place: tuple[int, int, int]
) -> None:
    focal, ratio, cx, cy = lens
    K = np.array([[focal, 0, 100 * cx], [0, focal * ratio, 80 * cy], [0, 0, 1.0]])
    left, top, size = place
    box = np.array([left, top, left + 1.5 * size, top + size])
    rounded = np.round(box)
    camera = crop_homography(K, box)
    width, height = camera.size_wh
    corner_x = 0 if abs(rounded[0] - K[0, 2]) >= abs(rounded[2] - K[0, 2]) else 1
    corner_y = 0 if abs(rounded[1] - K[1, 2]) >= abs(rounded[3] - K[1, 2]) else 1
    mapped = camera.homography @ np.array([corner_x * width, corner_y * height, 1.0])
    expected = [rounded[2 * corner_x], rounded[2 * corner_y + 1]]
    np.testing.assert_allclose(mapped[:2] / mapped[2], expected, atol=1e-6)
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
    assert math.isclose(np.linalg.det(camera.rotation), 1.0, abs_tol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**31))
def test_four_quarter_turns_are_none(turns: int, width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = {
        "img": torch.from_numpy(rng.random((3, height, width), np.float32)),
        "depthmap": rng.random((height, width), np.float32),
        "camera_pose": np.eye(4, dtype=np.float32),
        "camera_intrinsics": np.array([[50, 0, 4.5], [0, 60, 3.25], [0, 0, 1]], np.float32),
        "corres": rng.integers(0, min(width, height), (5, 2)),
        "true_shape": np.array((height, width), np.int32),
    }
    before = {key: value.clone() if hasattr(value, "clone") else value.copy() for key, value in view.items()}
    rotate_quarter_turns(view, turns)
    rotate_quarter_turns(view, 4 - turns)
    for key, value in before.items():
        np.testing.assert_allclose(np.asarray(view[key]), np.asarray(value), atol=1e-5, err_msg=key)


def test_valid_points_project_onto_their_own_pixels(recorded: ViewGoldens) -> None:
    for scene in ("land", "port", "square"):
        for options in ({}, {"aug_crop": "auto"}, {"aug_rot90": "diff", "n_corres": 32}):
            assert_conforms(make(recorded, scene=scene, seed=1, **options))


def test_the_suites_options_work(recorded: ViewGoldens) -> None:
    assert_options_work(lambda **options: make(recorded, **options), resolution=(80, 56))


def test_matches_show_the_same_point_only_where_depth_is_known(recorded: ViewGoldens) -> None:
    first, second = make(recorded, seed=0, n_corres=512)[0]
    matched = first["valid_corres"]
    for view in (first, second):
        x, y = view["corres"][matched].T
        assert view["valid_mask"][y, x].all()


def test_a_seed_makes_a_sample_the_same_and_zero_is_a_seed(recorded: ViewGoldens) -> None:
    for seed in (0, 5):
        dataset = make(recorded, seed=seed, aug_crop="auto", n_corres=64)
        np.testing.assert_array_equal(dataset[0][0]["corres"], dataset[0][0]["corres"])
    assert not np.array_equal(
        make(recorded, seed=0, n_corres=64)[0][0]["corres"],
        make(recorded, seed=5, n_corres=64)[0][0]["corres"],
    )


def test_without_a_seed_samples_come_from_torchs_stream(recorded: ViewGoldens) -> None:
    dataset = make(recorded, n_corres=64)

    def sample(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        return dataset[0][0]["corres"]

    np.testing.assert_array_equal(sample(1), sample(1))
    assert not np.array_equal(sample(1), sample(2))
    # The parts of a sum draw different numbers from the same state of that stream.
    other = make(recorded, n_corres=64)
    _ = dataset + other
    torch.manual_seed(1)
    assert not np.array_equal(sample(1), other[0][0]["corres"])


def test_quarter_turns_work_without_correspondences(recorded: ViewGoldens) -> None:
    views = make(recorded, seed=3, aug_rot90="diff")[0]
    assert all(view["corres"].shape == (0, 2) for view in views)


def test_whole_images_reach_the_random_crops(recorded: ViewGoldens) -> None:
    small = make(recorded, seed=2, aug_crop="auto")[0][0]
    whole = make(recorded, seed=2, aug_crop="auto", pre_crop=False)[0][0]
    assert whole["img"].shape == small["img"].shape
    unasked = make(recorded, seed=2, pre_crop=False)[0][
        0
    ]  # without aug_crop there is nothing to be whole for
    plain = make(recorded, seed=2)[0][0]
    assert torch.equal(unasked["img"], plain["img"])


def test_dust3rs_style_centres_the_principal_point(recorded: ViewGoldens) -> None:
    view = make(recorded, view_style="dust3r", seed=0)[0][0]
    height, width = view["true_shape"]
    np.testing.assert_allclose(view["camera_intrinsics"][:2, 2], [width / 2, height / 2], atol=1.0)
    assert "corres" not in view


@pytest.mark.parametrize("scene", ["land", "port"])
def test_several_resolutions_by_number(recorded: ViewGoldens, scene: str) -> None:
    dataset = make(recorded, scene=scene, resolution=[(80, 56), (64, 64), 48], seed=0)
    assert dataset.resolutions == [(80, 56), (64, 64), (48, 48)]
    assert dataset[(0, 2)][0]["img"].shape == (3, 48, 48)
    assert dataset[(0, 0)][0]["img"].shape == (3, 56, 80)
    with pytest.raises(ConfigError, match="several resolutions"):
        dataset[0]
    with pytest.raises(IndexError, match="item 1"):
        dataset[(1, 0)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": (56, 80)}, "width >= height"),
        ({"n_corres": "all"}, "n_corres"),
        ({"n_corres": [1, 2]}, "n_corres"),
        ({"nneg": 1.5}, "nneg"),
        ({"aug_crop": "always"}, "aug_crop"),
        ({"aug_crop": True}, "aug_crop"),
        ({"aug_rot90": True}, "aug_rot90"),
        ({"aug_monocular": 2}, "aug_monocular"),
        ({"n_tentative_crops": 0}, "n_tentative_crops"),
        ({"view_style": "mine"}, "view_style"),
        ({"view_style": "dust3r", "aug_swap": True}, "has no aug_swap"),
        ({"view_style": "dust3r", "aug_crop": "auto"}, "in pixels"),
        ({"transform": 3}, "transform"),
    ],
)
def test_wrong_options_are_named(recorded: ViewGoldens, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(recorded, **options)


def test_transforms_by_object_class_text_and_name(recorded: ViewGoldens) -> None:
    plain = make(recorded, seed=0, transform=ImgNorm)[0][0]["img"]
    assert torch.equal(make(recorded, seed=0, transform="ImgNorm")[0][0]["img"], plain)
    for jitter in (ColorJitter, "ColorJitter"):
        assert not torch.equal(make(recorded, seed=0, transform=jitter)[0][0]["img"], plain)
    with pytest.raises(ExpressionError, match="ColourJitter"):
        make(recorded, transform="ColourJitter")


def test_too_many_correspondences_for_a_pair_are_a_sample_error(recorded: ViewGoldens) -> None:
    with pytest.raises(SampleError, match="ask for fewer"):
        make(recorded, seed=0, n_corres=80 * 56 + 1)[0]


class Faulty(StoredPair):
    """A loader that breaks the contract in one way."""

    fault: Any = None

    def _get_views(self, *arguments: Any) -> list[dict[str, Any]]:
        views = super()._get_views(*arguments)
        self.fault(views[1])
        return views


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            lambda view: view["depthmap"].__setitem__((3, 3), np.nan),
            "depth holds numbers that are not finite",
        ),
        (lambda view: view.update(camera_pose=np.full((4, 4), np.inf, np.float32)), "pose holds numbers"),
    ],
)
def test_numbers_that_are_not_finite_are_sample_errors(
    recorded: ViewGoldens, fault: Any, message: str
) -> None:
    dataset = Faulty(recorded, "land", cropped_by_loader=True, resolution=(80, 56))
    dataset.fault = fault
    with pytest.raises(SampleError, match=f"view synth 0 0_1.*{message}"):
        dataset[0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda view: view.update(pts3d=0), "pts3d"),
        (lambda view: view.pop("label"), "lacks label"),
        (lambda view: view.update(camera_pose=view["camera_pose"].astype(np.float64)), "float64"),
        (lambda view: view.update(img=np.zeros((5, 5, 3))), "PIL"),
    ],
)
def test_loaders_that_break_the_contract_are_told(recorded: ViewGoldens, fault: Any, message: str) -> None:
    dataset = Faulty(recorded, "land", cropped_by_loader=True, resolution=(80, 56))
    dataset.fault = fault
    with pytest.raises(TypeError, match=message):
        dataset[0]
    report = check_dataset(dataset)
    assert any(message in problem for problem in report.problems)


def test_a_view_without_pose_has_one_of_nan(recorded: ViewGoldens) -> None:
    dataset = Faulty(recorded, "land", cropped_by_loader=True, resolution=(80, 56), seed=0)
    dataset.fault = lambda view: view.pop("camera_pose")
    assert np.isnan(dataset[0][1]["camera_pose"]).all()


def test_the_conformance_suite_finds_what_is_wrong(recorded: ViewGoldens) -> None:
    class Shifted(StoredPair):
        def __getitem__(self, index: Any) -> Any:
            views = super().__getitem__(index)
            views[0]["camera_intrinsics"] = views[0]["camera_intrinsics"] + np.float32(1)
            views[1]["valid_mask"] |= True
            views[1]["instance"] = views[0]["instance"]
            return views

    report = check_dataset(Shifted(recorded, "land", cropped_by_loader=True, resolution=(80, 56), seed=0))
    text = "\n".join(report.problems)
    for expected in ("beside their own pixels", "valid_mask", "instance"):
        assert expected in text
    with pytest.raises(AssertionError, match="breaks the view contract"):
        assert_conforms(Shifted(recorded, "land", cropped_by_loader=True, resolution=(80, 56), seed=0))


class Rooted(PairDataset):
    """A dataset that only has a place."""

    is_metric_scale = True
    default_folder = "rooted_processed"
    names = ("Rooted", "Rooted2")

    def __len__(self) -> int:
        return 0

    def _get_views(self, *arguments: Any) -> list[dict[str, Any]]:
        return []


class Labelled(StoredPair):
    """Every pixel carries a label of 64 bits: of its own depth."""

    def _get_views(self, *arguments: Any) -> list[dict[str, Any]]:
        views = super()._get_views(*arguments)
        for view in views:
            view["track_labels"] = label_of(view["depthmap"])
        return views


def label_of(depth: np.ndarray) -> np.ndarray:
    return np.where(depth > 0, 2**40 + (depth * 100).astype(np.uint64), 0).astype(np.uint64)


@pytest.mark.parametrize("scene", ["land", "port"])
@pytest.mark.parametrize("options", [{}, {"aug_crop": 8}, {"aug_crop": 8, "aug_rot90": "diff"}])
def test_labels_of_tracks_stay_on_their_pixels(
    recorded: ViewGoldens, scene: str, options: dict[str, Any]
) -> None:
    dataset = Labelled(recorded, scene, resolution=(80, 56), cropped_by_loader=True, seed=3, **options)
    for view in dataset[0]:
        labels, depth = view["track_labels"], view["depthmap"]
        assert (labels.dtype, labels.shape) == (np.uint64, depth.shape)
        assert np.array_equal(labels == 0, depth <= 0)
        # A virtual camera is turned a little, so that its depth is another one, in the same order.
        known = depth > 0
        assert np.corrcoef(labels[known] - np.uint64(2**40), depth[known])[0, 1] > 0.99
        if not options:
            assert np.array_equal(labels, label_of(depth))


def test_roots_by_keyword_flag_variable_and_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAST3R_DATA_ROOT", raising=False)
    for folder in ("given", "flag", "home/rooted_processed", "data/rooted_processed"):
        (tmp_path / folder).mkdir(parents=True)
    assert Rooted(resolution=48).root == Path("data/rooted_processed")
    monkeypatch.setenv("MAST3R_DATA_ROOT", str(tmp_path / "home"))
    assert Rooted(resolution=48).root == tmp_path / "home" / "rooted_processed"
    with named_roots({"Rooted2": tmp_path / "flag"}):
        assert Rooted(resolution=48).root == tmp_path / "flag"
        assert Rooted(ROOT=tmp_path / "given", resolution=48).root == tmp_path / "given"
    with pytest.raises(InputError, match="does not exist") as caught:
        find_root(("Rooted",), tmp_path / "missing", "rooted_processed")
    assert "--data_root Rooted=" in str(caught.value.hint)
    assert parse_named_root("Co3d=a/b=c") == ("Co3d", Path("a/b=c"))
    for wrong in ("Co3d", "=x", "Co3d="):
        with pytest.raises(ConfigError, match="NAME=PATH"):
            parse_named_root(wrong)


def test_a_dataset_shows_what_it_is(recorded: ViewGoldens) -> None:
    text = repr(2 * make(recorded, seed=7, transform=ColorJitter))
    assert "StoredPair(1 pairs" in text
    assert "80x56" in text
    assert "ColorJitter" in text
    assert isinstance(parse_expression("ImgNorm").build(("transforms",)), object)
