"""The plugin manager: registries, conflicts, broken plugins, documentation of the hooks."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mast3r_model import (
    CommandSpec,
    PluginError,
    hookimpl,
    nearest_names,
    plugin_manager,
    registry,
    temporary_plugin,
)
from mast3r_model.plugins import KINDS, Mast3rHooks, PluginManager, manager, resolve_import_string


class Plugin:
    """Gives one head by import string and one directly."""

    @hookimpl
    def mast3r_heads(self) -> dict[str, object]:
        return {
            "lazy-head": "collections:OrderedDict.fromkeys",
            "ready-head": len,
            "broken": "no_such_module_at_all:x",
            "wrong": "collections:Nothing",
            "not-a-target": "collections",
        }


@pytest.fixture
def _plugin() -> Iterator[None]:
    with temporary_plugin(Plugin(), "my-plugin"):
        yield


@pytest.mark.usefixtures("_plugin")
def test_registry() -> None:
    heads = registry("heads")
    assert {"dpt", "lazy-head", "ready-head"} <= set(heads.names())
    assert heads["ready-head"] is len
    assert heads["lazy-head"]("ab") == {"a": None, "b": None}  # type: ignore[operator]
    assert heads.owner("lazy-head") == "my-plugin"
    assert heads.owner("dpt") == "mast3r-model"
    assert heads.target("lazy-head") == "collections:OrderedDict.fromkeys"
    assert len(heads) == len(list(heads)) == len(heads.names())


@pytest.mark.usefixtures("_plugin")
def test_unknown_and_unloadable_names() -> None:
    heads = registry("heads")
    with pytest.raises(PluginError, match="'lazy_haed'") as caught:
        heads["lazy_haed"]
    assert "lazy-head" in str(caught.value.hint)
    for name in ("broken", "wrong", "not-a-target"):
        with pytest.raises(PluginError, match=r"my-plugin.*cannot be loaded"):
            heads[name]
    with pytest.raises(PluginError, match="no plugin kind") as caught:
        registry("head")
    assert "heads" in str(caught.value.hint)


def test_a_temporary_plugin_leaves_no_trace() -> None:
    with temporary_plugin(Plugin(), "passing"):
        assert "ready-head" in registry("heads")
    assert "ready-head" not in registry("heads")
    assert "passing" not in [plugin.name for plugin in plugin_manager().plugins]


@pytest.mark.usefixtures("_plugin")
def test_a_name_given_twice_names_both_plugins() -> None:
    with (
        temporary_plugin(Plugin(), "other-plugin"),
        pytest.raises(PluginError, match="'lazy-head'") as caught,
    ):
        registry("heads")
    assert "my-plugin" in str(caught.value)
    assert "other-plugin" in str(caught.value)
    with pytest.raises(PluginError, match="cannot be registered"), temporary_plugin(Plugin(), "my-plugin"):
        pass


def fake_entry_points(monkeypatch: pytest.MonkeyPatch, points: dict[str, str]) -> PluginManager:
    found = [EntryPoint(name, value, "mast3r") for name, value in points.items()]
    monkeypatch.setattr(manager, "entry_points", lambda group: found)
    fresh = PluginManager()
    fresh.load_entry_points()
    return fresh


def test_a_broken_plugin_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "breaks_at_import.py").write_text("raise RuntimeError('no luck today')")
    (tmp_path / "breaks_at_call.py").write_text(
        "from mast3r_model import hookimpl\n@hookimpl\ndef mast3r_losses():\n    return 3\n"
    )
    points = {
        "mast3r-model": "mast3r_model.plugin",
        "breaks": "breaks_at_import",
        "absent": "module_that_is_absent",
        "late": "breaks_at_call",
    }
    with caplog.at_level(logging.WARNING):
        fresh = fake_entry_points(monkeypatch, points)
        assert "dpt" in fresh.registry("heads")
        assert len(fresh.registry("losses")) == 0
        assert len(fresh.registry("losses")) == 0
    assert [record.args[0] for record in caplog.records if record.args] == ["breaks", "absent", "late"]
    errors = {plugin.name: plugin.error for plugin in fresh.plugins}
    assert errors["mast3r-model"] is None
    assert "no luck today" in str(errors["breaks"])
    assert "ModuleNotFoundError" in str(errors["absent"])
    assert "must return a mapping" in str(errors["late"])


def test_the_environment_selects_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("one_plugin", "two_plugin"):
        (tmp_path / f"{name}.py").write_text("")
    points = {"mast3r-model": "mast3r_model.plugin", "one": "one_plugin", "two": "two_plugin"}
    for chosen, expected in [("", []), ("two", ["two"]), ("one, two", ["one", "two"])]:
        monkeypatch.setenv("MAST3R_PLUGINS", chosen)
        loaded = fake_entry_points(monkeypatch, points).plugins
        assert [plugin.name for plugin in loaded] == ["mast3r-model", *expected]


@pytest.mark.parametrize("kind", KINDS)
def test_every_hook_is_documented(kind: str) -> None:
    hook: Callable[..., object] = getattr(Mast3rHooks, f"mast3r_{kind}")
    text = inspect.getdoc(hook) or ""
    assert "Example::" in text
    assert f"mast3r_{kind}" in text
    assert "@hookimpl" in text
    assert list(inspect.signature(hook).parameters) == ["self"]


def test_kinds() -> None:
    assert len(KINDS) == 14
    assert {"heads", "models", "commands", "datasets", "losses", "pnp_solvers"} <= set(KINDS)


def test_commands_are_specs() -> None:
    commands = registry("commands")
    assert isinstance(commands["doctor"], CommandSpec)
    for name in commands.names():
        if commands.owner(name) == "mast3r-model":
            spec = commands[name]
            assert isinstance(spec, CommandSpec)
            assert callable(resolve_import_string(spec.target))


def test_nearest_names() -> None:
    known = ["Co3d", "BlendedMVS", "SyntheticScenes"]
    assert nearest_names("blended_mvs", known) == ["BlendedMVS"]
    assert nearest_names("synteticscene", known)[0] == "SyntheticScenes"
    assert nearest_names("zzz", known) == []
