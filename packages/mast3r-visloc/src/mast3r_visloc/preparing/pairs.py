"""Files of query pairs: brought to the place where the datasets look, or made (spec 50 A3.1, D8)."""

from __future__ import annotations

from pathlib import Path

from mast3r_model import InputError
from mast3r_visloc.formats import Pair, read_pairs, write_pairs

from .contract import CandidateFinder, CandidateRequest, ScenePlan
from .placing import read_lines, write_lines

HLOC_PREFIXES = ("query/", "database/cutouts/")
NAMED_AT_MOST = 5


def given_pairs(pairs: Path | None, scene: ScenePlan, scenes: int) -> list[Path]:
    """The given files of a scene.

    Args:
        pairs: a file, for one scene; or a folder: ``SCENE.txt``, or files in ``SCENE/``,
            ``SCENE/pairsfile/query/`` or ``SCENE/pairfiles/query/``, as other releases have them; for a
            benchmark without scenes, files in it.
        scene: which.
        scenes: how many are prepared.

    Raises:
        InputError: one file for several scenes.
    """
    if pairs is None:
        return []
    if pairs.is_file():
        if scenes > 1:
            raise InputError(
                f"{pairs} is one file of pairs, but {scenes} scenes are prepared",
                "name one scene (--scene), or give a folder with SCENE.txt for each",
            )
        return [pairs]
    folder = pairs / scene.name
    places = (folder, folder / "pairsfile" / "query", folder / "pairfiles" / "query")
    found = sorted(path for place in places for path in place.glob("*.txt"))
    named = [pairs / f"{scene.name}.txt"] if scene.name and (pairs / f"{scene.name}.txt").is_file() else []
    return named + found


def place_pairs(source: Path, scene: ScenePlan) -> tuple[list[Path], list[str]]:
    """Bring a file of pairs to its place, as it is.

    Returns:
        The file if it was not there with this content; what is wrong with it: queries without pairs, or names
        that the map does not have.

    Raises:
        InputError: it cannot be read, or names no query of the scene.
        OutputError: the place cannot be written.
    """
    pairs = read_pairs(source, hloc_prefixes=HLOC_PREFIXES)
    paired = set(pairs)
    mapped = dict.fromkeys(pair.map_image for found in pairs.values() for pair in found)
    strange = [query for query in pairs if query not in scene.queries]
    strange += [photo for photo in mapped if photo not in scene.map_photos]
    if paired.isdisjoint(scene.queries):
        example = next(iter(scene.queries), "none")
        raise InputError(
            f"{source} has no pair of a query of {scene.name or 'this benchmark'}",
            f"queries are named such as {example}",
        )
    problems = []
    if strange:
        problems.append(f"{source} names photos that are not there: {some(strange)}")
    without = [name for name in scene.queries if name not in paired]
    if without:
        problems.append(f"{source} has no pairs for {len(without)} queries: {some(without)}")
    return write_lines(scene.pairs_folder / source.name, read_lines(source)), problems


def make_pairs(finder: CandidateFinder, scene: ScenePlan) -> list[Path]:
    """Find candidates for every query and write kapture's file of pairs, unless it is there."""
    target = scene.pairs_folder / f"{finder.label}.txt"
    if target.is_file():
        return []
    found = finder.find(CandidateRequest(scene.name, scene.queries, scene.map_photos))
    write_pairs(target, (Pair(query, photo, score) for query, photo, score in found))
    return [target]


def some(names: list[str]) -> str:
    """The first few of many names."""
    shown = ", ".join(names[:NAMED_AT_MOST])
    return shown if len(names) <= NAMED_AT_MOST else f"{shown}, ..."
