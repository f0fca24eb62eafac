"""The commands and flags of spec 60 part F and D7, as data: `test_cli_tables.py` compares them with the code.

A flag's default is the value that the code has, or the words that the help shows in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """What the specification says of a flag.

    Attributes:
        default: as the help shows it; None: nothing.
        choices: of an option with choices.
        aliases: upstream's spellings that it takes too, hidden or not.
    """

    default: object = None
    choices: Sequence[str] | None = None
    aliases: Sequence[str] = ()


OFF, ON = Flag(False), Flag(True)
NONE = Flag()

SECTIONS: Mapping[str, str] = {
    "match": "Match",
    "pairs": "Reconstruct",
    "sfm": "Reconstruct",
    "colmap": "Reconstruct",
    "export": "Reconstruct",
    "view": "Show",
    "visloc localize": "Localise",
    "visloc index": "Localise",
    "visloc evaluate": "Localise",
    "visloc prepare": "Localise",
    "visloc export": "Localise",
    "train": "Train",
    "pretrain-croco": "Train",
    "data prepare": "Train",
    "data list": "Train",
    "data check": "Train",
    "data sky": "Train",
    "evaluate pairs": "Evaluate",
    "evaluate scenes": "Evaluate",
    "quickstart": "Show",
    "demo": "Show",
    "models list": "Models and setup",
    "models info": "Models and setup",
    "models download": "Models and setup",
    "models convert": "Models and setup",
    "models path": "Models and setup",
    "cache info": "Models and setup",
    "cache clear": "Models and setup",
    "plugins": "Models and setup",
    "doctor": "Models and setup",
    "completion": "Models and setup",
}
"""F1: every command, and its heading in ``mast3r --help``."""

PACKAGES: Mapping[str, str] = {
    "mast3r_match": "mast3r-match",
    "mast3r_sfm": "mast3r-sfm",
    "mast3r_visloc": "mast3r-visloc",
    "mast3r_train": "mast3r-train",
    "mast3r_demo": "mast3r-demo",
    "mast3r_model": "mast3r-model",
}
"""Where a command's code is, and the distribution that registers it."""

COMMON: Mapping[str, Flag] = {
    "--quiet": OFF,
    "--verbose": Flag(0),
    "--color": Flag("auto", ("auto", "always", "never")),
    "--progress": Flag("auto", ("auto", "plain", "none")),
    "--log-file": NONE,
    "--json": OFF,
    "--config": NONE,
    "--show-config": OFF,
}
"""F2: of every command."""

MODEL: Mapping[str, Flag] = {
    "--model": Flag("nano", aliases=("-m", "--weights", "--model-name")),
    "--device": Flag("auto"),
    "--dtype": Flag("auto", ("auto", "fp32", "bf16", "fp16")),
    "--batch-size": Flag("auto"),
    "--threads": NONE,
    "--seed": Flag(0),
    "--offline": OFF,
}
"""F2: of every command that runs the network."""

USES_MODEL = (
    "match",
    "pairs",
    "sfm",
    "colmap",
    "evaluate pairs",
    "visloc localize",
    "visloc index",
    "visloc evaluate",
    "demo",
    "quickstart",
)

LISTS = ("match", "pairs", "evaluate pairs", "evaluate scenes", "models list", "cache info", "data list")
"""Commands about lists of many items: those have ``--jsonl``."""

_VIEW: Mapping[str, Flag] = {
    "--min-confidence": Flag("by the network"),
    "--percentile": NONE,
    "--mesh": OFF,
    "--mask-sky": OFF,
    "--tsdf": Flag(0.0),
    "--cam-size": Flag("auto"),
    "--transparent-cams": OFF,
}
_GRAPH = Flag("auto", aliases=("--scene-graph",))
_SIZE = Flag(512, aliases=("--image-size",))

FLAGS: Mapping[str, Mapping[str, Flag]] = {
    "match": {
        "--pairs": NONE,
        "--subsample": Flag(8),
        "--pixel-tolerance": Flag(0.0, aliases=("--pixel-tol",)),
        "--min-confidence": Flag(0.0),
        "--max-matches": NONE,
        "--border": Flag(3),
        "--fine": Flag(False, aliases=("--coarse-to-fine",)),
        "--max-image-size": NONE,
        "--verify": Flag("none", ("fundamental", "essential", "none")),
        "--size": _SIZE,
        "--recursive": OFF,
        "--strict": OFF,
        "--output": Flag(aliases=("-o",)),
        "--overwrite": OFF,
        "--viz": NONE,
        "--viz-count": Flag(50),
    },
    "pairs": {
        "--graph": _GRAPH,
        "--retrieval": Flag("encoder", aliases=("--retrieval-model",)),
        "--output": Flag("pairs.txt", aliases=("-o",)),
        "--format": Flag("kapture", ("kapture", "hloc", "colmap")),
        "--similarity": NONE,
        "--recursive": OFF,
        "--strict": OFF,
    },
    "sfm": {
        **_VIEW,
        "--mapper": Flag("sparse", ("sparse", "dense", "colmap", "glomap")),
        "--graph": _GRAPH,
        "--retrieval": Flag("encoder", aliases=("--retrieval-model",)),
        "--pairs": NONE,
        "--quality": Flag("refine+depth", ("coarse", "refine", "refine+depth")),
        "--lr1": Flag("0.07"),
        "--iters1": Flag("300"),
        "--lr2": Flag("0.01"),
        "--iters2": Flag("300"),
        "--solver": Flag("lm", ("lm", "adam")),
        "--matching-confidence": Flag(0.0),
        "--shared-intrinsics": OFF,
        "--schedule": Flag("linear", ("linear", "cosine")),
        "--iters": Flag("300"),
        "--size": _SIZE,
        "--intrinsics": NONE,
        "--poses": NONE,
        "--masks": NONE,
        "--output": Flag(aliases=("-o",)),
        "--export": Flag("colmap,nerfstudio,glb,ply,depth"),
        "--clean-depth": ON,
        "--engine": Flag("local"),
        "--refine": Flag("auto", ("auto", "ba", "none")),
        "--add-to": NONE,
        "--viewer": OFF,
        "--fps": NONE,
        "--max-frames": Flag(300),
        "--recursive": OFF,
        "--strict": OFF,
        "--cache": Flag("DIR/cache of --output"),
        "--no-cache": OFF,
        "--dry-run": OFF,
        "--overwrite": OFF,
    },
    "colmap": {
        "--input": Flag(aliases=("-i",)),
        "--shared-camera": OFF,
        "--dir": NONE,
        "--dir-same-camera": NONE,
        "--pairs": Flag(aliases=("--pairsfile-path",)),
        "--graph": _GRAPH,
        "--dense": Flag(False, aliases=("--dense-matching",)),
        "--pixel-tolerance": Flag(0.0, aliases=("--pixel-tol",)),
        "--min-confidence": Flag(1.001, aliases=("--conf-thr",)),
        "--verify": ON,
        "--skip-geometric-verification": OFF,
        "--min-track": Flag(5, aliases=("--min-len-track",)),
        "--mapper": Flag(
            "triangulate where poses are known, else pycolmap", ("pycolmap", "glomap", "triangulate")
        ),
        "--use-glomap-mapper": OFF,
        "--ignore-poses": Flag(False, aliases=("--ignore-pose",)),
        "--glomap-bin": NONE,
        "--output": Flag("colmap", aliases=("-o",)),
        "--strict": OFF,
        "--fps": NONE,
        "--max-frames": Flag(300),
    },
    "export": {**_VIEW, "--format": NONE, "--output": Flag(aliases=("-o",)), "--clean-depth": OFF},
    "view": {"--host": Flag("127.0.0.1"), "--port": Flag(8080), "--open": OFF},
    "visloc localize": {
        "--images": NONE,
        "--camera": NONE,
        "--camera-from": NONE,
        "--camera-id": NONE,
        "--focal": Flag("auto", ("auto", "known", "refine", "estimate")),
        "--queries": NONE,
        "--retrieval": Flag("auto"),
        "--topk": Flag(20),
        "--exhaustive": OFF,
        "--cluster": OFF,
        "--fine": Flag(False, aliases=("--coarse-to-fine",)),
        "--max-image-size": NONE,
        "--homography": Flag("on", aliases=("--c2f-crop-with-homography",)),
        "--pixel-tolerance": Flag(5.0, aliases=("--pixel-tol",)),
        "--min-confidence": Flag("1.001", aliases=("--confidence-threshold",)),
        "--map-stride": Flag(4),
        "--solver": Flag("poselib", aliases=("--pnp-mode",)),
        "--threshold": Flag("0.8%"),
        "--min-inliers": Flag(12),
        "--max-points": Flag(100_000, aliases=("--pnp-max-points",)),
        "--align": OFF,
        "--prior": NONE,
        "--on-failure": Flag("skip", ("skip", "nearest", "identity")),
        "--output": Flag(aliases=("-o",)),
        "--report": ON,
        "--jobs": Flag(2),
        "--strict": OFF,
    },
    "visloc evaluate": {
        "--dataset": NONE,
        "--thresholds": Flag("the dataset's"),
        "--parity": OFF,
        "--limit": NONE,
        "--shard": NONE,
        "--label": Flag("", aliases=("--output-label",)),
        "--solver": Flag("poselib", aliases=("--pnp-mode",)),
        "--threshold": Flag("0.8%"),
        "--reprojection-error": NONE,
        "--reprojection-error-diag-ratio": NONE,
        "--fine": Flag(False, aliases=("--coarse-to-fine",)),
        "--homography": Flag("on", aliases=("--c2f-crop-with-homography",)),
        "--min-confidence": Flag("1.001", aliases=("--confidence-threshold",)),
        "--pixel-tolerance": Flag(5.0, aliases=("--pixel-tol",)),
        "--max-image-size": NONE,
        "--max-batch-size": NONE,
        "--max-points": Flag(100_000, aliases=("--pnp-max-points",)),
        "--output-dir": NONE,
        "--viz-matches": NONE,
        "--matcher": Flag("descriptors", ("descriptors", "points3d")),
        "--topk": Flag("the dataset's, else 20"),
    },
    "visloc prepare": {"--raw": NONE, "--out": NONE, "--legacy-registration": OFF, "--workers": Flag(1)},
    "visloc index": {"--images": NONE},
    "visloc export": {
        "--format": Flag(None, ("ltvl", "hloc", "colmap", "csv")),
        "--name-style": Flag("base for ltvl and hloc", ("base", "parent", "full")),
    },
    "models convert": {"--stored-dtype": Flag("fp32", ("fp32", "fp16")), "--overwrite": OFF},
    "doctor": {"--self-test": ON},
    "cache clear": {"--yes": OFF},
    "demo": {
        "--retrieval": Flag(aliases=("--retrieval-model",)),
        "--mapper": Flag("sparse", ("sparse", "dense", "colmap", "glomap")),
        "--image-size": Flag("512"),
        "--host": Flag("127.0.0.1", aliases=("--server-name",)),
        "--local-network": OFF,
        "--port": Flag("the first free one from 7860", aliases=("--server-port",)),
        "--share": OFF,
        "--share-without-password": OFF,
        "--auth": NONE,
        "--auth-file": NONE,
        "--root-path": NONE,
        "--ssl-cert": NONE,
        "--ssl-key": NONE,
        "--workdir": Flag("a temporary one", aliases=("--tmp-dir",)),
        "--keep": OFF,
        "--keep-hours": Flag(2.0),
        "--gradio-delete-cache": NONE,
        "--max-photos": Flag(100),
        "--max-file-mb": Flag(50.0),
        "--max-video-mb": Flag(500.0),
        "--max-pairs": Flag(2000),
        "--disk-limit-gb": Flag(20.0),
        "--queue-size": Flag(16),
        "--time-limit": Flag(30.0),
        "--colmap-mapper": Flag("pycolmap", ("pycolmap", "glomap")),
        "--glomap-bin": NONE,
        "--examples": NONE,
        "--open": OFF,
        "--preload": OFF,
        "--silent": OFF,
    },
    "quickstart": {"--output": Flag("mast3r_quickstart", aliases=("-o",)), "--overwrite": OFF},
}
"""F4 and D7: by command, its own flags."""

HIDDEN: Mapping[str, Sequence[str]] = {
    "match": ("--weights", "--model-name"),
    "pairs": ("--dir", "--weights", "--model-name"),
    "colmap": (
        "--dir",
        "--dir-same-camera",
        "--skip-geometric-verification",
        "--use-glomap-mapper",
        "--glomap-bin",
    ),
    "visloc evaluate": (
        "--dataset",
        "--reprojection-error",
        "--reprojection-error-diag-ratio",
        "--max-batch-size",
        "--output-dir",
        "--viz-matches",
    ),
    "demo": (
        "--server-name",
        "--server-port",
        "--retrieval-model",
        "--tmp-dir",
        "--gradio-delete-cache",
        "--silent",
        "--glomap-bin",
        "--weights",
        "--model-name",
    ),
}
"""F5: upstream's spellings that the help does not show."""
