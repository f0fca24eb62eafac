"""What a scene graph is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError

Pair = tuple[int, int]
"""Two images by their numbers."""

Similarity = Float[np.ndarray, "images images"]
"""How alike images are: row = query, larger is more alike, any scale; need not be symmetric."""


@dataclass(frozen=True)
class GraphRequest:
    """What the function behind a graph's name is called with.

    Attributes:
        text: the graph as the user wrote it, such as ``"swin-5-noncyclic"``.
        count: number of images; pairs are indices below it.
        arguments: what follows the name, split at hyphens: ``("5", "noncyclic")``.
        measure_similarity: computes how alike the images are; None where nothing is known about that. It may
            run a network, so only graphs that need the matrix ask for it, through :meth:`similarity`.
    """

    text: str
    count: int
    arguments: tuple[str, ...] = ()
    measure_similarity: Callable[[], Similarity] | None = None

    def similarity(self) -> Similarity:
        """How alike the images are, (images, images): row = query, larger is more alike.

        Raises:
            InputError: nobody can say, or the matrix is of another number of images.
        """
        if self.measure_similarity is None:
            raise InputError(
                f"the graph {self.text!r} chooses images that look alike, but no similarity is given",
                hint="give image_similarity(model, images), or use complete, swin, logwin, oneref",
            )
        matrix = np.asarray(self.measure_similarity())
        if matrix.shape != (self.count, self.count):
            raise InputError(
                f"the similarity has shape {matrix.shape}, expected {(self.count, self.count)}: "
                "one row and column for each image"
            )
        if not np.isfinite(matrix).all():
            raise InputError("the similarity holds values that are not finite")
        return matrix

    def integer(self, position: int, default: int | None = None, *, minimum: int = 0) -> int:
        """An argument as a number.

        Args:
            position: which argument.
            default: if there are fewer arguments; None: there must be one.
            minimum: smallest allowed value.

        Raises:
            InputError: missing, no number, or too small.
        """
        if position >= len(self.arguments):
            if default is None:
                raise self.refused(f"argument {position + 1} is missing")
            return default
        text = self.arguments[position]
        if not text.isdecimal() or int(text) < minimum:
            raise self.refused(f"{text!r} is no whole number of at least {minimum}")
        return int(text)

    def require_arguments(self, at_most: int) -> None:
        """Refuse surplus arguments.

        Raises:
            InputError: there are more.
        """
        if len(self.arguments) > at_most:
            raise self.refused(f"{self.arguments[at_most]!r} means nothing here")

    def refused(self, reason: str) -> InputError:
        """The error for a graph that cannot be understood."""
        return InputError(
            f"cannot read the graph {self.text!r}: {reason}",
            hint="graphs are written complete, swin-3, swin-3-noncyclic, logwin-3, oneref-0, retrieval-20-10",
        )
