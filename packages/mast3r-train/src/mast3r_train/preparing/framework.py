"""How every preparation runs: by frames, in parallel, resumable, checked at its end (spec 41 section 0).

A preparation is a plan: which frames there are, how one is made, what is written when all are there. A frame
is finished when its marker exists: the metadata file, written last and under its name only when whole. So a
run that was killed goes on where it stopped, and nothing half-written is ever read.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from mast3r_model import InputError, Mast3rError, OutputError

LOGGER = logging.getLogger("mast3r.train")


@dataclass(frozen=True)
class PrepareRequest:
    """What the user asks for.

    Attributes:
        raw: folder of the public release; never written to.
        out: folder to write.
        pairs: file or folder with the published pair lists, if the dataset has such.
        workers: processes; 1 works in this one.
        options: values of the dataset's own options, by name.
    """

    raw: Path
    out: Path
    pairs: Path | None = None
    workers: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """One frame to make.

    Attributes:
        name: what messages call it.
        marker: the file that is written last; the frame is finished when it exists.
        job: what `Preparation.make` gets; must be picklable.
        problem: why it cannot be made, if that is known before; it is not tried then.
    """

    name: str
    marker: Path
    job: Any
    problem: str = ""

    @classmethod
    def broken(cls, name: str, problem: str) -> Frame:
        """One that cannot be made, or one for all frames of a scene whose list of cameras cannot be used.

        Args:
            name: of the frame or the scene.
            problem: names the file and what is wrong.
        """
        return cls(name, Path(), None, problem)


@dataclass(frozen=True)
class Preparation:
    """The plan of one dataset.

    Attributes:
        frames: what to make.
        make: makes one frame from its job: a function at the top of a module. It writes through
            `atomic_write`, the marker last, and raises a `Mast3rError` that names what is wrong with the raw
            files of the frame.
        finish: called when the frames are done, also if some failed: writes lists and metadata.
        missing: called last: names of the files that the loader will look for and that are not there.
    """

    frames: Sequence[Frame]
    make: Callable[[Any], None]
    finish: Callable[[], None]
    missing: Callable[[], Iterable[str]]


@dataclass(frozen=True)
class PrepareReport:
    """How a preparation ended.

    Attributes:
        made: frames made now.
        kept: frames that were there before.
        failed: frame -> why it could not be made.
        missing: files that the loader will look for in vain.
    """

    made: int
    kept: int
    failed: Mapping[str, str]
    missing: Sequence[str]

    @property
    def complete(self) -> bool:
        """Whether everything is there."""
        return not self.failed and not self.missing


def run_preparation(
    preparation: Preparation,
    *,
    workers: int = 1,
    track: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> PrepareReport:
    """Make the frames that are not there yet, then the lists, then check.

    Args:
        workers: processes.
        track: wraps the iteration over finished frames for a progress display; gets their number too.

    Raises:
        InputError: a worker process died.
        OutputError: a file cannot be written; what is finished is kept.
    """
    broken = [frame for frame in preparation.frames if frame.problem]
    waiting = [frame for frame in preparation.frames if not frame.problem and not frame.marker.exists()]
    results: Iterable[str | None] = _results(preparation.make, waiting, workers)
    if track is not None:
        results = track(results, len(waiting))
    failed: dict[str, str] = {}
    problems = chain((frame.problem for frame in broken), results)
    for frame, problem in zip([*broken, *waiting], problems, strict=True):
        if problem is not None:
            failed[frame.name] = problem
            LOGGER.warning("%s: %s", frame.name, problem)
    preparation.finish()
    return PrepareReport(
        made=len(broken) + len(waiting) - len(failed),
        kept=len(preparation.frames) - len(broken) - len(waiting),
        failed=failed,
        missing=tuple(preparation.missing()),
    )


def _results(make: Callable[[Any], None], frames: Sequence[Frame], workers: int) -> Iterator[str | None]:
    """For each frame, in order: None, or why it could not be made."""
    task = _Guarded(make)
    if workers <= 1 or len(frames) <= 1:
        yield from map(task, (frame.job for frame in frames))
        return
    # Not forked: OpenCV's and BLAS's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(frames)), mp_context=context) as pool:
        try:
            yield from pool.map(task, [frame.job for frame in frames], chunksize=1)
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died (killed, or out of memory); what is finished is kept",
                hint="run the same command again, perhaps with fewer --workers",
            ) from error


@dataclass(frozen=True)
class _Guarded:
    """Makes a frame; an error that the user can mend becomes text, which travels between processes."""

    make: Callable[[Any], None]

    def __call__(self, job: Any) -> str | None:
        try:
            self.make(job)
        except OutputError:
            raise  # a full disk is no frame's fault, and the next frame would fare no better
        except Mast3rError as error:
            return str(error)
        return None
