"""A run's results, written while it goes on (spec 50 D7)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError, Mast3rError
from mast3r_visloc.poses import Pose
from mast3r_visloc.report import PictureShelf, write_page

from .aggregate import Summary, summarize
from .errors import PoseError, WithoutTruth, query_error
from .journal import Journal, JournalWriter, plain_options, read_journal, refuse_other
from .match_files import match_path, write_matches
from .names import NameStyle, check_writable_name
from .pose_files import NamedPose, OnFailure, write_poses, write_upstream_results
from .records import QueryRecord
from .run_files import PICTURES, POSES, check_folder, open_folder, package_versions, write_report
from .thresholds import DEFAULT_THRESHOLDS, checked_thresholds

if TYPE_CHECKING:
    from mast3r_visloc.datasets import Query, Thresholds

logger = logging.getLogger("mast3r.visloc")

MAX_PICTURES = 200
"""So many keep a page below some 12 MB."""


@dataclass(frozen=True)
class RunFiles:
    """What a run writes besides ``report.json``.

    Attributes:
        name_style: how much of the photos' names ``poses.txt`` holds.
        on_failure: what stands there for a failure.
        upstream_label: write upstream's two result files with this label too (see `result_label`).
        matches: keep all correspondences.
        page: write ``report.html``.
        pictures: how many match pictures to make at most, failures first.
        map_paths: files of the map's images by name, for the pictures; without, there are none.
    """

    name_style: NameStyle = "full"
    on_failure: OnFailure = "skip"
    upstream_label: str | None = None
    matches: bool = True
    page: bool = True
    pictures: int = MAX_PICTURES
    map_paths: Mapping[str, Path] | None = None


class RunWriter:
    """Takes one pose at a time, writes its files at once, and keeps a `QueryRecord` of it.

    ::

        with RunWriter(folder, options, name="chess") as run:
            for number, query in enumerate(dataset.queries):
                if query.name not in run.done:
                    run.add(query, localize(query))
        print(summary_line(run.summary))

    A run that ends well has written everything. One that is left through an exception (an interrupt too) has
    written the poses and the report of what is done, marked as not complete; one that was killed has written
    the journal. In both cases a writer with the same options goes on: `done` says with what.

    Args:
        folder: made if it is missing; see `run_files` for what is written.
        options: of the run, plain values; a run that goes on must have the same ones.
        name: of the run or the dataset.
        thresholds: (metres, degrees) of the recalls.
        without_truth: what queries without a true pose count as.
        files: what is written.
        overwrite: delete an earlier run of other options.
        kept: whether the folder outlives the run: else nobody is told of it.

    Raises:
        OutputError: the folder holds something else or a run with other options, or cannot be written to.
        InputError: options that are no plain values, or a damaged journal.
        ConfigError: thresholds that are not positive.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, Any],
        *,
        name: str = "localisation",
        thresholds: Thresholds = DEFAULT_THRESHOLDS,
        without_truth: WithoutTruth = "skip",
        files: RunFiles | None = None,
        overwrite: bool = False,
        kept: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.name = name
        self.options = plain_options(options)
        self.thresholds = checked_thresholds(thresholds)
        self.files = files or RunFiles()
        self._without_truth = without_truth
        self._kept = kept
        open_folder(self.folder, overwrite=overwrite)
        journal = read_journal(self.folder) or Journal(name, self.options, ())
        refuse_other(journal, self.options, self.folder)
        self._records = list(journal.records)
        self._done = {record.name for record in self._records}
        if self._records:
            logger.info("%s: %d queries are done already", self.folder, len(self._records))
        self._journal = JournalWriter(self.folder, journal)
        self._shelf = PictureShelf(
            self.folder / PICTURES,
            self.files.pictures if self.files.map_paths is not None else 0,
            {record.index: record.success for record in self._records},
        )

    @property
    def done(self) -> frozenset[str]:
        """Names of the queries that are done."""
        return frozenset(self._done)

    @property
    def records(self) -> Sequence[QueryRecord]:
        """What is known of each query so far."""
        return tuple(self._records)

    @property
    def summary(self) -> Summary:
        """Medians and recalls so far."""
        errors = (record.error for record in self._records)
        localised = sum(record.success for record in self._records)
        return summarize(self.name, errors, self.thresholds, localised=localised)

    def add(
        self,
        query: Query,
        pose: Pose,
        *,
        errors: PoseError | None = None,
        nearest_pose: Float[np.ndarray, "4 4"] | None = None,
        position: int | None = None,
    ) -> QueryRecord:
        """Write what was found for a query; nothing of `pose` is kept but the record.

        Args:
            query: that was localised.
            pose: what was found.
            errors: of the pose; None computes them from the query's true pose, if it has one.
            nearest_pose: 4x4 cam2world of the best candidate, for ``on_failure="nearest"``.
            position: number of the query in its dataset, if the run leaves out queries (a shard).

        Raises:
            InputError: the query is done already, or its name fits no text file.
            OutputError: a file cannot be written.
        """
        check_writable_name(query.name)
        if query.name in self._done:
            raise InputError(f"the query {query.name} was added already", "names of queries must be unique")
        found = pose.cam2world if pose.success else None
        if errors is None:
            errors = query_error(found, query.cam2world, without_truth=self._without_truth)
        index = len(self._records)
        record = QueryRecord.from_pose(
            query.name,
            pose,
            index=index,
            position=index if position is None else position,
            error=errors,
            nearest=nearest_pose,
        )
        if self.files.matches:
            write_matches(match_path(self.folder, index), pose.correspondences)
        if self.files.map_paths is not None:
            self._shelf.offer(index, pose, query.path, self.files.map_paths)
        self._journal.add(record)
        self._records.append(record)
        self._done.add(query.name)
        return record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        if kind is None:
            self._write_results(complete=True)
            return
        if not self._kept:
            return
        try:
            self._write_results(complete=False)
        except Mast3rError as second:  # the first error is the one to be told
            logger.warning("the results so far could not be written: %s", second)
        else:
            logger.warning("%s holds the results of %d queries", self.folder, len(self._records))

    def _write_results(self, *, complete: bool) -> None:
        options, summary, versions = self.options, self.summary, package_versions()
        on_failure, style = self.files.on_failure, self.files.name_style
        write_report(
            self.folder,
            summary=summary,
            options=options,
            versions=versions,
            records=self._records,
            complete=complete,
        )
        write_poses(self.folder / POSES, named_poses(self._records), name_style=style, on_failure=on_failure)
        if not complete:
            return
        if self.files.upstream_label is not None:
            write_upstream_results(self.folder, self.files.upstream_label, named_poses(self._records))
        if self.files.page:
            write_page(self.folder, summary, self._records, options=options, versions=versions)


def check_run_folder(folder: Path, options: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuse what `RunWriter` would refuse; nothing is written.

    Args:
        folder: of the run; it may be missing.
        options: of the run.
        overwrite: whether an earlier run of other options may be deleted.

    Raises:
        OutputError: the folder holds something else or a run with other options.
        InputError: options that are no plain values, or a damaged journal.
    """
    check_folder(folder, overwrite=overwrite)
    journal = None if overwrite else read_journal(folder)
    if journal is not None:
        refuse_other(journal, plain_options(options), folder)


def named_poses(records: Sequence[QueryRecord]) -> Iterator[NamedPose]:
    """Poses of records as files of poses take them."""
    for record in records:
        yield NamedPose(
            record.name,
            None if record.cam2world is None else np.array(record.cam2world),
            None if record.nearest is None else np.array(record.nearest),
        )
