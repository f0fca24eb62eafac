"""The server of ``mast3r demo``: every switch of gradio is set here, on purpose (spec 60 B1, D6, D8)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_model import InputError

from .server_options import FIRST_PORT, ServerOptions
from .session import SessionStore
from .stopping import stop_signals

if TYPE_CHECKING:
    import gradio as gr

    from mast3r_model import AsymmetricCroCo3DStereo

    from .services import Network

LOGGER = logging.getLogger("mast3r.demo")
TRIED_PORTS = 100
SYSTEM_FOLDERS = ("/etc", "/root", "/home", "/usr", "/proc", "/sys", "/dev", "/boot", "/run/secrets")


def build_app(
    options: ServerOptions, model_loader: Callable[[], AsymmetricCroCo3DStereo], store: SessionStore
) -> gr.Blocks:
    """The page; see `mast3r_demo.app.build_app`.

    Gradio reads its environment when it is imported and when components are made: this is called inside
    `gradio_environment`.
    """
    from .app import build_app as build

    return build(options, model_loader, store)


def network_of(page: gr.Blocks) -> Network:
    """The network of a page that `build_app` made."""
    network: Network = page.services.network  # type: ignore[attr-defined]
    return network


@contextmanager
def gradio_environment(folder: Path) -> Iterator[None]:
    """Take gradio's own variables out of the environment, so that our flags mean what they say.

    Args:
        folder: for gradio's files.
    """
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("GRADIO_")}
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        yield
    finally:
        for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
            os.environ.pop(name, None)
        os.environ.update(before)


def open_store(options: ServerOptions) -> SessionStore:
    """The folder of the sessions.

    Raises:
        InputError: another server uses it.
        OutputError: it cannot be written.
    """
    settings: dict[str, Any] = {
        "keep_hours": options.keep_hours,
        "disk_limit_bytes": options.disk_limit_bytes,
        "shared_cache": options.shared_cache,
    }
    if options.workdir is None:
        return SessionStore.temporary(**settings)
    return SessionStore(options.workdir, keep=options.keep, **settings)


def launch(page: gr.Blocks, options: ServerOptions, store: SessionStore) -> str:
    """Listen; returns the address. Every switch is set, so that no variable or default decides.

    Raises:
        InputError: the port is taken, or the address is none of this machine.
    """
    from .theme import CSS, RELEASE_SLIDERS, page_theme

    port = free_port(options.host, options.port)
    limits = options.limits
    _, local, shared = page.launch(
        inline=False,
        inbrowser=options.open_browser,
        share=options.share,
        debug=False,
        auth=list(options.auth) or None,
        prevent_thread_lock=True,
        show_error=True,
        server_name=options.host,
        server_port=port,
        ssl_keyfile=_text(options.ssl_key),
        ssl_certfile=_text(options.ssl_certificate),
        ssl_verify=False,
        quiet=True,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        blocked_paths=blocked_paths(store.root),
        root_path=options.root_path or "",
        max_file_size=max(limits.max_file_bytes, limits.max_video_bytes),
        enable_monitoring=False,
        strict_cors=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        num_workers=0,
        theme=page_theme(),
        css=CSS,
        js=RELEASE_SLIDERS,
    )
    return str(shared if options.share and shared else local)


def blocked_paths(root: Path) -> list[str]:
    """What gradio must never serve, whatever else allows it; the sessions' own folder must not be in it."""
    folders = [str(Path.home()), *SYSTEM_FOLDERS]
    return [folder for folder in dict.fromkeys(folders) if not root.resolve().is_relative_to(folder)]


def free_port(host: str, wanted: int | None) -> int:
    """The wanted port, or the first free one from 7860.

    Raises:
        InputError: it is taken, or the address is none of this machine.
    """
    ports = [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + TRIED_PORTS)
    reason = ""
    for port in ports:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
            return port
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    shown = (
        f"port {wanted}" if wanted is not None else f"ports {FIRST_PORT} to {FIRST_PORT + TRIED_PORTS - 1}"
    )
    raise InputError(
        f"cannot listen at {host}, {shown}: {reason}", "choose another --port, or another --host"
    )


def serve(
    options: ServerOptions,
    model_loader: Callable[[], AsymmetricCroCo3DStereo],
    *,
    on_start: Callable[[str, SessionStore], None] | None = None,
) -> None:
    """Run the server until SIGINT or SIGTERM; then jobs are cancelled and the sessions' files deleted.

    Args:
        options: of the server.
        model_loader: loads the network; called on the first job, or now by ``options.preload``.
        on_start: told the address and the work folder when the page can be opened.

    Raises:
        InputError: the port or the work folder is taken.
    """
    free_port(options.host, options.port)  # a port that is taken is told before gradio is imported
    with stop_signals() as stop, open_store(options) as store, gradio_environment(store.gradio_folder):
        page = build_app(options, model_loader, store)
        if options.preload:
            network_of(page).get()
        try:
            address = launch(page, options, store)
            if on_start is not None:
                on_start(address, store)
            stop.wait()
        finally:
            LOGGER.info("stopping: jobs are cancelled, files are deleted")
            page.close(verbose=False)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
