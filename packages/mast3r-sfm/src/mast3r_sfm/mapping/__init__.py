"""From predictions of pairs to placed photos: four mappers with one face."""

from .gathering import Gathered as Gathered
from .gathering import gather as gather
from .joining import join_groups as join_groups
from .mappers import place_images as place_images
from .prepare import prepare_mapping as prepare_mapping
from .record import reconstruction_report as reconstruction_report
from .sparse_mapper import align_group as align_group
from .sparse_mapper import alignment_report as alignment_report
from .sparse_mapper import lift_group as lift_group
from .sparse_mapper import map_sparse as map_sparse
from .task import MappingTask as MappingTask
from .task import PlacedGroup as PlacedGroup
from .task import Placement as Placement
from .task import network_depth as network_depth
from .task import placed_image as placed_image

__all__ = [
    "Gathered",
    "MappingTask",
    "PlacedGroup",
    "Placement",
    "align_group",
    "alignment_report",
    "gather",
    "join_groups",
    "lift_group",
    "map_sparse",
    "network_depth",
    "place_images",
    "placed_image",
    "prepare_mapping",
    "reconstruction_report",
]
