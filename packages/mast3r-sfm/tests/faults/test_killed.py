"""``kill -9`` and Ctrl-C at every stage: the same command completes, as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from .conftest import Commands, contents, differences
from .forked_commands import Fault

EARLY = {
    "reading": Fault("mast3r_sfm.photos:load_image", 2),
    "encoding": Fault("mast3r_sfm.predictions.worker:pack_features", 3),
    "writing features": Fault("mast3r_sfm.predictions.cache:Path.write_bytes", 2, half=True),
    "decoding": Fault("mast3r_sfm.predictions.worker:match_prediction", 5),
    "writing pairs": Fault("mast3r_sfm.predictions.cache:Path.write_bytes", 6, half=True),
    "canonical views": Fault("mast3r_sfm.mapping.gathering:check_pairs"),
    "alignment": Fault("mast3r_sfm.mapping.sparse_mapper:dense_points"),
    "tracks": Fault("mast3r_sfm.mapping.sparse_mapper:tracks_from_matches"),
    "refinement": Fault("mast3r_sfm.reconstruct:refine_scene"),
}
LATE = {
    "exporting": Fault("mast3r_sfm.scene_storage:report_page"),
    "saving": Fault("mast3r_sfm.scene_storage:save_file"),
    "moving": Fault("mast3r_sfm.scene_storage:_replace", 3),
    "moving the scene": Fault("mast3r_sfm.scene_storage:_replace", 9),
}
DEFAULT = ("decoding", "moving")


def stages(faults: dict[str, Fault]) -> list[object]:
    """One parameter a stage; most are slow."""
    return [pytest.param(name, id=name, marks=() if name in DEFAULT else pytest.mark.slow) for name in faults]


@pytest.mark.parametrize("stage", stages(EARLY | LATE))
def test_killed_and_started_again(commands: Commands, place: Path, undisturbed: Path, stage: str) -> None:
    folder = place / f"killed {stage}"
    killed = commands.sfm("photos", "-o", folder.name, folder=place, fault=(EARLY | LATE)[stage])
    assert killed.code == -signal.SIGKILL, killed.stderr
    assert not (folder / "scene.safetensors").exists()
    kept = {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("[!.]*.safetensors")}
    for half in folder.rglob(".*.part.*"):
        os.utime(half, (0, 0))  # an hour later, nobody can be writing it any more
    again = commands.sfm("photos", "-o", folder.name, folder=place)
    assert again.code == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # not computed again
    assert differences(folder, undisturbed) == []


@pytest.mark.parametrize("stage", stages(LATE))
def test_a_finished_scene_outlives_a_kill(
    commands: Commands, place: Path, undisturbed: Path, stage: str
) -> None:
    folder = place / f"finished {stage}"
    shutil.copytree(undisturbed, folder)
    fewer = ("photos/a.jpg", "photos/b.jpg", "-o", folder.name)
    killed = commands.sfm(*fewer, folder=place, fault=LATE[stage])
    assert killed.code == -signal.SIGKILL, killed.stderr
    # The scene itself changes last, in one step.
    before, after = contents(undisturbed), contents(folder)
    arrays = {name for name in before if name.startswith("array ")}
    assert arrays
    assert all(after[name] == before[name] for name in arrays)
    again = commands.sfm("photos", "-o", folder.name, folder=place)
    assert again.code == 0, again.stderr
    assert differences(folder, undisturbed) == []
    assert not (folder / ".saving").exists()


def test_interrupted(commands: Commands, place: Path, undisturbed: Path) -> None:
    fault = Fault("mast3r_sfm.predictions.worker:match_prediction", 5, signal=signal.SIGINT)
    stopped = commands.sfm("photos", "-o", "stopped", "--json", folder=place, fault=fault)
    assert stopped.code == 130
    assert stopped.document["error"]["message"] == "interrupted"
    assert f"kept: predictions in {Path('stopped/cache')}" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    pairs = list((place / "stopped" / "cache" / "pairs").rglob("*.safetensors"))
    assert 0 < len(pairs) < 6
    assert commands.sfm("photos", "-o", "stopped", folder=place).code == 0
    assert differences(place / "stopped", undisturbed) == []
