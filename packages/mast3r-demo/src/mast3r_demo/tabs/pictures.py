"""Tabs "Depth", "Confidence", "Normals", "Matches", "Cameras": computed when looked at (spec 60 D2)."""

from __future__ import annotations

from collections.abc import Callable
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
    """

    kind: str
    tab: gr.Tab
    photo: gr.Dropdown
    previous: gr.Button
    following: gr.Button
    picture: gr.Image


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
    return PhotoPictures(kind, tab, photo, previous, following, picture)


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
            elem_id="mast3r-cameras",
        )
        csv = gr.DownloadButton("CSV", size="sm", visible=False, elem_id="mast3r-cameras-csv")
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


def wire_photo_pictures(services: Services, tab: PhotoPictures, state: gr.State) -> None:
    """Draw what is asked for."""

    @guarded
    def draw(visit: Visit | None, photo: int | None) -> Any:
        result = _result(services, visit)
        if visit is None or result is None or photo is None:
            return None
        number = min(max(int(photo), 0), len(result.scene.images) - 1)
        return str(save_picture(visit, tab.kind, _painter(tab.kind)(result.scene, number)))

    @guarded
    def step(visit: Visit | None, photo: int | None, by: int) -> Any:
        result = _result(services, visit)
        if result is None:
            return gr.skip()
        return (int(photo or 0) + by) % len(result.scene.images)

    quick: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    drawing = {"fn": draw, "inputs": [state, tab.photo], "outputs": [tab.picture], **quick}
    tab.tab.select(**drawing, show_progress="minimal")
    tab.photo.change(**drawing, show_progress="minimal", trigger_mode="always_last")
    for button, by in ((tab.previous, -1), (tab.following, 1)):
        button.click(
            lambda visit, photo, by=by: step(visit, photo, by),
            [state, tab.photo],
            [tab.photo],
            show_progress="hidden",
            **quick,
        )


def wire_match_pictures(services: Services, tab: MatchPictures, state: gr.State) -> None:
    """Draw the pair that is chosen, and all pairs."""

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

    quick: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "minimal"}
    tab.tab.select(draw, [state, tab.pair], [tab.picture], **quick)
    tab.tab.select(draw_all, [state], [tab.similarity], **quick)
    tab.pair.change(draw, [state, tab.pair], [tab.picture], trigger_mode="always_last", **quick)


def wire_camera_table(services: Services, tab: CameraTable, state: gr.State) -> None:
    """Fill the table."""

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

    tab.tab.select(fill, [state], [tab.table, tab.csv], queue=False, api_visibility="private")


def _painter(kind: str) -> Callable[..., Any]:
    from mast3r_demo import views

    painters = {
        "depth": views.depth_picture,
        "confidence": views.confidence_picture,
        "normals": views.normals_picture,
    }
    return painters[kind]


def _result(services: Services, visit: Visit | None) -> Reconstruction | None:
    return None if visit is None else services.visits.enter(visit).session.result
