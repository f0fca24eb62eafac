"""Cameras: what they are, and where that of a query comes from (spec 50 D4)."""

from .camera import Camera, PixelConvention

__all__ = ["Camera", "PixelConvention"]
