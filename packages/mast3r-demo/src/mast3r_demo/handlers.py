"""Around every handler of the page: errors in words that a visitor may read (spec 60 D5)."""

from __future__ import annotations

import functools
import html
import inspect
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from mast3r_model import Mast3rError

from .page_words import error_words

LOGGER = logging.getLogger("mast3r.demo")


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, whose errors the page can show: ours with their hint, others as a number in the log."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def generator(*values: Any, **named: Any) -> Iterator[Any]:
            try:
                yield from handler(*values, **named)
            except Exception as error:
                raise as_page_error(error) from error

        return generator

    @functools.wraps(handler)
    def function(*values: Any, **named: Any) -> Any:
        try:
            return handler(*values, **named)
        except Exception as error:
            raise as_page_error(error) from error

    return function


def as_page_error(error: Exception) -> gr.Error:
    """What gradio shows of an error."""
    return error if isinstance(error, gr.Error) else page_error(error_text(error))


def error_text(error: Exception) -> str:
    """An error in words that a visitor may read; the unexpected is a number, for the log."""
    if isinstance(error, gr.Error):
        return html.unescape(error.message)
    if isinstance(error, Mast3rError):
        return error_words(error)
    number = secrets.token_hex(4)
    LOGGER.error("error %s in the page", number, exc_info=error)
    return f"Something went wrong that should not have. The server's log says more under {number}."


def page_error(text: str) -> gr.Error:
    """An error in plain text: gradio shows messages as HTML, and file names may hold any letter."""
    return gr.Error(plain(text), print_exception=False)


def plain(text: str) -> str:
    """Text that stays text in a place that takes HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
