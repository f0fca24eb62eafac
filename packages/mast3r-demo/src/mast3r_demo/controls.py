"""The page's controls as data: what they are called, their ranges, and whose they are (spec 60 A2, A3, D2).

Names, ranges and defaults of the advanced controls are upstream's, so that recipes found elsewhere work here.
Nothing in this file needs gradio: the page is built from these tables, and tests read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["slider", "number", "checkbox", "radio", "dropdown"]
Choice: TypeAlias = tuple[str, str]
"""What is read, and the value it stands for."""

MAPPERS = ("sparse", "dense", "colmap", "glomap")
ALL_GRAPHS = ("auto", "complete", "swin", "logwin", "retrieval", "oneref")
MISSING = "-"
"""In the column of upstream's names: upstream has no such control."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control of the page.

    Attributes:
        name: in the HTTP API and in our code.
        label: on the page.
        kind: which component it is.
        default: its value when the page opens.
        minimum: of a slider or a number.
        maximum: likewise.
        step: likewise.
        choices: of a radio or a dropdown.
        info: a sentence under the label.
        upstream: label of upstream's control; for `MISSING` there is none.
        upstream_default: where it is not ours.
        mappers: under which mappers it is shown.
        graphs: under which choices of "Pairs" it is shown.
    """

    name: str
    label: str
    kind: Kind
    default: float | int | bool | str
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: Sequence[Choice] = ()
    info: str | None = None
    upstream: str = MISSING
    upstream_default: float | int | bool | str | None = None
    mappers: Sequence[str] = MAPPERS
    graphs: Sequence[str] = ALL_GRAPHS

    @property
    def elem_id(self) -> str:
        """The id in the page: ``mast3r-coarse-lr``."""
        return f"mast3r-{self.name.replace('_', '-')}"

    def shown(self, mapper: str, graph: str) -> bool:
        """Whether it is shown under these choices."""
        return mapper in self.mappers and graph in self.graphs


BASIC: tuple[Control, ...] = (
    Control(
        name="pairs", label="Pairs", kind="radio", default="auto", upstream="Scenegraph",
        upstream_default="complete", info="Which photos are matched with each other",
        choices=(("Automatic", "auto"), ("All", "complete"), ("Sequence", "swin"),
                 ("Sequence, long range", "logwin"), ("Similar", "retrieval"), ("One to all", "oneref")),
    ),
    Control(
        name="same_camera", label="Same camera for all photos", kind="checkbox", default=False,
        upstream="Shared intrinsics", info="One camera with one zoom took all photos",
        mappers=("sparse", "colmap", "glomap"),
    ),
    Control(
        name="quality", label="Quality", kind="radio", default="refine", upstream="OptLevel",
        upstream_default="refine+depth", mappers=("sparse",),
        choices=(("Quick", "coarse"), ("Fine", "refine"), ("Best", "refine+depth")),
    ),
)  # fmt: skip
"""Always visible."""

ADVANCED: tuple[Control, ...] = (
    Control(
        name="mapper", label="Mapper", kind="dropdown", default="sparse",
        choices=(("sparse: MASt3R's alignment of matches", "sparse"),
                 ("dense: DUSt3R's alignment of all points", "dense"),
                 ("colmap: incremental mapper", "colmap"), ("glomap: global mapper", "glomap")),
        info="How cameras are found from the matches",
    ),
    Control(
        name="window", label="Window size", kind="slider", default=3, minimum=1, maximum=99, step=1,
        upstream="Scene Graph: Window Size", graphs=("swin", "logwin"),
        info="Each photo is matched with so many after it",
    ),
    Control(
        name="cyclic", label="Cyclic sequence", kind="checkbox", default=False, upstream="Cyclic sequence",
        graphs=("swin", "logwin"), info="The last photo is followed by the first",
    ),
    Control(
        name="reference", label="Reference photo", kind="slider", default=0, minimum=0, maximum=99, step=1,
        upstream="Scene Graph: Id", graphs=("oneref",), info="Matched with all others; 0 is the first photo",
    ),
    Control(
        name="key_images", label="Key images", kind="slider", default=20, minimum=0, maximum=100, step=1,
        upstream="Retrieval: Num. key images", graphs=("retrieval",),
        info="So many photos far from each other are all paired",
    ),
    Control(
        name="neighbours", label="Neighbours", kind="slider", default=10, minimum=1, maximum=99, step=1,
        upstream="Retrieval: Num neighbors", graphs=("retrieval",),
        info="Each photo is matched with so many that look most alike",
    ),
    Control(
        name="solver", label="Solver", kind="dropdown", default="lm", mappers=("sparse",),
        choices=(("lm: second order", "lm"), ("adam: upstream's schedule", "adam")),
        info="A learning rate or number of iterations other than upstream's chooses adam by itself",
    ),
    Control(
        name="coarse_lr", label="Coarse LR", kind="slider", default=0.07, minimum=0.01, maximum=0.2,
        step=0.01, upstream="Coarse LR", mappers=("sparse",),
    ),
    Control(
        name="coarse_iterations", label="Coarse iterations", kind="slider", default=300, minimum=0,
        maximum=1000, step=1, upstream="Iterations", mappers=("sparse",), info="For coarse alignment",
    ),
    Control(
        name="fine_lr", label="Fine LR", kind="slider", default=0.01, minimum=0.005, maximum=0.05,
        step=0.001, upstream="Fine LR", mappers=("sparse",),
    ),
    Control(
        name="fine_iterations", label="Fine iterations", kind="slider", default=300, minimum=0, maximum=1000,
        step=1, upstream="Iterations", mappers=("sparse",), info="For refinement",
    ),
    Control(
        name="matching_confidence", label="Matching Confidence Thr", kind="slider", default=0, minimum=0,
        maximum=30, step=0.1, upstream="Matching Confidence Thr", mappers=("sparse",),
        info="Pairs whose best match is below are held by the network's points only",
    ),
    Control(
        name="schedule", label="Schedule", kind="dropdown", default="linear", upstream="schedule",
        choices=(("linear", "linear"), ("cosine", "cosine")), mappers=("dense",),
        info="For global alignment",
    ),
    Control(
        name="iterations", label="Iterations", kind="number", default=300, minimum=0, maximum=5000, step=1,
        upstream="num_iterations", mappers=("dense",), info="For global alignment",
    ),
    Control(
        name="image_size", label="Image size", kind="slider", default=512, minimum=96, maximum=1024, step=16,
        upstream="--image_size", info="Long side of the photos as the network sees them, in pixels",
    ),
    Control(
        name="seed", label="Seed", kind="number", default=0, minimum=0, maximum=2**31 - 1, step=1,
        info="Of all random choices",
    ),
)  # fmt: skip
"""In the closed accordion. Bounds of the five that depend on the number of photos are for the HTTP API; on
the page `graph_controls` narrows them."""

VIDEO: tuple[Control, ...] = (
    Control(
        name="fps", label="Frames per second", kind="slider", default=1.0, minimum=0.2, maximum=10.0,
        step=0.1, info="The sharpest of each interval is taken",
    ),
)  # fmt: skip

VIEW: tuple[Control, ...] = (
    Control(
        name="percentile", label="Hide the least certain points (%)", kind="slider", default=20, minimum=0,
        maximum=95, step=1,
    ),
    Control(
        name="absolute", label="Absolute confidence", kind="checkbox", default=False,
        info="Hide what is below a number instead of a share",
    ),
    Control(
        name="min_confidence", label="min_conf_thr", kind="slider", default=1.5, minimum=0, maximum=20,
        step=0.1, upstream="min_conf_thr",
    ),
    Control(
        name="max_points", label="Points at most (million)", kind="slider", default=2.0, minimum=0.1,
        maximum=5.0, step=0.1,
    ),
    Control(
        name="surface", label="Surface", kind="radio", default="points", upstream="As pointcloud",
        choices=(("Points", "points"), ("Mesh", "mesh")),
    ),
    Control(
        name="clean_depth", label="Clean-up depthmaps", kind="checkbox", default=True,
        upstream="Clean-up depthmaps", info="Drop points in front of what other photos see",
    ),
    Control(
        name="mask_sky", label="Mask sky", kind="checkbox", default=False, upstream="Mask sky",
    ),
    Control(name="drop_black", label="Hide black background", kind="checkbox", default=False),
    Control(name="drop_white", label="Hide white background", kind="checkbox", default=False),
    Control(name="cameras", label="Cameras", kind="checkbox", default=True),
    Control(
        name="camera_size", label="cam_size", kind="slider", default=0, minimum=0, maximum=1, step=0.001,
        upstream="cam_size", upstream_default=0.2, info="Height of a drawn camera; 0: as the scene is large",
    ),
    Control(
        name="photos_in_cameras", label="Photos in cameras", kind="checkbox", default=True,
        upstream="Transparent cameras",
    ),
    Control(
        name="tsdf", label="TSDF Threshold", kind="slider", default=0, minimum=0, maximum=1, step=0.01,
        upstream="TSDF Threshold", info="Move depths by at most this to where the photos agree; 0: off",
    ),
)  # fmt: skip
"""How a finished scene is shown; they apply without a new run."""

CONTROLS: Mapping[str, Control] = {control.name: control for control in (*BASIC, *ADVANCED, *VIDEO, *VIEW)}


@dataclass(frozen=True)
class Preset:
    """Values that go together.

    Attributes:
        label: on its button.
        values: by the controls' names.
    """

    label: str
    values: Mapping[str, float | int | bool | str]


PRESETS: Mapping[str, Preset] = {
    "fast": Preset("Fast", {"pairs": "auto", "quality": "coarse", "image_size": 256}),
    "balanced": Preset("Balanced", {"pairs": "auto", "quality": "refine", "image_size": 512}),
    "best": Preset("Best", {"pairs": "complete", "quality": "refine+depth", "image_size": 512}),
}
"""Beside them counts what the page was started with; see `preset_values`."""


def preset_values(preset: str, image_size: int) -> dict[str, float | int | bool | str]:
    """What a preset sets, at the image size that the server was started with.

    Args:
        preset: a name of `PRESETS`.
        image_size: of the server; "fast" takes half of it, in steps of the slider.
    """
    values = dict(PRESETS[preset].values)
    control = CONTROLS["image_size"]
    size = image_size // 2 if preset == "fast" else image_size
    step = int(control.step or 1)
    values["image_size"] = max(int(control.minimum or step), size // step * step)
    return values
