"""What a reconstruction tells about itself: time and memory by stage, and the page ``report.html``."""

from .stages import StageLog, StageUse

__all__ = ["StageLog", "StageUse"]
