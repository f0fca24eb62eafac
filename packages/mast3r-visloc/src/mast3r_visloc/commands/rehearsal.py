"""``--dry-run``: what a run would do, and about how long it would take (spec 60 F2)."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from mast3r_model import InputError
from mast3r_model.cli import CommandContext
from mast3r_visloc.cameras import LISTED, query_camera
from mast3r_visloc.datasets import Query
from mast3r_visloc.localizing import LocalizationOptions
from mast3r_visloc.localizing.index import MapIndex, network_size
from mast3r_visloc.localizing.pair_matching import describe_pairs
from mast3r_visloc.localizing.photos import read_photo
from mast3r_visloc.localizing.search import FIRST_IMAGES
from mast3r_visloc.maps import LocalizationMap

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo

PAIRS_TIMED = 2
"""The first one also prepares what later ones find ready."""

_OPENING = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for files that are no photos."""


def rehearse(
    context: CommandContext,
    localization_map: LocalizationMap,
    queries: Sequence[Query],
    model: AsymmetricCroCo3DStereo,
    options: LocalizationOptions,
) -> None:
    """Say what would be localised in what, and estimate time and memory from one pair of photos.

    Args:
        context: of the command.
        localization_map: in which.
        queries: the photos.
        model: the network.
        options: how.
    """
    cameras = _cameras(queries, options)
    images = localization_map.images
    with_points = sum(image.load_points is not None for image in images)
    index = MapIndex.of(
        localization_map, model, size=network_size(model, options.size), batch_size=options.batch_size
    )
    try:
        missing = index.missing()
        encode, pair = _timed(model, queries, localization_map, index.size)
    finally:
        index.close()
    most = min(options.topk, with_points) if options.retrieval != "all" else with_points
    least = most if options.exhaustive else min(FIRST_IMAGES, most)
    of_map = encode * missing
    seconds = [of_map + len(queries) * (encode + pair * count) for count in (least, most)]
    memory = _memory()
    context.say(f"{len(queries):,} photos to localise; cameras: {_counted(cameras)}")
    context.say(
        f"map: {localization_map.kind}, {len(images):,} photos, {with_points:,} with 3D points; "
        f"{missing:,} of them are to be encoded first"
    )
    context.say(f"pairs: {least} to {most} photos of the map for each photo")
    context.say(
        f"time: about {_duration(seconds[0])} to {_duration(seconds[1])}, "
        f"{_duration(of_map)} of it for the map"
        + ("; --fine takes several times as long" if options.fine else "")
    )
    context.say(f"memory: about {memory / 2**30:.1f} GiB")
    context.result(
        photos=len(queries),
        cameras=cameras,
        map={
            "kind": localization_map.kind, "photos": len(images), "with_points": with_points,
            "to_encode": missing,
        },
        pairs=[least, most],
        seconds=seconds,
        memory_bytes=memory,
    )  # fmt: skip


def _cameras(queries: Sequence[Query], options: LocalizationOptions) -> dict[str, int]:
    """How many photos get their camera from where; "unreadable" and "does not fit" are sources too."""
    found: Counter[str] = Counter()
    for query in queries:
        try:
            with Image.open(query.path) as photo:
                shape = photo.height, photo.width
        except _OPENING:
            found["unreadable"] += 1
            continue
        try:
            camera = query_camera(
                query.path,
                shape,
                listed=query.camera,
                listed_source=query.camera_source or LISTED,
                focal=options.focal,
            )
        except InputError:
            found["does not fit"] += 1
        else:
            found[camera.source] += 1
    return dict(found)


def _timed(
    model: AsymmetricCroCo3DStereo, queries: Sequence[Query], localization_map: LocalizationMap, size: int
) -> tuple[float, float]:
    """Seconds to encode a photo, and to match a pair; nan where no photo can be read."""
    for path in (*(query.path for query in queries), *(image.path for image in localization_map.images)):
        try:
            photo = read_photo(path, size=size, patch_size=model.patch_size)
        except InputError:
            continue
        break
    else:
        return math.nan, math.nan
    started = time.perf_counter()
    encoded = model.encode([photo.tensor])
    encode = time.perf_counter() - started
    lasted = []
    for _ in range(PAIRS_TIMED):
        started = time.perf_counter()
        for seen, _known in describe_pairs(model, encoded, [(0, 0)], 1):
            seen.confidence.sum().item()  # waits for a device that works on its own
        lasted.append(time.perf_counter() - started)
    return encode, min(lasted)


def _memory() -> int:
    """Bytes: the most that this process, which has just matched a pair, has used."""
    import torch

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024) + (
        torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    )


def _counted(cameras: dict[str, int]) -> str:
    return ", ".join(f"{source} ({count:,})" for source, count in cameras.items()) or "none"


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
