"""`InternalUnreleasedDataset`: a name in the published command that nobody has (spec 40 section 1.4)."""

from __future__ import annotations

from typing import NoReturn

from mast3r_model import ConfigError


class InternalUnreleasedDataset:
    """Takes any arguments, so that the published command parses, and says that it does not exist.

    Raises:
        ConfigError: always.
    """

    def __new__(cls, *arguments: object, **options: object) -> NoReturn:
        raise ConfigError(
            "InternalUnreleasedDataset: this dataset was never public; remove it from the expression"
        )
