"""Time and memory of the sparse alignment, by the size of its problem.

Both grow with the matches, hardly with how these are spread over images and pairs: ``seconds = a * matches``
and ``bytes = b + c * matches``. Measured with the default options on synthetic walks (`synthetic_walk`,
384x512 pixels, at most 250 to 500 matches a pair), one thread of an AMD EPYC, processor time, memory above
the problem's own (``benchmarks/alignment.py`` measures the same again):

====== ===== ======= ======= ===== =======
images pairs matches seconds steps MiB
====== ===== ======= ======= ===== =======
10     31    14,265  1.7     32    84
30     89    40,785  5.3     37    189
30     316   116,271 14.1    30    342
100    497   110,885 15.2    50    408
====== ===== ======= ======= ===== =======

Photos take more or fewer steps than walks do, so that the time may be wrong by a factor of two or three. Adam
(600 steps): 0.78 s of processor time for 20 steps on the second walk, 45 MB.
"""

from __future__ import annotations

from dataclasses import dataclass

from mast3r_sfm.quantities import duration, memory
from mast3r_sfm.sparse import Solver

SECONDS_OF_A_MATCH: dict[Solver, float] = {"lm": 125e-6, "adam": 580e-6}
SOLVER_BYTES = 60 * 2**20
BYTES_OF_A_MATCH: dict[Solver, int] = {"lm": 3000, "adam": 1100}
BYTES_OF_A_PROBLEM_MATCH = 100
"""A row of `SparseProblem` and of the matches that it was made of."""
BYTES_OF_A_PIXEL_AVERAGING, BYTES_OF_A_PIXEL = 48, 20
"""Seven sums and five canonical values of every pixel of all images at once; then the five values alone."""


@dataclass(frozen=True)
class AlignmentForecast:
    """What all that follows the predictions will take; everything is about.

    Attributes:
        images: to be placed.
        pairs: of them.
        matches: of all pairs together.
        seconds: on one thread of a server's processor.
        memory_bytes: beside the network and the program itself.
    """

    images: int
    pairs: int
    matches: int
    seconds: float
    memory_bytes: int

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.images} images with {self.matches:,} matches of {self.pairs} pairs: "
            f"about {duration(self.seconds)}, {memory(self.memory_bytes)} of memory"
        )


def forecast_alignment(
    images: int, pairs: int, matches_per_pair: float, *, pixels: int, solver: Solver = "lm"
) -> AlignmentForecast:
    """About how long the alignment takes and how much memory it needs.

    Args:
        images: to be placed.
        pairs: that match.
        matches_per_pair: mean number; on a grid of 8 pixels at most 2 h w / 64.
        pixels: of all network images together.
        solver: of the alignment, with its default options.
    """
    matches = pairs * matches_per_pair
    of_a_match = BYTES_OF_A_PROBLEM_MATCH + BYTES_OF_A_MATCH[solver]
    solving = SOLVER_BYTES + matches * of_a_match + pixels * BYTES_OF_A_PIXEL
    return AlignmentForecast(
        images=images,
        pairs=pairs,
        matches=round(matches),
        seconds=matches * SECONDS_OF_A_MATCH[solver],
        memory_bytes=round(max(pixels * BYTES_OF_A_PIXEL_AVERAGING, solving)),
    )
