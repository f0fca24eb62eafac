"""What ``mast3r pairs`` does: photos in, a list of pairs out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mast3r_match import Retriever, find_photos, make_retriever
from mast3r_model import ImageError, InputError, atomic_write, load_image
from mast3r_model.cli import CommandContext, ModelOptions, refuse_existing

from .files import PairFormat, write_pairs
from .request import Pair, Similarity
from .selection import both_ways, filter_pairs, graph_pairs


@dataclass(frozen=True)
class PairsRequest:
    """What the user asked for; the fields are the command's flags."""

    photos: Sequence[Path]
    recursive: bool
    strict: bool
    graph: str
    prefilter: str | None
    symmetrize: bool
    retrieval: str
    similarity: Path | None
    size: int
    format: PairFormat
    output: Path
    overwrite: bool


class _UnreadablePhotosError(Exception):
    """Some photos turned out to be damaged when they were looked at."""

    def __init__(self, photos: Sequence[Path]) -> None:
        super().__init__(", ".join(map(str, photos)))
        self.photos = photos


@dataclass
class _Looker:
    """Says how alike photos are; looks at each once, and only if a graph asks."""

    context: CommandContext
    request: PairsRequest
    model_options: ModelOptions
    photos: list[Path]
    described: dict[Path, object] = field(default_factory=dict)
    matrix: Similarity | None = None

    def __call__(self) -> Similarity:
        file = self.request.similarity
        if file is not None and file.exists():
            self.matrix = read_similarity(file)
            return self.matrix
        retriever = self._retriever()
        with self.context.timed("describe"):
            self._describe(retriever)
        rows = [self.described[photo] for photo in self.photos]
        with self.context.timed("compare"):
            self.matrix = np.asarray(retriever.similarity(rows, rows), dtype=np.float32)
        if file is not None:
            with atomic_write(file) as temporary, temporary.open("wb") as opened:
                np.save(opened, self.matrix, allow_pickle=False)
        return self.matrix

    def _retriever(self) -> Retriever:
        model = self.model_options.load(self.context)
        options = {"image_size": self.request.size} if self.request.retrieval == "encoder" else {}
        return make_retriever(self.request.retrieval, model, **options)

    def _describe(self, retriever: Retriever) -> None:
        damaged = []
        missing = [photo for photo in self.photos if photo not in self.described]
        for photo in self.context.track(missing, "looking"):
            try:
                (self.described[photo],) = retriever.describe([photo])
            except ImageError as error:
                _skip(self.context, self.request, error)
                damaged.append(photo)
        if damaged:
            raise _UnreadablePhotosError(damaged)


def run_pairs(context: CommandContext, request: PairsRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    refuse_existing(request.output, overwrite=request.overwrite)
    photos = _readable(context, request, find_photos(request.photos, recursive=request.recursive))
    looker = _Looker(context, request, model_options, photos)
    try:
        pairs = _pairs(request, looker)
    except _UnreadablePhotosError as error:
        looker.photos = [photo for photo in photos if photo not in error.photos]
        pairs = _pairs(request, looker)
    names = names_in_folder(request.photos, looker.photos)
    matrix = looker.matrix
    scores = None if matrix is None else [round(float(matrix[i, j]), 6) for i, j in pairs]
    write_pairs(request.output, names, pairs, scores=scores, format=request.format)
    for row, (first, second) in enumerate(pairs):
        score = None if scores is None else scores[row]
        item = {"image0": names[first], "image1": names[second], "score": score}
        context.item(item, in_document=False)
    _report(context, request, names, pairs)


def read_similarity(path: Path) -> Similarity:
    """A matrix from an ``.npy`` file.

    Raises:
        InputError: it holds something else.
    """
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read a similarity from {path}: {error}") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise InputError(f"{path} holds no similarity: expected an array (images, images) of floats")
    return matrix


def names_in_folder(inputs: Sequence[Path], photos: Sequence[Path]) -> list[str]:
    """Names of photos as lists of pairs hold them: relative to the folder, with forward slashes.

    Args:
        inputs: what the user named; one folder is the folder, else it is the deepest that holds all photos.
        photos: files.
    """
    if len(inputs) == 1 and inputs[0].is_dir():
        folder = inputs[0]
    else:
        folder = Path(os.path.commonpath([photo.resolve().parent for photo in photos]))
        photos = [photo.resolve() for photo in photos]
    return [photo.relative_to(folder).as_posix() for photo in photos]


def _pairs(request: PairsRequest, looker: _Looker) -> list[Pair]:
    count = len(looker.photos)
    if count < 2:
        raise InputError(
            f"pairs need two photos or more, got {count}", "give a folder with several photos of one place"
        )
    pairs = graph_pairs(request.graph, count, similarity=looker)
    if request.prefilter is not None:
        pairs = filter_pairs(pairs, request.prefilter)
    return both_ways(pairs) if request.symmetrize else pairs


def _readable(context: CommandContext, request: PairsRequest, photos: Sequence[Path]) -> list[Path]:
    """The photos whose headers can be read; pixels are looked at later, if at all."""
    kept = []
    for photo in photos:
        try:
            try:
                with Image.open(photo):
                    pass
            except (UnidentifiedImageError, OSError):
                load_image(photo, request.size)  # knows more formats, and says what is wrong
        except ImageError as error:
            _skip(context, request, error)
            continue
        kept.append(photo)
    return kept


def _skip(context: CommandContext, request: PairsRequest, error: ImageError) -> None:
    if request.strict:
        raise error
    context.partial(f"skipped: {error.message}")


def _report(
    context: CommandContext, request: PairsRequest, names: Sequence[str], pairs: Sequence[Pair]
) -> None:
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(names), len(names)))
    groups, _ = connected_components(links, directed=False)
    context.say(f"{len(names)} photos, {len(pairs)} pairs ({request.graph})")
    if groups > 1:
        context.warn(f"no pair connects the {groups} groups that the photos fall into")
    context.result(
        photos=len(names), pairs=len(pairs), graph=request.graph, groups=int(groups), output=request.output
    )
    context.note(f"written: {request.output}")
    if len(request.photos) == 1 and request.photos[0].is_dir():
        context.note(f"next: mast3r match {request.photos[0]} --pairs {request.output} -o matches/")
