"""From a visitor's photos to a scene that the page can show (spec 60 D2, D5)."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from mast3r_model import DeviceError, InputError

from .jobs import JobControl
from .limits import Limits, check_pairs
from .session_folder import Session
from .settings import ReconstructionSettings

if TYPE_CHECKING:
    from mast3r_match import Correspondences
    from mast3r_model import AsymmetricCroCo3DStereo
    from mast3r_sfm import ImageSet, KnownCameras, Scene
    from mast3r_sfm.predictions import PredictedPairs

LOGGER = logging.getLogger("mast3r.demo")

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A scene with what it was made from.

    Attributes:
        scene: cameras, depth, points.
        images: the photos as the network saw them; photos are numbered as here. ``scene.dropped`` names all
            photos that are not in the scene, those that could not be read too.
        predictions: of all pairs, in the session's cache.
        settings: as chosen.
        model_name: of the network.
        metric: distances in the scene are metres.
    """

    scene: Scene
    images: ImageSet
    predictions: PredictedPairs
    settings: ReconstructionSettings
    model_name: str
    metric: bool

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Which photos were matched, by their numbers."""
        return self.predictions.pairs

    def matches(self, i: int, j: int) -> Correspondences:
        """The matches of two photos, read from the cache.

        Args:
            i: number of a photo in ``images``.
            j: of another.

        Returns:
            Matches in NETWORK pixels (``images[i].transform`` goes on to the photo's), ``xy0`` in photo i.

        Raises:
            InputError: the two were not matched.
        """
        for index, pair in enumerate(self.pairs):
            if pair == (i, j):
                return self.predictions.matches(index)
            if pair == (j, i):
                found = self.predictions.matches(index)
                return replace(found, xy0=found.xy1, xy1=found.xy0)
        raise InputError(f"photos {i} and {j} were not matched", "choose one of the pairs in the list")

    def pair_counts(self) -> dict[tuple[int, int], int]:
        """How many matches each pair has; those that fit one geometry, where that was looked at."""
        number = {image.name: k for k, image in enumerate(self.images)}
        return {
            (number[pair["image0"]], number[pair["image1"]]): pair.get("inliers", pair["matches"])
            for pair in self.scene.report["pairs"]
        }


def reconstruct_photos(
    model: AsymmetricCroCo3DStereo,
    paths: Sequence[Path],
    settings: ReconstructionSettings,
    session: Session,
    control: JobControl,
    *,
    masks: Sequence[Path] | None = None,
    intrinsics: KnownCameras | None = None,
    model_name: str = "nano",
    limits: Limits | None = None,
) -> Reconstruction:
    """Photos, or a video, to a scene; what is computed is kept in the session for the next run.

    A single photo is matched with itself, so that its depth can be seen.

    Args:
        model: a network that predicts descriptors.
        paths: photos and videos of the session.
        settings: as chosen.
        session: whose folders are used.
        control: told of the progress; partial results are of cameras and sparse points (`mast3r_sfm.Scene`).
        masks: one for each photo, or one folder; black may not match.
        intrinsics: known cameras, by the names that the photos have in the session.
        model_name: to be shown.
        limits: of frames of a video, and of the pairs of what was read.

    Raises:
        Cancelled: the job was cancelled, or its time is over.
        InputError: no photo can be used, or they make more pairs than the limit.
        NothingFoundError: no two photos match.
        DeviceError: memory is not enough, even for half the batch.
    """
    from mast3r_sfm import FrameChoice, open_images

    limits = limits or Limits()
    images = open_images(
        paths,
        size=settings.image_size,
        patch_size=model.patch_size,
        masks=masks or (),
        frames=FrameChoice(fps=settings.fps or 1.0, max_count=limits.max_frames),
        frames_folder=session.frames,
        progress=control.progress,
    )
    check_pairs(settings.pair_count(len(images)), len(images), limits, settings)
    single = len(images) == 1
    if single:
        images = _twice(images)

    def compute(batch_size: int | None) -> Reconstruction:
        return _reconstruct(
            model, images, settings, session, control, intrinsics, model_name, batch_size, verify=not single
        )

    with _seeded(settings.seed):
        return with_less_memory(compute, model, images, settings)


def _reconstruct(
    model: AsymmetricCroCo3DStereo,
    images: ImageSet,
    settings: ReconstructionSettings,
    session: Session,
    control: JobControl,
    intrinsics: KnownCameras | None,
    model_name: str,
    batch_size: int | None,
    *,
    verify: bool,
) -> Reconstruction:
    from mast3r_sfm import PredictionCache, predict_pairs, reconstruct

    options = replace(settings.options(len(images), batch_size=batch_size), verify=verify)
    cache = PredictionCache(session.predictions)
    scene = reconstruct(
        images,
        model,
        known=intrinsics,
        cache=session.predictions,
        options=options,
        progress=control.progress,
        on_partial=control.partial,
        on_loss=control.loss,
    )
    number = {image.name: k for k, image in enumerate(images)}
    pairs = [(number[pair["image0"]], number[pair["image1"]]) for pair in scene.report["pairs"]]
    # all of them are in the cache: nothing is computed here
    predictions = predict_pairs(model, images, pairs, cache=cache, options=options.prediction)
    return Reconstruction(scene, images, predictions, settings, model_name, is_metric(model_name, scene))


def with_less_memory(
    compute: Callable[[int | None], T],
    model: AsymmetricCroCo3DStereo,
    images: ImageSet,
    settings: ReconstructionSettings,
) -> T:
    """Compute; where memory runs out, once more with half the batch.

    Args:
        compute: is given the batch size, None for the usual one.
        model: on its device.
        images: of the reconstruction.
        settings: for the message.

    Raises:
        DeviceError: memory ran out again.
    """
    from mast3r_sfm.predictions import PredictionOptions
    from mast3r_sfm.predictions.worker import default_batch_size

    half = max(1, default_batch_size(model, PredictionOptions()) // 2)
    for batch_size in (None, half):
        try:
            return compute(batch_size)
        except (RuntimeError, MemoryError, DeviceError) as error:
            if not is_out_of_memory(error):
                raise
            LOGGER.warning("out of memory: %s", error)
        # Outside of the handler: the error's traceback holds the tensors that are to be given back.
        _give_memory_back()
    raise DeviceError(
        f"{len(images)} photos at image size {settings.image_size} do not fit into memory, "
        "even with half the batch",
        f"choose an image size below {settings.image_size}, or fewer than {len(images)} photos",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory", "does not fit into memory")
    return any(said in str(error) for said in words)


def is_metric(model_name: str, scene: Scene) -> bool:
    """Whether distances are metres: the network was trained for that and set the scale, or a distance did."""
    sources = {entry["from"] for entry in scene.report["scale"]}
    by_network = "metric" in PurePosixPath(model_name).name.lower() and sources == {"network"}
    return by_network or sources == {"known distance"}


def _twice(images: ImageSet) -> ImageSet:
    """One photo as two."""
    (image,) = images
    name = PurePosixPath(image.name)
    again = replace(image, name=str(name.with_name(f"{name.stem}_2{name.suffix}")))
    return replace(images, images=(image, again))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random choices of torch as ``--seed`` makes them."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _give_memory_back() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
