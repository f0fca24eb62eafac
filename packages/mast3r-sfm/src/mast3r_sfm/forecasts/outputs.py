"""How much disk a scene's files take.

The state and the point formats follow from their records' sizes. Sizes of compressed files are those of the
eleven photos of sceaux at 320 pixels (issue 3): bytes per pixel of depth and of confidence, at both sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mast3r_sfm.photos import SourceImage

BYTES_OF_A_PIXEL = {"state": 11, "network maps": 3.6, "original maps": 2.3}
"""The state keeps depth, confidence and colour as they are; TIFF files are compressed."""
BYTES_OF_A_POINT = {"state": 23, "ply": 19, "glb": 16}
TRACKS_OF_A_MATCH, OBSERVATIONS_OF_A_MATCH = 0.37, 0.91
"""In the same scene: 22,899 tracks and 56,285 observations of 61,524 matches."""
BYTES_OF_A_TRACK = {"state": 27, "colmap": 43}
BYTES_OF_AN_OBSERVATION = {"state": 40, "colmap": 32}
PAGE_BYTES_OF_A_PHOTO = 16_000


def forecast_outputs(images: Sequence[SourceImage], matches: float, formats: Iterable[str]) -> int:
    """About how many bytes `Scene.save` writes, if all photos are placed and all their pixels become points.

    Args:
        images: all of them.
        matches: of all pairs together.
        formats: names of exporters; of those that plugins bring nothing is known, they count as nothing.
    """
    pixels = sum(height * width for height, width in (image.transform.network_shape for image in images))
    original = sum(height * width for height, width in (image.transform.original_shape for image in images))
    tracks, observations = TRACKS_OF_A_MATCH * matches, OBSERVATIONS_OF_A_MATCH * matches
    total = float(PAGE_BYTES_OF_A_PHOTO * len(images))
    for name in ("state", *formats):
        total += BYTES_OF_A_POINT.get(name, 0) * pixels
        total += BYTES_OF_A_TRACK.get(name, 0) * tracks + BYTES_OF_AN_OBSERVATION.get(name, 0) * observations
    total += BYTES_OF_A_PIXEL["state"] * pixels
    if "depth" in formats:
        total += BYTES_OF_A_PIXEL["network maps"] * pixels + BYTES_OF_A_PIXEL["original maps"] * original
    return round(total)
