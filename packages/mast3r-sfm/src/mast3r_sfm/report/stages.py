"""Time and memory by stage."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SAMPLE_SECONDS = 0.05
_STATM = Path("/proc/self/statm")


@dataclass
class StageUse:
    """What a stage took, all its runs together.

    Attributes:
        seconds: wall clock.
        peak_bytes: most resident memory of this process at the moments that were looked at; 0 where the
            system tells nothing. Worker processes are not in it.
        gpu_peak_bytes: most memory that PyTorch held on any one GPU from this process; 0 without a GPU.
    """

    seconds: float = 0.0
    peak_bytes: int = 0
    gpu_peak_bytes: int = 0


class StageLog:
    """Adds up what stages take::

        log = StageLog()
        with log.stage("pairs"):
            ...
        log.as_report()  # [{"name": "pairs", "seconds": 1.2, "peak_bytes": 734003200}]

    Stages may contain others; each then counts for itself. While a stage runs, a thread looks every 50 ms at
    how much memory is resident (some microseconds each time), so a peak shorter than that may be missed.
    One log is for one thread.
    """

    def __init__(self) -> None:
        self._uses: dict[str, StageUse] = {}
        self._open: list[StageUse] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside as ``name``.

        Times of the same name add up, of their memory the most counts. What is raised inside is raised on,
        and the time until then counts.
        """
        use = self._uses.setdefault(name, StageUse())
        self._take_gpu_peaks()
        self._open.append(use)
        watch = _MemoryWatch()
        start = time.perf_counter()
        try:
            yield
        finally:
            use.seconds += time.perf_counter() - start
            use.peak_bytes = max(use.peak_bytes, watch.stop())
            self._take_gpu_peaks()
            self._open.pop()

    def uses(self) -> dict[str, StageUse]:
        """Every stage so far by its name, in the order of their first starts."""
        return dict(self._uses)

    def as_report(self) -> list[dict[str, Any]]:
        """The stages ready for JSON: name, seconds, peak_bytes, and gpu_peak_bytes where a GPU was used."""
        rows: list[dict[str, Any]] = []
        for name, use in self._uses.items():
            row: dict[str, Any] = {"name": name, "seconds": use.seconds, "peak_bytes": use.peak_bytes}
            rows.append(row | ({"gpu_peak_bytes": use.gpu_peak_bytes} if use.gpu_peak_bytes else {}))
        return rows

    def _take_gpu_peaks(self) -> None:
        """Give the peak since the last call to all open stages, and let the next one start from now."""
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return
        devices = range(torch.cuda.device_count())
        peak = max(torch.cuda.max_memory_allocated(device) for device in devices)
        for use in self._open:
            use.gpu_peak_bytes = max(use.gpu_peak_bytes, peak)
        for device in devices:
            torch.cuda.reset_peak_memory_stats(device)


class _MemoryWatch:
    """A thread that looks at this process's memory until it is stopped."""

    def __init__(self) -> None:
        self._peak = resident_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mast3r-memory", daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End the thread; the most bytes that were seen."""
        self._done.set()
        self._thread.join()
        return max(self._peak, resident_bytes())

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, resident_bytes())


def resident_bytes() -> int:
    """Memory of this process that is in RAM now.

    Where the system has no ``/proc``, the most it ever had (the standard library knows nothing nearer); 0 on
    Windows, where it knows nothing.
    """
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
