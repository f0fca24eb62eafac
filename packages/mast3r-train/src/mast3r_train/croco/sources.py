"""Where pairs of images are: upstream's folders and the user's own (spec 40 section 11)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import ConfigError, InputError, OutputError, atomic_write, nearest_names
from mast3r_train.croco.text_lines import TextLines

LOGGER = logging.getLogger("mast3r.train")

HABITAT = "habitat_release"
CROPPED = ("ARKitScenes", "MegaDepth", "3DStreetView", "IndoorVL")
FOLDER_PREFIX = "folder:"
LISTING_NAME = "listing.txt"
PAIRS_NAME = "pairs.txt"

_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif")
_BETWEEN_NAMES = "\0"
"""Separates the two names of a pair in memory; no file name has it."""


@dataclass(frozen=True)
class PairSource:
    """The pairs of one folder.

    Attributes:
        name: what it is called in errors and logs.
        folder: what the lines are relative to.
        lines: one a pair, see `separator`.
        separator: between the two file names of a line, None = white space; ``""``: a line is a stem, and its
            images are ``<stem>_1.jpg`` and ``<stem>_2.jpg``.
    """

    name: str
    folder: Path
    lines: TextLines
    separator: str | None

    def __len__(self) -> int:
        return len(self.lines)

    def pair(self, index: int) -> tuple[Path, Path]:
        """The two image files of a pair.

        Raises:
            InputError: the line has not two names.
        """
        line = self.lines[index]
        if self.separator == "":
            return self.folder / f"{line}_1.jpg", self.folder / f"{line}_2.jpg"
        names = line.split(self.separator)
        if len(names) != 2:
            raise InputError(
                f"{self.folder / PAIRS_NAME}: {line!r} is no pair",
                hint="a line is two file names without blanks",
            )
        return self.folder / names[0], self.folder / names[1]


def find_sources(text: str, data_dir: Path) -> list[PairSource]:
    """The folders that ``--dataset`` names, joined by ``+``.

    Args:
        text: ``habitat_release``; the name of crops in ``<data_dir>/<name>_crops``; ``folder:PATH`` or just a
            path, for a folder with a listing.txt, a pairs.txt, or images ``*_1.jpg`` and ``*_2.jpg``.
        data_dir: where the named ones are.

    Raises:
        ConfigError: an unknown name.
        InputError: a folder or list that is missing, unreadable or empty.
    """
    whole = text.strip()
    # A path may have a + in it.
    is_one = Path(whole.removeprefix(FOLDER_PREFIX)).is_dir()
    terms = [whole] if is_one else [term.strip() for term in whole.split("+")]
    sources = [_source(term, data_dir) for term in terms]
    for source in sources:
        if len(source) == 0:
            raise InputError(
                f"no pairs in {source.folder}",
                hint="expected listing.txt, pairs.txt, or images such as a_1.jpg and a_2.jpg",
            )
        LOGGER.info("%s: %d pairs", source.name, len(source))
    return sources


def _source(term: str, data_dir: Path) -> PairSource:
    if term == HABITAT:
        return _habitat(data_dir / HABITAT)
    crops = data_dir / f"{term}_crops"
    if term in CROPPED or (term and crops.is_dir()):
        listing = crops / LISTING_NAME
        if not listing.is_file():
            raise InputError(f"no such list: {listing}", hint="make it with mast3r data croco-crops")
        return PairSource(term, crops, TextLines.read(listing), "")
    path = term.removeprefix(FOLDER_PREFIX)
    if path and (term.startswith(FOLDER_PREFIX) or Path(path).is_dir()):
        return _own_folder(Path(path))
    known = (HABITAT, *CROPPED)
    near = nearest_names(term, known)
    raise ConfigError(
        f"--dataset: {term!r} is neither a known name nor a folder",
        hint=f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}, folder:PATH",
    )


def _own_folder(folder: Path) -> PairSource:
    if not folder.is_dir():
        raise InputError(f"no such folder of pairs: {folder}", hint="check the path after folder:")
    name = str(folder)
    if (folder / LISTING_NAME).is_file():
        return PairSource(name, folder, TextLines.read(folder / LISTING_NAME), "")
    if (folder / PAIRS_NAME).is_file():
        return PairSource(name, folder, TextLines.read(folder / PAIRS_NAME), None)
    pairs = _walk_pairs(folder, _PHOTO_SUFFIXES)
    lines = TextLines(_BETWEEN_NAMES.join(pair) for pair in pairs)
    return PairSource(name, folder, lines, _BETWEEN_NAMES)


def _habitat(folder: Path) -> PairSource:
    """Habitat's pairs: its list, made at the first use by walking the folder."""
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}", hint="check --data_dir")
    listing = folder / PAIRS_NAME
    if listing.is_file():
        return PairSource(HABITAT, folder, TextLines.read(listing), None)
    LOGGER.info("looking for pairs in %s", folder)
    pairs = [pair for pair in _walk_pairs(folder, (".jpeg",)) if "val" not in pair[0]]
    lines = TextLines(f"{first} {second}" for first, second in pairs)
    if any(len(line.split()) != 2 for line in lines):
        raise InputError(
            f"{folder} has file names with blanks, which {PAIRS_NAME} cannot hold",
            hint=f"use --dataset {FOLDER_PREFIX}{folder}",
        )
    if len(lines):
        try:
            with atomic_write(listing) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OutputError as error:
            LOGGER.warning("the list of pairs is not kept for the next time: %s", error)
    return PairSource(HABITAT, folder, lines, None)


def _walk_pairs(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Names, relative to the folder, of images ``<stem>_1.<suffix>`` that have a ``<stem>_2`` beside them."""
    single = 0
    for place, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        relative = os.path.relpath(place, folder)
        names = sorted(name for name in files if name.lower().endswith(suffixes))
        present = set(names)
        by_stem = {os.path.splitext(name)[0]: name for name in names}
        for name in names:
            stem, suffix = os.path.splitext(name)
            if not stem.endswith("_1"):
                continue
            other = f"{stem.removesuffix('1')}2"
            partner = other + suffix if other + suffix in present else by_stem.get(other)
            if partner is None:
                single += 1
                continue
            first, second = (os.path.normpath(os.path.join(relative, file)) for file in (name, partner))
            yield first, second
    if single:
        LOGGER.warning("%s: %d images *_1 without an image *_2 beside them", folder, single)
