"""The one plugin manager: finds plugins by entry point and answers ``registry(kind)``."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import pluggy

from mast3r_model.errors import PluginError

from .hookspecs import KINDS, PROJECT, Mast3rHooks
from .names import suggestion
from .registry import Entry, Registry

LOGGER = logging.getLogger("mast3r.plugins")

ENTRY_POINT_GROUP = "mast3r"

SELECTION_VARIABLE = "MAST3R_PLUGINS"
"""If set: the comma-separated entry points to load beside our own packages (empty: none)."""

OWN_PACKAGES = frozenset(
    {"mast3r-model", "mast3r-match", "mast3r-sfm", "mast3r-visloc", "mast3r-train", "mast3r-demo"}
)


@dataclass(frozen=True)
class PluginInfo:
    """One discovered plugin.

    Args:
        name: its entry point's name.
        location: the module that the entry point names.
        version: version of the distribution that brought it, or "" if unknown.
        error: why it could not be used, or None if it works.
    """

    name: str
    location: str
    version: str = ""
    error: str | None = None


class PluginManager:
    """Loads plugins, keeps their errors, and merges what they register."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(Mast3rHooks)
        self._plugins: dict[str, PluginInfo] = {}
        self._registries: dict[str, Registry] = {}

    @property
    def plugins(self) -> list[PluginInfo]:
        """All plugins seen, broken ones with their error, by name."""
        return [self._plugins[name] for name in sorted(self._plugins)]

    def load_entry_points(self) -> None:
        """Load the plugins of all installed distributions; one that fails becomes one warning."""
        selection = os.environ.get(SELECTION_VARIABLE)
        wanted = None if selection is None else {name.strip() for name in selection.split(",")} | OWN_PACKAGES
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            if wanted is None or entry_point.name in wanted:
                self._load(entry_point)

    def register(self, plugin: object, name: str, *, location: str = "", version: str = "") -> None:
        """Add a plugin: any object or module with ``@hookimpl`` functions.

        Raises:
            PluginError: a plugin of this name is already there, or it implements a hook in a wrong way.
        """
        try:
            self._pluggy.register(plugin, name)
        except (ValueError, pluggy.PluginValidationError) as error:
            raise PluginError(f"plugin {name!r} cannot be registered: {error}") from error
        self._plugins[name] = PluginInfo(name, location or getattr(plugin, "__name__", repr(plugin)), version)
        self._registries.clear()

    def unregister(self, name: str) -> None:
        """Forget the plugin of this name."""
        self._pluggy.unregister(name=name)
        del self._plugins[name]
        self._registries.clear()

    def registry(self, kind: str) -> Registry:
        """All that the plugins give of one kind.

        Raises:
            PluginError: there is no such kind, or two plugins give the same name.
        """
        if kind not in KINDS:
            raise PluginError(f"there is no plugin kind {kind!r}", suggestion(kind, KINDS))
        if kind not in self._registries:
            self._registries[kind] = Registry(kind, self._collect(kind))
        return self._registries[kind]

    def _load(self, entry_point: EntryPoint) -> None:
        version = entry_point.dist.version if entry_point.dist is not None else ""
        try:
            self.register(entry_point.load(), entry_point.name, location=entry_point.value, version=version)
        # Whatever a stranger's module raises at import, the rest must go on working.
        except Exception as error:
            failed = PluginInfo(entry_point.name, entry_point.value, version)
            self._plugins.setdefault(entry_point.name, failed)
            self._fail(entry_point.name, error)

    def _fail(self, name: str, error: Exception) -> None:
        info = self._plugins[name]
        reason = f"{type(error).__name__}: {error}"
        if info.error != reason:
            self._plugins[name] = PluginInfo(info.name, info.location, info.version, reason)
            LOGGER.warning("plugin %r is left out: %s", name, reason)

    def _collect(self, kind: str) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        hook = getattr(self._pluggy.hook, f"mast3r_{kind}")
        for implementation in hook.get_hookimpls():
            owner = implementation.plugin_name
            for name, target in self._call(implementation).items():
                if name in entries:
                    raise PluginError(
                        f"two plugins give {name!r} among the {kind.replace('_', ' ')}: "
                        f"{entries[name].owner!r} and {owner!r}",
                        f"uninstall one of them, or name the plugins to load in {SELECTION_VARIABLE}",
                    )
                entries[name] = Entry(target, owner)
        return entries

    def _call(self, implementation: pluggy.HookImpl) -> Mapping[str, object]:
        try:
            given = implementation.function()
            if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
                raise TypeError(f"{implementation.function.__name__} must return a mapping from names")
        except Exception as error:
            self._fail(implementation.plugin_name, error)
            return {}
        return given


@functools.cache
def plugin_manager() -> PluginManager:
    """The process's plugin manager; the first call finds and loads the installed plugins."""
    manager = PluginManager()
    manager.load_entry_points()
    return manager


def registry(kind: str) -> Registry:
    """What all installed plugins give of one kind: ``registry("heads")["dpt"]``.

    Args:
        kind: one of ``KINDS``, such as "heads", "models", "commands", "datasets", "transforms", "losses".

    Returns:
        A mapping from name to thing; import strings are resolved on first use.

    Raises:
        PluginError: there is no such kind, or two plugins give the same name.
    """
    return plugin_manager().registry(kind)


@contextmanager
def temporary_plugin(plugin: object, name: str) -> Iterator[None]:
    """Register a plugin for the length of a ``with`` block: for tests and notebooks."""
    plugin_manager().register(plugin, name)
    try:
        yield
    finally:
        plugin_manager().unregister(name)
