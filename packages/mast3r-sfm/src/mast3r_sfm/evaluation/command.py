"""What ``mast3r evaluate scenes`` does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import atomic_write
from mast3r_model.cli import CommandContext, json_ready, refuse_existing
from mast3r_sfm.cameras import read_cameras

from .cameras import CameraEvaluation, compare_cameras


@dataclass(frozen=True)
class SceneEvaluationRequest:
    """The flags of the command; their help texts say what they are."""

    reconstruction: Path
    truth: Path
    per_image: bool
    output: Path | None
    overwrite: bool


def run_scene_evaluation(context: CommandContext, request: SceneEvaluationRequest) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    if request.output is not None:
        refuse_existing(request.output, overwrite=request.overwrite)
    with context.timed("read"):
        found, truth = read_cameras(request.reconstruction), read_cameras(request.truth)
    with context.timed("compare"):
        result = compare_cameras(found, truth)
    for label, value in result.rows():
        context.say(f"{label:<38} {value}")
    if request.per_image:
        _say_images(context, result)
    context.result(reconstruction=request.reconstruction, truth=request.truth, evaluation=result)
    for camera in result.cameras:
        context.item(camera, in_document=False)
    if request.output is not None:
        document = {
            "schema": "mast3r.evaluation.scenes/1",
            "reconstruction": str(request.reconstruction),
            "truth": str(request.truth),
            "evaluation": result,
        }
        with atomic_write(request.output) as temporary:
            temporary.write_text(json.dumps(json_ready(document), indent=1), encoding="utf-8")
        context.note(f"written: {request.output}")


def _say_images(context: CommandContext, result: CameraEvaluation) -> None:
    width = max(len(camera.name) for camera in result.cameras)
    context.say(f"\n{'image':<{width}}  rotation  centre     focal")
    for camera in result.cameras:
        context.say(
            f"{camera.name:<{width}}  {camera.rotation:8.3f}  {camera.translation:9.4g}  "
            f"{100 * camera.focal:.2f} %"
        )
