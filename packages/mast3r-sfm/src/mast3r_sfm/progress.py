"""How long work says what it is at, and how it is stopped: by an exception out of ``advance``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Called with the steps just done, which may be none. What it raises ends the work: nothing half-written is
left, worker processes have ended, and predictions that were computed are in the cache."""

Progress: TypeAlias = Callable[[str, int | None], AbstractContextManager[Advance]]
"""``with progress("decoding", 100) as advance: advance(1)``, as ``CommandContext.progress``. The number of
steps is None where nobody knows it; stages that converge end before it is reached."""

StageSteps: TypeAlias = Callable[[str, int, int], None]
"""Called with a stage's name, the steps done and the most there may be; see `mast3r_sfm.align`."""

OnLoss: TypeAlias = Callable[[str, float], None]
"""Called after a solver's step with its stage's name and the loss, after the step has been counted."""


def silent(steps: int) -> None:
    """Show nothing."""


def shown(progress: Progress | None, description: str, total: int | None) -> AbstractContextManager[Advance]:
    """A bar, or nothing where nobody wants one."""
    return progress(description, total) if progress else nullcontext(silent)


@contextmanager
def stage_bars(progress: Progress | None, names: Mapping[str, str]) -> Iterator[StageSteps]:
    """A bar for each stage of a solver, in turn.

    Args:
        progress: None for none.
        names: of each stage, what its bar is called.
    """
    current, done = "", 0
    with ExitStack() as bar:
        advance: Advance = silent

        def step(stage: str, steps: int, most: int) -> None:
            nonlocal current, done, advance
            if stage != current:
                bar.close()
                advance = bar.enter_context(shown(progress, names.get(stage, stage), most))
                current, done = stage, 0
            advance(steps - done)
            done = steps

        yield step
