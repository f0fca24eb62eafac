"""From what the user wrote (preset, hub id, folder, file) to files on this disk."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from mast3r_model.checkpoints.presets import ModelPreset
from mast3r_model.checkpoints.urls import fetch_url, is_url
from mast3r_model.errors import CheckpointError
from mast3r_model.plugins import nearest_names, registry

CONFIG_NAME = "config.json"
SAFETENSORS_NAME = "model.safetensors"
PICKLE_NAME = "pytorch_model.bin"
HUB_ORGANISATION = "naver"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILE_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Location:
    """Where a checkpoint is.

    Attributes:
        kind: "path" (a file or folder that exists), "hub" (a repository) or "url" (a file on the web).
        text: the path, the repository's id, or the address.
        preset: the preset that led here, if one did.
    """

    kind: Literal["path", "hub", "url"]
    text: str
    preset: ModelPreset | None = None


def locate(name_or_path: str | os.PathLike[str]) -> Location:
    """Find out what is meant; touches no network.

    Args:
        name_or_path: a preset whose files came with its package (so that no folder of the name `nano` hides
            it: write ``./nano`` for that), else an existing file or folder, else a preset of the hub (with or
            without ``naver/``), else a web address, else a hub id ``owner/name``.

    Raises:
        CheckpointError: none of these; names the presets and the nearest of them.
    """
    text = os.fspath(name_or_path)
    presets = registry("models")
    if text in presets and Path(cast(ModelPreset, presets[text]).location).exists():
        return _preset_location(text, cast(ModelPreset, presets[text]))
    if text and Path(text).exists():
        return Location("path", text)
    for name in (text, text.removeprefix(f"{HUB_ORGANISATION}/")):
        if name in presets:
            return _preset_location(name, cast(ModelPreset, presets[name]))
    if is_url(text):
        return Location("url", text)
    looks_like_file = text.lower().endswith(_FILE_SUFFIXES) or text.startswith((".", "/", "~"))
    if _HUB_ID.fullmatch(text) and not looks_like_file:
        return Location("hub", text)
    if looks_like_file or text.count("/") + text.count(os.sep) > 1:
        raise CheckpointError(f"no such checkpoint: {text}", hint="check the path")
    near = nearest_names(text, presets.names())
    known = ", ".join(presets.names())
    raise CheckpointError(
        f"unknown model {text!r}: neither a file or folder, nor one of the presets {known}",
        hint=f"did you mean {near[0]}?"
        if near
        else "give a preset, a folder, a file, or a hub id owner/name",
    )


def local_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The checkpoint's file or folder on this disk; downloaded first if it is elsewhere and not cached.

    Raises:
        CheckpointError: unknown, or it cannot be downloaded.
    """
    location = locate(name_or_path)
    if location.kind != "hub":
        return fetch_url(location.text) if location.kind == "url" else Path(location.text)
    cached = _cached_folder(location.text)
    return cached if cached is not None else _fetch(location)


def download(name_or_path: str | os.PathLike[str]) -> Path:
    """Fetch a checkpoint from the hub into the hub's cache (a new version replaces an old one).

    Returns:
        The folder that holds it; what is on this disk already is returned as it is.

    Raises:
        CheckpointError: unknown, or it cannot be downloaded.
    """
    location = locate(name_or_path)
    return local_path(location.text) if location.kind != "hub" else _fetch(location)


def _preset_location(name: str, preset: ModelPreset) -> Location:
    if Path(preset.location).exists():
        return Location("path", preset.location, preset)
    if _HUB_ID.fullmatch(preset.location):
        return Location("hub", preset.location, preset)
    raise CheckpointError(
        f"the files of the preset {name!r} are missing: {preset.location}",
        hint="reinstall the package that brings it",
    )


def _cached_folder(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository, CONFIG_NAME)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if any((folder / name).exists() for name in (SAFETENSORS_NAME, PICKLE_NAME)) else None


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep back the hub library's own account of a failed request: our error says it in a line."""
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        hub.setLevel(level)


@_quiet_hub()
def _fetch(location: Location) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    repository = location.text
    if location.preset is not None:
        _logger.warning("the weights of %s are under %s", repository, location.preset.licence)
    try:
        config = hf_hub_download(repository, CONFIG_NAME)
        try:
            hf_hub_download(repository, SAFETENSORS_NAME)
        except LocalEntryNotFoundError:  # offline, which is no reason to ask for the other file
            raise
        except EntryNotFoundError:
            hf_hub_download(repository, PICKLE_NAME)
    except GatedRepoError:
        raise CheckpointError(
            f"the hub repository {repository} asks for a login", hint="accept its terms, then `hf auth login`"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise CheckpointError(
            f"there is no hub repository {repository}",
            hint=f"presets: {', '.join(registry('models').names())}",
        ) from None
    except LocalEntryNotFoundError:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise CheckpointError(
                f"{repository} is not on this disk, and nothing may be downloaded",
                hint="leave out --offline (HF_HUB_OFFLINE), or name a checkpoint that `mast3r models list` "
                "finds on this disk",
            ) from None
        raise CheckpointError(
            f"{repository} is not on this disk, and the Hugging Face hub cannot be reached",
            hint=f"with internet access, run: mast3r models download {repository}",
        ) from None
    except EntryNotFoundError:
        raise CheckpointError(
            f"the hub repository {repository} lacks {CONFIG_NAME} or {SAFETENSORS_NAME}"
        ) from None
    # The hub's client lets several HTTP libraries' errors through; all of them are OSErrors or ValueErrors.
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot download {repository}: {_first_line(error)}",
            hint=f"try again later: mast3r models download {repository}",
        ) from error
    return Path(config).parent


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
