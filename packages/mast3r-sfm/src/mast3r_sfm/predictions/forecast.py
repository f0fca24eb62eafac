"""How long the rest will take and what it needs, judged by the first batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mast3r_sfm.quantities import duration, memory

from .tasks import TaskReport


@dataclass(frozen=True)
class Forecast:
    """What is still ahead.

    Attributes:
        images: to encode.
        pairs: to decode both ways and match.
        workers: at work at the same time.
        seconds: for all of them, from now on.
        disk_bytes: that will be written.
        free_bytes: on the disk of the cache now.
        memory_bytes: most that a worker has needed so far: of its GPU, else of its process.
    """

    images: int
    pairs: int
    workers: int
    seconds: float
    disk_bytes: int
    free_bytes: int
    memory_bytes: int

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.images} images to encode, {self.pairs} pairs to decode and match: "
            f"about {duration(self.seconds)}, {memory(self.memory_bytes)} of memory, "
            f"{memory(self.disk_bytes)} on disk"
        )


def forecast(
    measured: Sequence[TaskReport], *, images: int, pairs: int, workers: int = 1, free_bytes: int = 0
) -> Forecast:
    """Scale up what the first batches took.

    Args:
        measured: reports of tasks already done, of both kinds.
        images: still to encode.
        pairs: still to decode.
        workers: that share the work.
        free_bytes: on the disk.
    """
    encoded = next((report for report in reversed(measured) if report.images), None)
    decoded = next((report for report in reversed(measured) if report.pairs), None)
    seconds = disk_bytes = 0.0
    # The last one of each kind: the first also paid for warming up.
    if encoded is not None:
        seconds += encoded.seconds * images / encoded.images
        disk_bytes += encoded.written_bytes * images / encoded.images
    if decoded is not None:
        seconds += decoded.seconds * pairs / decoded.pairs
        disk_bytes += decoded.written_bytes * pairs / decoded.pairs
    return Forecast(
        images=images,
        pairs=pairs,
        workers=workers,
        seconds=seconds / workers,
        disk_bytes=round(disk_bytes),
        free_bytes=free_bytes,
        memory_bytes=max((report.peak_bytes for report in measured), default=0),
    )
