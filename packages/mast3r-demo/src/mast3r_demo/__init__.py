"""MASt3R in the browser, and a first minute.

Names are imported on first use (PEP 562), so that ``import mast3r_demo`` imports neither torch nor gradio.
"""

from __future__ import annotations

from mast3r_model import lazy_names

_MODULE_OF: dict[str, str] = {}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
