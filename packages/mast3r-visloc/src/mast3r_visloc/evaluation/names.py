"""Names of photos in result files: how much of a name is written, and which names mean the same photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, get_args

from mast3r_model import ConfigError, InputError

NameStyle = Literal["base", "parent", "full"]
"""``query/day/a.jpg`` as ``a.jpg``, as ``day/a.jpg``, or as it is."""


def styled_name(name: str, style: NameStyle) -> str:
    """A photo's name as result files hold it.

    Raises:
        ConfigError: an unknown style.
    """
    if style not in get_args(NameStyle):
        known = ", ".join(get_args(NameStyle))
        raise ConfigError(f"unknown name style {style!r}", f"the styles are {known}")
    if style == "full":
        return name
    return "/".join(name.split("/")[-1 if style == "base" else -2 :])


def styled_names(names: Iterable[str], style: NameStyle, *, unique: bool = True) -> list[str]:
    """All names in a style.

    Args:
        names: full names.
        style: how much of them to keep.
        unique: refuse two photos with one name.

    Raises:
        InputError: two photos get one name.
        ConfigError: an unknown style.
    """
    made = [styled_name(name, style) for name in names]
    doubled = [name for name, count in Counter(made).items() if count > 1]
    if unique and doubled:
        hint = None if style == "full" else "write longer names: --name-style full"
        raise InputError(f"{len(doubled)} names of photos are not unique, such as {doubled[0]!r}", hint)
    return made


def check_writable_name(name: str) -> None:
    """Refuse a name that no line of a text file can hold.

    Raises:
        InputError: the name is empty, holds a line break, has blanks around it, or reads like a comment.
    """
    if not name or name != name.strip() or len(name.splitlines()) != 1 or is_comment(name):
        raise InputError(f"the photo's name {name!r} cannot stand in a text file", "rename the photo")


def is_comment(line: str) -> bool:
    """Whether a line is a comment: ``#`` and a blank, because photos may be called ``#1.jpg``."""
    return line == "#" or (line.startswith("#") and line[1:2].isspace())


def match_names(wanted: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Which known name means the same photo as a wanted one.

    The full name decides; else a base name that only one of all wanted and one of all known names has.

    Args:
        wanted: names to look up.
        known: names that there are.

    Returns:
        The known name of every wanted one that was found, in their order.
    """
    asked, there = dict.fromkeys(wanted), dict.fromkeys(known)
    asked_by_base, known_by_base = _unique_bases(asked), _unique_bases(there)
    found = {}
    for name in asked:
        base = styled_name(name, "base")
        if name in there:
            found[name] = name
        elif base in asked_by_base and base in known_by_base and known_by_base[base] not in asked:
            found[name] = known_by_base[base]
    return found


def _unique_bases(names: Iterable[str]) -> dict[str, str]:
    """Full names by those base names that only one of them has."""
    counts = Counter(styled_name(name, "base") for name in names)
    return {base: name for name in names if counts[base := styled_name(name, "base")] == 1}
