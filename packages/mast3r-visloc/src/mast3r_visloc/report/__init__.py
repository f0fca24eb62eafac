"""What a run shows to people: ``report.html`` and match pictures."""

from .match_picture import localization_picture, save_localization_picture
from .page import report_page, write_page
from .shelf import PictureShelf, picture_path

__all__ = [
    "PictureShelf",
    "localization_picture",
    "picture_path",
    "report_page",
    "save_localization_picture",
    "write_page",
]
