"""Tabs "Depth", "Confidence", "Normals", "Matches", "Cameras": drawn by `views` (spec 60 D2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from mast3r_demo.handlers import guarded
from mast3r_demo.reconstruction import Reconstruction
from mast3r_demo.services import Services
from mast3r_demo.showing import save_picture
from mast3r_demo.views import CAMERA_COLUMNS
from mast3r_demo.visits import Visit

KINDS = ("depth", "confidence", "normals")
QUICK: dict[str, Any] = {"queue": False, "api_visibility": "private"}
MEASURE_HINT = "Click two points to measure their distance."


@dataclass(frozen=True)
class PhotoPictures:
    """One of the tabs with a picture for each photo.

    Attributes:
        kind: one of `KINDS`.
        tab: the tab.
        photo: which one is shown.
        previous: goes back.
        following: goes on.
        picture: what is shown.
        hint: what clicks do, where they do something.
        places: where the picture was clicked.
    """

    kind: str
    tab: gr.Tab
    photo: gr.Dropdown
    previous: gr.Button
    following: gr.Button
    picture: gr.Image
    hint: gr.Markdown
    places: gr.State


@dataclass(frozen=True)
class MatchPictures:
    """The tab of matches: a pair's, and how alike all are."""

    tab: gr.Tab
    pair: gr.Dropdown
    picture: gr.Image
    similarity: gr.Image


@dataclass(frozen=True)
class CameraTable:
    """The tab of cameras."""

    tab: gr.Tab
    table: gr.Dataframe
    csv: gr.DownloadButton


def build_photo_pictures(kind: str) -> PhotoPictures:
    """A tab with a picture for each photo, placed here."""
    with gr.Tab(kind.capitalize(), id=kind, elem_id=f"mast3r-tab-{kind}") as tab:
        with gr.Row(equal_height=True):
            previous = gr.Button("Previous", size="sm", min_width=70, elem_id=f"mast3r-{kind}-previous")
            photo = gr.Dropdown(
                [], label="Photo", show_label=False, scale=4, min_width=140, elem_id=f"mast3r-{kind}-photo"
            )
            following = gr.Button("Next", size="sm", min_width=70, elem_id=f"mast3r-{kind}-next")
        picture = _image(kind.capitalize(), f"mast3r-{kind}-picture")
        hint = gr.Markdown("", elem_id=f"mast3r-{kind}-hint", elem_classes="mast3r-hint")
        places = gr.State(())  # inside of the tab: beside tabs it would put their headings out of order
    return PhotoPictures(kind, tab, photo, previous, following, picture, hint, places)


def build_match_pictures() -> MatchPictures:
    """The tab of matches, placed here."""
    with gr.Tab("Matches", id="matches", elem_id="mast3r-tab-matches") as tab:
        pair = gr.Dropdown([], label="Pair, most matches first", elem_id="mast3r-pair")
        picture = _image("Matches", "mast3r-pair-picture")
        similarity = _image("How alike the photos are", "mast3r-similarity")
    return MatchPictures(tab, pair, picture, similarity)


def build_camera_table() -> CameraTable:
    """The tab of cameras, placed here."""
    with gr.Tab("Cameras", id="cameras", elem_id="mast3r-tab-cameras") as tab:
        table = gr.Dataframe(
            headers=list(CAMERA_COLUMNS),
            interactive=False,
            wrap=True,
            show_label=False,
            elem_id="mast3r-camera-table",
        )
        csv = gr.DownloadButton("CSV", size="sm", visible=False, elem_id="mast3r-camera-csv")
    return CameraTable(tab, table, csv)


def _image(label: str, elem_id: str) -> gr.Image:
    return gr.Image(
        label=label, interactive=False, buttons=["download", "fullscreen"], height=460, elem_id=elem_id
    )


def photo_choices(visit: Visit, result: Reconstruction) -> list[tuple[str, int]]:
    """The scene's photos: what the visitor called them, and their numbers in the scene."""
    names = visit.session.photo_names
    return [
        (f"{k + 1}: {names.get(image.name, image.name)}", k) for k, image in enumerate(result.scene.images)
    ]


def pair_list(visit: Visit, result: Reconstruction) -> list[tuple[str, str]]:
    """The pairs for the list, those with most matches first; values are ``i,j``."""
    from mast3r_demo.views import pair_choices

    return [(label, f"{i},{j}") for label, (i, j) in pair_choices(result, visit.session.photo_names)]


def wire_photo_pictures(services: Services, tab: PhotoPictures, state: gr.State, finished: Any) -> None:
    """Draw what is asked for.

    Args:
        services: of the server.
        tab: the components.
        state: the visit.
        finished: the event after which there is another result.
    """

    @guarded
    def draw(visit: Visit | None, photo: int | None) -> tuple[Any, ...]:
        result = _result(services, visit)
        if visit is None or result is None or photo is None:
            return None, "", ()
        hint = MEASURE_HINT if tab.kind == "depth" and result.metric else ""
        return str(save_picture(visit, tab.kind, _picture(tab.kind, result, int(photo)))), hint, ()

    @guarded
    def step(visit: Visit | None, photo: int | None, by: int) -> Any:
        result = _result(services, visit)
        if result is None:
            return gr.skip()
        return (int(photo or 0) + by) % len(result.scene.images)

    drawing: dict[str, Any] = {
        "fn": draw,
        "inputs": [state, tab.photo],
        "outputs": [tab.picture, tab.hint, tab.places],
        "show_progress": "minimal",
        **QUICK,
    }
    finished.then(**drawing)
    tab.tab.select(**drawing)
    tab.photo.input(**drawing, trigger_mode="always_last")
    for button, by in ((tab.previous, -1), (tab.following, 1)):
        stepped = button.click(
            lambda visit, photo, by=by: step(visit, photo, by),
            [state, tab.photo],
            [tab.photo],
            show_progress="hidden",
            **QUICK,
        )
        stepped.then(**drawing)
    if tab.kind == "depth":
        _wire_measuring(services, tab, state)


def wire_match_pictures(services: Services, tab: MatchPictures, state: gr.State, finished: Any) -> None:
    """Draw the pair that is chosen, and all pairs; see `wire_photo_pictures`."""

    @guarded
    def draw(visit: Visit | None, pair: str | None) -> Any:
        from mast3r_demo.views import pair_picture

        result = _result(services, visit)
        if visit is None or result is None or not pair:
            return None
        i, j = (int(number) for number in pair.split(","))
        return str(
            save_picture(visit, "matches", pair_picture(result, i, j, names=visit.session.photo_names))
        )

    @guarded
    def draw_all(visit: Visit | None) -> Any:
        from mast3r_demo.views import similarity_picture

        result = _result(services, visit)
        if visit is None or result is None:
            return None
        return str(save_picture(visit, "similarity", similarity_picture(result)))

    one: dict[str, Any] = {"fn": draw, "inputs": [state, tab.pair], "outputs": [tab.picture],
                           "show_progress": "minimal", **QUICK}  # fmt: skip
    every: dict[str, Any] = {"fn": draw_all, "inputs": [state], "outputs": [tab.similarity],
                             "show_progress": "minimal", **QUICK}  # fmt: skip
    for drawing in (one, every):
        finished.then(**drawing)
        tab.tab.select(**drawing)
    tab.pair.input(**one, trigger_mode="always_last")


def wire_camera_table(services: Services, tab: CameraTable, state: gr.State, finished: Any) -> None:
    """Fill the table; see `wire_photo_pictures`."""

    @guarded
    def fill(visit: Visit | None) -> Any:
        from mast3r_demo.views import camera_rows, write_camera_csv

        result = _result(services, visit)
        if visit is None or result is None:
            return None, gr.update(visible=False)
        with visit.session.new_export("cameras.csv") as temporary:
            write_camera_csv(result.scene, temporary, visit.session.photo_names)
        csv = visit.publish(visit.session.exports / "cameras.csv", "csv")
        return camera_rows(result.scene, visit.session.photo_names), gr.update(value=str(csv), visible=True)

    filling: dict[str, Any] = {"fn": fill, "inputs": [state], "outputs": [tab.table, tab.csv], **QUICK}
    finished.then(**filling)
    tab.tab.select(**filling)


def _wire_measuring(services: Services, tab: PhotoPictures, state: gr.State) -> None:
    """Two clicks into the depth of a scene in metres: how far apart the two things are."""

    @guarded
    def click(visit: Visit | None, photo: int | None, places: Any, event: gr.SelectData) -> tuple[Any, ...]:
        from mast3r_demo.views import measure, with_marks

        result = _result(services, visit)
        if visit is None or result is None or photo is None or not result.metric:
            return gr.skip(), gr.skip(), ()
        x, y = event.index
        places = (*places, (float(x), float(y))) if len(places) < 2 else ((float(x), float(y)),)
        text = ""
        if len(places) == 2:
            text = f"{measure(result.scene, int(photo), *places):.2f} m"
        drawn = with_marks(_picture(tab.kind, result, int(photo)), places, text)
        return str(save_picture(visit, tab.kind, drawn)), text or MEASURE_HINT, places

    tab.picture.select(
        click,
        [state, tab.photo, tab.places],
        [tab.picture, tab.hint, tab.places],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _picture(kind: str, result: Reconstruction, number: int) -> Any:
    from mast3r_demo import views

    number = min(max(number, 0), len(result.scene.images) - 1)
    if kind == "depth":
        return views.depth_picture(result.scene, number, metric=result.metric)
    return {"confidence": views.confidence_picture, "normals": views.normals_picture}[kind](
        result.scene, number
    )


def _result(services: Services, visit: Visit | None) -> Reconstruction | None:
    return None if visit is None else services.visits.enter(visit).session.result
