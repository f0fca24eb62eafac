"""2D rotary position embedding as one PyTorch operator with three back ends."""

from curope.backends import Availability, BackendReport, backend
from curope.operators import rope2d, rope2d_

__all__ = ["Availability", "BackendReport", "backend", "rope2d", "rope2d_"]
