"""Runs that were written before: read again, and shards of one run put together."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mast3r_model import InputError, output_error
from mast3r_visloc.report import picture_path, write_page

from .aggregate import Summary, summarize
from .journal import JOURNAL, Journal, JournalWriter, read_journal
from .match_files import match_path
from .pose_files import write_poses, write_upstream_results
from .records import QueryRecord
from .run import RunFiles, named_poses
from .run_files import (
    PICTURES,
    POSES,
    REPORT,
    open_folder,
    package_versions,
    read_report,
    write_report,
)
from .thresholds import DEFAULT_THRESHOLDS, checked_thresholds


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it.

    Attributes:
        folder: where it lies.
        name: of the run or the dataset.
        options: that it was started with.
        versions: of the packages; empty for a run that was killed.
        thresholds: (metres, degrees) of its recalls.
        records: of its queries.
        complete: whether it reached its end.
    """

    folder: Path
    name: str
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    thresholds: tuple[tuple[float, float], ...]
    records: tuple[QueryRecord, ...]
    complete: bool

    @property
    def summary(self) -> Summary:
        """Medians and recalls over its queries."""
        errors = (record.error for record in self.records)
        localised = sum(record.success for record in self.records)
        return summarize(self.name, errors, self.thresholds, localised=localised)


def read_run(folder: Path) -> Run:
    """Read a run's ``report.json``, or, of a run that was killed, its journal.

    Raises:
        InputError: there is no run, or its files are damaged.
    """
    if not (folder / REPORT).exists():
        journal = read_journal(folder)
        if journal is None:
            raise InputError(
                f"{folder} holds no run: neither {REPORT} nor {JOURNAL}",
                "give the output folder of mast3r visloc localize or evaluate",
            )
        thresholds = checked_thresholds(DEFAULT_THRESHOLDS)
        return Run(folder, journal.name, journal.options, {}, thresholds, journal.records, False)
    report = read_report(folder)
    try:
        return Run(
            folder,
            str(report["name"]),
            dict(report["options"]),
            dict(report["versions"]),
            checked_thresholds(report["thresholds"]),
            tuple(QueryRecord.from_json(row) for row in report["queries"]),
            bool(report["complete"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / REPORT} is damaged: {error!r}") from error


def merge_runs(
    folders: Sequence[Path],
    output: Path,
    *,
    files: RunFiles | None = None,
    shard_option: str = "shard",
    overwrite: bool = False,
) -> Run:
    """Put the shards of one run together, in the order of the dataset.

    Args:
        folders: of the shards.
        output: folder of the whole.
        files: how its poses are written, and whether there is a page; matches and pictures are copied.
        shard_option: the one option in which shards may differ; the whole has it not.
        overwrite: delete a run that lies in `output`.

    Returns:
        The whole run; not complete if a shard is missing (see `missing_shards`).

    Raises:
        InputError: no shards, a shard is not complete, other options, or a query that two shards have.
        OutputError: `output` is one of the shards, holds something else, or cannot be written.
    """
    runs = [read_run(folder) for folder in folders]
    _check_shards(runs, output, shard_option)
    open_folder(output, overwrite=overwrite)
    if (output / JOURNAL).exists():
        raise InputError(f"{output} holds a run already", "choose another folder, or --overwrite")
    sources = sorted(
        ((record, run) for run in runs for record in run.records), key=lambda pair: pair[0].position
    )
    records = []
    for index, (record, run) in enumerate(sources):
        _copy(match_path(run.folder, record.index), match_path(output, index))
        _copy(picture_path(run.folder / PICTURES, record.index), picture_path(output / PICTURES, index))
        records.append(replace(record, index=index))
    options = {key: value for key, value in runs[0].options.items() if key != shard_option}
    whole = Run(
        output,
        runs[0].name,
        options,
        package_versions(),
        runs[0].thresholds,
        tuple(records),
        complete=not missing_shards(runs, shard_option),
    )
    _write(whole, files or RunFiles())
    return whole


def missing_shards(runs: Sequence[Run], shard_option: str = "shard") -> tuple[str, ...]:
    """The shards ``I/N`` that are not among runs; none where the runs do not say that they are shards."""
    names = [str(run.options[shard_option]) for run in runs if shard_option in run.options]
    counts = {name.partition("/")[2] for name in names}
    wanted = (
        f"{index}/{count}" for count in sorted(counts) if count.isdigit() for index in range(int(count))
    )
    return tuple(name for name in wanted if name not in names)


def _write(run: Run, files: RunFiles) -> None:
    JournalWriter(run.folder, Journal(run.name, run.options, run.records)).close()
    write_report(
        run.folder,
        summary=run.summary,
        options=run.options,
        versions=run.versions,
        records=run.records,
        complete=run.complete,
    )
    write_poses(
        run.folder / POSES,
        named_poses(run.records),
        name_style=files.name_style,
        on_failure=files.on_failure,
    )
    if files.upstream_label is not None:
        write_upstream_results(run.folder, files.upstream_label, named_poses(run.records))
    if files.page:
        write_page(run.folder, run.summary, run.records, options=run.options, versions=run.versions)


def _check_shards(runs: Sequence[Run], output: Path, shard_option: str) -> None:
    if not runs:
        raise InputError("nothing to merge: give the folders of the shards")
    names: dict[str, Run] = {}
    for run in runs:
        if run.folder.resolve() == output.resolve():
            raise InputError(f"{output} is one of the shards", "merge into another folder")
        if not run.complete:
            raise InputError(f"the shard {run.folder} is not complete", "run its command again")
        differing = {
            key
            for key in {*run.options, *runs[0].options} - {shard_option}
            if run.options.get(key) != runs[0].options.get(key)
        }
        if differing or run.thresholds != runs[0].thresholds:
            what = ", ".join(sorted(differing)) or "thresholds"
            raise InputError(f"{run.folder} and {runs[0].folder} are of different runs: {what}")
        for record in run.records:
            if record.name in names:
                raise InputError(f"both {names[record.name].folder} and {run.folder} hold {record.name}")
            names[record.name] = run


def _copy(source: Path, target: Path) -> None:
    """Copy a file if it is there: runs may keep no matches, and pictures only of some queries."""
    if not source.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise output_error(target, error) from error
