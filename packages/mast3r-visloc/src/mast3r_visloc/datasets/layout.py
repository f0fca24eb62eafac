"""Finding the files of a benchmark, with errors that say what was looked for (spec 50 A2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mast3r_model import InputError
from mast3r_visloc.formats import is_kapture


def find_pairs(folder: Path, pairsfile: str, names: tuple[str, str] = ("pairsfile", "pairfiles")) -> Path:
    """The pairs file ``<pairsfile>.txt`` under either spelling of its folder (trap 28).

    Args:
        folder: of the dataset or the scene.
        pairsfile: without ``.txt``.
        names: both spellings, the benchmark's own first.

    Raises:
        InputError: it is in neither; says where it was looked for and what is there.
    """
    wanted = f"{plain_name(pairsfile, 'pairsfile')}.txt"
    places = [folder / name / "query" for name in names]
    for place in places:
        if (place / wanted).is_file():
            return place / wanted
    there = sorted(path.stem for place in places if place.is_dir() for path in place.glob("*.txt"))
    raise InputError(
        f"there is no pairs file {places[0] / wanted} (nor {places[1] / wanted})",
        f"pairsfile is one of: {', '.join(there)}" if there else "put the pairs file there",
    )


def find_scene(folder: Path, subscene: str | None, known: Sequence[str]) -> str:
    """The name of a scene whose folder exists.

    Raises:
        InputError: there is no such scene; lists the known ones.
    """
    choices = f"subscene is one of: {', '.join(known)}"
    if not subscene:
        raise InputError(f"expected the name of a scene, got {subscene!r}", choices)
    if not (folder / plain_name(subscene, "subscene")).is_dir():
        raise InputError(f"there is no folder {folder / subscene} of the scene {subscene!r}", choices)
    return subscene


def plain_name(name: str, what: str) -> str:
    """A name that stays one name when it becomes a part of a path.

    Raises:
        InputError: it is empty or has a separator in it.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name:
        raise InputError(f"{what} must be a plain name, got {name!r}")
    return name


def existing_folder(path: Path, what: str) -> Path:
    """The folder itself.

    Raises:
        InputError: it does not exist.
    """
    if not path.is_dir():
        raise InputError(f"there is no folder {path} ({what})", "check the dataset's layout")
    return path


def check_kapture(folder: Path) -> Path:
    """The folder itself.

    Raises:
        InputError: it is no kapture folder; names the file that was looked for.
    """
    if not is_kapture(folder):
        raise InputError(
            f"there is no {folder / 'sensors' / 'sensors.txt'}",
            "check the dataset's layout, or make it with 'mast3r visloc prepare'",
        )
    return folder
