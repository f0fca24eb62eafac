"""COLMAP in a process of its own, which can be ended at any time.

Verification and the mappers take minutes on many photos, and only some of their steps can be told to stop.
The process imports no torch, so that it starts at once; it also ends when its parent is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

import numpy as np
import pycolmap

from mast3r_model import InputError, Mast3rError, OutputError
from mast3r_sfm.cameras import PosedCameras
from mast3r_sfm.progress import Advance, Progress, shown

from .database_mapping import ColmapOptions, solve_database
from .model_files import read_colmap_model

LOOK_SECONDS = 0.2
"""How often ``advance`` is asked whether to go on."""

_ERRORS = {kind.__name__: kind for kind in (InputError, OutputError)}


def map_database(
    database: Path,
    scratch: Path,
    posed: PosedCameras | None,
    options: ColmapOptions,
    *,
    progress: Progress | None = None,
) -> list[pycolmap.Reconstruction]:
    """See `solve_database`; in this process without ``progress``, in its own with it.

    Args:
        database: of matches.
        scratch: a folder for what is in between.
        posed: images of known pose, which stay.
        options: how.
        progress: shows bars; what one raises ends the process, and comes out here.

    Raises:
        Mast3rError: COLMAP failed.
    """
    if progress is None:
        return solve_database(database, scratch, posed, options, lambda event: None)
    request = {"database": str(database), "scratch": str(scratch), "options": asdict(options)}
    with _process(request | {"posed": None if posed is None else _as_json(posed)}) as events:
        with shown(progress, "verifying geometry", None) as advance:
            _follow(events, advance, until="verified")
        with shown(progress, f"{options.mapper} mapper", None) as advance:
            models = _follow(events, advance, until="done")
    return [read_colmap_model(scratch / "models" / str(number)) for number in range(models)]


@contextmanager
def _process(request: dict[str, Any]) -> Iterator[Queue[dict[str, Any] | None]]:
    """Start it; its messages, None once there will be no more."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],  # -P: nothing is imported from the working folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is for the parent
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    events: Queue[dict[str, Any] | None] = Queue()
    said: list[str] = []
    readers = [
        threading.Thread(target=_read_messages, args=(child.stdout, events), daemon=True),
        threading.Thread(target=lambda lines: said.extend(lines), args=(child.stderr,), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        with suppress(BrokenPipeError):  # it has ended already: there will be no messages
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
        yield events
    except _EndedEarlyError:
        code, last = child.wait(), (said or ["nothing said"])[-1].strip()
        raise Mast3rError(f"COLMAP's process ended with code {code}: {last}") from None
    finally:
        child.kill()
        child.wait()
        for reader in readers:
            reader.join()
        for stream in (child.stdin, child.stdout, child.stderr):
            with suppress(BrokenPipeError):
                stream.close()


class _EndedEarlyError(Exception):
    """The process is gone before it was done."""


def _read_messages(lines: IO[str], events: Queue[dict[str, Any] | None]) -> None:
    for line in lines:
        events.put(json.loads(line))
    events.put(None)


def _follow(events: Queue[dict[str, Any] | None], advance: Advance, *, until: str) -> int:
    """Wait for an event; its number.

    Raises:
        Mast3rError: what the process met.
    """
    while True:
        try:
            message = events.get(timeout=LOOK_SECONDS)
        except Empty:
            advance(0)
            continue
        if message is None:
            raise _EndedEarlyError
        if message["event"] == "error":
            raise _ERRORS.get(message["kind"], Mast3rError)(message["message"], message["hint"])
        if message["event"] == until:
            return int(message.get("number", 0))
        advance(1)


def _as_json(cameras: PosedCameras) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in vars(cameras).items()}


def _from_json(values: dict[str, Any]) -> PosedCameras:
    count = len(values["names"])
    return PosedCameras(
        tuple(values["names"]),
        tuple((int(height), int(width)) for height, width in values["shapes"]),
        np.array(values["intrinsics"], float).reshape(count, 3, 3),
        np.array(values["cam2world"], float).reshape(count, 4, 4),
    )


def _end_with_parent() -> None:
    """Nothing more comes on stdin; that it closes says that nobody waits for the result."""
    sys.stdin.read()
    os._exit(1)


def _main() -> None:
    """The process: a request on stdin, messages on stdout, one JSON a line."""

    def say(event: str, **facts: Any) -> None:
        messages.write(json.dumps({"event": event, **facts}) + "\n")
        messages.flush()

    # COLMAP itself may write to stdout: its lines go to stderr
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    posed = None if request["posed"] is None else _from_json(request["posed"])
    options = ColmapOptions(**request["options"])
    try:
        models = solve_database(Path(request["database"]), Path(request["scratch"]), posed, options, say)
    except Mast3rError as error:
        say("error", kind=type(error).__name__, message=error.message, hint=error.hint)
    else:
        say("done", number=len(models))
    messages.close()
    os._exit(0)  # COLMAP's threads and the one that reads stdin are not waited for


if __name__ == "__main__":
    _main()
