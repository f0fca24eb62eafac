"""Adding photos to a finished scene."""

from .extend import extend_scene as extend_scene
from .joined import JoinedPhotos as JoinedPhotos
from .joined import join_photos as join_photos
from .joined import network_size as network_size

__all__ = ["JoinedPhotos", "extend_scene", "join_photos", "network_size"]
