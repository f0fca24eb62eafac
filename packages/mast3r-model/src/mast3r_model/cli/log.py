"""Logging for the length of one run of a command; programs that import the libraries are left alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mast3r_model.files import output_error

from .console import Console, LogHandler
from .documents import OUR_PACKAGES

NAMESPACES = ("mast3r", *(package.replace("-", "_") for package in OUR_PACKAGES))


@contextmanager
def logging_session(console: Console) -> Iterator[None]:
    """Show all libraries' log records as notes of this console inside the block."""
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, NAMESPACES)]
    levels = [logger.level for logger in loggers]
    before = list(root.handlers)
    logging.captureWarnings(True)
    root.addHandler(LogHandler(console))
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for handler in [handler for handler in root.handlers if handler not in before]:
            root.removeHandler(handler)
            handler.close()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def set_verbosity(verbosity: int, log_file: Path | None) -> None:
    """Let our loggers through for ``-v`` (INFO) and ``-vv`` (DEBUG), and everybody's INFO to a log file.

    Raises:
        OutputError: the log file cannot be opened.
    """
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    if log_file is not None:
        level = min(level, logging.INFO)
        logging.getLogger().addHandler(_file_handler(log_file))
    for name in NAMESPACES:
        logging.getLogger(name).setLevel(level)


def _file_handler(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise output_error(path, error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    return handler
