"""What the page shows of a reconstruction: a 3D file, pictures, tables (spec 60 D2, D9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .camera_table import CAMERA_COLUMNS as CAMERA_COLUMNS
    from .camera_table import camera_rows as camera_rows
    from .camera_table import write_camera_csv as write_camera_csv
    from .first_camera import first_camera as first_camera
    from .localized_view import map_scene as map_scene
    from .localized_view import with_localized as with_localized
    from .localized_view import write_localized_glb as write_localized_glb
    from .map_pictures import confidence_picture as confidence_picture
    from .map_pictures import depth_picture as depth_picture
    from .map_pictures import normals_picture as normals_picture
    from .measuring import measure as measure
    from .measuring import picture_scale as picture_scale
    from .measuring import with_marks as with_marks
    from .pair_pictures import pair_choices as pair_choices
    from .pair_pictures import pair_picture as pair_picture
    from .pair_pictures import similarity_picture as similarity_picture
    from .scene_glb import write_scene_glb as write_scene_glb
    from .scene_glb import write_view_glb as write_view_glb
    from .shown import ViewSettings as ViewSettings
    from .shown import shown_scene as shown_scene
    from .shown import shown_threshold as shown_threshold
    from .shown import view_note as view_note

_MODULE_OF = {
    "CAMERA_COLUMNS": "camera_table",
    "ViewSettings": "shown",
    "camera_rows": "camera_table",
    "confidence_picture": "map_pictures",
    "depth_picture": "map_pictures",
    "first_camera": "first_camera",
    "map_scene": "localized_view",
    "measure": "measuring",
    "normals_picture": "map_pictures",
    "pair_choices": "pair_pictures",
    "pair_picture": "pair_pictures",
    "picture_scale": "measuring",
    "shown_scene": "shown",
    "shown_threshold": "shown",
    "similarity_picture": "pair_pictures",
    "view_note": "shown",
    "with_localized": "localized_view",
    "with_marks": "measuring",
    "write_camera_csv": "camera_table",
    "write_localized_glb": "localized_view",
    "write_scene_glb": "scene_glb",
    "write_view_glb": "scene_glb",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
