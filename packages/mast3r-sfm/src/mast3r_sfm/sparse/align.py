"""One call for both solvers of sparse global alignment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from mast3r_model import InputError
from mast3r_sfm.progress import OnLoss

from .adam import Progress, align_adam
from .alignment import Alignment
from .lm import align_lm
from .options import AdamOptions, AlignOptions, LmOptions
from .priors import CameraPriors
from .problem import SparseProblem

Solver = Literal["lm", "adam"]


def align(
    problem: SparseProblem,
    *,
    solver: Solver = "lm",
    options: AlignOptions | None = None,
    priors: CameraPriors | None = None,
    progress: Progress | None = None,
    on_coarse: Callable[[Alignment], None] | None = None,
    on_loss: OnLoss | None = None,
) -> Alignment:
    """Find cameras and depths that bring matches together (spec 30 section 6).

    Args:
        problem: matches and canonical views of images that are all connected (see :func:`components`).
        solver: ``lm`` (second order, the default) or ``adam`` (upstream's schedule).
        options: :class:`LmOptions` or :class:`AdamOptions`, fitting the solver.
        priors: what is known about the cameras.
        progress: called after every step with the stage's name, the step and the most steps there may be;
            what it raises ends the alignment.
        on_coarse: is given the cameras and depths after the coarse stage, if a fine one follows.
        on_loss: is told the stage's name and the loss after every step.

    Raises:
        InputError: images are not connected, options do not fit the solver, or the priors are not for as many
            images.
    """
    priors = priors or CameraPriors.build(problem.num_images)
    if len(priors.focal) != problem.num_images:
        raise InputError(f"priors of {len(priors.focal)} images were given for {problem.num_images} images")
    if solver == "adam":
        options = options or AdamOptions()
        if not isinstance(options, AdamOptions):
            raise InputError(f"the solver 'adam' takes AdamOptions, given {type(options).__name__}")
        return align_adam(problem, options, priors, progress, on_coarse, on_loss)
    if solver == "lm":
        options = options or LmOptions()
        if not isinstance(options, LmOptions):
            raise InputError(f"the solver 'lm' takes LmOptions, given {type(options).__name__}")
        return align_lm(problem, options, priors, progress, on_coarse, on_loss)
    raise InputError(f"unknown solver {solver!r}", "one of: lm, adam")
