"""From a dataset to the batches of an epoch: the same whatever the number of workers or where one starts."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mast3r_model import ConfigError, Mast3rError
from mast3r_train.batches import collate
from mast3r_train.datasets.sampler import BatchedRandomSampler
from mast3r_train.loop.ranks import Ranks, usable_cpus
from mast3r_train.loop.skipping import Skip, SkipLog, sample_or_another

LOGGER = logging.getLogger("mast3r.train")

Item = tuple[int, int]
"""(sample index, resolution index)"""

Batch = tuple[dict[str, Any], dict[str, Any]]
"""The collated views 1 and 2 of the pairs of a batch, not symmetrised (spec 40 section 7)."""


@runtime_checkable
class BatchedDataset(Protocol):
    """A dataset that makes a whole batch at once, faster than sample by sample."""

    def __len__(self) -> int: ...

    def batch(self, items: Sequence[Item]) -> Batch:
        """The collated views 1 and 2 of these samples; all items have the same resolution index."""
        ...


@dataclass(frozen=True)
class _Request:
    """One batch to make: which samples, and the seed of everything random about it but the samples' own."""

    items: tuple[Item, ...]
    seed: int


class _MadeBatch(NamedTuple):
    """A batch as it comes from a worker; a tuple, so that pinning its memory reaches the tensors."""

    view1: dict[str, Any]
    view2: dict[str, Any]
    skipped: tuple[Skip, ...]


class _BatchSource(Dataset["_MadeBatch | Mast3rError"]):
    """Makes the batch of a request, in a worker or in the training process; or says why it cannot."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, request: _Request) -> _MadeBatch | Mast3rError:
        # Transforms draw from torch's global generator. With a seed per batch they draw the same in any
        # worker, after any resume, and the training process' own stream is left alone.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            skipped: list[Skip] = []
            try:
                view1, view2 = make_batch(self.dataset, request.items, skipped=skipped)
                return _MadeBatch(view1, view2, tuple(skipped))
            except Mast3rError as error:
                return error  # raised by a worker, it would reach the user with the worker's traceback


def make_batch(dataset: Any, items: Sequence[Item], *, skipped: list[Skip] | None = None) -> Batch:
    """The collated views of these samples; parts of a sum that can, make theirs at once.

    The samples of one part stay together, so the order is that of ``items`` only within a part.

    Args:
        skipped: with a list, samples that cannot be made are replaced by others of their part, and noted
            there; None: the first one's `SampleError` is raised.
    """
    by_part: dict[int, tuple[Any, list[Item]]] = {}
    for item in items:
        part, own = dataset.locate(item) if hasattr(dataset, "locate") else (dataset, item)
        by_part.setdefault(id(part), (part, []))[1].append(own)
    batches = []
    for part, own_items in by_part.values():
        if isinstance(part, BatchedDataset):
            batches.append(part.batch(own_items))
        else:
            if skipped is None:
                samples = [part[item] for item in own_items]
            else:
                samples = [sample_or_another(part, item, skipped) for item in own_items]
            view1, view2 = collate(samples)
            batches.append((view1, view2))
    if len(batches) == 1:
        return batches[0]
    return _joined([view1 for view1, _ in batches]), _joined([view2 for _, view2 in batches])


def _joined(views: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collated views one after the other; keys that some lack are left out."""
    common = [key for key in views[0] if all(key in view for view in views)]
    return {key: _joined_values([view[key] for view in views]) for key in common}


def _joined_values(values: Sequence[Any]) -> Any:
    if isinstance(values[0], torch.Tensor):
        return torch.cat(list(values))
    if isinstance(values[0][0], torch.Tensor):  # idx: three tensors
        return [torch.cat(parts) for parts in zip(*values, strict=True)]
    return [item for value in values for item in value]


class PairLoader:
    """The batches of each epoch of one dataset.

    Args:
        dataset: map-style dataset of pairs of views (spec 40 section 2), or a :class:`BatchedDataset`.
        batch_size: pairs in a batch of this process.
        num_workers: processes that make batches, at most one per CPU; 0 makes them in the training process.
        seed: from which, with the epoch and the batch's number, each batch's random stream is derived.
        shuffle: random order and one random resolution a batch, incomplete batches dropped (training);
            else in order, all samples, the dataset's only resolution (tests).
        ranks: the processes that share the dataset.
        fixed_epoch: tell the dataset this epoch, whatever it is.
        skips: counts and names samples that cannot be made; default: a new one with the usual limit.

    Raises:
        ConfigError: the dataset is too small for one batch, or a test set has several resolutions.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int,
        num_workers: int,
        seed: int,
        shuffle: bool,
        ranks: Ranks | None = None,
        pin_memory: bool = False,
        fixed_epoch: int | None = None,
        skips: SkipLog | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_workers = min(num_workers, usable_cpus())
        self.seed = seed
        self.shuffle = shuffle
        self.ranks = ranks or Ranks()
        self.pin_memory = pin_memory
        self.fixed_epoch = fixed_epoch
        self.skips = skips or SkipLog("train" if shuffle else "test")
        resolutions = len(getattr(dataset, "resolutions", (None,)))
        if not shuffle and resolutions > 1:
            raise ConfigError(
                f"the test set {dataset!r} has {resolutions} resolutions", hint="give a test set exactly one"
            )
        if len(self) == 0:
            raise ConfigError(
                f"{dataset!r} has {len(dataset)} pairs: not enough for one batch of {batch_size} "
                f"on {self.ranks.world_size} process(es)",
                hint="use a smaller --batch_size or more data",
            )
        self._resolution_count = resolutions
        used = len(self) * batch_size * self.ranks.world_size
        if shuffle and used < len(dataset) and self.ranks.is_main:
            LOGGER.info(
                "%s of the %s training pairs fill no batch and are left out of every epoch",
                f"{len(dataset) - used:,}",
                f"{len(dataset):,}",
            )

    def __len__(self) -> int:
        """Number of batches of an epoch on this process."""
        samples = len(self.dataset)
        if self.shuffle:
            return samples // (self.batch_size * self.ranks.world_size)
        own = -(-samples // self.ranks.world_size)
        return -(-own // self.batch_size)

    def epoch(self, epoch: int, *, first: int = 0) -> Iterator[Batch]:
        """Batches ``first``, ``first + 1``, ... of an epoch, so that one begun before can go on.

        Raises:
            Mast3rError: a batch cannot be made, and the error is the dataset's; or too many samples cannot.
        """
        told = epoch if self.fixed_epoch is None else self.fixed_epoch
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(told)
        requests = [
            _Request(items, _batch_seed(self.seed, self.ranks.rank, epoch, number))
            for number, items in enumerate(self._batches(epoch))
        ]
        # Its own generator, because a DataLoader otherwise takes a number out of the global stream. Workers
        # are started anew each epoch, so that set_epoch reaches them.
        loader: DataLoader[_MadeBatch | Mast3rError] = DataLoader(
            _BatchSource(self.dataset),
            sampler=requests[first:],
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            pin_memory=self.pin_memory and self.num_workers > 0,
            generator=torch.Generator().manual_seed(self.seed),
            worker_init_fn=_leave_signals_to_parent,
        )
        for made in loader:
            if isinstance(made, Mast3rError):
                raise made
            self.skips.note(made.skipped)
            yield made.view1, made.view2

    def _batches(self, epoch: int) -> list[tuple[Item, ...]]:
        if self.shuffle:
            sampler = BatchedRandomSampler(
                self.dataset,
                self.batch_size,
                self._resolution_count,
                world_size=self.ranks.world_size,
                rank=self.ranks.rank,
                drop_last=True,
            )
            sampler.set_epoch(epoch)
            items = list(sampler)
        else:
            # As torch's DistributedSampler: repeat the first samples so that every process has as many.
            own = -(-len(self.dataset) // self.ranks.world_size)
            total = np.arange(own * self.ranks.world_size) % len(self.dataset)
            items = [(int(index), 0) for index in total[self.ranks.rank :: self.ranks.world_size]]
        size = self.batch_size
        return [tuple(items[start : start + size]) for start in range(0, len(items), size)][: len(self)]


def _leave_signals_to_parent(worker: int) -> None:
    """Let a worker outlive the signal that asks its parent to stop after the update in progress.

    Ctrl-C reaches the whole process group, and so does the SIGTERM of many schedulers: without its workers
    the parent could not finish the update. As in the parent, the second SIGTERM ends the worker at once; that
    is also how torch ends one that hangs. A worker whose parent has died ends by itself within seconds.
    """

    def ignore_once(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, ignore_once)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _batch_seed(seed: int, rank: int, epoch: int, number: int) -> int:
    """An independent seed for each batch of a training run."""
    return int(np.random.SeedSequence([seed, rank, epoch, number]).generate_state(1, np.uint64)[0] >> 1)


def _as_it_is(batch: Any) -> Any:
    return batch
