"""Making the pieces of a plan: several at a time, each in one step, failures named (spec 50 D8)."""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import InputError, Mast3rError, OutputError

from .contract import Item, Piece, Placed, Track
from .placing import place_file

LOGGER = logging.getLogger("mast3r.visloc")
CHUNK = 8
"""Pieces that a process gets at once."""


@dataclass(frozen=True)
class Made:
    """What became of pieces.

    Attributes:
        counts: how many were linked, copied, made.
        kept: how many were there before.
        problems: target -> why it could not be made.
    """

    counts: Counter[Placed]
    kept: int
    problems: dict[Path, str]


def make_pieces(pieces: Sequence[Piece], *, workers: int, description: str, track: Track) -> Made:
    """Make the pieces whose target is not there yet.

    Args:
        pieces: with different targets.
        workers: processes; 1 works in this one.
        description: for `track`.
        track: shows progress.

    Raises:
        InputError: a worker process died; what is finished is kept.
        OutputError: a file cannot be written; what is finished is kept.
    """
    counts: Counter[Placed] = Counter()
    problems = {piece.target: piece.problem for piece in pieces if piece.problem}
    sound = [piece for piece in pieces if not piece.problem]
    waiting = [piece for piece in sound if not piece.target.exists()]
    results = track(_results(waiting, workers), description, len(waiting))
    for piece, (placed, problem) in zip(waiting, results, strict=True):
        if placed is None:
            problems[piece.target] = problem
        else:
            counts[placed] += 1
    for target, problem in problems.items():
        LOGGER.debug("%s: %s", target, problem)
    return Made(counts, len(sound) - len(waiting), problems)


def run_steps(steps: Iterable[Callable[[], Iterable[Path]]]) -> tuple[int, list[str]]:
    """Write the lists: how many files were written, and what could not be done.

    Raises:
        OutputError: a file cannot be written.
    """
    written, problems = 0, []
    for step in steps:
        try:
            written += len(list(step()))
        except OutputError:
            raise
        except Mast3rError as error:
            problems.append(str(error))
    return written, problems


def _results(pieces: Sequence[Piece], workers: int) -> Iterator[tuple[Placed | None, str]]:
    """For each piece, in order: how it was placed, or why not."""
    # Linking is done at once here; only computing and unpacking are worth another process.
    heavy = [number for number, piece in enumerate(pieces) if _is_heavy(piece)]
    if workers <= 1 or len(heavy) <= 1:
        yield from map(_make, pieces)
        return
    # Not forked: OpenCV's and BLAS's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(heavy)), mp_context=context) as pool:
        elsewhere = pool.map(_make, [pieces[number] for number in heavy], chunksize=CHUNK)
        try:
            for piece in pieces:
                yield next(elsewhere) if _is_heavy(piece) else _make(piece)
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died (killed, or out of memory); what is finished is kept",
                hint="run the same command again, perhaps with fewer --workers",
            ) from error


def _is_heavy(piece: Piece) -> bool:
    return piece.make is not place_file or bool(piece.job.member)


def _make(piece: Piece) -> tuple[Placed | None, str]:
    """An error that the user can mend becomes text; a full disk is no piece's fault and stops the run."""
    assert piece.make is not None
    try:
        return piece.make(piece.target, piece.job), ""
    except OutputError:
        raise
    except Mast3rError as error:
        return None, str(error)


def untracked(iterable: Iterable[Item], description: str, total: int | None = None, /) -> Iterable[Item]:
    """No progress at all."""
    return iterable
