"""Checkpoints at a web address, such as the .pth files that upstream publishes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mast3r_model.errors import CheckpointError


def is_url(text: str) -> bool:
    """Whether a text is a web address."""
    return text.startswith(("http://", "https://"))


def fetch_url(url: str) -> Path:
    """The file at a web address, downloaded into torch's cache unless it is there already.

    Raises:
        CheckpointError: it cannot be downloaded.
    """
    import torch

    name = Path(unquote(urlsplit(url).path)).name or "checkpoint"
    # Files of one name may lie at several addresses.
    folder = Path(torch.hub.get_dir()) / "mast3r" / hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder / name
    if path.exists():
        return path
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise CheckpointError(f"{url} is not on this disk, and nothing may be downloaded")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)  # whole, or not at all
    except (OSError, ValueError) as error:  # what urllib raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"cannot download {url}: {reason}", hint="check the address and the connection"
        ) from error
    return path
