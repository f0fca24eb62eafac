"""Reports as HTML pages: a self-contained page and pieces of it, for the packages above."""

from .markup import data_uri, folded, name, note, section, table, text
from .page import self_contained_page

__all__ = ["data_uri", "folded", "name", "note", "section", "self_contained_page", "table", "text"]
