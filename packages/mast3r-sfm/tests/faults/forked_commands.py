"""Runs `mast3r` commands, each in a process of its own that ends, or is disturbed, at a chosen call.

Started once as a script by the tests: it imports the libraries (5 to 10 seconds), and forks for every
command that it reads as a line of JSON on its stdin; what became of it goes as a line of JSON to its stdout.
The libraries know nothing of this: the chosen function is replaced in the forked process only.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True)
class Fault:
    """What happens to a command.

    Attributes:
        at: the function, as a module uses it: ``mast3r_sfm.photos:load_image`` or ``module:Class.method``.
        call: at which of its calls, counted from 1.
        signal: that the process sends itself there.
        half: of a method that writes bytes to a path: write half of them before.
        file_bytes: no file may grow beyond (``RLIMIT_FSIZE``): a disk that is full, of a kind; unlike `at`,
            it holds for the whole command.
    """

    at: str = ""
    call: int = 1
    signal: int = signal.SIGKILL
    half: bool = False
    file_bytes: int | None = None


def main() -> None:
    """Answer one line after the other, until stdin ends."""
    for name in ("mast3r_sfm.cli", "mast3r_sfm.sfm_command", "mast3r_model.cli", "mast3r_sfm.mapping"):
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(job)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(job: dict[str, Any]) -> NoReturn:
    """Be the command, and end."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job["fault"] is not None:
        _arrange(Fault(**job["fault"]))
    sys.argv = ["mast3r", *job["arguments"]]
    from mast3r_model.cli import main as mast3r

    mast3r()
    sys.exit("the command has not ended")


def _arrange(fault: Fault) -> None:
    if fault.file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.file_bytes, fault.file_bytes))
    if not fault.at:
        return
    module, _, path = fault.at.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, name, _disturbed(getattr(owner, name), fault))


def _disturbed(function: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    calls = 0

    def called(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == fault.call:
            if fault.half:
                path, data = arguments
                with open(path, "wb") as file:
                    file.write(data[: len(data) // 2])
            os.kill(os.getpid(), fault.signal)
        return function(*arguments, **named)

    return called


if __name__ == "__main__":
    main()
