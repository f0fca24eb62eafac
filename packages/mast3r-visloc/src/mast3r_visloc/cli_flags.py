"""The flags that commands of ``mast3r visloc`` share (spec 60 F4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mast3r_model.cli import argument, option

FILE = click.Path(path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)
COUNT = click.IntRange(min=1)
LARGEST_SIZE = 2048
"""Of the network's input, 12,288 patches for a photo of 4:3: memory grows faster than their number.
More of a photo is seen by --fine."""
BENCHMARKS = ["aachen", "cambridge", "7scenes", "inloc"]
NAME_STYLES = ["base", "parent", "full"]
ON_FAILURE = ["skip", "nearest", "identity"]

SIZE = option(
    "--size", "--image-size", type=click.IntRange(min=32, max=LARGEST_SIZE), metavar="N", section="Matching",
    show_default="what the network was made for", help="Long side of the network's input.",
)  # fmt: skip
MAP: list[Callable[..., Any]] = [
    argument("map", type=FILE, help="Folder of a COLMAP model, of a scene of `mast3r sfm`, a kapture folder, "
             "transforms.json, or posed RGB-D frames."),
    option("--images", type=FILE, metavar="DIR", section="Input",
           help="Photos of the map; looked for beside it if not said."),
]  # fmt: skip
QUERIES: list[Callable[..., Any]] = [
    argument("photos", nargs=-1, type=FILE, help="Photos to localise: files, folders, globs, .txt lists."),
    option("--recursive", is_flag=True, section="Input", help="Look into folders of folders."),
    option("--strict", is_flag=True, section="Input", help="Stop at a photo that cannot be read."),
    option("--camera", metavar="SPEC", section="Input",
           help="Camera of the photos, MODEL,width,height,params... in COLMAP's terms."),
    option("--camera-from", metavar="IMAGE", section="Input",
           help="They were taken with the camera of this photo of the map."),
    option("--camera-id", type=int, metavar="N", section="Input",
           help="They were taken with this camera of the map's COLMAP model."),
    option("--queries", multiple=True, type=FILE, metavar="FILE", section="Input",
           help="Cameras of photos, 'name MODEL width height params...' a line; without photos, these are "
           "localised."),
    option("--truth", type=FILE, metavar="PATH", section="Input",
           help="True poses (COLMAP model, kapture folder, file of poses): errors are reported."),
    option("--retrieval", default="auto", metavar="NAME|PATH", section="Matching",
           help="Which photos of the map to try: auto, encoder, all, near, file:PAIRS, or a retrieval "
           "checkpoint."),
    option("--topk", type=COUNT, default=20, metavar="N", section="Matching",
           help="Photos of the map to try for each photo, at most."),
]  # fmt: skip
PRIOR: list[Callable[..., Any]] = [
    option("--prior", type=FILE, metavar="FILE", section="Input",
           help="Rough poses, 'name qw qx qy qz tx ty tz' a line, for --retrieval near; else EXIF's GPS."),
    option("--radius", type=POSITIVE, metavar="M", section="Input",
           help="Of --retrieval near: how far away, in the map's unit; any distance if not said."),
]  # fmt: skip
MATCHING: list[Callable[..., Any]] = [
    option("--exhaustive", is_flag=True, section="Matching",
           help="Try them all, also where more would not help."),
    option("--cluster", is_flag=True, section="Matching", rare=True,
           help="Solve groups of map photos that see nothing in common apart, and keep the best."),
    SIZE,
    option("--fine/--no-fine", "--coarse-to-fine/--no-coarse-to-fine", "fine", default=False,
           section="Matching", help="Match large photos again, window by window."),
    option("--max-image-size", type=click.IntRange(min=64), metavar="N", section="Matching",
           help="Shrink larger photos to this before --fine."),
    option("--homography/--no-homography", "--c2f-crop-with-homography/--no-c2f-crop-with-homography",
           "homography", default=None, show_default="on, with --parity off", section="Matching", rare=True,
           help="Turn the windows of --fine to the front, where cameras are known."),
    option("--pixel-tolerance", "--pixel-tol", type=POSITIVE, default=5.0, metavar="PX", section="Matching",
           help="How far a match's way there and back may miss its start, in network pixels."),
    option("--min-confidence", "--confidence-threshold", type=float, metavar="X", section="Matching",
           show_default="1.001", help="Drop matches below."),
    option("--map-stride", type=COUNT, default=4, metavar="N", section="Matching", rare=True,
           help="Of maps with dense depth, match every N-th network pixel along both axes."),
    option("--points-per-image", type=click.IntRange(min=4), default=768, metavar="N", section="Matching",
           rare=True, help="Look for so many points of each photo of the map, spread over it."),
]  # fmt: skip
POSE: list[Callable[..., Any]] = [
    option("--solver", "--pnp-mode", metavar="NAME", section="Pose",
           show_default="poselib, with --parity cv2", help="PnP solver: poselib, pycolmap, cv2, a plugin's."),
    option("--threshold", metavar="0.8%|Npx", section="Pose", show_default="0.8%, with --parity 5px",
           help="How far off an inlier may be: of the photo's diagonal, or in its pixels."),
    option("--reprojection-error", type=POSITIVE, hidden=True, help="Upstream's --threshold in pixels."),
    option("--reprojection-error-diag-ratio", type=POSITIVE, hidden=True,
           help="Upstream's --threshold as a share of the diagonal."),
    option("--min-inliers", type=click.IntRange(min=4), default=12, metavar="N", section="Pose",
           help="Fewer are a failure."),
    option("--max-chance", type=POSITIVE, default=0.01, metavar="X", section="Pose", rare=True,
           help="A failure is also a pose of which wrong matches would offer more than so many; inf: any."),
    option("--max-points", "--pnp-max-points", type=click.IntRange(min=4), default=100_000, metavar="N",
           section="Pose", rare=True, help="RANSAC sees at most so many."),
    option("--focal", type=click.Choice(["auto", "known", "refine", "estimate"]), default="auto",
           section="Pose", help="auto: given cameras are kept, EXIF's are refined, unknown ones estimated."),
    option("--align", is_flag=True, section="Pose", rare=True,
           help="Where PnP fails, place the network's own points on the map's."),
    option("--densify", is_flag=True, section="Pose", rare=True,
           help="Photos of the map without 3D get the network's own points, in the map's unit."),
    option("--max-batch-size", type=COUNT, hidden=True, help="Upstream's --batch-size of --fine."),
]  # fmt: skip
OUTPUT: list[Callable[..., Any]] = [
    option("--name-style", type=click.Choice(NAME_STYLES), default="full", section="Output",
           help="Names in poses.txt: the file's, with its folder, or all."),
    option("--report/--no-report", default=True, section="Output",
           help="Write report.html with pictures of the matches."),
    option("--dry-run", is_flag=True, section="Output",
           help="Only say which photos and map, where cameras come from, and about how long it takes."),
    option("--jobs", type=COUNT, default=2, metavar="N", section="Model and device",
           help="Photos at a time: poses are solved while the network works."),
]  # fmt: skip
