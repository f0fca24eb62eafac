"""Photos to matches: upstream's usage script, pairs, masks, limits, original pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_match import Matches, MatchOptions, match_images, match_pairs
from mast3r_model import ImageError, InputError, load_image

SHIFT = np.array([30, 20])


@pytest.fixture
def photos(save_photo: Callable[[str, np.ndarray], Path], scene: np.ndarray) -> list[Path]:
    """Three photos of one texture, one of them portrait; each is SHIFT away from the one before."""
    return [
        save_photo("a.png", scene[:192, :256]),
        save_photo("b.png", scene[20:212, 30:286]),
        save_photo("c.png", scene[40:260, 60:220]),
    ]


def test_usage_script_of_upstreams_readme(
    goldens: Callable[[str], Path], save_photo: Callable[[str, np.ndarray], Path], scene: np.ndarray
) -> None:
    """Only the import lines differ from upstream's (and the sizes, for speed)."""
    from mast3r_match import fast_reciprocal_NNs
    from mast3r_model import AsymmetricMASt3R, inference, load_images

    device = "cpu"
    model_name = goldens("model/mast3r_catconv.pth")
    model = AsymmetricMASt3R.from_pretrained(model_name).to(device)
    paths = [str(save_photo(f"{i}.png", scene[i : i + 192, i : i + 256])) for i in range(2)]
    images = load_images(paths, size=128)
    output = inference([tuple(images)], model, device, batch_size=1, verbose=False)

    # at this stage, you have the raw dust3r predictions
    view1, pred1 = output["view1"], output["pred1"]
    view2, pred2 = output["view2"], output["pred2"]

    desc1, desc2 = pred1["desc"].squeeze(0).detach(), pred2["desc"].squeeze(0).detach()

    # find 2D-2D matches between the two images
    matches_im0, matches_im1 = fast_reciprocal_NNs(
        desc1, desc2, subsample_or_initxy1=8, device=device, dist="dot", block_size=2**13
    )

    # ignore small border around the edge
    H0, W0 = view1["true_shape"][0]
    valid_matches_im0 = (
        (matches_im0[:, 0] >= 3)
        & (matches_im0[:, 0] < int(W0) - 3)
        & (matches_im0[:, 1] >= 3)
        & (matches_im0[:, 1] < int(H0) - 3)
    )

    H1, W1 = view2["true_shape"][0]
    valid_matches_im1 = (
        (matches_im1[:, 0] >= 3)
        & (matches_im1[:, 0] < int(W1) - 3)
        & (matches_im1[:, 1] >= 3)
        & (matches_im1[:, 1] < int(H1) - 3)
    )

    valid_matches = valid_matches_im0 & valid_matches_im1
    matches_im0, matches_im1 = matches_im0[valid_matches], matches_im1[valid_matches]

    assert len(matches_im0) == len(matches_im1) > 10
    ours = match_images(model, *paths, size=128)
    network0 = np.round(ours.transform0.points_to_network(ours.keypoints0)).astype(int)
    network1 = np.round(ours.transform1.points_to_network(ours.keypoints1)).astype(int)
    found = {tuple(row) for row in np.c_[network0, network1].tolist()}
    # Ours walks from both images, upstream's script from the first one only.
    assert found >= {tuple(row) for row in np.c_[matches_im0, matches_im1].tolist()}


def test_keypoints_are_in_the_photos_pixels(network: Any, photos: list[Path]) -> None:
    matches = match_images(network, photos[0], photos[1], size=128)
    error = np.abs(matches.keypoints0 - matches.keypoints1 - SHIFT).max(1)
    assert len(matches) > 100
    assert (error < 1.5).mean() > 0.8
    assert (matches.image_shape0, matches.image_shape1) == ((192, 256), (192, 256))
    assert matches.keypoints0.dtype == matches.scores.dtype == np.float32
    # The network's points are its own pixels: they must be those of the keypoints.
    seen = matches.transform0.points_to_network(matches.keypoints0)
    np.testing.assert_allclose(matches.points3d0[:, :2], seen, atol=1e-3)
    assert matches.made_with["options"]["subsample"] == 8


def test_pairs_come_in_order_and_photos_are_encoded_once(network: Any, photos: list[Path]) -> None:
    pairs = [(0, 1), (2, 1), (0, 2), (1, 0)]
    found = list(match_pairs(network, photos, pairs, size=96, batch_size=2))
    assert network.encoded == 3
    assert [(Path(m.name0).stem, Path(m.name1).stem) for m in found] == [
        ("a", "b"),
        ("c", "b"),
        ("a", "c"),
        ("b", "a"),
    ]
    assert found[1].image_shape0 == (220, 160)
    for matches, (first, second) in zip(found, pairs, strict=True):
        error = np.abs(matches.keypoints0 - matches.keypoints1 - (second - first) * SHIFT).max(1)
        assert (error < 3).mean() > 0.6


def test_only_photos_of_some_pair_are_encoded(network: Any, photos: list[Path]) -> None:
    list(match_pairs(network, photos, [(0, 2)], size=96))
    assert network.encoded == 2


def test_symmetric_decodes_both_ways(network: Any, photos: list[Path]) -> None:
    once = match_images(network, photos[0], photos[1], size=128)
    assert network.decoded == [(0, 1)]
    both = match_images(network, photos[0], photos[1], size=128, symmetric=True)
    assert network.decoded[1:] == [(0, 1), (1, 0)]
    # This network says the same both ways, so only the scores differ.
    np.testing.assert_array_equal(both.keypoints0, once.keypoints0)
    assert (both.scores >= once.scores - 1e-5).all()


def test_loaded_photos_are_taken_as_they_are(network: Any, photos: list[Path]) -> None:
    loaded = [load_image(path, 128) for path in photos[:2]]
    ours = match_images(network, *loaded)
    again = match_images(network, *photos[:2], size=128)
    np.testing.assert_array_equal(ours.keypoints1, again.keypoints1)


def test_masked_pixels_do_not_match(network: Any, photos: list[Path]) -> None:
    mask = np.ones((192, 256), dtype=bool)
    mask[:100] = False
    free = match_images(network, *photos[:2], size=128)
    masked = match_images(network, *photos[:2], size=128, mask0=mask)
    other = match_images(network, *photos[:2], size=128, mask1=mask)
    assert (free.keypoints0[:, 1] < 90).any()
    assert len(masked) > 20
    assert (masked.keypoints0[:, 1] >= 98.5).all()
    assert (other.keypoints1[:, 1] >= 98.5).all()
    nothing = match_images(network, *photos[:2], size=128, mask0=np.zeros_like(mask))
    assert len(nothing) == 0
    assert nothing.keypoints0.shape == (0, 2)
    with pytest.raises(InputError, match=r"a\.png has shape \(10, 10\), but its photo is 256x192"):
        match_images(network, *photos[:2], size=128, mask0=np.ones((10, 10), dtype=bool))


def test_limits(network: Any, photos: list[Path]) -> None:
    everything = match_images(network, *photos[:2], size=128, subsample=1, border=0)
    few = match_images(network, *photos[:2], size=128, subsample=1, border=0, max_matches=40)
    assert len(everything) > 1000
    assert len(few) == 40
    # Spread: the chosen ones reach over the photo.
    assert (np.ptp(few.keypoints0, axis=0) > 0.8 * np.ptp(everything.keypoints0, axis=0)).all()
    threshold = float(np.median(everything.scores))
    sure = match_images(network, *photos[:2], size=128, subsample=1, border=0, min_confidence=threshold)
    assert len(sure) == (everything.scores >= np.float32(threshold)).sum()
    inner = match_images(network, *photos[:2], size=128, subsample=1, border=10)
    seen = np.round(inner.transform0.points_to_network(inner.keypoints0))
    assert (seen >= 10).all()
    assert (seen < [128 - 10, 96 - 10]).all()


def test_a_network_without_descriptors_matches_points(points_network: Any, photos: list[Path]) -> None:
    matches = match_images(points_network, photos[0], photos[1], size=64)
    # Points are the network's own pixels: every pixel's nearest point is the same pixel.
    np.testing.assert_allclose(matches.keypoints0, matches.keypoints1, atol=1e-4)
    assert len(matches) > 10


def test_bf16_and_float32_descriptors_mostly_agree(network: Any, photos: list[Path]) -> None:
    full, half = (
        match_images(network, *photos[:2], size=128, options=MatchOptions(precision=precision))
        for precision in ("fp32", "bf16")
    )
    pairs = [set(map(tuple, np.c_[m.keypoints0, m.keypoints1].tolist())) for m in (full, half)]
    assert len(pairs[0] & pairs[1]) > 0.6 * len(pairs[0])


@pytest.mark.parametrize("pairs", [[(0, 3)], [(1, 1)], [(-1, 0)]])
def test_impossible_pairs_are_refused(network: Any, photos: list[Path], pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(InputError, match="does not name two of the 3 images"):
        match_pairs(network, photos, pairs)


def test_unknown_options_and_values_are_refused(network: Any, photos: list[Path]) -> None:
    with pytest.raises(InputError, match="subsampel") as caught:
        match_images(network, *photos[:2], subsampel=4)
    assert caught.value.hint == "did you mean subsample?"
    for options in ({"subsample": -1}, {"max_matches": 0}, {"metric": "cosine"}, {"threads": 0}):
        with pytest.raises(InputError, match=next(iter(options))):
            match_images(network, *photos[:2], **options)
    with pytest.raises(InputError, match="2 masks for 3 images"):
        match_pairs(network, photos, [(0, 1)], masks=[None, None])
    with pytest.raises(ImageError, match="nowhere"):
        match_images(network, photos[0], "nowhere.png")


def test_results_need_no_gradient(goldens: Callable[[str], Path], photos: list[Path]) -> None:
    from mast3r_model import load_model

    model = load_model(goldens("model/mast3r_catconv.pth"), device="cpu")
    matches = match_images(model, photos[0], photos[2], size=64)
    assert isinstance(matches, Matches)
    assert np.isfinite(matches.points3d1).all()
    assert torch.is_grad_enabled()
