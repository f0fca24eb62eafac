"""Where the scenes of a release are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mast3r_model import InputError


def scene_folders(
    raw: Path, known: Sequence[str], wanted: Sequence[str], files: Sequence[str]
) -> Mapping[str, Path]:
    """The folder of every scene that is wanted, or of every one that is there.

    Args:
        raw: holds the scenes as folders, or is one of them.
        known: the benchmark's scenes.
        wanted: some of them; empty: those that are there.
        files: what a scene's folder must hold.

    Raises:
        InputError: an unknown scene, a wanted one that is not there, or none; names what was looked for.
    """
    for scene in wanted:
        if scene not in known:
            raise InputError(f"unknown scene {scene!r}", f"the scenes are {', '.join(known)}")
    own_name = raw.resolve().name
    is_scene = own_name in known and all((raw / name).is_file() for name in files)
    folders = {own_name: raw} if is_scene else {scene: raw / scene for scene in known}
    found = {
        scene: folder
        for scene, folder in folders.items()
        if (not wanted or scene in wanted) and all((folder / name).is_file() for name in files)
    }
    for scene in wanted:
        if scene not in found:
            looked_for = ", ".join(str(folders.get(scene, raw / scene) / name) for name in files)
            raise InputError(f"the scene {scene} is not in {raw}: looked for {looked_for}")
    if not found:
        raise InputError(
            f"{raw} holds no scene: looked for {', '.join(files)} in {', '.join(known)}",
            f"unpack the release there, such as {raw / known[0] / files[0]}",
        )
    return found
