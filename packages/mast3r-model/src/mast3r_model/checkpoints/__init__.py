"""Checkpoints: find, read, load, save and convert them (spec 10 S9); nothing here ever unpickles freely.

Names are imported on first use, because presets are listed without importing torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model.lazy import lazy_names

if TYPE_CHECKING:
    from .conversion import convert as convert
    from .croco import load_croco as load_croco
    from .info import CheckpointInfo as CheckpointInfo
    from .info import checkpoint_info as checkpoint_info
    from .loading import LoadReport as LoadReport
    from .loading import check_weights as check_weights
    from .loading import load_model as load_model
    from .loading import load_pretrained_into as load_pretrained_into
    from .locations import Location as Location
    from .locations import download as download
    from .locations import local_path as local_path
    from .locations import locate as locate
    from .naming import KeyMismatchError as KeyMismatchError
    from .presets import ModelPreset as ModelPreset
    from .reader import StoredModel as StoredModel
    from .reader import read_checkpoint as read_checkpoint
    from .reader import read_pth as read_pth
    from .saving import save_pretrained as save_pretrained
    from .saving import save_pth as save_pth
    from .saving import write_pth as write_pth

_MODULE_OF = {
    "CheckpointInfo": "info",
    "KeyMismatchError": "naming",
    "LoadReport": "loading",
    "Location": "locations",
    "ModelPreset": "presets",
    "StoredModel": "reader",
    "check_weights": "loading",
    "checkpoint_info": "info",
    "convert": "conversion",
    "download": "locations",
    "load_croco": "croco",
    "load_model": "loading",
    "load_pretrained_into": "loading",
    "local_path": "locations",
    "locate": "locations",
    "read_checkpoint": "reader",
    "read_pth": "reader",
    "save_pretrained": "saving",
    "save_pth": "saving",
    "write_pth": "saving",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
