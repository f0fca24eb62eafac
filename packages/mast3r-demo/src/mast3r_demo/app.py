"""The page: a Blocks app of tabs, and the HTTP API (spec 60 D1)."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mast3r_model import registry

from .api import wire_api
from .example_sets import find_examples
from .server_options import ServerOptions
from .services import Network, Services
from .session import SessionStore
from .tabs.reconstruct import build_reconstruct, wire_examples, wire_reconstruct
from .visits import Visits

TITLE = "MASt3R"
QUICK_EVENTS = 8
SWEEP_GRADIO_SECONDS = 1800


def build_app(options: ServerOptions, model_loader: Any, store: SessionStore) -> gr.Blocks:
    """The page.

    Args:
        options: of the server.
        model_loader: loads the network; called on the first job, or before by ``options.preload``.
        store: of the visitors' sessions; ``GRADIO_TEMP_DIR`` must be its ``gradio_folder``.

    Raises:
        InputError: the folder of examples is none.
    """
    services = Services(options, Visits(store), Network(model_loader, options.model.model))
    examples = find_examples(options.examples)
    gr.set_static_paths([path for example in examples for path in example.photos])
    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        delete_cache=(SWEEP_GRADIO_SECONDS, max(1, round(options.keep_hours * 3600))),
        fill_width=True,
    ) as page:
        state = gr.State(None, delete_callback=services.visits.leave)
        gr.HTML(_title(services), elem_id="mast3r-title")
        with gr.Tabs(elem_id="mast3r-main-tabs"):
            with gr.Tab("Reconstruct", id="reconstruct", elem_id="mast3r-main-reconstruct"):
                reconstruct = build_reconstruct(services, examples)
            _other_tabs(services, state)
        wire_reconstruct(services, reconstruct, state)
        wire_examples(services, reconstruct, examples)
        wire_api(services, reconstruct, state)
    page.queue(max_size=options.limits.queue_size, default_concurrency_limit=QUICK_EVENTS)
    page.services = services  # the server ends visits and preloads through it
    return page


def _other_tabs(services: Services, state: gr.State) -> None:
    from .tabs.localize import build_localize
    from .tabs.match import build_match

    with gr.Tab("Match two photos", id="match", elem_id="mast3r-main-match"):
        build_match(services, state)
    if registry("localizers").names():
        with gr.Tab("Localize a photo", id="localize", elem_id="mast3r-main-localize"):
            build_localize(services, state)


def _title(services: Services) -> str:
    from html import escape

    model = escape(services.network.name)
    kept = "stay on this server" + ("" if services.options.keep else ", and are deleted with the session")
    about = f"Photos of one place to cameras, depth and points. Network: {model}. Photos {kept}."
    return f"<h1>{TITLE}</h1><p>{about}</p>"
