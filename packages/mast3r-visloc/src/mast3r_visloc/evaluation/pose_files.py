"""Files of poses: lines ``name qw qx qy qz tx ty tz``, world to camera (spec 50 A8, C1, D7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from mast3r_model import ConfigError, InputError, Mast3rError, atomic_write

from .names import NameStyle, check_writable_name, is_comment, styled_names
from .quaternions import UPSTREAM_FAILURE, PoseNumbers, Sign, pose_matrix, pose_numbers

OnFailure = Literal["skip", "nearest", "identity"]
"""What stands for a failure: no line, the pose of the best candidate, or the identity (parity)."""


@dataclass(frozen=True, eq=False)
class NamedPose:
    """A pose to be written.

    Attributes:
        name: of the photo, in full.
        cam2world: 4x4; None if the photo was not localised.
        nearest: 4x4 cam2world of the photo of the map that is most alike; None if unknown.
    """

    name: str
    cam2world: Float[np.ndarray, "4 4"] | None
    nearest: Float[np.ndarray, "4 4"] | None = None


def write_poses(
    path: Path,
    poses: Iterable[NamedPose],
    *,
    name_style: NameStyle = "full",
    on_failure: OnFailure = "skip",
    sign: Sign = "positive",
    unique: bool = True,
) -> int:
    """Write a file of poses.

    Numbers are written in full: reading them gives the same floats.

    Args:
        path: the file.
        poses: of all photos, failures too.
        name_style: how much of the names to write.
        on_failure: what stands for a failure; a failure whose nearest photo is unknown has no line.
        sign: of the quaternions.
        unique: refuse two lines with one name.

    Returns:
        The number of lines.

    Raises:
        InputError: two photos get one name, or a name that fits no text file.
        ConfigError: an unknown style or way of writing failures.
        OutputError: the file cannot be written.
    """
    lines = [
        (pose.name, numbers) for pose in poses if (numbers := _numbers(pose, on_failure, sign)) is not None
    ]
    names = styled_names((name for name, _ in lines), name_style, unique=unique)
    for name in names:
        check_writable_name(name)
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for name, (_, numbers) in zip(names, lines, strict=True):
            file.write(f"{name} {' '.join(map(repr, numbers))}\n")
    return len(lines)


def write_upstream_results(folder: Path, label: str, poses: Iterable[NamedPose]) -> tuple[Path, Path]:
    """Upstream's two files, ``<label>_results.txt`` and ``<label>_ltvl.txt`` (spec 50 A8), for parity.

    Failures are the identity, the signs of quaternions are as they come, and the second file holds base
    names, whether they are unique or not.

    Args:
        folder: where to.
        label: see `result_label`.
        poses: of all queries.

    Raises:
        InputError: a name that fits no text file.
        OutputError: a file cannot be written.
    """
    given = list(poses)
    results, benchmark = folder / f"{label}_results.txt", folder / f"{label}_ltvl.txt"
    write_poses(results, given, on_failure="identity", sign="upstream", unique=False)
    write_poses(benchmark, given, name_style="base", on_failure="identity", sign="upstream", unique=False)
    return results, benchmark


def read_poses(path: Path) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Read a file of poses.

    Lines are ``name qw qx qy qz tx ty tz`` with blanks or commas between; empty lines and lines that start
    with ``# `` are skipped. Names may hold blanks.

    Returns:
        4x4 cam2world by name, in the file's order.

    Raises:
        InputError: the file cannot be read, a line has another form, or a name comes twice.
    """
    poses: dict[str, Float[np.ndarray, "4 4"]] = {}
    for number, line in pose_lines(path):
        try:
            name, pose = _parsed(line)
            if name in poses:
                raise InputError(f"the photo {name!r} comes twice")
        except Mast3rError as error:
            raise InputError(f"{path}, line {number}: {error}", "name qw qx qy qz tx ty tz") from error
        poses[name] = pose
    if not poses:
        raise InputError(f"{path} holds no pose", "a line is: name qw qx qy qz tx ty tz, world to camera")
    return poses


def pose_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of all lines that are neither empty nor comments.

    Raises:
        InputError: the file cannot be read as text.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read the poses {path}: {reason}") from error
    stripped = ((number, line.strip()) for number, line in enumerate(content.split("\n"), 1))
    return [(number, line) for number, line in stripped if line and not is_comment(line)]


def _parsed(line: str) -> tuple[str, Float[np.ndarray, "4 4"]]:
    fields = (
        [field.strip() for field in line.rsplit(",", 7)] if line.count(",") >= 7 else line.rsplit(None, 7)
    )
    if len(fields) != 8 or not fields[0].strip():
        raise InputError(f"expected a name and seven numbers, got {line!r}")
    try:
        numbers = [float(field) for field in fields[1:]]
    except ValueError:
        raise InputError(f"expected a name and seven numbers, got {line!r}") from None
    return fields[0].strip(), pose_matrix(tuple(numbers))  # type: ignore[arg-type]


def _numbers(pose: NamedPose, on_failure: OnFailure, sign: Sign) -> PoseNumbers | None:
    if pose.cam2world is not None:
        return pose_numbers(pose.cam2world, sign=sign)
    if on_failure == "skip":
        return None
    if on_failure == "nearest":
        return None if pose.nearest is None else pose_numbers(pose.nearest, sign=sign)
    if on_failure == "identity":
        return UPSTREAM_FAILURE
    raise ConfigError(f"unknown way to write failures: {on_failure!r}", "skip, nearest or identity")
