"""``report.html``: one file that shows what a reconstruction did; it opens from disk and loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from mast3r_model.pages import note, section, self_contained_page, text
from mast3r_sfm.quantities import compact, duration, memory
from mast3r_sfm.scene import Scene

from .contents import Report, curves_of, dropped_of, mapping, number, pairs_of, stages_of
from .loss_curves import loss_curves
from .match_matrix import match_matrix
from .tables import dropped_table, image_table, pair_table, stage_bars
from .top_view import top_view

MAX_TOP_VIEWS = 12


def report_page(scene: Scene) -> str:
    """The page of a scene.

    Everything that its report does not hold is left out, and of everything that grows with the number of
    photos only so much is shown that 1,000 photos stay below 15 MB.

    Args:
        scene: with its report.

    Returns:
        HTML, to be written as UTF-8.
    """
    parts = files(__package__)
    return self_contained_page(
        f"Reconstruction of {len(scene.images)} photos",
        _sections(scene),
        style=parts.joinpath("page.css").read_text("utf-8"),
        script=parts.joinpath("page.js").read_text("utf-8"),
    )


def _sections(scene: Scene) -> Iterator[str]:
    report, dropped = scene.report, dropped_of(scene)
    pairs = pairs_of(report)
    names = [image.name for image in scene.images]
    tried = [name for pair in pairs for name in (pair.image0, pair.image1)]
    yield _summary(scene)
    yield section("Photos that are left out", dropped_table(dropped))
    yield section("Cameras from above", *_top_views(scene))
    matrix = match_matrix(list(dict.fromkeys([*names, *tried])), pairs)
    yield section(
        "What was matched with what",
        f'<div class="pairs">{matrix}<div>{pair_table(pairs)}</div></div>' if pairs else "",
    )
    yield section("Loss", loss_curves(curves_of(report)))
    yield section("Time and memory", stage_bars(stages_of(report)))
    yield section("Photos", image_table(scene))


def _summary(scene: Scene) -> str:
    tiles = "".join(
        f"<div><b>{text(value)}</b><span>{text(what)}</span></div>" for what, value in _tiles(scene)
    )
    facts = "".join(f"<dt>{text(what)}</dt><dd>{text(value)}</dd>" for what, value in _facts(scene.report))
    return f'{_warnings(scene)}<div class="tiles">{tiles}</div>' + (f"<dl>{facts}</dl>" if facts else "")


def _tiles(scene: Scene) -> Iterator[tuple[str, str]]:
    report = scene.report
    total = number(report.get("images")) or len(scene.images) + len(scene.dropped)
    yield "photos placed", f"{len(scene.images)} of {total:.0f}"
    pairs = pairs_of(report)
    if pairs:
        used = sum(pair.matches > 0 and pair.same_place is not False for pair in pairs)
        yield "pairs matched", f"{used:,} of {len(pairs):,}"
    tracks = scene.tracks
    yield "points seen in several photos", f"{len(tracks):,}"
    if len(tracks.track):
        yield "mean reprojection error", f"{float(tracks.reprojection_error.mean()):.2f} px"
    yield "dense points", f"{len(scene.points):,}"
    stages = stages_of(report)
    if stages:
        yield "time", duration(sum(stage.seconds for stage in stages))
        if any(stage.peak_bytes for stage in stages):
            yield "most memory", memory(max(stage.peak_bytes for stage in stages))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    """Lines of the summary that are only known from the report."""
    if "mapper" in report:
        yield "mapper", str(report["mapper"])
    for what, value in mapping(report.get("options")).items():
        yield what.replace("_", " "), _plain(value)
    refinement = mapping(report.get("refinement"))
    if refinement:
        yield "refinement", _refinement(refinement)
    if "scale" in report:
        yield "scale", _plain(report["scale"])
    threshold = number(report.get("min_confidence"))
    if threshold is not None:
        yield "dense points have a confidence above", compact(threshold)
    versions = mapping(report.get("versions"))
    if versions:
        yield "versions", ", ".join(f"{what} {value}" for what, value in versions.items())


def _refinement(refinement: Report) -> str:
    before, after = (number(refinement.get(f"held_out_error_{when}")) for when in ("before", "after"))
    words = "bundle adjustment kept" if refinement.get("accepted") else "no bundle adjustment"
    if before is not None and after is not None:
        words += f": {before:.3f} px before, {after:.3f} px after, on tracks held out of it"
    return f"{words}: {refinement['reason']}" if refinement.get("reason") else words


def _plain(value: object) -> str:
    """A value of the report in words."""
    if isinstance(value, list | tuple):
        return "; ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(item)}" for key, item in value.items())
    measured = number(value)
    return str(value) if measured is None else compact(measured)


def _warnings(scene: Scene) -> str:
    lines = []
    if scene.dropped:
        count = len(scene.dropped)
        lines.append(f"{count} {'photos are' if count > 1 else 'photo is'} left out; the reasons are below.")
    groups = len({image.component for image in scene.images})
    if groups > 1:
        lines.append(
            f"The photos fall into {groups} groups that no match connects. "
            "Positions and sizes of different groups do not relate to each other."
        )
    return "".join(f'<p class="warning">{line}</p>' for line in lines)


def _top_views(scene: Scene) -> Iterator[str]:
    groups = scene.components() if scene.images else ()
    number_of = {image.name: number for number, image in enumerate(scene.images)}
    for count, group in enumerate(groups[:MAX_TOP_VIEWS]):
        if len(groups) > 1:
            yield f"<h3>Group {count}: {len(group.images)} photos</h3>"
        yield top_view(group, [number_of[image.name] for image in group.images])
    if groups:
        yield note(
            "Numbers are those of the table of photos; dots are points seen in several photos. The bar is in "
            "the scene's units, metres as far as the network can tell."
        )
    if len(groups) > MAX_TOP_VIEWS:
        yield note(f"{len(groups) - MAX_TOP_VIEWS} more groups are not drawn.")
