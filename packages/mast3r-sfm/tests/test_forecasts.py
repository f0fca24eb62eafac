"""What a run will take, judged before it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_model import AsymmetricMASt3R, ImageTransform, InputError, LoadedImage
from mast3r_sfm.forecasts import forecast_alignment, forecast_outputs, rehearse
from mast3r_sfm.options import ReconstructionOptions
from mast3r_sfm.photos import ImageSet, images_from_loaded
from mast3r_sfm.predictions import PredictionOptions, predict_pairs
from mast3r_sfm.sparse import Solver, align
from mast3r_sfm.sparse.synthetic_walk import WalkOptions, synthetic_walk

PAIRS = [(0, 1), (1, 2), (2, 3), (0, 3)]


class SlowNetwork(AsymmetricMASt3R):
    """A tiny network that takes its time: so long an image, and so long a pair."""

    seconds_an_image, seconds_a_pair = 0.05, 0.2

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            enc_embed_dim=32, enc_depth=1, enc_num_heads=2, dec_embed_dim=32, dec_depth=1, dec_num_heads=2,
            pos_embed="RoPE100", img_size=(64, 64), head_type="nano", output_mode="pts3d+desc8",
            depth_mode=("exp", -float("inf"), float("inf")), conf_mode=("exp", 1, float("inf")),
            desc_mode="norm", two_confs=True, desc_conf_mode=("exp", 0, float("inf")),
            patch_embed_cls="PatchEmbedDust3R", landscape_only=False,
        )  # fmt: skip
        self.eval()
        self.images = self.pairs = 0

    def encode(self, images, *, batch_size=8):  # type: ignore[no-untyped-def]
        self.images += len(images)
        time.sleep(self.seconds_an_image * len(images))
        return super().encode(images, batch_size=batch_size)

    def decode_pairs(self, features, pairs, *, batch_size=8):  # type: ignore[no-untyped-def]
        self.pairs += len(pairs) // 2
        time.sleep(self.seconds_a_pair * len(pairs) / 2)
        return super().decode_pairs(features, pairs, batch_size=batch_size)


@pytest.fixture
def images() -> ImageSet:
    random = np.random.default_rng(0)
    loaded = []
    for index in range(4):
        pixels = random.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
        loaded.append(LoadedImage(tensor, pixels, ImageTransform.identity((32, 48)), Path(f"{index}.png")))
    return images_from_loaded(loaded, [f"{index}.png" for index in range(4)])


@pytest.fixture
def model() -> SlowNetwork:
    return SlowNetwork()


def test_a_rehearsal_computes_one_pair_and_scales_it_up(
    model: SlowNetwork, images: ImageSet, tmp_path: Path
) -> None:
    began = time.perf_counter()
    ahead = rehearse(model, images, PAIRS, cache=tmp_path / "cache")
    elapsed = time.perf_counter() - began
    assert model.pairs == 2  # one, twice
    assert model.images <= 3
    assert (ahead.predictions.images, ahead.predictions.pairs) == (4, 4)
    # At least what the network sleeps for; at most four times what one pair took, however busy the machine is.
    assert 4 * 0.05 + 4 * 0.2 <= ahead.predictions.seconds < 4 * elapsed
    assert ahead.predictions.memory_bytes > 2**20
    assert ahead.alignment is not None
    assert ahead.alignment.matches % 4 == 0 < ahead.alignment.matches
    assert ahead.seconds > ahead.predictions.seconds
    assert not (tmp_path / "cache").exists()
    lines = str(ahead).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "predictions",
        "alignment",
        "the scene's files",
        "together",
    ]
    assert all("about" in line for line in lines)


def test_the_disk_of_predictions_is_what_they_take(
    model: SlowNetwork, images: ImageSet, tmp_path: Path
) -> None:
    ahead = rehearse(model, images, PAIRS)
    predict_pairs(model, images, PAIRS, cache=tmp_path)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert ahead.predictions.disk_bytes == pytest.approx(written, rel=0.1)


def test_what_the_cache_holds_is_not_ahead(model: SlowNetwork, images: ImageSet, tmp_path: Path) -> None:
    found = predict_pairs(model, images, PAIRS[:3], cache=tmp_path)
    ahead = rehearse(model, images, PAIRS, cache=tmp_path)
    assert (ahead.predictions.images, ahead.predictions.pairs) == (0, 1)
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    predict_pairs(model, images, PAIRS, cache=tmp_path)
    model.pairs = 0
    ahead = rehearse(model, images, PAIRS, cache=tmp_path)
    assert model.pairs == 0
    assert ahead.predictions.seconds == ahead.predictions.disk_bytes == 0
    assert ahead.alignment is not None
    counts = [len(found.matches(k).confidence) for k in range(3)]
    assert 4 * min(counts) <= ahead.alignment.matches <= 4 * 2 * 32 * 48 / 64
    assert len(files) + 1 == len({path for path in tmp_path.rglob("*") if path.is_file()})


def test_nothing_is_said_about_mappers_that_were_not_measured(model: SlowNetwork, images: ImageSet) -> None:
    ahead = rehearse(model, images, PAIRS, ReconstructionOptions(mapper="colmap"))
    assert ahead.alignment is None
    assert "alignment" not in str(ahead)


def test_pairs_of_other_images_are_refused(model: SlowNetwork, images: ImageSet) -> None:
    with pytest.raises(InputError, match="pair"):
        rehearse(model, images, [(0, 9)])


def test_workers_share_the_work(model: SlowNetwork, images: ImageSet) -> None:
    options = ReconstructionOptions(engine="multi-gpu", prediction=PredictionOptions(workers=2))
    alone, shared = rehearse(model, images, PAIRS), rehearse(model, images, PAIRS, options)
    assert shared.predictions.workers == 2
    assert shared.predictions.seconds == pytest.approx(alone.predictions.seconds / 2, rel=0.5)


def test_output_size_by_format(images: ImageSet) -> None:
    state, cloud, maps = (forecast_outputs(images, 1000, formats) for formats in ((), ("ply",), ("depth",)))
    pixels = 4 * 32 * 48
    assert cloud - state == 19 * pixels
    assert maps > state > 34 * pixels


def test_the_alignment_is_forecast_within_its_order(images: ImageSet) -> None:
    """A small walk on this machine, whatever it is: a factor of ten both ways."""
    problem = synthetic_walk(WalkOptions(images=6, neighbors=4, matches=300)).problem
    ahead = forecast_alignment(
        6, len(problem.pairs), problem.num_matches / len(problem.pairs), pixels=6 * 384 * 512
    )
    start = time.process_time()
    align(problem)
    assert ahead.seconds / 10 < time.process_time() - start < 10 * ahead.seconds


@pytest.mark.parametrize("solver", ["lm", "adam"])
def test_memory_of_the_alignment_grows_with_its_matches(solver: Solver) -> None:
    one, two, three = (forecast_alignment(6, k * 10, 500, pixels=0, solver=solver) for k in (1, 2, 3))
    assert three.memory_bytes - two.memory_bytes == two.memory_bytes - one.memory_bytes > 5000 * 500
    assert two.seconds == pytest.approx(2 * one.seconds)
    assert forecast_alignment(6, 1, 1, pixels=10**9).memory_bytes == 48 * 10**9
