"""From predictions of pairs to placed photos: four mappers with one face."""

from .gathering import Gathered as Gathered
from .gathering import gather as gather
from .joining import join_groups as join_groups
from .mappers import place_images as place_images
from .task import MappingTask as MappingTask
from .task import PlacedGroup as PlacedGroup
from .task import Placement as Placement
from .task import network_depth as network_depth

__all__ = [
    "Gathered",
    "MappingTask",
    "PlacedGroup",
    "Placement",
    "gather",
    "join_groups",
    "network_depth",
    "place_images",
]
