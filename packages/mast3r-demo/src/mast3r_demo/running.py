"""A run of the page: from what was uploaded and chosen to a shown scene, step by step (spec 60 D5)."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_model import InputError, Mast3rError

from .file_names import shown_name
from .jobs import Cancelled, Job, JobControl, said_of
from .known_inputs import known_cameras, masks_folder
from .limits import check_pairs
from .page_words import error_words
from .reconstruction import Reconstruction, reconstruct_photos
from .request import settings_from, view_from
from .services import Services
from .settings import ReconstructionSettings
from .showing import write_partial_view, write_view
from .status import Mood, StatusLine
from .uploads import Taken, take_photos, take_video
from .visits import Visit

if TYPE_CHECKING:
    from mast3r_sfm import KnownCameras

LOGGER = logging.getLogger("mast3r.demo")


@dataclass(frozen=True)
class RunRequest:
    """What the page says when Run is pressed.

    Attributes:
        photos: gradio's paths.
        video: gradio's path.
        fps: of the video.
        focal: known, in pixels.
        intrinsics: gradio's path.
        masks: gradio's paths.
        settings: values of the controls before a run, by name.
        view: values of the view controls, by name.
    """

    photos: Sequence[str] | None
    video: str | None
    fps: float
    focal: float | None
    intrinsics: str | None
    masks: Sequence[str] | None
    settings: Mapping[str, Any]
    view: Mapping[str, Any]


@dataclass(frozen=True)
class RunNews:
    """What the page shows next.

    Attributes:
        status: HTML of the status line.
        log: text.
        view: a GLB that the browser may fetch; None: as before.
        camera: of the first look at it, as Model3D takes it.
        mood: "busy" until the end.
    """

    status: str
    log: str
    view: Path | None = None
    camera: tuple[float, float, float] | None = None
    mood: Mood = "busy"


class RunFailed(Exception):  # noqa: N818 - cancelling is no error
    """The run ended with something to say.

    Attributes:
        text: for the visitor.
        cancelled: by the visitor: no error.
    """

    def __init__(self, text: str, *, cancelled: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.cancelled = cancelled


@dataclass(frozen=True)
class _Prepared:
    """Everything that is checked before the job starts."""

    paths: tuple[Path, ...]
    settings: ReconstructionSettings
    known: KnownCameras | None
    masks: tuple[Path, ...] | None
    pairs: int


def run(services: Services, visit: Visit, request: RunRequest) -> Iterator[RunNews]:
    """Reconstruct; the last news shows the scene. Closing the iterator cancels the job.

    Raises:
        InputError: what was given cannot be used; nothing has been computed.
        RunFailed: the job failed or was cancelled; the last news said so.
    """
    prepared = _prepare(services, visit, request)
    line = StatusLine()
    job = visit.session.run(_work(services, visit, prepared, request), seconds=services.limits.seconds)
    try:
        for event in job.events():
            news = RunNews(line.show(event), line.text)
            if event.partial is not None:
                news = _with_partial(visit, event.partial, services, news)
            yield news
        yield _ended(services, visit, job, line, prepared)
    finally:
        job.cancel()


def _with_partial(visit: Visit, partial: object, services: Services, news: RunNews) -> RunNews:
    """The news with the first look at a scene; a look that cannot be drawn does not end the run."""
    try:
        shown = write_partial_view(visit, partial, services.limits)
    except Mast3rError as error:
        LOGGER.warning("no view before the end: %s", error)
        return news
    return news if shown is None else replace(news, view=shown.path, camera=shown.camera)


def _prepare(services: Services, visit: Visit, request: RunRequest) -> _Prepared:
    limits = services.limits
    photos = take_photos(visit, request.photos, limits)
    video = take_video(visit, request.video, limits)
    paths = (*photos.paths, *([] if video is None else [video]))
    if not paths:
        refused = photos.refused[0] if photos.refused else "no photo was given"
        raise InputError(refused.rstrip("."), "add photos of one place, or a video")
    settings = settings_from(
        request.settings,
        retrieval=services.options.retrieval,
        fps=None if video is None else float(request.fps),
    )
    count = max(2, len(photos.paths))
    pairs = settings.pair_count(count)
    check_pairs(pairs, count, limits, settings)
    return _Prepared(
        paths,
        settings,
        known_cameras(visit, request.intrinsics, request.focal, photos, limits),
        masks_folder(visit, request.masks, photos, limits),
        pairs,
    )


def _work(services: Services, visit: Visit, prepared: _Prepared, request: RunRequest) -> Any:
    def work(control: JobControl) -> tuple[Reconstruction, Path]:
        if not services.network.loaded:
            control.note("loading the network")
        model = services.network.get()
        control.note("")
        started = time.monotonic()
        result = reconstruct_photos(
            model,
            prepared.paths,
            prepared.settings,
            visit.session,
            control,
            masks=prepared.masks,
            intrinsics=prepared.known,
            model_name=services.network.name,
            limits=services.limits,
        )
        services.pace.note(prepared.settings.image_size, len(result.pairs), time.monotonic() - started)
        with control.progress("writing the 3D view", None):
            view = write_view(visit, result, view_from(request.view), services.limits)
        return result, view

    return work


def _ended(
    services: Services,
    visit: Visit,
    job: Job[tuple[Reconstruction, Path]],
    line: StatusLine,
    prepared: _Prepared,
) -> RunNews:
    """The last news: of a scene.

    Raises:
        RunFailed: of an error, or that it was cancelled.
    """
    try:
        result, view = job.result()
    except Cancelled as error:
        raise RunFailed(said_of(error, job.id), cancelled=not error.timed_out) from error
    except Exception as error:
        raise RunFailed(_with_names(said_of(error, job.id), visit)) from error
    visit.session.result = result
    from .views import first_camera

    camera = first_camera(result.scene)
    told = line.finish(done_text(result, visit.session.photo_names), mood="done")
    return RunNews(told, line.text, view, camera, "done")


def _with_names(text: str, visit: Visit) -> str:
    """A message with what the visitor calls the photos, in the place of our numbers."""
    names = visit.session.photo_names
    return re.sub(r"\b\d{4}\.\w+\b", lambda found: shown_name(Path(names.get(found[0], found[0]))), text)


def done_text(result: Reconstruction, names: Mapping[str, str]) -> str:
    """What a reconstruction came to, in a sentence.

    Args:
        result: of the run.
        names: what the visitor calls the photos, by our names for them.
    """
    scene = result.scene
    dropped = len(scene.dropped)
    paths = {image.name: image.path for image in result.images}
    placed = len({paths[image.name] for image in scene.images})  # a single photo is there twice
    text = f"{_counted(placed, 'photo')} placed, {_counted(len(result.pairs), 'pair')}"
    if dropped:
        some = ", ".join(names.get(drop.name, drop.name) for drop in scene.dropped[:3])
        text += f"; {dropped} left out ({some}{', ...' if dropped > 3 else ''})"
    return text


def summary(services: Services, taken: Taken, settings: ReconstructionSettings | None) -> str:
    """``N photos, P pairs, about T s on <device>``, and what was refused.

    Args:
        services: of the server.
        taken: the photos.
        settings: as chosen; None where they make no sense yet.
    """
    lines = []
    count = len(taken.paths)
    if count and settings is not None:
        try:
            pairs = settings.pair_count(max(2, count))
            check_pairs(pairs, count, services.limits, settings)
            counted = f"{_counted(count, 'photo')}, {_counted(pairs, 'pair')}"
            lines.append(f"{counted}{_about(services, settings, pairs)}")
        except Mast3rError as error:
            lines.append(error_words(error))
    refused = [f"**{_markdown_text(line)}**" for line in taken.refused]
    return "\n\n".join([_markdown_text(line) for line in lines] + refused)


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _about(services: Services, settings: ReconstructionSettings, pairs: int) -> str:
    seconds = services.pace.seconds(settings.image_size, pairs)
    if seconds is None:
        return ""
    from .status import duration

    return f", about {duration(max(1.0, seconds))} on {services.options.model.precision().device}"


def _markdown_text(text: str) -> str:
    """Text that stays text in Markdown."""
    special = "\\`*_{}[]()#+!<>&|~$"
    return "".join(f"&#{ord(letter)};" if letter in special else letter for letter in text)
