"""``mast3r visloc ...`` in this process, with a network that reads the painted wall's colours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mast3r_model.cli import ModelOptions, root, run

from . import painted_wall

if TYPE_CHECKING:
    from .colour_network import ColourNetwork


class Ran(NamedTuple):
    """A command that came to its end."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What --json printed; strict JSON."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} in the document")

        found: dict[str, Any] = json.loads(self.out, parse_constant=refuse)
        return found

    @property
    def result(self) -> dict[str, Any]:
        return self.document["result"]

    @property
    def error(self) -> str:
        """The one line that an error is, without its hint."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        assert "internal error" not in self.err
        return lines[0].removeprefix("error: ")


Visloc = Callable[..., Ran]


@pytest.fixture
def colour_network(monkeypatch: pytest.MonkeyPatch) -> ColourNetwork:
    """What every command loads, whatever --model says."""
    from .colour_network import ColourNetwork

    made = ColourNetwork()
    monkeypatch.setattr(ModelOptions, "load", lambda *_: made)
    return made


@pytest.fixture
def visloc(
    colour_network: ColourNetwork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Visloc:
    """Runs ``mast3r visloc`` with words, in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Ran:
        code = run(root(), ["visloc", *map(str, words)])
        return Ran(code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``map/`` (a COLMAP model with photos), ``queries/``, ``truth.txt``, ``rgbd/`` and ``pairs.txt``."""
    folder = tmp_path_factory.mktemp("wall")
    painted_wall.write_map(folder / "map")
    for shot in painted_wall.QUERIES:
        shot.save(folder / "queries")
    lines = [painted_wall.pose_line(shot) for shot in painted_wall.QUERIES]
    (folder / "truth.txt").write_text("\n".join(lines) + "\n")
    painted_wall.write_rgbd(folder / "rgbd")
    names = [
        [f"{shot.name[:-4]}.color.png" for shot in shots]
        for shots in (painted_wall.QUERIES, painted_wall.MAP)
    ]
    (folder / "pairs.txt").write_text(
        "".join(f"{query} {image}\n" for query in names[0] for image in names[1])
    )
    (folder / "held_out.txt").write_text("\n".join(names[0]) + "\n")
    return folder


def refused(ran: Ran, *parts: str, code: int = 1, hint: str | None = None) -> None:
    """The command stopped with one line that holds the parts."""
    assert ran.code == code, ran
    for part in parts:
        assert part in ran.error, ran.err
    assert hint is None or hint in ran.err, ran.err
    assert ran.out == ""


def wall_expression(wall: Path) -> str:
    return f"RgbdFolder({str(wall / 'rgbd')!r}, queries={str(wall / 'held_out.txt')!r}, pairsfile={str(wall / 'pairs.txt')!r})"
