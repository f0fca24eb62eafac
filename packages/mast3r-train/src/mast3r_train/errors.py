"""Errors that only training has."""

from __future__ import annotations

from mast3r_model import InputError


class SampleError(InputError):
    """One training sample cannot be made: a file of it is missing, broken, or holds impossible values.

    The message names the file. Training skips such a sample, counts it and names it; anything else that goes
    wrong in a dataset stops the training.
    """
