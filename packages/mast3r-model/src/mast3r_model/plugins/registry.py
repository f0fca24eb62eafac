"""What all plugins together give of one kind, by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mast3r_model.errors import PluginError

from .names import suggestion


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Args:
        target: the thing itself, or its import string ``"package.module:Name"``.
        owner: name of the plugin that registered it.
    """

    target: object
    owner: str


class Registry(Mapping[str, object]):
    """A read-only mapping from name to registered thing; import strings are resolved on first use.

    Iterating and ``names()`` import nothing; ``registry[name]`` imports the one module that it needs.
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry]) -> None:
        self.kind = kind
        self._entries = dict(entries)
        self._resolved: dict[str, object] = {}

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._entries)

    def owner(self, name: str) -> str:
        """The plugin that registered ``name``.

        Raises:
            PluginError: nothing has this name.
        """
        return self._entry(name).owner

    def target(self, name: str) -> object:
        """What the plugin gave for ``name``, unresolved: the import string if it gave one."""
        return self._entry(name).target

    def __getitem__(self, name: str) -> object:
        """The thing registered as ``name``.

        Raises:
            PluginError: nothing has this name (the nearest names are in the hint), or its module fails to
            import.
        """
        if name not in self._resolved:
            entry = self._entry(name)
            self._resolved[name] = (
                self._resolve(name, entry) if isinstance(entry.target, str) else entry.target
            )
        return self._resolved[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, {self.names()})"

    def _entry(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise PluginError(
                f"no plugin gives {name!r} among the {_words(self.kind)}", suggestion(name, self._entries)
            ) from None

    def _resolve(self, name: str, entry: Entry) -> object:
        try:
            return resolve_import_string(str(entry.target))
        except Exception as error:
            raise PluginError(
                f"{name!r} of the {_words(self.kind)}, from plugin {entry.owner!r}, cannot be loaded: "
                f"{type(error).__name__}: {error}",
                "reinstall the plugin, or the package that the message names",
            ) from error


def resolve_import_string(text: str) -> object:
    """Import what ``"package.module:Name"`` names; ``Name`` may have dots.

    Raises:
        ImportError: the module cannot be imported or does not hold the name.
        ValueError: the text has another form.
    """
    module_name, colon, attribute = text.partition(":")
    if not (colon and module_name and attribute):
        raise ValueError(f"{text!r} is no import string of the form 'package.module:Name'")
    found: object = importlib.import_module(module_name)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ImportError(f"module {module_name!r} holds no {attribute!r}") from None
    return found


def _words(kind: str) -> str:
    return kind.replace("_", " ")
