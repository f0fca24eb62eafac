"""Every long part of a reconstruction shows a bar, and what a bar raises ends the work there and then."""

from __future__ import annotations

import multiprocessing
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mast3r_model import AsymmetricMASt3R, load_model
from mast3r_model.cli import root, run
from mast3r_sfm import (
    AdamOptions,
    DenseMapping,
    FrameChoice,
    LmOptions,
    PredictionOptions,
    ReconstructionOptions,
    Scene,
    extend_scene,
    open_images,
    reconstruct,
)

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SIZE = 128
BATCH = PredictionOptions(batch_size=2)

BEFORE = ("reading photos", "encoding images", "decoding pairs", "gathering views", "verifying pairs")
AFTER = ("making tracks", "refinement")
LM = replace(LmOptions(), coarse_iterations=10, fine_iterations=5)
ADAM = replace(AdamOptions(), coarse_iterations=5, fine_iterations=5)
MAPPERS = {
    "lm": (
        ReconstructionOptions(prediction=BATCH, align=LM),
        ("coarse alignment", "fine alignment", "depth maps"),
    ),
    "adam": (
        ReconstructionOptions(prediction=BATCH, solver="adam", align=ADAM),
        ("coarse alignment", "fine alignment", "depth maps"),
    ),
    "dense": (
        ReconstructionOptions(prediction=BATCH, mapper="dense", dense=DenseMapping(iterations=5)),
        ("reading pointmaps", "dense alignment", "depth maps"),
    ),
    "colmap": (
        ReconstructionOptions(prediction=BATCH, mapper="colmap"),
        ("verifying geometry", "colmap mapper", "depth maps"),
    ),
}


class StopError(Exception):
    """Raised out of a bar."""


class Bars:
    """Notes what bars were shown and how far they came; raises in one of them.

    Args:
        stop: the bar that raises.
        after: steps that it lets pass.
    """

    def __init__(self, stop: str | None = None, after: int = 0) -> None:
        self.done: dict[str, int] = {}
        self.open: list[str] = []
        self._stop, self._after = stop, after

    @contextmanager
    def __call__(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        def advance(steps: int) -> None:
            self.done[description] += steps
            if description == self._stop and self.done[description] > self._after:
                raise StopError(description)

        self.done.setdefault(description, 0)
        self.open.append(description)
        try:
            if description == self._stop and total is None:
                raise StopError(description)
            yield advance
        finally:
            self.open.remove(description)


@pytest.fixture(scope="module")
def model() -> AsymmetricMASt3R:
    found = load_model("nano", device="cpu")
    assert isinstance(found, AsymmetricMASt3R)
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos, and a part of each."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("a", "b"):
        with Image.open(EXAMPLES / f"{name}.jpg") as photo:
            small = photo.convert("RGB").resize((320, 240))
        small.save(folder / f"{name}.png")
        small.crop((40, 30, 320, 240)).save(folder / f"{name}_part.png")
    return folder


@pytest.fixture(scope="module")
def warm(model: AsymmetricMASt3R, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds all predictions."""
    cache = tmp_path_factory.mktemp("warm")
    reconstruct(photos, model, size=SIZE, cache=cache, options=MAPPERS["lm"][0])
    return cache


@pytest.fixture(autouse=True)
def _nothing_goes_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread, worker or process outlives the call that started it."""
    started: list[Any] = []
    popen = subprocess.Popen

    def noted(*arguments: Any, **keywords: Any) -> Any:
        started.append(popen(*arguments, **keywords))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    threads = set(threading.enumerate())
    yield
    assert not multiprocessing.active_children()
    assert all(process.poll() is not None for process in started)
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("name", MAPPERS)
def test_all_that_can_be_watched(name: str, model: AsymmetricMASt3R, photos: Path, warm: Path) -> None:
    options, stages = MAPPERS[name]
    bars, partial, told = Bars(), list[Scene](), list[tuple[str, float]]()
    scene = reconstruct(
        photos,
        model,
        size=SIZE,
        cache=warm,
        options=options,
        progress=bars,
        on_partial=partial.append,
        on_loss=lambda stage, loss: told.append((stage, loss)),
    )
    expected = {"reading photos", "gathering views", "verifying pairs", *stages, "refinement"}
    assert expected <= bars.done.keys()  # nothing is encoded or decoded: the cache is warm
    assert bars.done["reading photos"] == 4
    assert bars.done["gathering views"] == bars.done["verifying pairs"] == 6
    assert not bars.open
    for stage in scene.report["alignment"][0]["stages"]:
        losses = [loss for name, loss in told if name == stage["name"]]
        assert losses
        assert all(any(loss == pytest.approx(known) for known in stage["losses"]) for loss in losses)
    assert len(partial) == (name in ("lm", "adam"))
    for early in partial:
        _check_partial(early, scene)
    if name != "colmap":  # of COLMAP, which is not the same to the bit, see scene/test_map_process.py
        unwatched = reconstruct(photos, model, size=SIZE, cache=warm, options=options)
        for one, other in zip(unwatched.images, scene.images, strict=True):
            np.testing.assert_array_equal(one.cam2world, other.cam2world)


def _check_partial(early: Scene, scene: Scene) -> None:
    """Cameras and coloured points, most of them in front of the first camera."""
    assert [image.name for image in early.images] == [image.name for image in scene.images]
    assert len(early.points) > 100
    assert np.isfinite(early.points.positions).all()
    assert early.points.colors.any()
    local = early.points.positions @ early.images[0].world2cam[:3, :3].T + early.images[0].world2cam[:3, 3]
    assert (local[:, 2] > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        *(("lm", stage) for stage in ("reading photos", "gathering views", "verifying pairs", *AFTER)),
        *((name, stage) for name, (_, stages) in MAPPERS.items() for stage in stages),
    ],
)
def test_stopped_in_every_stage(
    name: str, stage: str, model: AsymmetricMASt3R, photos: Path, warm: Path
) -> None:
    bars = Bars(stop=stage)
    with pytest.raises(StopError, match=stage):
        reconstruct(photos, model, size=SIZE, cache=warm, options=MAPPERS[name][0], progress=bars)
    assert bars.done[stage] <= 1
    assert not bars.open
    assert not list(warm.rglob(".*.part*"))


@pytest.mark.parametrize("name", ["lm", "adam", "dense"])
def test_stopped_between_iterations(name: str, model: AsymmetricMASt3R, photos: Path, warm: Path) -> None:
    options, stages = MAPPERS[name]
    stage = next(stage for stage in stages if "alignment" in stage)
    bars = Bars(stop=stage, after=1)
    with pytest.raises(StopError):
        reconstruct(photos, model, size=SIZE, cache=warm, options=options, progress=bars)
    assert bars.done[stage] == 2


def test_second_run_goes_on_from_the_cache(
    model: AsymmetricMASt3R, photos: Path, warm: Path, tmp_path: Path
) -> None:
    options = MAPPERS["lm"][0]
    first, second = Bars(stop="decoding pairs"), Bars()
    with pytest.raises(StopError):
        reconstruct(photos, model, size=SIZE, cache=tmp_path, options=options, progress=first)
    assert first.done["decoding pairs"] < 6
    kept = {path for path in (tmp_path / "pairs").rglob("*.safetensors") if path.name[0] != "."}
    assert len(kept) == first.done["decoding pairs"]
    scene = reconstruct(photos, model, size=SIZE, cache=tmp_path, options=options, progress=second)
    assert first.done["decoding pairs"] + second.done["decoding pairs"] == 6
    undisturbed = reconstruct(photos, model, size=SIZE, cache=warm, options=options)
    for image, expected in zip(scene.images, undisturbed.images, strict=True):
        np.testing.assert_array_equal(image.cam2world, expected.cam2world)


@pytest.mark.slow
def test_worker_processes_end(model: AsymmetricMASt3R, photos: Path, tmp_path: Path) -> None:
    options = replace(MAPPERS["lm"][0], engine="multi-gpu", prediction=replace(BATCH, workers=1))
    with pytest.raises(StopError):
        reconstruct(
            photos, model, size=SIZE, cache=tmp_path, options=options, progress=Bars("decoding pairs")
        )
    assert not multiprocessing.active_children()


def test_the_command_shows_the_bars(
    model: AsymmetricMASt3R, photos: Path, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = Bars()
    monkeypatch.setattr(
        "mast3r_model.cli.CommandContext.progress", lambda self, name, total=None: bars(name, total)
    )
    words = ["sfm", str(photos), "--size", str(SIZE), "--cache", str(warm), "-o", str(tmp_path / "scene")]
    assert run(root(), [*words, "--export", "ply", "--device", "cpu", "--quiet"]) == 0
    assert {"reading photos", "gathering views", *MAPPERS["lm"][1], *AFTER} <= bars.done.keys()


def test_no_partial_scene_of_quality_coarse(model: AsymmetricMASt3R, photos: Path, warm: Path) -> None:
    partial: list[Scene] = []
    options = replace(MAPPERS["lm"][0], align=replace(LM, fine=False))
    reconstruct(photos, model, size=SIZE, cache=warm, options=options, on_partial=partial.append)
    assert not partial


def test_stopped_by_a_partial_scene(model: AsymmetricMASt3R, photos: Path, warm: Path) -> None:
    def refuse(scene: Scene) -> None:
        raise StopError

    bars = Bars()
    with pytest.raises(StopError):
        reconstruct(
            photos, model, size=SIZE, cache=warm, options=MAPPERS["lm"][0], progress=bars, on_partial=refuse
        )
    assert not bars.open


def test_extended_scene(model: AsymmetricMASt3R, photos: Path, warm: Path) -> None:
    options, bars, partial = MAPPERS["lm"][0], Bars(), list[Scene]()
    three = [photos / name for name in ("a.png", "a_part.png", "b.png")]
    scene = reconstruct(three, model, size=SIZE, cache=warm, options=options)
    extend_scene(scene, photos, model, cache=warm, options=options, progress=bars, on_partial=partial.append)
    assert {*BEFORE[3:], *MAPPERS["lm"][1], *AFTER} <= bars.done.keys()
    assert [len(early.images) for early in partial] == [4]
    for stage in ("fine alignment", "depth maps", "making tracks", "refinement"):
        with pytest.raises(StopError, match=stage):
            extend_scene(scene, photos, model, cache=warm, options=options, progress=Bars(stage))


def test_similarity(model: AsymmetricMASt3R, photos: Path, warm: Path) -> None:
    options = replace(MAPPERS["lm"][0], graph="retrieval-2-1")
    with pytest.raises(StopError):
        reconstruct(photos, model, size=SIZE, cache=warm, options=options, progress=Bars("comparing images"))


def test_frames_of_a_video(tmp_path: Path) -> None:
    import cv2

    video = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    random = np.random.default_rng(0)
    for _ in range(30):
        writer.write(random.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    writer.release()
    bars, choice = Bars(), FrameChoice(fps=2)
    open_images([video], size=64, frames=choice, frames_folder=tmp_path / "frames", progress=bars)
    assert bars.done == {"looking at frames": 30, "writing frames": 6, "reading photos": 6}
    for stage in ("looking at frames", "writing frames"):
        folder = tmp_path / stage
        with pytest.raises(StopError):
            open_images([video], size=64, frames=choice, frames_folder=folder, progress=Bars(stage))
        assert len(list(folder.rglob("*"))) <= 2  # the folder and the first frame, whole
        assert not list(folder.rglob(".*"))
