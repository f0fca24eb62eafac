"""Our own pipeline on the goldens' datasets: at least as close to the truth as upstream's (goldens' README)."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mast3r_model import EncodedImage, LoadedImage, PairDescriptors, PairPrediction, load_image
from mast3r_visloc import EvaluationReport, datasets, evaluate
from mast3r_visloc.localizing import LocalizationOptions

from .analytic_network import AnalyticNetwork
from .conftest import GOLDENS
from .patch_network import PatchNetwork
from .wave_world import pose_gap

RUNS: dict[str, Any] = json.loads((GOLDENS / "end_to_end.json").read_text())
TRUTH: dict[str, Any] = json.loads((GOLDENS / "datasets" / "truth_cam_to_world.json").read_text())
FINE = [name for name in RUNS if "coarse_to_fine" in RUNS[name]["args"]]
ONE_FOR_EACH_DATASET = [
    "aachen512_poselib",
    "cambridge512_poselib",
    "cambridge224_poselib",
    pytest.param("sevenscenes224_poselib", marks=pytest.mark.slow),
    pytest.param("inloc224_poselib", marks=pytest.mark.slow),
]


class AnalyticPairs(AnalyticNetwork):
    """The goldens' network with its halves apart, as ours have them."""

    precision = None
    fingerprint = "analytic"

    def __init__(self, maxdim: int, *, with_descriptors: bool) -> None:
        super().__init__(maxdim)
        self.config = SimpleNamespace(
            desc_dim=6 if with_descriptors else None, to_expression=lambda: "AnalyticNetwork()"
        )

    def encode(self, images: Sequence[Tensor], *, batch_size: int = 8) -> list[EncodedImage]:
        return PatchNetwork().encode(images)

    def decode_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairPrediction]:
        for first, second in pairs:
            one, other = (self._maps(self._image(features[number])) for number in (first, second))
            keys = ("pts3d", "conf", "desc", "desc_conf")
            yield PairPrediction(*(found[key][0] for found in (one, other) for key in keys))

    def describe_pairs(
        self, features: Sequence[EncodedImage], pairs: Sequence[tuple[int, int]], *, batch_size: int = 8
    ) -> Iterator[PairDescriptors]:
        for pair in self.decode_pairs(features, pairs):
            assert pair.desc1 is not None
            assert pair.desc2 is not None
            yield PairDescriptors(pair.desc1, pair.desc_conf1, pair.desc2, pair.desc_conf2)

    @staticmethod
    def _image(encoded: EncodedImage) -> Tensor:
        return nn.functional.fold(encoded.tokens.T[None], encoded.image_shape, 16, stride=16)


def run(name: str, **options: Any) -> EvaluationReport:
    recorded = RUNS[name]
    call = ast.parse(recorded["dataset"].replace("ROOT", str(GOLDENS / "datasets")), mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    dataset = getattr(datasets, call.func.id)(*map(ast.literal_eval, call.args), **keywords)
    network = AnalyticPairs(recorded["maxdim"], with_descriptors=recorded["script"] != "dust3r")
    confidence = 3.0 if recorded["script"] == "dust3r" else 0.5
    chosen = LocalizationOptions(
        size=recorded["maxdim"], min_confidence=confidence, topk=20, exhaustive=True, **options
    )
    return evaluate(dataset, network, options=chosen)  # type: ignore[arg-type]


def gaps(name: str, report: EvaluationReport) -> dict[str, tuple[float, float]]:
    """Metres and degrees to the real truth, which the datasets do not all know."""
    truth = TRUTH["cambridge_c2f" if name in FINE else next(key for key in TRUTH if key in name)]
    found = {}
    for record in report.records:
        assert record.success, f"{record.name}: {record.reason}"
        found[record.name] = pose_gap(np.array(record.cam2world), np.array(truth[record.name]))
    return found


def upstreams(name: str) -> dict[str, tuple[float, float]]:
    """The same of what was recorded."""
    results = RUNS[name]["results"]
    return {query: (each["true_error_m"], each["true_error_deg"]) for query, each in results.items()}


@pytest.fixture(autouse=True)
def not_rounded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos for this network are not rounded to 8 bits after they were resized, as upstream's are not.

    A colour tells a place of the wall, and one level of red is 3 cm of it: 2 pixels. Photos do not speak so.
    """

    def loaded(path: Path, size: int, *, patch_size: int) -> LoadedImage:
        found = load_image(path, size, patch_size=patch_size)
        (scale_x, _, x), (_, scale_y, y) = found.transform.network_from_original[:2]
        (height, width), (h, w) = found.transform.original_shape, found.transform.network_shape
        resized = round(width * scale_x), round(height * scale_y)
        left, top = round(0.5 * scale_x - 0.5 - x), round(0.5 * scale_y - 0.5 - y)
        method = Image.Resampling.LANCZOS if width > resized[0] else Image.Resampling.BICUBIC
        planes = [
            np.array(Image.fromarray(plane).resize(resized, method))[top : top + h, left : left + w]
            for plane in np.moveaxis(found.original.astype(np.float32), -1, 0)
        ]
        return dataclasses.replace(found, tensor=torch.from_numpy(np.stack(planes) / 127.5 - 1).float())

    monkeypatch.setattr("mast3r_visloc.localizing.photos.load_image", loaded)


@pytest.mark.parametrize("name", ONE_FOR_EACH_DATASET)
def test_no_farther_from_the_truth_than_upstream(name: str) -> None:
    """Looking for every point that upstream looks for; sparse maps have no more than we always take."""
    found, recorded = gaps(name, run(name, map_stride=1, points_per_image=1_000_000)), upstreams(name)
    assert found.keys() == recorded.keys()
    ours, theirs = (np.mean(list(errors.values()), axis=0) for errors in (found, recorded))
    assert (ours <= theirs).all()


@pytest.mark.parametrize("name", ["sevenscenes224_poselib", "inloc224_poselib"])
def test_fewer_points_of_dense_maps_suffice(name: str) -> None:
    """A sixtieth of upstream's points: the noise of their places averages out less."""
    metres, degrees = np.max(list(gaps(name, run(name)).values()), axis=0)
    assert metres < 0.02
    assert degrees < 0.25


def test_a_network_without_descriptors_is_about_as_good() -> None:
    """Upstream keeps mutually nearest points only, we take also those that miss by less than the tolerance:
    on these two queries upstream's are 2 cm from the truth and ours up to 3."""
    metres, degrees = np.mean(list(gaps("dust3r_cambridge224", run("dust3r_cambridge224")).values()), axis=0)
    assert metres < 0.03
    assert degrees < 0.3


def test_fine() -> None:
    """All runs in windows together: of two queries alone chance decides."""
    found, recorded = [], []
    for name in FINE:
        arguments = RUNS[name]["args"]
        report = run(
            name,
            fine=True,
            homography="homography" in arguments,
            max_image_size=336 if "336" in arguments else None,
        )
        found += gaps(name, report).values()
        recorded += upstreams(name).values()
    assert len(found) == len(recorded) == 6
    assert (np.mean(found, axis=0) <= np.mean(recorded, axis=0)).all()
