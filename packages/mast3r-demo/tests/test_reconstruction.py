"""Photos of a session to a scene: progress, cancelling, one photo, short memory, no leaks (spec 60 D5)."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_demo.jobs import Cancelled, Job, JobControl, JobEvent
from mast3r_demo.limits import Limits
from mast3r_demo.reconstruction import Reconstruction, is_metric, reconstruct_photos, with_less_memory
from mast3r_demo.session import Session, SessionStore
from mast3r_demo.settings import ReconstructionSettings
from mast3r_model import AsymmetricMASt3R, DeviceError, InputError, load_model
from mast3r_sfm import Scene

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SETTINGS = ReconstructionSettings(image_size=96, quality="refine")


@pytest.fixture(scope="module")
def model() -> AsymmetricMASt3R:
    found = load_model("nano", device="cpu")
    assert isinstance(found, AsymmetricMASt3R)
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two photos, and a part of each."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("a", "b"):
        with Image.open(EXAMPLES / f"{name}.jpg") as photo:
            small = photo.convert("RGB").resize((320, 240))
        small.save(folder / f"{name}.png")
        small.crop((40, 30, 320, 240)).save(folder / f"{name}_part.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionStore]:
    with SessionStore(tmp_path_factory.mktemp("root")) as store:
        yield store


@pytest.fixture
def session(store: SessionStore) -> Iterator[Session]:
    session = store.create()
    yield session
    store.end(session.id, wait=30)
    assert not session.folder.exists()


@pytest.fixture
def batches(model: AsymmetricMASt3R, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pairs of each batch that the network decodes."""
    counted: list[int] = []
    decode = model.decode_pairs

    def counting(features: Any, pairs: Any, **keywords: Any) -> Any:
        counted.append(len(pairs))
        return decode(features, pairs, **keywords)

    monkeypatch.setattr(model, "decode_pairs", counting)
    return counted


def run(
    model: AsymmetricMASt3R,
    photos: list[Path],
    session: Session,
    settings: ReconstructionSettings = SETTINGS,
    **further: Any,
) -> Job[Reconstruction]:
    copies = session.add_uploads(photos, [photo.suffix for photo in photos])

    def work(control: JobControl) -> Reconstruction:
        return reconstruct_photos(model, copies, settings, session, control, **further)

    return session.run(work, seconds=300)


def first_event(job: Job[Any], stage: str) -> JobEvent:
    return next(event for event in job.events(0.01) if event.stage == stage)


def test_a_scene_with_its_matches(
    model: AsymmetricMASt3R, photos: list[Path], session: Session, batches: list[int]
) -> None:
    job = run(model, photos, session)
    events = list(job.events())
    result = job.result()
    assert len(result.scene.images) == len(result.images) == 4
    assert (
        sorted(result.pairs) == sorted(result.pair_counts()) == [(i, j) for i in range(4) for j in range(i)]
    )
    assert sum(batches) == 2 * 6
    assert {event.stage for event in events} >= {"decoding pairs", "refinement"}
    assert any(event.detail.startswith("loss ") for event in events if event.stage == "coarse alignment")
    assert not any(event.detail for event in events if event.stage == "refinement")
    (partial,) = [event.partial for event in events if event.partial is not None]
    assert isinstance(partial, Scene)
    assert len(partial.images) == 4
    assert len(partial.points) > 50
    there, back = result.matches(0, 1), result.matches(1, 0)
    assert len(there.confidence) >= result.pair_counts()[1, 0] > 10
    np.testing.assert_array_equal(there.xy0, back.xy1)
    height, width = result.images[1].shape
    assert (there.xy1 >= 0).all()
    assert (there.xy1 < torch.tensor([width, height])).all()
    with pytest.raises(InputError, match="0 and 0 were not matched"):
        result.matches(0, 0)
    assert not result.metric
    assert result.model_name == "nano"
    assert sum(batches) == 2 * 6  # looking at the result computes nothing


def test_the_second_run_computes_nothing_twice(
    model: AsymmetricMASt3R, photos: list[Path], session: Session, batches: list[int]
) -> None:
    run(model, photos[:3], session).result()
    assert sum(batches) == 2 * 3
    run(model, photos, session).result()
    assert sum(batches) == 2 * 6


def test_cancel_stops_the_network_and_the_next_run_goes_on(
    model: AsymmetricMASt3R, photos: list[Path], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    decode = model.decode_pairs

    def slow(features: Any, pairs: Any, **keywords: Any) -> Any:
        counted.append(len(pairs))
        if len(counted) == 1:
            job.cancel()
        return decode(features, pairs, **keywords)

    monkeypatch.setattr(model, "decode_pairs", slow)
    job = run(model, photos, session)
    with pytest.raises(Cancelled):
        job.result()
    assert counted == [2 * 4]  # the batch in which it was cancelled was the last
    assert not list(session.predictions.rglob(".*.part*"))
    assert len(run(model, photos, session).result().scene.images) == 4
    assert sum(counted) == 2 * 6


@pytest.mark.parametrize(
    "stage", ["reading photos", "gathering views", "coarse alignment", "depth maps", "refinement"]
)
def test_cancel_in_other_stages(
    stage: str, model: AsymmetricMASt3R, photos: list[Path], session: Session
) -> None:
    copies = session.add_uploads(photos, [".png"] * 4)
    steps: list[str] = []

    def work(control: JobControl) -> Reconstruction:
        progress = control.progress

        def watched(description: str, total: int | None) -> Any:
            steps.append(description)
            if description == stage:
                job.cancel()
            return progress(description, total)

        control.progress = watched  # type: ignore[method-assign]
        return reconstruct_photos(model, copies, SETTINGS, session, control)

    job = Job(work, seconds=300)
    session.job = job
    job.start()
    with pytest.raises(Cancelled):
        job.result()
    assert steps[-1] == stage


def test_time_limit(model: AsymmetricMASt3R, photos: list[Path], session: Session) -> None:
    copies = session.add_uploads(photos, [".png"] * 4)
    job = session.run(
        lambda control: reconstruct_photos(model, copies, SETTINGS, session, control), seconds=0.01
    )
    with pytest.raises(Cancelled) as caught:
        job.result()
    assert caught.value.timed_out


def test_one_photo_is_shown_too(model: AsymmetricMASt3R, photos: list[Path], session: Session) -> None:
    result = run(model, photos[:1], session).result()
    assert [image.name for image in result.scene.images] == ["0001.png", "0001_2.png"]
    assert len(result.scene.points) > 100


def test_two_sessions_at_once_have_different_scenes(
    model: AsymmetricMASt3R, photos: list[Path], session: Session, store: SessionStore
) -> None:
    other = store.create()
    jobs = [run(model, photos[:2], session), run(model, photos[2:], other)]
    first, second = (job.result() for job in jobs)
    assert not np.array_equal(first.images[0].pixels, second.images[0].pixels)
    assert first.predictions.cache.folder == session.predictions
    assert second.predictions.cache.folder == other.predictions
    names = {path.name for path in session.predictions.rglob("*.safetensors")}
    assert names
    assert not names & {path.name for path in other.predictions.rglob("*.safetensors")}
    store.end(other.id)
    assert len(first.matches(0, 1).confidence)


def test_broken_photos_are_left_out_and_named(
    model: AsymmetricMASt3R, photos: list[Path], session: Session, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photos[0].read_bytes()[:500])
    result = run(model, [*photos[:2], broken], session).result()
    (dropped,) = result.scene.dropped
    assert dropped.name == "0003.png"
    with pytest.raises(InputError, match="none of the 1 images can be used"):
        run(model, [broken], session).result()


def test_more_pairs_than_the_limit_are_refused_before_anything_is_computed(
    model: AsymmetricMASt3R, photos: list[Path], session: Session, batches: list[int]
) -> None:
    with pytest.raises(InputError, match="4 photos make 6 pairs this way, at most 5 are taken"):
        run(model, photos, session, limits=Limits(max_pairs=5)).result()
    assert not batches


def test_the_seed_of_others_stays(model: AsymmetricMASt3R, photos: list[Path], session: Session) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    run(model, photos[:2], session).result()
    assert torch.equal(torch.rand(3), expected)


def failing(error: Exception, times: int) -> tuple[Callable[[int | None], str], list[int | None]]:
    sizes: list[int | None] = []

    def compute(batch_size: int | None) -> str:
        sizes.append(batch_size)
        if len(sizes) <= times:
            raise error
        return "done"

    return compute, sizes


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    DeviceError("one of the pairs alone does not fit into memory (CUDA out of memory)"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory(error: Exception, model: AsymmetricMASt3R) -> None:
    images: Any = range(40)
    compute, sizes = failing(error, 1)
    assert with_less_memory(compute, model, images, SETTINGS) == "done"
    assert sizes == [None, 2]  # half of the CPU's 4
    compute, sizes = failing(error, 2)
    with pytest.raises(DeviceError) as caught:
        with_less_memory(compute, model, images, SETTINGS)
    assert "40 photos at image size 96 do not fit into memory" in caught.value.message
    assert caught.value.hint == "choose an image size below 96, or fewer than 40 photos"
    assert len(sizes) == 2


def test_other_errors_are_not_tried_again(model: AsymmetricMASt3R) -> None:
    compute, sizes = failing(RuntimeError("a bug"), 1)
    with pytest.raises(RuntimeError, match="a bug"):
        with_less_memory(compute, model, range(4), SETTINGS)  # type: ignore[arg-type]
    assert len(sizes) == 1


def test_short_memory_in_a_whole_run(
    model: AsymmetricMASt3R, photos: list[Path], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker halves its batches first; what still fails is told with size and number of photos."""

    def hungry(features: Any, pairs: Any, **keywords: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(model, "decode_pairs", hungry)
    with pytest.raises(DeviceError, match="4 photos at image size 96 do not fit into memory"):
        run(model, photos, session).result()


@pytest.mark.parametrize(
    ("name", "sources", "metric"),
    [
        ("nano", ["network"], False),
        ("naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric", ["network"], True),
        ("/models/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric.pth", ["network", "network"], True),
        ("nano", ["known distance"], True),
        ("x_metric", ["known poses"], False),
        ("/metric/nano", ["network"], False),
    ],
)
def test_metres(name: str, sources: list[str], metric: bool, store: SessionStore) -> None:
    scene: Any = type("Scene", (), {"report": {"scale": [{"from": source} for source in sources]}})
    assert is_metric(name, scene) is metric


def resident() -> int:
    """Bytes of this process in memory, after giving back what is free."""
    import ctypes

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def many_runs(model: AsymmetricMASt3R, photos: list[Path], store: SessionStore, count: int) -> int:
    """Runs in sessions of their own, a third of them cancelled; the memory afterwards."""
    for number in range(count):
        session = store.create()
        chosen = [photos[(number + k) % len(photos)] for k in range(2)]
        job = run(model, chosen, session)
        if number % 3 == 2:
            first_event(job, "verifying pairs")
            job.cancel()
        else:
            session.result = job.result()
            session.result.matches(0, 1)
        store.end(session.id, wait=60)
        assert not session.folder.exists()
    return resident()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("first", "then"), [(3, 4), pytest.param(5, 45, marks=pytest.mark.slow)], ids=["short", "50 runs"]
)
def test_memory_after_many_runs_is_that_after_a_few(
    first: int, then: int, model: AsymmetricMASt3R, photos: list[Path], store: SessionStore
) -> None:
    early = many_runs(model, photos, store, first)
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    late = many_runs(model, photos, store, then)
    assert late - early < 24 * 2**20
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= files
    assert not any(store.root.glob("*/uploads"))
