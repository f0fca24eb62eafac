"""The errors that users of the mast3r packages may meet.

Every message says what was given and what was expected; ``hint`` says what to do next. The command line
prints both on one line each and leaves with ``exit_code`` (spec 60 F2).
"""

from __future__ import annotations

from typing import ClassVar


class Mast3rError(Exception):
    """Base of every error that mast3r raises on purpose.

    Args:
        message: what was given and what was expected, one sentence.
        hint: what the user can do about it, if anything is known.

    Attributes:
        message: the first argument.
        hint: the second argument.
        exit_code: what the ``mast3r`` command returns to the shell for this kind of error.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InputError(Mast3rError):
    """What the user gave (a file, a folder, a list, a value) cannot be used."""


class ImageError(InputError):
    """A file that should be a photo is missing, empty, broken or too small; the message names it."""


class CheckpointError(Mast3rError):
    """A checkpoint is missing, incomplete, or does not fit the model; the message names the keys."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint wants to run code when it is loaded; it was refused."""


class ConfigError(Mast3rError):
    """A configuration holds an unknown key or a value outside its range."""


class ExpressionError(Mast3rError):
    """An expression such as ``1000 @ Co3d(split='train')`` cannot be read or built.

    Args:
        message: what is wrong.
        text: the expression as given.
        offset: index into ``text`` of the offending place, or None if no place can be named.
        hint: what to do, for example the nearest known names.
    """

    def __init__(
        self, message: str, text: str = "", offset: int | None = None, *, hint: str | None = None
    ) -> None:
        super().__init__(message, hint)
        self.text = text
        self.offset = offset

    def __str__(self) -> str:
        if self.offset is None or not self.text:
            return self.message
        line, caret = _line_and_caret(self.text, self.offset)
        return f"{self.message}\n  {line}\n  {caret}"


class PluginError(Mast3rError):
    """A plugin could not be used, two plugins give one name, or no plugin gives a name."""


class DeviceError(Mast3rError):
    """The device or the precision asked for does not exist on this machine."""


class OutputError(Mast3rError):
    """A result could not be written; nothing half-written was left behind."""


class NothingFoundError(Mast3rError):
    """The work was done and found nothing: no matches, no pose, no reconstruction."""

    exit_code: ClassVar[int] = 4


def _line_and_caret(text: str, offset: int, width: int = 76) -> tuple[str, str]:
    """The line of ``text`` around ``offset``, shortened to ``width``, and a caret line for under it."""
    offset = max(0, min(offset, len(text)))
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : len(text) if end < 0 else end]
    column = offset - start
    first = max(0, min(column - width // 2, len(line) - width))
    shown = "".join(
        character if character.isprintable() else " " for character in line[first : first + width]
    )
    prefix = "..." if first else ""
    suffix = "..." if first + width < len(line) else ""
    return f"{prefix}{shown}{suffix}", " " * (len(prefix) + column - first) + "^"
