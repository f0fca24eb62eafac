"""The folder that keeps features and predictions (spec 00, the prediction cache)."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from mast3r_match import Correspondences
from mast3r_model import EncodedImage, InputError, atomic_write

from .files import FORMAT, BrokenRecordError, Record, RecordKind, check_header
from .files import read_features as _read_features
from .files import read_matches as _read_matches
from .files import read_pair as _read_pair
from .keys import FORMAT_VERSION
from .records import TwoViewPrediction

LOGGER = logging.getLogger("mast3r.sfm.cache")

Content = TypeVar("Content")

MANIFEST = "manifest.json"

_STALE_SECONDS = 3600.0
"""Temporary files older than this were left by a run that was killed."""


class PredictionCache:
    """Encoder features of images and predictions of pairs, one safetensors file each.

    ``manifest.json`` says what the folder is; ``features/`` and ``pairs/`` hold files named by the hash of
    all that they were computed from, so that nothing in it is ever out of date. Files appear whole or not at
    all; several processes may use one folder at a time. Deleting it, or any file in it, only costs time.

    Args:
        folder: made if missing; None for a temporary one, deleted with this object.

    Raises:
        InputError: the folder holds the manifest of something else, or is a file.
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self._temporary = None
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="mast3r-", ignore_cleanup_errors=True)
            folder = self._temporary.name
        self.folder = Path(folder)
        self._prepare()

    def path(self, kind: RecordKind, key: str) -> Path:
        """The file of a key, whether it exists or not."""
        folder = "features" if kind == "features" else "pairs"
        return self.folder / folder / key[:2] / f"{key}.safetensors"

    def has_pair(self, key: str) -> bool:
        """Whether a pair's prediction is there and looks whole; a broken file is named in a warning."""
        path = self.path("pair", key)
        return path.exists() and _unless_broken(path, lambda: check_header(path, "pair", key)) is not None

    def has_features(self, key: str) -> bool:
        """Whether an image's features are there and whole, to the last bit."""
        return self.path("features", key).exists() and self.read_features(key) is not None

    def read_features(self, key: str) -> EncodedImage | None:
        """An image's features on the CPU; None, with a warning, where they are missing or broken."""
        path = self.path("features", key)
        return _unless_broken(path, lambda: _read_features(path, key))

    def read_pair(self, key: str, first: str, pair: tuple[int, int]) -> TwoViewPrediction | None:
        """A pair's prediction on the CPU; None, with a warning, where it is missing or broken.

        Args:
            key: of the pair.
            first: identity of the image that is to be image 0.
            pair: numbers to give to the two images.
        """
        path = self.path("pair", key)
        return _unless_broken(path, lambda: _read_pair(path, key, first, pair))

    def read_matches(self, key: str, first: str) -> Correspondences | None:
        """Only the matches of a pair; see `read_pair`."""
        path = self.path("pair", key)
        return _unless_broken(path, lambda: _read_matches(path, key, first))

    def write(self, records: Sequence[Record]) -> None:
        """Write files; all of them appear at nearly the same time, or none does.

        Raises:
            OutputError: the disk is full, or the folder may not be written to.
        """
        with ExitStack() as files:
            for record in records:
                files.enter_context(atomic_write(self.path(record.kind, record.key))).write_bytes(record.data)

    def free_bytes(self) -> int:
        """Space left on the folder's disk."""
        return shutil.disk_usage(self.folder).free

    def _prepare(self) -> None:
        manifest = self.folder / MANIFEST
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"the cache {self.folder} is a file, expected a folder")
        expected = {"format": FORMAT, "version": FORMAT_VERSION}
        found = self._manifest(manifest)
        if found is not None and found.get("format") != FORMAT:
            raise InputError(
                f"{self.folder} is no cache of predictions: its {MANIFEST} is of something else",
                "give another folder, or an empty one",
            )
        if found is None or {name: found.get(name) for name in expected} != expected:
            with atomic_write(manifest) as temporary:
                temporary.write_text(json.dumps({**expected, **_about()}, indent=2) + "\n", encoding="utf-8")
        self._remove_stale()

    def _manifest(self, path: Path) -> dict[str, object] | None:
        """The manifest; None where there is none or it cannot be read."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            LOGGER.warning("%s is broken (%s): it is written again", path, error)
            return None
        return content if isinstance(content, dict) else {}

    def _remove_stale(self) -> None:
        """Delete what killed runs left half-written, unless a run may still be writing it."""
        oldest = time.time() - _STALE_SECONDS
        for path in self.folder.glob("*/*/.*.part.safetensors"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _unless_broken(path: Path, read: Callable[[], Content]) -> Content | None:
    try:
        return read()
    except BrokenRecordError as error:
        LOGGER.warning("%s is broken (%s): it is computed again", path, error)
        with suppress(OSError):
            path.unlink()
        return None


def _about() -> dict[str, str]:
    return {
        "about": "A network's predictions for pairs of images. Safe to delete: they are computed again.",
        "features": "one file per image and network: the encoder's output",
        "pairs": "one file per unordered pair, network and way of matching: points and matches",
        "written_by": f"mast3r-sfm {version('mast3r-sfm')}",
    }
