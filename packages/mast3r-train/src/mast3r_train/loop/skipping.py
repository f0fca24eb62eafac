"""Samples that cannot be made are replaced by others, counted and named, never silently (spec 40 9)."""

from __future__ import annotations

import json
import logging
import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mast3r_model import InputError
from mast3r_train.errors import SampleError
from mast3r_train.loop.ranks import Ranks

LOGGER = logging.getLogger("mast3r.train")

SKIPPED_NAME = "skipped.jsonl"
DEFAULT_LIMIT = 100
_MAX_TRIES = 32
_NAMED_IN_ERROR = 3


class Skip(NamedTuple):
    """One sample that could not be made; travels with its batch from a worker to the training process.

    Attributes:
        dataset: class name of the dataset.
        number: the sample's number in that dataset.
        resolution: number of the resolution it was wanted in; -1 if none was named.
        replaced_by: number of the sample that took its place.
        message: what is wrong; names the file.
    """

    dataset: str
    number: int
    resolution: int
    replaced_by: int
    message: str


def sample_or_another(dataset: Any, item: int | tuple[int, int], skipped: list[Skip]) -> Any:
    """The sample of a dataset, or the next one that can be made if it cannot.

    Which one comes next depends on the index and the dataset's length alone, so a run that goes on later, or
    with other workers, trains on the same. The order jumps far, because what is broken often lies together,
    such as the pairs of one scene.

    Args:
        dataset: a dataset without operators.
        item: the sample's number, alone or with that of the resolution.
        skipped: what could not be made is added here.

    Raises:
        InputError: many samples in a row cannot be made.
    """
    number, resolution = item if isinstance(item, tuple) else (item, None)
    length = len(dataset)
    failures: list[tuple[int, str]] = []
    tried = number
    for _ in range(min(_MAX_TRIES, length)):
        try:
            sample = dataset[tried if resolution is None else (tried, resolution)]
        except SampleError as error:
            failures.append((tried, error.message))
            tried = (tried + _stride(length)) % length
            continue
        wanted = -1 if resolution is None else resolution
        skipped.extend(Skip(type(dataset).__name__, n, wanted, tried, message) for n, message in failures)
        return sample
    raise InputError(
        f"{type(dataset).__name__}: none of {len(failures)} samples tried in a row can be made; the last: "
        f"{'; '.join(message for _, message in failures[-_NAMED_IN_ERROR:])}",
        hint="check the dataset's folder",
    )


class SkipLog:
    """Counts and names the skipped samples of one set of data.

    Args:
        name: ``"train"``, or the name of a test set.
        limit: how many samples may be skipped in an epoch by this process; 0 tolerates none.
        file: JSON lines are appended here, one a skip; None: nowhere.
        rank: number of this process, noted in the lines.

    Attributes:
        count: skipped in the present epoch so far.
    """

    def __init__(
        self, name: str, *, limit: int = DEFAULT_LIMIT, file: Path | None = None, rank: int = 0
    ) -> None:
        self.name = name
        self.limit = limit
        self.file = file
        self.rank = rank
        self.count = 0
        self._epoch = 0
        self._told: set[str] = set()
        self._last: deque[str] = deque(maxlen=_NAMED_IN_ERROR)

    def begin(self, epoch: int, *, already: int = 0) -> None:
        """An epoch begins, or goes on after so many skips."""
        self._epoch = epoch
        self.count = already

    def note(self, skips: Sequence[Skip]) -> None:
        """Take note of what a batch had to do without.

        Raises:
            InputError: more than the limit in this epoch.
        """
        for skip in skips:
            self.count += 1
            self._last.append(skip.message)
            if skip.message not in self._told:
                self._told.add(skip.message)
                LOGGER.warning(
                    "%s: skipped sample %d of %s: %s", self.name, skip.number, skip.dataset, skip.message
                )
        if skips and self.file is not None:
            lines = "".join(
                json.dumps({"epoch": self._epoch, "set": self.name, "rank": self.rank, **skip._asdict()})
                + "\n"
                for skip in skips
            )
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(lines)  # at once, so that the lines of several processes do not mix
        if self.count > self.limit:
            raise self._too_many()

    def total(self, ranks: Ranks) -> int:
        """Skipped in this epoch, over all processes."""
        return round(ranks.sum({"skipped": (float(self.count), 0.0)})["skipped"][0])

    def _too_many(self) -> InputError:
        samples = "1 sample" if self.count == 1 else f"{self.count} samples"
        where = f"{self.file} names all; " if self.file is not None else ""
        return InputError(
            f"{self.name}: {samples} of epoch {self._epoch} cannot be made, --max_skipped allows "
            f"{self.limit}; the last: {'; '.join(self._last)}",
            hint=f"{where}repair the files or take them out of the dataset, or raise --max_skipped",
        )


def _stride(length: int) -> int:
    """A step that is far from 0 and visits every index once: the golden section, made coprime."""
    step = max(1, round(length * 0.618))
    while math.gcd(step, length) != 1:
        step += 1
    return step
