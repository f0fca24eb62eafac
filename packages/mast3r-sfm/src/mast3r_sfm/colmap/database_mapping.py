"""From a database of matches to COLMAP's models. Imports no torch: see `map_process`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pycolmap

from mast3r_model import NothingFoundError
from mast3r_sfm.cameras import PosedCameras

from .mapping import Mapper, run_mapper, triangulate_known_poses, verify_geometry
from .model_files import write_reconstruction


@dataclass(frozen=True, kw_only=True)
class ColmapOptions:
    """How COLMAP maps matches of the network.

    Attributes:
        mapper: ``colmap``: incremental; ``glomap``: global.
        min_track: keypoints in shorter tracks are left out.
        max_error: of the two-view geometry, in network pixels.
        min_images: smaller models are dropped.
        threads: -1 for all; one is needed for the same result to the bit.
        seed: of everything random.
    """

    mapper: Mapper = "colmap"
    min_track: int = 2
    max_error: float = 2.0
    min_images: int = 2
    threads: int = -1
    seed: int = 0


def solve_database(
    database: Path,
    scratch: Path,
    posed: PosedCameras | None,
    options: ColmapOptions,
    tell: Callable[[str], None],
) -> list[pycolmap.Reconstruction]:
    """Verify pairs, then map.

    Args:
        database: of matches.
        scratch: a folder; ``models`` in it will hold the models.
        posed: images of known pose, which stay.
        options: how.
        tell: is given ``verified`` when the pairs are, and ``image`` when the incremental mapper has placed
            another one.

    Returns:
        The models, the largest first; none if COLMAP places nothing.
    """
    verify_geometry(database, max_error=options.max_error, threads=options.threads, seed=options.seed)
    tell("verified")
    start = None
    if posed is not None:
        prior = triangulate_known_poses(
            database, posed, None, scratch / "known", threads=options.threads, seed=options.seed
        )
        start = scratch / "start"
        write_reconstruction(prior, start)
    try:
        return run_mapper(
            database,
            None,
            scratch / "models",
            mapper=options.mapper,
            min_images=options.min_images,
            start=start,
            threads=options.threads,
            seed=options.seed,
            on_image=lambda: tell("image"),
        )
    except NothingFoundError:
        return []
