"""Times, memory and other numbers in words."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """``< 1 ms``, ``0.12 s``, ``8.3 s``, ``45 s``, ``2 min 5 s``, ``3 h 12 min``."""
    if seconds < 1e-3:
        return "< 1 ms"
    if seconds < 9.95:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def memory(size: float) -> str:
    """``12 kB``, ``340 MiB``, ``1.2 GiB``; 1024 kB are one MiB."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("kB", 2**10)):
        if size >= 0.95 * scale:
            return f"{size / scale:.1f} {unit}" if size < 9.95 * scale else f"{size / scale:,.0f} {unit}"
    return f"{size:.0f} B"


def compact(value: float) -> str:
    """Three digits that matter: ``0.187``, ``12.3``, ``1,840``, ``2.1e-05``."""
    if not math.isfinite(value):
        return str(value)
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
