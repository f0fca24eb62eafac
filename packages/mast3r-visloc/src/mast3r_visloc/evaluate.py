"""Localise the queries of a dataset and compare with the truth: the whole way (spec 50 A, D6)."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from mast3r_model import ImageError, InputError

from .cameras import PhotoCameraError
from .datasets import Candidate, LocalizationDataset, Query, Thresholds
from .evaluation import QueryRecord, RunFiles, RunWriter, Summary
from .localizing import LocalizationOptions, Localizer
from .localizing.retrieval import Prior
from .poses import Pose
from .reference import ReferenceOptions, ReferencePipeline, iterate_reference_views

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found.

    Attributes:
        summary: medians and recalls.
        records: of the queries, in their order.
        folder: with the run's files; None if it was not asked for.
        unreadable: queries whose photo cannot be read, or does not fit its camera, with the reason.
    """

    summary: Summary
    records: Sequence[QueryRecord]
    folder: Path | None
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Shard:
    """Every `count`-th query, from number `index` on.

    Attributes:
        index: from 0.
        count: of shards.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        """Refuse shards that there are not.

        Raises:
            InputError: an index outside 0 to count - 1.
        """
        if not 0 <= self.index < self.count:
            raise InputError(f"shard {self.index} of {self.count} does not exist", "give I/N with 0 <= I < N")


def evaluate(
    dataset: LocalizationDataset,
    model: AsymmetricCroCo3DStereo,
    *,
    options: LocalizationOptions | None = None,
    retrieve: bool = False,
    parity: ReferenceOptions | bool | None = False,
    thresholds: Thresholds | None = None,
    output: Path | None = None,
    files: RunFiles | None = None,
    limit: int | None = None,
    shard: Shard | None = None,
    jobs: int = 1,
    overwrite: bool = False,
    made_with: Mapping[str, Any] | None = None,
    on_pose: Callable[[Query, Pose], None] | None = None,
    on_record: Callable[[QueryRecord], None] | None = None,
    pairs: Mapping[str, Sequence[Candidate]] | None = None,
    priors: Mapping[str, Prior] | None = None,
    radius: float | None = None,
) -> EvaluationReport:
    """Localise a dataset's queries with the map images that it names for each::

        dataset = VislocSevenScenes("/data/7-scenes", "chess", "APGeM-LM18_top20")
        report = evaluate(dataset, load_model())
        print(summary_line(report.summary))

    Args:
        dataset: map, queries, candidates.
        model: a network, as `mast3r_model.load_model` returns it.
        options: how to localise.
        retrieve: choose map images by `options.retrieval`, not by the dataset's pairs.
        parity: upstream's pipeline instead of ours, traps included, for its numbers: its options, or True for
            the defaults of its script.
        thresholds: (metres, degrees) of the recalls; None for the dataset's.
        output: folder for the run's files; a run that was interrupted goes on there. None: nothing is kept.
        files: what is written there.
        limit: only so many queries.
        shard: only a part of the queries, in a folder of its own; `merge_runs` puts the folders together.
        jobs: queries at a time.
        overwrite: delete an earlier run of other options in `output`.
        made_with: what to note in the report beside the options.
        on_pose: called with every query and its pose.
        on_record: called with what the report says of every query, those that were done before too.
        pairs: of `retrieve` by lists, see `Localizer`.
        priors: of `retrieve` by rough poses, see `Localizer`.
        radius: of these.

    Raises:
        InputError: queries without candidates, or as for `Localizer`.
        OutputError: the folder holds something else, or cannot be written.
    """
    reference = (ReferenceOptions() if parity else None) if isinstance(parity, bool) else parity
    queries = chosen_queries(dataset, limit, shard)
    unreadable: list[str] = []
    noted = noted_options(dataset, options, reference, retrieve=retrieve, shard=shard, made_with=made_with)
    place = (
        tempfile.TemporaryDirectory(prefix="mast3r-visloc-") if output is None else nullcontext(str(output))
    )
    with place as folder:
        run = RunWriter(
            Path(folder),
            noted,
            name=dataset.name,
            thresholds=thresholds or dataset.thresholds,
            without_truth="skip" if reference is None else "identity",
            files=RunFiles(matches=False, page=False) if output is None else files,
            overwrite=overwrite,
            kept=output is not None,
        )
        positions = {query.name: number for number, query in queries}
        with run:
            if on_record is not None:
                for record in run.records:
                    on_record(record)
            todo = [(number, query) for number, query in queries if query.name not in run.done]
            poses = (
                _ours(
                    dataset,
                    todo,
                    retrieve,
                    jobs,
                    unreadable,
                    lambda: Localizer(dataset.map, model, options, pairs=pairs, priors=priors, radius=radius),
                )
                if reference is None
                else _upstreams(dataset, model, todo, reference, unreadable)
            )
            for query, pose in poses:
                number = positions[query.name]
                record = run.add(query, pose, nearest_pose=_nearest(dataset, pose), position=number)
                if on_record is not None:
                    on_record(record)
                if on_pose is not None:
                    on_pose(query, pose)
        return EvaluationReport(run.summary, run.records, output, tuple(unreadable))


def _ours(
    dataset: LocalizationDataset,
    queries: Sequence[tuple[int, Query]],
    retrieve: bool,
    jobs: int,
    unreadable: list[str],
    make_localizer: Callable[[], Localizer],
) -> Iterator[tuple[Query, Pose]]:
    number_of = {query.name: number for number, query in queries}

    def candidates(query: Query) -> list[str]:
        return [candidate.name for candidate in dataset.candidates(number_of[query.name])]

    with make_localizer() as localizer:
        yield from localizer.localize_queries(
            [query for _, query in queries],
            candidates=None if retrieve else candidates,
            jobs=jobs,
            on_unreadable=lambda query, error: unreadable.append(f"{query.name}: {error.message}"),
        )


def _upstreams(
    dataset: LocalizationDataset,
    model: AsymmetricCroCo3DStereo,
    queries: Sequence[tuple[int, Query]],
    parity: ReferenceOptions,
    unreadable: list[str],
) -> Iterator[tuple[Query, Pose]]:
    pipeline = ReferencePipeline(model, parity)
    for number, query in queries:
        try:
            pose = pipeline.localize(iterate_reference_views(dataset, number, pipeline.maxdim))
        except (ImageError, PhotoCameraError) as error:
            unreadable.append(f"{query.name}: {error.message}")
            continue
        yield query, pose


def _nearest(dataset: LocalizationDataset, pose: Pose) -> Float[np.ndarray, "4 4"] | None:
    """The pose of the query's first candidate, for those who want one for failures too."""
    if not pose.candidates:
        return None
    return dataset.map.images[dataset.map.index_of[pose.candidates[0]]].cam2world


def chosen_queries(
    dataset: LocalizationDataset, limit: int | None, shard: Shard | None
) -> list[tuple[int, Query]]:
    """The queries of a run with their numbers in the dataset.

    Args:
        dataset: whose they are.
        limit: only so many; None for all.
        shard: only those of this part; None for all.
    """
    queries = list(enumerate(dataset.queries))
    if shard is not None:
        queries = queries[shard.index :: shard.count]
    return queries[:limit]


def noted_options(
    dataset: LocalizationDataset,
    options: LocalizationOptions | None,
    parity: ReferenceOptions | None,
    *,
    retrieve: bool,
    shard: Shard | None,
    made_with: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What must be the same for a run to go on; the arguments are those of `evaluate`."""
    chosen: Any = (options or LocalizationOptions()) if parity is None else parity
    noted = {
        "dataset": dataset.name,
        "parity": parity is not None,
        **dataclasses.asdict(chosen),
        **(made_with or {}),
        "retrieve": retrieve,
    }
    if shard is not None:  # two shards at a time in one folder would write over each other
        noted["shard"] = f"{shard.index}/{shard.count}"
    return noted
