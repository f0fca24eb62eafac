"""``mast3r cache``: checkpoints that were downloaded from the Hugging Face hub."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from mast3r_model.errors import InputError
from mast3r_model.plugins import registry, suggestion

from .command import command
from .context import CommandContext
from .parameters import argument, option

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo, HFCacheInfo

    from mast3r_model import ModelPreset

_FAMILY = re.compile(r"mast3r|dust3r|croco", re.IGNORECASE)


@command("info", examples=["mast3r cache info", "mast3r cache info --jsonl"], items="downloads")
def info(context: CommandContext) -> None:
    """Downloaded checkpoints and their sizes; the hub's cache also holds what other programs downloaded.

    Predictions of photos are not here: `mast3r sfm` keeps them beside each scene, in its folder cache.
    """
    repositories = downloaded()
    total = sum(repository.size_on_disk for repository in repositories)
    context.result(folder=cache_folder(), bytes=total, downloads=[])
    context.say(f"folder  {cache_folder()}")
    for repository in repositories:
        context.item(_facts(repository))
        context.say(f"{repository.size_on_disk / 1e6:>10,.1f} MB  {repository.repo_id}")
    context.say(f"{total / 1e6:>10,.1f} MB  in {len(repositories)} downloads")
    if repositories:
        context.note(f"next: mast3r cache clear {repositories[0].repo_id}")


@command(
    "clear",
    examples=["mast3r cache clear --yes", "mast3r cache clear naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt"],
)
@argument(
    "repositories", nargs=-1, metavar="[ID]...", help="Hub ids; without any: all that `cache info` lists."
)
@option("--yes", is_flag=True, help="Do not ask.", section="Output")
def clear(context: CommandContext, repositories: tuple[str, ...], yes: bool) -> None:
    """Delete downloaded checkpoints; the built-in one stays."""
    chosen = _chosen(repositories)
    total = sum(repository.size_on_disk for repository in chosen)
    if chosen and not yes:
        names = ", ".join(repository.repo_id for repository in chosen)
        click.confirm(f"delete {names} ({total / 1e6:,.1f} MB)?", abort=True, err=True)
    for repository in chosen:
        _delete(repository)
    context.result(deleted=[repository.repo_id for repository in chosen], bytes=total)
    context.say(f"deleted {len(chosen)} downloads, {total / 1e6:,.1f} MB")


def cache_folder() -> Path:
    """Where the hub's client keeps its downloads."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def is_cached(repository: str) -> bool:
    """Whether any version of a hub repository is on this disk."""
    return (cache_folder() / f"models--{repository.replace('/', '--')}" / "snapshots").is_dir()


def downloaded() -> list[CachedRepoInfo]:
    """Downloads of this family of models: those of presets, and those whose name says so."""
    cache = _scan()
    if cache is None:
        return []
    presets = registry("models")
    ours = {cast("ModelPreset", presets[name]).location for name in presets.names()}
    found = [each for each in cache.repos if each.repo_id in ours or _FAMILY.search(each.repo_id)]
    return sorted(found, key=lambda each: each.repo_id)


def _scan() -> HFCacheInfo | None:
    from huggingface_hub import scan_cache_dir

    return scan_cache_dir(cache_folder()) if cache_folder().is_dir() else None


def _chosen(names: tuple[str, ...]) -> list[CachedRepoInfo]:
    present = {repository.repo_id: repository for repository in downloaded()}
    for name in names:
        if name not in present:
            hint = suggestion(name, present) if present else "nothing was downloaded"
            raise InputError(f"{name} is not among the downloads", hint)
    return [present[name] for name in names or present]


def _delete(repository: CachedRepoInfo) -> None:
    """Delete one download; the scan is narrowed to it, because a copied repository has the same hashes."""
    cache = _scan()
    if cache is not None:
        alone = dataclasses.replace(cache, repos=frozenset([repository]))
        alone.delete_revisions(*(revision.commit_hash for revision in repository.revisions)).execute()


def _facts(repository: CachedRepoInfo) -> dict[str, object]:
    return {
        "id": repository.repo_id,
        "bytes": repository.size_on_disk,
        "path": repository.repo_path,
        "versions": len(repository.revisions),
    }
