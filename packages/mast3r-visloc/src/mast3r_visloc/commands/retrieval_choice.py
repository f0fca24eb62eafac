"""What ``--retrieval`` names, checked before any network is loaded (spec 50 D2)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import CheckpointError, ConfigError, InputError, locate, nearest_names, registry
from mast3r_visloc.datasets import Candidate
from mast3r_visloc.evaluation import read_poses
from mast3r_visloc.evaluation.lines import Horizon
from mast3r_visloc.evaluation.names import match_names
from mast3r_visloc.formats import read_pairs
from mast3r_visloc.localizing.geo_registration import geo_register
from mast3r_visloc.localizing.retrieval import Prior
from mast3r_visloc.maps import LocalizationMap
from mast3r_visloc.maps.gps import photo_position

log = logging.getLogger("mast3r.visloc")

LISTED = "file:"
"""Before the path of a list of pairs."""

_NAMED = 3


@dataclass(frozen=True, eq=False)
class RetrievalChoice:
    """Which map images are to be tried.

    Attributes:
        name: as `LocalizationOptions.retrieval` takes it.
        pairs: map images by the name of the query, for ``pairs``.
        priors: for ``near``, by the name of the query: rough 4x4 cam2world, or the camera's centre.
        note: for the user.
        horizon: of a map that is geo-registered; None where it was not asked for or is not known.
    """

    name: str
    pairs: Mapping[str, Sequence[Candidate]] | None = None
    priors: Mapping[str, Prior] | None = None
    note: str | None = None
    horizon: Horizon | None = None


def check_retriever(name: str, *more: str) -> None:
    """Refuse what is neither a way to choose map images, nor a retriever, nor a file.

    Args:
        name: of ``--retrieval``.
        *more: what else the command takes, for the message.

    Raises:
        InputError: it is none of them.
    """
    known = ["auto", "all", *registry("retrievers").names()]
    if name in known or Path(name).expanduser().is_file():
        return
    nearest = nearest_names(name, [*known, *more])
    raise InputError(
        f"--retrieval {name}: neither a file nor one of {', '.join([*known, *more])}",
        f"did you mean {' or '.join(nearest)}?" if nearest else "a retrieval checkpoint is given by its path",
    )


def checkpoint_at_hand(model: str) -> Path | None:
    """The retrieval checkpoint that belongs to a network, where it is on this disk under upstream's name.

    Of a network ``NAME`` that is ``NAME_retrieval_trainingfree.pth``, with ``NAME_retrieval_codebook.pkl``
    beside it: where the network's own file is, or in torch's cache of downloads. Nothing is downloaded.

    Args:
        model: as ``--model`` takes it: a file, or the name of a network.
    """
    import torch

    given = Path(model).expanduser()
    cache = Path(torch.hub.get_dir())
    folders = [cache / "checkpoints", cache / "mast3r"]
    if given.is_file():
        name, folders = given.stem, [given.parent, *folders]
    else:
        try:
            location = locate(model).text
        except CheckpointError:  # told when the network is loaded
            return None
        name = location.rstrip("/").rpartition("/")[2].removesuffix(".pth")
    for folder in folders:
        checkpoint = folder / f"{name}_retrieval_trainingfree.pth"
        if checkpoint.is_file() and (folder / f"{name}_retrieval_codebook.pkl").is_file():
            return checkpoint
    return None


def choose_retrieval(
    text: str,
    photos: Mapping[str, Path],
    localization_map: LocalizationMap,
    *,
    model: str,
    prior: Path | None,
    radius: float | None,
) -> RetrievalChoice:
    """Read the files that a way to choose map images needs.

    Args:
        text: of ``--retrieval``.
        photos: the queries by their names.
        localization_map: whose images are chosen from.
        model: as ``--model`` takes it, whose retrieval checkpoint ``auto`` uses if it is at hand.
        prior: file of rough poses, for ``near``; None: by the GPS of photos and map.
        radius: of ``near``.

    Raises:
        InputError: an unknown retriever, or a file that is missing, broken, or says nothing of a query.
        ConfigError: `prior` or `radius` without ``near``.
    """
    if text != "near" and (prior is not None or radius is not None):
        given = "--prior" if prior is not None else "--radius"
        raise ConfigError(f"{given} is for --retrieval near, got --retrieval {text}", "add --retrieval near")
    if text == "near":
        if prior is None:
            return _by_gps(photos, localization_map)
        poses = read_poses(prior)
        found = _of_queries(list(photos), poses, f"{prior} has no rough pose")
        return RetrievalChoice("near", priors={name: poses[known] for name, known in found.items()})
    names = list(photos)
    if text.startswith(LISTED):
        return RetrievalChoice(
            "pairs", _listed_pairs(Path(text.removeprefix(LISTED)), names, localization_map)
        )
    check_retriever(text, "near", f"{LISTED}PAIRS")
    checkpoint = checkpoint_at_hand(model) if text == "auto" else None
    if checkpoint is not None:
        return RetrievalChoice(str(checkpoint), note=f"retrieval: {checkpoint}")
    return RetrievalChoice(text)


def _by_gps(photos: Mapping[str, Path], localization_map: LocalizationMap) -> RetrievalChoice:
    """Where photos were taken, by their EXIF.

    Raises:
        InputError: photos without GPS, or a map that is not geo-registered.
    """
    positions = {name: photo_position(path) for name, path in photos.items()}
    without = [name for name, position in positions.items() if position is None]
    if without:
        raise InputError(
            f"--retrieval near needs rough poses of the photos: {len(without)} of {len(photos)} have no GPS "
            f"position in EXIF: {', '.join(without[:_NAMED])}",
            "give --prior FILE",
        )
    registered = geo_register(localization_map)
    known = {name: position for name, position in positions.items() if position is not None}
    return RetrievalChoice(
        "near",
        priors={name: registered.centre(position) for name, position in known.items()},
        note=f"map: geo-registered by the GPS of {registered.photos} of its photos, which is off by "
        f"{registered.gap:.3g} of its unit",
        horizon=None if registered.along is not None else Horizon(*registered.up_and_north),
    )


def _listed_pairs(
    path: Path, names: Sequence[str], localization_map: LocalizationMap
) -> dict[str, list[Candidate]]:
    listed = read_pairs(path)
    found = _of_queries(names, listed, f"{path} has no pairs")
    chosen = [pair.map_image for known in found.values() for pair in listed[known]]
    unknown = [name for name in dict.fromkeys(chosen) if name not in localization_map.index_of]
    if unknown and len(unknown) == len(set(chosen)):
        raise InputError(
            f"{path} names no photo of the map, but {', '.join(unknown[:_NAMED])}",
            f"a photo of the map: {localization_map.images[0].name}",
        )
    if unknown:
        log.warning(
            "%s names %d photos that the map lacks: %s", path, len(unknown), ", ".join(unknown[:_NAMED])
        )
    return {
        name: [
            Candidate(pair.map_image, pair.score)
            for pair in listed[known]
            if pair.map_image in localization_map.index_of
        ]
        for name, known in found.items()
    }


def _of_queries(names: Sequence[str], known: Mapping[str, object], lacks: str) -> dict[str, str]:
    """The name in a file of each query.

    Raises:
        InputError: the file does not name one of them.
    """
    found = match_names(names, known)
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(
            f"{lacks} of {len(missing)} of {len(names)} photos: {', '.join(missing[:_NAMED])}",
            f"add them, or leave these photos out; a name there: {next(iter(known), 'none')}",
        )
    return found
