"""The example photos of the page: folders of pictures, shipped with the package or named by a flag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mast3r_model import InputError

OURS = Path(__file__).parent / "examples"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class ExampleSet:
    """Photos of one place.

    Attributes:
        name: to be shown.
        photos: files, in order.
    """

    name: str
    photos: tuple[Path, ...]


def find_examples(folder: Path | None = None) -> list[ExampleSet]:
    """Every folder of photos in a folder is a set.

    Args:
        folder: None for the package's own.

    Raises:
        InputError: there is none.
    """
    root = folder or OURS
    if not root.is_dir():
        raise InputError(f"no folder of examples at {root}", "it holds one folder of photos for each example")
    found = []
    for place in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        photos = tuple(sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES))
        if photos:
            found.append(ExampleSet(place.name.replace("_", " ").replace("-", " "), photos))
    if not found:
        raise InputError(f"{root} holds no folder of photos", "give one folder of photos for each example")
    return found
