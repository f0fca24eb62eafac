"""Predictions of many pairs: computed once, kept, continued, bounded in memory."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mast3r_match import Correspondences, MatchOptions, match_prediction
from mast3r_model import (
    AsymmetricMASt3R,
    DeviceError,
    EncodedImage,
    ImageTransform,
    InputError,
    LoadedImage,
    OutputError,
    PairPrediction,
)
from mast3r_sfm.engines.local import LocalEngine
from mast3r_sfm.photos import ImageSet, images_from_loaded
from mast3r_sfm.predictions import (
    Forecast,
    PredictedPairs,
    PredictionCache,
    PredictionOptions,
    TwoViewPrediction,
    predict_pairs,
)
from mast3r_sfm.predictions.files import half_if_close, pack_pair
from mast3r_sfm.predictions.records import MAPS
from mast3r_sfm.predictions.schedule import batches, ordered_pairs


class CountingNetwork(AsymmetricMASt3R):
    """A tiny network with random weights that notes what it is asked for."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(
            enc_embed_dim=32, enc_depth=2, enc_num_heads=2, dec_embed_dim=32, dec_depth=2, dec_num_heads=2,
            pos_embed="RoPE100", img_size=(64, 64), head_type="nano", output_mode="pts3d+desc8",
            depth_mode=("exp", -float("inf"), float("inf")), conf_mode=("exp", 1, float("inf")),
            desc_mode="norm", two_confs=True, desc_conf_mode=("exp", 0, float("inf")),
            patch_embed_cls="PatchEmbedDust3R", landscape_only=False,
        )  # fmt: skip
        self.eval()
        self.encoded = 0
        self.decoded: list[tuple[int, int]] = []
        self.limit = 1000

    def encode(self, images: Sequence[torch.Tensor], *, batch_size: int = 8) -> list[EncodedImage]:
        self._use(len(images))
        self.encoded += len(images)
        return super().encode(images, batch_size=batch_size)

    def decode_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairPrediction]:
        self._use(len(pairs))
        self.decoded += list(pairs)
        return super().decode_pairs(features, pairs, batch_size=batch_size)

    def _use(self, amount: int) -> None:
        if amount > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")


def make_images(count: int, shapes: Sequence[tuple[int, int]] = ((16, 32),), seed: int = 0) -> ImageSet:
    random = np.random.default_rng(seed)
    loaded = []
    for index in range(count):
        shape = shapes[index % len(shapes)]
        pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
        loaded.append(LoadedImage(tensor, pixels, ImageTransform.identity(shape), Path(f"{index}.png")))
    return images_from_loaded(loaded, [f"{index}.png" for index in range(count)])


def all_pairs(count: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(count), 2))


def predict(model: Any, images: ImageSet, pairs: Any, **keywords: Any) -> PredictedPairs:
    return predict_pairs(model, images, pairs, **{"engine": LocalEngine, **keywords})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("[!.]*.safetensors")
    }


@pytest.fixture(scope="module")
def model() -> CountingNetwork:
    return CountingNetwork()


@pytest.fixture(autouse=True)
def fresh(model: CountingNetwork) -> None:
    model.encoded, model.decoded, model.limit = 0, [], 1000


EXACT = PredictionOptions(storage="fp32")


def assert_equal(one: TwoViewPrediction, other: TwoViewPrediction) -> None:
    for name in MAPS:
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for field in dataclasses.fields(one.matches):
        assert torch.equal(getattr(one.matches, field.name), getattr(other.matches, field.name)), field.name


def test_a_prediction_is_both_passes_and_their_matches(model: CountingNetwork) -> None:
    images = make_images(2, [(16, 32), (32, 16)])
    prediction = predict(model, images, [(0, 1)], options=EXACT)[0]
    features = model.encode([image.tensor() for image in images])
    forward, reverse = model.decode_pairs(features, [(0, 1), (1, 0)])
    close = {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(prediction.pts3d_00, forward.pts3d1, **close)
    torch.testing.assert_close(prediction.pts3d_10, forward.pts3d2_in_view1, **close)
    torch.testing.assert_close(prediction.pts3d_11, reverse.pts3d1, **close)
    torch.testing.assert_close(prediction.pts3d_01, reverse.pts3d2_in_view1, **close)
    torch.testing.assert_close(prediction.conf_00, forward.conf1, **close)
    torch.testing.assert_close(prediction.conf_01, reverse.conf2, **close)
    options = MatchOptions(subsample=8, border=0, symmetric=True)
    expected = match_prediction(forward, reverse=reverse, options=options)
    assert torch.equal(prediction.matches.xy0, expected.xy0)
    assert torch.equal(prediction.matches.xy1, expected.xy1)
    torch.testing.assert_close(prediction.matches.confidence, expected.confidence, **close)
    means = [conf.mean().item() for conf in (forward.conf1, forward.conf2, reverse.conf1, reverse.conf2)]
    assert prediction.score == pytest.approx(np.prod(means) ** 0.25, rel=1e-5)


def test_images_are_encoded_once_and_pairs_decoded_both_ways(model: CountingNetwork) -> None:
    predict(model, make_images(5), all_pairs(5))
    assert model.encoded == 5
    assert len(model.decoded) == 2 * 10


def test_a_second_run_computes_nothing(model: CountingNetwork, tmp_path: Path) -> None:
    images = make_images(4, [(16, 32), (32, 16), (32, 32)])
    first = list(predict(model, images, all_pairs(4), cache=tmp_path / "cache"))
    fresh_counts = model.encoded, len(model.decoded)

    class NoEngine(LocalEngine):
        def __init__(self, *arguments: Any) -> None:
            raise AssertionError("nothing is to be computed")

    again = predict(model, images, all_pairs(4), cache=tmp_path / "cache", engine=NoEngine)
    assert (model.encoded, len(model.decoded)) == fresh_counts
    for one, other in zip(first, again, strict=True):
        assert_equal(one, other)
        assert (one.image0, one.image1) == (other.image0, other.image1)


def test_one_more_image_costs_its_own_pairs(model: CountingNetwork, tmp_path: Path) -> None:
    images = make_images(5)
    predict(model, images.subset([0, 1, 3, 4]), all_pairs(4), cache=tmp_path)
    model.encoded, model.decoded = 0, []
    predict(model, images, all_pairs(5), cache=tmp_path)
    assert model.encoded == 1
    assert len(model.decoded) == 2 * 4


def test_order_of_a_pair_does_not_matter(model: CountingNetwork, tmp_path: Path) -> None:
    images = make_images(3, [(16, 32), (32, 16)])
    straight = predict(model, images, [(0, 1), (1, 0), (1, 2)], cache=tmp_path)
    assert len(model.decoded) == 2 * 2
    turned = predict(model, images, [(1, 0)], cache=tmp_path)[0]
    assert len(model.decoded) == 2 * 2
    assert (turned.image0, turned.image1) == (1, 0)
    assert_equal(turned, straight[1])
    assert torch.equal(turned.pts3d_10, straight[0].pts3d_01)
    assert_equal(turned.swapped(), straight[0])
    pixels = turned.matches.xy0[:, 1] * 1000 + turned.matches.xy0[:, 0]
    assert torch.equal(pixels, pixels.sort().values)
    assert torch.equal(straight.matches(1).xy0, turned.matches.xy0)


def test_what_keys_depend_on(model: CountingNetwork, tmp_path: Path) -> None:
    images = make_images(2)

    def computed(network: Any, images: ImageSet, options: PredictionOptions | None = None) -> int:
        model.decoded = []
        before = len(contents(tmp_path))
        predict(network, images, [(0, 1)], cache=tmp_path, options=options)
        return len([name for name in contents(tmp_path) if name.startswith("pairs")]) + 0 * before

    assert computed(model, images) == 1
    assert computed(model, images) == 1
    assert computed(CountingNetwork(seed=1), images) == 2  # other weights
    assert computed(model, make_images(2, seed=1)) == 3  # other content
    allowed = np.zeros(images[0].shape, dtype=bool)
    masked = ImageSet((dataclasses.replace(images[0], allowed=allowed), images[1]))
    assert computed(model, masked) == 4  # a mask
    assert computed(model, images, EXACT) == 5  # storage
    matching = MatchOptions(subsample=4, border=0, symmetric=True)
    assert computed(model, images, PredictionOptions(matching=matching)) == 6
    threads = MatchOptions(subsample=8, border=0, symmetric=True, threads=1)
    assert computed(model, images, PredictionOptions(matching=threads, batch_size=1)) == 6
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    assert computed(model, images) == 7


def test_masked_pixels_do_not_match(model: CountingNetwork) -> None:
    images = make_images(2)
    allowed = np.zeros(images[0].shape, dtype=bool)
    allowed[:, 16:] = True
    masked = ImageSet((dataclasses.replace(images[0], allowed=allowed), images[1]))
    matches = predict(model, masked, [(0, 1)])[0].matches
    assert len(matches.xy0) > 0
    assert matches.xy0[:, 0].min() >= 16


def test_broken_and_foreign_files_are_computed_again(
    model: CountingNetwork, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = make_images(3)
    predict(model, images, all_pairs(3), cache=tmp_path)
    good = contents(tmp_path)
    pairs = sorted((tmp_path / "pairs").rglob("*.safetensors"))
    pairs[0].write_bytes(pairs[0].read_bytes()[:1000])
    pairs[1].write_bytes(pairs[2].read_bytes())
    feature = next((tmp_path / "features").rglob("*.safetensors"))
    feature.write_bytes(b"something else")
    (tmp_path / "manifest.json").write_text("{")
    model.encoded, model.decoded = 0, []
    with caplog.at_level(logging.WARNING):
        predict(model, images, all_pairs(3), cache=tmp_path)
    assert len(model.decoded) == 2 * 2
    assert model.encoded == 1
    assert caplog.text.count("is broken") == 4
    assert contents(tmp_path).keys() == good.keys()
    assert json.loads((tmp_path / "manifest.json").read_text())["format"] == "mast3r predictions"


def test_a_flipped_bit_is_found_when_it_is_read(model: CountingNetwork, tmp_path: Path) -> None:
    images = make_images(2)
    predictions = predict(model, images, all_pairs(2), cache=tmp_path)
    before = predictions[0]
    path = next((tmp_path / "pairs").rglob("*.safetensors"))
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 0x40
    path.write_bytes(damaged)
    assert_equal(predictions[0], before)
    path.unlink()
    assert_equal(predictions[0], before)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(InputError, match="of something else"):
        PredictionCache(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        PredictionCache(tmp_path / "file")


def test_a_full_disk_loses_nothing(
    model: CountingNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, pairs = make_images(4), all_pairs(4)
    write_bytes, written = Path.write_bytes, []

    def until_full(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 4 + 3:  # four images, two pairs
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    options = PredictionOptions(batch_size=1)
    with pytest.raises(OutputError, match="No space left"):
        predict(model, images, pairs, cache=tmp_path, options=options)
    monkeypatch.undo()
    assert len(contents(tmp_path)) == 4 + 2
    assert not list(tmp_path.rglob("*.part*"))
    model.encoded, model.decoded = 0, []
    predict(model, images, pairs, cache=tmp_path, options=options)
    assert model.encoded == 0
    assert len(model.decoded) == 2 * 4


def test_out_of_memory_halves_the_batch(
    model: CountingNetwork, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, pairs = make_images(5), all_pairs(5)
    expected = list(predict(model, images, pairs, options=EXACT))
    model.limit = 4
    options = dataclasses.replace(EXACT, batch_size=8)
    with caplog.at_level(logging.WARNING):
        found = list(predict(model, images, pairs, options=options))
    assert "out of memory with 8 pairs at a time: going on with 4" in caplog.text
    assert "going on with 2" in caplog.text
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one.pts3d_10, other.pts3d_10, atol=1e-5, rtol=1e-4)
    model.limit = 1
    with pytest.raises(DeviceError, match="one of the pairs alone does not fit"):
        predict(model, images, pairs)


def test_other_errors_pass(model: CountingNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(model, "decode_pairs", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        predict(model, make_images(2), all_pairs(2))


def test_features_in_memory_stay_few() -> None:
    count, window = 64, 16
    order = ordered_pairs(all_pairs(count), count, window=window)
    assert sorted(order) == list(range(len(order)))
    loads, held = 0, dict.fromkeys(())
    for index in order:
        for image in all_pairs(count)[index]:
            loads += image not in held
            held.pop(image, None)
            held[image] = None
            while len(held) > window:
                held.pop(next(iter(held)))
    assert loads <= 2 * count**2 / window

    scattered = np.random.default_rng(0).permutation(200)  # a chain of images in random order
    chain = [(int(a), int(b)) for a, b in itertools.pairwise(scattered)]
    reached = [set(chain[index]) for index in ordered_pairs(chain, 200, window=8)]
    assert all(one & other for one, other in itertools.pairwise(reached))


def test_batches_hold_equal_keys() -> None:
    found = list(batches([4, 0, 1, 2, 3, 5], ["a", "b", "a", "b", "a", "a"], size=2))
    assert found == [[4, 0], [1, 3], [2, 5]]


def test_a_worker_holds_few_features(model: CountingNetwork, tmp_path: Path) -> None:
    options = PredictionOptions(features_kept=2, batch_size=1, storage="fp32")
    exact = list(predict(model, make_images(4), all_pairs(4), options=EXACT))
    few = list(predict(model, make_images(4), all_pairs(4), cache=tmp_path, options=options))
    for one, other in zip(exact, few, strict=True):
        torch.testing.assert_close(one.pts3d_10, other.pts3d_10, atol=1e-5, rtol=1e-4)


def test_half_precision_only_where_it_is_close() -> None:
    points = torch.randn(20, 30, 3) * 5
    assert half_if_close(points).dtype == torch.float16
    assert half_if_close(points * 1e5).dtype == torch.float32  # beyond the largest half
    assert half_if_close(points * 1e-7).dtype == torch.float32  # below the smallest normal one
    points[0, 0, 0] = 1e-9  # a point on an axis: small against its distance
    assert half_if_close(points).dtype == torch.float16
    holes = torch.full((2, 2), float("nan"))
    holes[0, 0] = float("inf")
    assert half_if_close(holes).dtype == torch.float16


@pytest.mark.parametrize("least", [0.0, 1.0, 1e-3])
def test_confidences_are_precise_where_weights_are(tmp_path: Path, least: float) -> None:
    """Weights are a confidence less 0.999, and confidences of a weak network are hardly above 1."""
    conf = least + torch.logspace(-9, 5, 600).reshape(20, 30)
    maps = {name: conf if name.startswith("conf") else torch.ones(20, 30, 3) for name in MAPS}
    none = Correspondences(*[torch.zeros(0, 2, dtype=torch.int64)] * 2, torch.zeros(0))
    PredictionCache(tmp_path).write(
        [pack_pair(TwoViewPrediction.from_maps((0, 1), maps, none), "00", "x", "fp16")]
    )
    found = PredictionCache(tmp_path).read_pair("00", "x", (3, 4))
    assert found is not None
    assert (found.image0, found.image1) == (3, 4)
    distance = conf - 1 if least == 1 else conf
    assert ((found.conf_10 - conf).abs() <= 2.0**-10 * distance + 2.0**-22).all()


def test_bytes_per_pair_and_error_of_half_precision(model: CountingNetwork, tmp_path: Path) -> None:
    images = make_images(2)
    exact = predict(model, images, [(0, 1)], options=EXACT)[0]
    half = predict(model, images, [(0, 1)], cache=tmp_path)[0]
    for name in MAPS:
        one, other = getattr(exact, name), getattr(half, name)
        assert other.dtype == torch.float32
        if one.ndim == 3:
            assert ((one - other).norm(dim=-1) <= 2.0**-10 * one.norm(dim=-1)).all()
        else:
            assert ((one - other).abs() <= 2.0**-10 * (one - 1) + 2.0**-22).all()
    (path,) = (tmp_path / "pairs").rglob("*.safetensors")
    maps = 4 * 16 * 32 * 4 * 2
    assert path.stat().st_size <= maps + 12 * len(half.matches.xy0) + 2000


def test_the_forecast_comes_before_the_long_part(model: CountingNetwork, tmp_path: Path) -> None:
    told: list[tuple[Forecast, int]] = []
    shown: dict[str, int] = {}

    def progress(description: str, total: int | None) -> Any:
        import contextlib

        def advance(steps: int) -> None:
            shown[description] = shown.get(description, 0) + steps

        return contextlib.nullcontext(advance)

    predict(
        model,
        make_images(6),
        all_pairs(6),
        cache=tmp_path,
        options=PredictionOptions(batch_size=2),
        progress=progress,
        on_forecast=lambda ahead: told.append((ahead, len(model.decoded))),
    )
    ((ahead, decoded),) = told
    assert decoded == 2 * 4
    assert ahead.pairs == 15 - 4
    assert 0 <= ahead.images < 6
    assert ahead.seconds > 0
    assert ahead.memory_bytes > 0
    pair_bytes = sum(len(data) for name, data in contents(tmp_path).items() if name.startswith("pairs")) / 15
    assert ahead.disk_bytes >= 10 * pair_bytes
    assert "11 pairs to decode and match: about" in str(ahead)
    assert shown == {"encoding images": 6, "decoding pairs": 15}


def test_requests_that_mean_nothing(model: CountingNetwork) -> None:
    images = make_images(2)
    with pytest.raises(InputError, match="does not name two of the 2 images"):
        predict(model, images, [(0, 2)])
    with pytest.raises(InputError, match="does not name two"):
        predict(model, images, [(1, 1)])
    with pytest.raises(InputError, match="cannot tell one object from another"):
        predict(object(), images, [(0, 1)])
    with pytest.raises(InputError, match="matched both ways"):
        PredictionOptions(matching=MatchOptions())
    with pytest.raises(InputError, match="batch_size"):
        PredictionOptions(batch_size=0)
    assert len(predict(model, images, [])) == 0
