"""The page's controls: names, ranges and defaults of spec 60 A2, A3, D2; and bounds for any number of photos."""

from __future__ import annotations

import math

import pytest

from mast3r_demo.controls import (
    ADVANCED,
    BASIC,
    CONTROLS,
    MAPPERS,
    PRESETS,
    VIDEO,
    VIEW,
    Control,
    preset_values,
)
from mast3r_demo.graph_rules import NEEDS_MORE, Bounds, graph_controls, largest_window
from mast3r_demo.request import settings_from
from mast3r_demo.settings import ReconstructionSettings

COUNTS = (0, 1, 2, 5, 40)
GRAPHS = ("auto", "complete", "swin", "logwin", "retrieval", "oneref")

# name, upstream's label, default, minimum, maximum, step: spec 60 A2; the ones of A3 below
SPARSE = [
    ("coarse_lr", "Coarse LR", 0.07, 0.01, 0.2, 0.01),
    ("coarse_iterations", "Iterations", 300, 0, 1000, 1),
    ("fine_lr", "Fine LR", 0.01, 0.005, 0.05, 0.001),
    ("fine_iterations", "Iterations", 300, 0, 1000, 1),
    ("matching_confidence", "Matching Confidence Thr", 0, 0, 30, 0.1),
    ("tsdf", "TSDF Threshold", 0, 0, 1, 0.01),
]
DENSE = [("iterations", "num_iterations", 300, 0, 5000, 1)]


@pytest.mark.parametrize(("name", "label", "default", "minimum", "maximum", "step"), SPARSE + DENSE)
def test_a_slider_of_upstream_has_its_name_range_and_default(
    name: str, label: str, default: float, minimum: float, maximum: float, step: float
) -> None:
    control = CONTROLS[name]
    assert control.upstream == label
    assert (control.default, control.minimum, control.maximum, control.step) == (
        default,
        minimum,
        maximum,
        step,
    )


def test_choices_of_upstream_are_all_there() -> None:
    def values(name: str) -> set[str]:
        return {value for _, value in CONTROLS[name].choices}

    assert values("quality") == {"coarse", "refine", "refine+depth"}
    assert values("pairs") == set(GRAPHS)
    assert values("mapper") == set(MAPPERS)
    assert values("schedule") == {"linear", "cosine"}
    upstream = {control.upstream for control in CONTROLS.values()}
    assert {"Shared intrinsics", "Cyclic sequence", "min_conf_thr", "cam_size", "As pointcloud", "Mask sky",
            "Clean-up depthmaps", "Transparent cameras"} <= upstream  # fmt: skip
    assert CONTROLS["clean_depth"].default is True
    assert CONTROLS["min_confidence"].default == 1.5
    assert CONTROLS["percentile"].default == 20
    assert CONTROLS["percentile"].maximum == 95
    assert CONTROLS["fps"].minimum == 0.2
    assert CONTROLS["fps"].maximum == 10


@pytest.mark.parametrize("control", CONTROLS.values(), ids=lambda control: control.name)
def test_every_row_of_the_tables_is_one_that_gradio_takes(control: Control) -> None:
    if control.kind in ("slider", "number"):
        assert control.minimum is not None
        assert control.maximum is not None
        assert control.minimum < control.maximum
        assert control.minimum <= float(control.default) <= control.maximum
    if control.kind in ("radio", "dropdown"):
        assert control.default in [value for _, value in control.choices]
    if control.kind == "checkbox":
        assert isinstance(control.default, bool)


def test_no_name_and_no_id_comes_twice() -> None:
    rows = [*BASIC, *ADVANCED, *VIDEO, *VIEW]
    assert len({row.name for row in rows}) == len(rows) == len({row.elem_id for row in rows})


@pytest.mark.parametrize("mapper", MAPPERS)
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("cyclic", [False, True])
def test_no_slider_is_ever_invalid(mapper: str, graph: str, count: int, cyclic: bool) -> None:
    state = graph_controls(graph, count, cyclic=cyclic, mapper=mapper)
    shown = [state.window, state.reference, state.key_images, state.neighbours]
    for bounds in filter(None, shown):
        assert bounds.minimum < bounds.maximum, "gradio 6 refuses equal bounds"
        assert bounds.minimum <= bounds.value <= bounds.maximum
    few = count < 3
    assert bool(state.hint) == (few and any(shown))
    if few:
        # two photos may still have either as the reference
        assert not any(
            bounds.enabled for bounds in (state.window, state.key_images, state.neighbours) if bounds
        )


@pytest.mark.parametrize(
    ("graph", "cyclic", "largest"), [("swin", False, 39), ("swin", True, 20), ("logwin", False, 6),
                                     ("logwin", True, 5)]
)  # fmt: skip
def test_upper_bounds_of_forty_photos_are_those_of_the_spec(graph: str, cyclic: bool, largest: int) -> None:
    assert largest_window(graph, 40, cyclic=cyclic) == largest
    assert graph_controls(graph, 40, cyclic=cyclic).window == Bounds(2, largest, 3)


@pytest.mark.parametrize("count", [3, 4, 5, 17, 40])
@pytest.mark.parametrize("cyclic", [False, True])
def test_upper_bounds_follow_upstreams_formulas(count: int, cyclic: bool) -> None:
    half = math.ceil((count - 1) / 2)
    assert largest_window("swin", count, cyclic=cyclic) == (max(1, half) if cyclic else count - 1)
    expected = max(1, math.ceil(math.log2(half if cyclic else count)))
    assert largest_window("logwin", count, cyclic=cyclic) == expected


def test_retrieval_and_one_reference_of_forty_photos() -> None:
    state = graph_controls("retrieval", 40)
    assert state.key_images == Bounds(0, 40, 20)
    assert state.neighbours == Bounds(1, 39, 10)
    assert state.window is None
    assert not state.cyclic
    assert graph_controls("oneref", 40).reference == Bounds(0, 39, 0)


def test_graphs_without_parameters_show_none() -> None:
    for graph in ("auto", "complete"):
        state = graph_controls(graph, 1)
        assert (state.window, state.reference, state.key_images, state.hint) == (None, None, None, "")


def test_too_few_photos_are_told() -> None:
    assert graph_controls("swin", 2).hint == NEEDS_MORE
    assert graph_controls("retrieval", 0).hint == NEEDS_MORE


def test_controls_belong_to_their_mapper() -> None:
    shown = {mapper: {c.name for c in (*BASIC, *ADVANCED) if c.shown(mapper, "auto")} for mapper in MAPPERS}
    assert {"coarse_lr", "fine_lr", "quality", "matching_confidence"} <= shown["sparse"]
    assert {"schedule", "iterations"} <= shown["dense"]
    assert not {"schedule", "iterations"} & shown["sparse"]
    assert not {"coarse_lr", "quality"} & (shown["dense"] | shown["colmap"] | shown["glomap"])
    assert "same_camera" in shown["glomap"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("image_size", [96, 224, 512])
def test_presets_set_values_that_their_controls_have(preset: str, image_size: int) -> None:
    for name, value in preset_values(preset, image_size).items():
        control = CONTROLS[name]
        if control.choices:
            assert value in [choice for _, choice in control.choices]
        else:
            assert control.minimum is not None
            assert control.maximum is not None
            assert control.minimum <= float(value) <= control.maximum
    best = preset_values("best", image_size)
    assert best["quality"] == "refine+depth"
    assert best["image_size"] == image_size


def test_the_pages_defaults_are_settings() -> None:
    values = {control.name: control.default for control in (*BASIC, *ADVANCED)}
    settings = settings_from(values, retrieval=None, fps=None)
    assert settings == ReconstructionSettings()
    assert settings.graph == "auto"
    assert not settings.by_adam


def test_what_hidden_controls_still_hold_does_not_count() -> None:
    values = {control.name: control.default for control in (*BASIC, *ADVANCED)}
    left = {**values, "window": 1, "key_images": 2, "neighbours": 1, "reference": 4, "cyclic": True}
    assert settings_from(left, retrieval="r.pth", fps=None).graph_name(40) == "retrieval-20-10"
    chosen = settings_from({**left, "pairs": "retrieval"}, retrieval=None, fps=None)
    assert chosen.graph_name(40) == "retrieval-2-1"


def test_a_value_that_is_no_number_is_refused() -> None:
    from mast3r_model import InputError

    values = {control.name: control.default for control in (*BASIC, *ADVANCED)}
    for wrong in ("abc", 1.5, True, None):
        with pytest.raises(InputError, match="seed"):
            settings_from({**values, "seed": wrong}, retrieval=None, fps=None)
