"""Run a command: exit codes, one-line errors, the error document, closed pipes (spec 60 F2)."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import click
from click.exceptions import NoArgsIsHelpError

from mast3r_model.errors import Mast3rError

from .console import Console, color_from_environment
from .documents import error_document, write_document
from .log import logging_session
from .settings import origin_of_bad_value

USAGE, FAILED, INTERRUPTED, CLOSED_PIPE = 2, 1, 130, 141


def run(command: click.Command, arguments: Sequence[str] | None = None, program: str = "mast3r") -> int:
    """Run a command and return its exit code; every error is already reported.

    Args:
        command: a command or a group.
        arguments: the words after the program's name; None: those of this process.
        program: how the user called it, for the usage line.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(color=color_from_environment("auto"))
    with logging_session(console):
        try:
            code = _run(command, words, program, console)
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_stdout()
            return CLOSED_PIPE
        except (KeyboardInterrupt, EOFError, click.Abort) as error:
            _report(console, words, program, error, "interrupted")
            return INTERRUPTED
        except Exception as error:
            return _fail(console, words, program, error)
    return code


def _run(command: click.Command, words: list[str], program: str, console: Console) -> int:
    completion = os.environ.get(_completion_variable(program))
    if completion:
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, program, _completion_variable(program), completion)
    try:
        with command.make_context(program, list(words), obj=console, color=console.color) as context:
            command.invoke(context)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    return 0


def _fail(console: Console, words: Sequence[str], program: str, error: Exception) -> int:
    """Report an error and choose the exit code."""
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        _discard_stdout()
        return CLOSED_PIPE
    if isinstance(error, click.ClickException):
        return _fail_usage(console, words, program, error)
    if isinstance(error, Mast3rError):
        _report(console, words, program, error, str(error), error.hint)
        return error.exit_code
    if isinstance(error, OSError):
        _flush_or_discard_stdout()
        place = f"{error.filename}: " if error.filename else ""
        _report(console, words, program, error, f"{place}{error.strerror or error}")
        return FAILED
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        _report(
            console, words, program, error, "out of memory", "use a smaller --batch-size, or --device cpu"
        )
        return FAILED
    console.tracebacks = True
    message = f"internal error: {type(error).__name__}: {error}"
    _report(console, words, program, error, message, "this is a bug: report it with `mast3r doctor --json`")
    return FAILED


def _fail_usage(console: Console, words: Sequence[str], program: str, error: click.ClickException) -> int:
    if _wants_json(console, words):
        _write(console, words, error_document(console.command or program, error))
    if isinstance(error, NoArgsIsHelpError):
        error.show()
        return error.exit_code
    hint = f"{program} {console.command}".strip() if program == "mast3r" else program
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True, color=console.color)
        hint = error.ctx.command_path
    origin = origin_of_bad_value(error) if isinstance(error, click.UsageError) else None
    console.error(error.format_message(), origin or f"{hint} --help")
    return error.exit_code


def _report(
    console: Console,
    words: Sequence[str],
    program: str,
    error: BaseException,
    message: str,
    hint: str | None = None,
) -> None:
    """One line for a person, or the document under ``--json``; the traceback with ``-v``."""
    if console.tracebacks:
        traceback.print_exception(error)
    if _wants_json(console, words):
        _write(console, words, error_document(console.command or program, error, console.warnings))
    console.error(message, hint)


def _wants_json(console: Console, words: Sequence[str]) -> bool:
    return console.json or "--json" in words or "--jsonl" in words


def _write(console: Console, words: Sequence[str], document: object) -> None:
    write_document(document, one_line=console.jsonl or "--jsonl" in words)


def _completion_variable(program: str) -> str:
    return f"_{program.upper().replace('-', '_').replace('.', '_').replace(' ', '_')}_COMPLETE"


def _flush_or_discard_stdout() -> None:
    """What cannot be written now (the disk is full) would fail again when the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_stdout()


def _discard_stdout() -> None:
    """Nobody reads any more: let the interpreter's last flush go nowhere instead of failing."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
