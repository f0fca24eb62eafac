"""What all handlers of one server share: its options, its visits, its network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .limits import Limits
from .server_options import ServerOptions
from .visits import Visits

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo


class Network:
    """The network, loaded on the first job or before, once.

    Args:
        load: loads it.
        name: to be shown.
    """

    def __init__(self, load: Callable[[], AsymmetricCroCo3DStereo], name: str) -> None:
        self.name = name
        self._load = load
        self._lock = threading.Lock()
        self._model: AsymmetricCroCo3DStereo | None = None

    @property
    def loaded(self) -> bool:
        """Whether the next `get` takes no time."""
        return self._model is not None

    def get(self) -> AsymmetricCroCo3DStereo:
        """The network.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model


class Pace:
    """How long a pair took in the jobs so far, to say how long the next will take."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._lock = threading.Lock()

    def note(self, image_size: int, pairs: int, seconds: float) -> None:
        """A job of so many pairs took so long."""
        if pairs:
            with self._lock:
                self._seconds[image_size] = seconds / pairs

    def seconds(self, image_size: int, pairs: int) -> float | None:
        """What a job will about take; None before the first one of this size."""
        per_pair = self._seconds.get(image_size)
        return None if per_pair is None else per_pair * pairs


@dataclass(frozen=True)
class Services:
    """What all handlers of one server share.

    Attributes:
        options: of the server.
        visits: who is there.
        network: loaded once for all.
        pace: of the jobs so far.
    """

    options: ServerOptions
    visits: Visits
    network: Network
    pace: Pace = field(default_factory=Pace)

    @property
    def limits(self) -> Limits:
        """What visitors may ask for."""
        return self.options.limits
