"""What ``mast3r demo`` is told, and what follows from it (spec 60 D7)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mast3r_model import ConfigError, InputError
from mast3r_model.cli import ModelOptions

from .limits import Limits

EVERYWHERE = "0.0.0.0"
FIRST_PORT = 7860
DEFAULT_IMAGE_SIZE = 512


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The flags of ``mast3r demo``; their help texts say what they are.

    Attributes:
        model: which network, and where it computes.
        retrieval: a retrieval checkpoint; None: the network's own features say which photos look alike.
        mapper: what the page is set to.
        image_size: what the page is set to; None: the network's.
        host: address to listen at.
        port: None: the first free one from 7860.
        share: open gradio's tunnel; needs ``auth`` or ``share_without_password``.
        share_without_password: open it to everybody.
        auth: (user, password) pairs; none: everybody may.
        root_path: path under which a proxy shows the page.
        ssl_certificate: PEM file.
        ssl_key: PEM file.
        workdir: where sessions are kept; None: a temporary folder.
        keep: leave the sessions' files when the server ends.
        keep_hours: how long an unused session is kept.
        shared_cache: predictions are shared between sessions.
        limits: of what visitors may ask for.
        disk_limit_bytes: above it, unused sessions are removed, oldest first.
        examples: folder of example sets, one folder of photos each; None: ours.
        open_browser: open the page.
        preload: load the network before listening.
        quiet: say nothing but errors.
    """

    model: ModelOptions = field(default_factory=ModelOptions)
    retrieval: str | None = None
    mapper: str = "sparse"
    image_size: int | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    share: bool = False
    share_without_password: bool = False
    auth: Sequence[tuple[str, str]] = ()
    root_path: str | None = None
    ssl_certificate: Path | None = None
    ssl_key: Path | None = None
    workdir: Path | None = None
    keep: bool = False
    keep_hours: float = 2.0
    shared_cache: bool = False
    limits: Limits = field(default_factory=Limits)
    disk_limit_bytes: int = 20 << 30
    examples: Path | None = None
    open_browser: bool = False
    preload: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        """See that what belongs together is together.

        Raises:
            ConfigError: the tunnel without a password, one half of a certificate, files kept in a temporary
                folder.
        """
        if self.share and not self.auth and not self.share_without_password:
            raise ConfigError(
                "--share opens the page to everybody who has its address",
                "add --auth USER:PASSWORD, or --share-without-password if you mean it",
            )
        if (self.ssl_certificate is None) != (self.ssl_key is None):
            raise ConfigError("--ssl-cert and --ssl-key belong together", "give both, or none")
        if self.keep and self.workdir is None:
            raise ConfigError("--keep keeps the files of --workdir", "name a folder with --workdir")

    @property
    def only_this_machine(self) -> bool:
        """Whether nobody else can reach the page."""
        if self.share:
            return False
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def page_image_size(self) -> int:
        """What the page's image size is set to."""
        return self.image_size or DEFAULT_IMAGE_SIZE


def parse_auth(pairs: Sequence[str], file: Path | None) -> list[tuple[str, str]]:
    """Users and passwords.

    Args:
        pairs: ``USER:PASSWORD`` each.
        file: the same, one on a line; empty lines and those that begin with ``#`` are skipped.

    Raises:
        InputError: something else, or the file cannot be read. The message does not repeat passwords.
    """
    told = [("--auth", text) for text in pairs]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read --auth-file {file}: {error}") from error
        told += [
            (f"{file}, line {number}", line.strip())
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.startswith("#")
        ]
    found = []
    for place, text in told:
        user, colon, password = text.partition(":")
        if not (user and colon and password):
            raise InputError(f"{place} is not USER:PASSWORD", "separate the two by a colon, both not empty")
        found.append((user, password))
    return found
