"""Random scenes and their renderer (spec 70)."""

from .camera_effects import photograph
from .cameras import Cameras
from .oracle import OracleNetwork
from .oracle_noise import OracleNoise
from .primitives import Scene, SceneBatch
from .rendering import RenderedViews, render
from .scenes import make_scene
from .textures import TextureBank, build_bank, load_bank
from .viewpoints import Lens, intrinsics_for, look_at, sample_pairs
from .views import SceneViews, render_scene_views

__all__ = [
    "Cameras",
    "Lens",
    "OracleNetwork",
    "OracleNoise",
    "RenderedViews",
    "Scene",
    "SceneBatch",
    "SceneViews",
    "TextureBank",
    "build_bank",
    "intrinsics_for",
    "load_bank",
    "look_at",
    "make_scene",
    "photograph",
    "render",
    "render_scene_views",
    "sample_pairs",
]
