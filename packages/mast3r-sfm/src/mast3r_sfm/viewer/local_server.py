"""The one module that imports viser when it is loaded."""

from __future__ import annotations

import logging

import viser

log = logging.getLogger("mast3r.sfm.viewer")


class LocalServer(viser.ViserServer):
    """A server whose scene stays on this machine, whoever asks."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Refuse: a visitor's message could otherwise publish the scene through a foreign server."""
        log.warning("a visitor asked for a public address of the viewer; there is none")
        return None
