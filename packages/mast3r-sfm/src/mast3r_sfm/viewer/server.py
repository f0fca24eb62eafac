"""A viser server that listens where it was told to, says nothing by itself, and opens no tunnel."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import logging
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mast3r_model import InputError, OutputError, PluginError

if TYPE_CHECKING:
    import viser

log = logging.getLogger("mast3r.sfm.viewer")

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTS_TRIED = 100


def require_viser() -> None:
    """See that the viewer can be shown, before anything long is done for it.

    Raises:
        PluginError: viser is not installed.
    """
    try:
        found = importlib.util.find_spec("viser") is not None
    except ValueError:  # it is known not to be there
        found = False
    if not found:
        raise PluginError('the viewer needs viser, which is not installed: pip install "mast3r-sfm[viewer]"')


def open_server(host: str, port: int, *, exact: bool) -> viser.ViserServer:
    """Start listening.

    Args:
        host: address to bind.
        port: to listen at; 0: the system chooses one.
        exact: whether another port will not do; else the next free one is taken.

    Raises:
        InputError: the address is none of this machine.
        OutputError: the port cannot be had.
        PluginError: viser is not installed.
    """
    require_viser()
    free = find_port(host, port, exact=exact)
    with _silence():
        from .local_server import LocalServer

        server = LocalServer(host=host, port=free, label="mast3r", verbose=False)
    if exact and port and server.get_port() != port:
        close_server(server)
        raise _port_taken(port, server.get_port())
    server.gui.configure_theme(show_share_button=False, control_width="medium")
    return server


def close_server(server: viser.ViserServer) -> None:
    """Stop listening and end the server's threads."""
    with _silence():
        server.stop()


def server_url(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    shown = "localhost" if host in ("0.0.0.0", "::") else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def find_port(host: str, port: int, *, exact: bool) -> int:
    """The port, or the first free one after it.

    Args:
        host: address to bind.
        port: where to start; 0 is returned as it is.
        exact: whether another port will not do.

    Raises:
        InputError: the address is none of this machine.
        OutputError: the port cannot be had, or none of a hundred.
    """
    if _is_free(host, port):
        return port
    others = range(port + 1, min(port + PORTS_TRIED, 65536))
    free = next((other for other in others if _is_free(host, other)), None)
    if exact or free is None:
        raise _port_taken(port, free)
    return free


def _port_taken(port: int, free: int | None) -> OutputError:
    hint = "name another one with --port" if free is None else f"port {free} is free: --port {free}"
    return OutputError(f"something else listens at port {port}", hint)


def _is_free(host: str, port: int) -> bool:
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in places:
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(place)
    except PermissionError as error:
        raise OutputError(f"port {port} needs rights that you do not have", "use --port 8080") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise InputError(
            f"cannot listen at {host}: {error.strerror}", "expected an address of this machine"
        ) from error
    return True


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """viser greets and takes leave on stdout, which is for results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
