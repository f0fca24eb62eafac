"""Bundle adjustment of a finished scene, kept where it helps tracks that it did not see.

A share of the tracks is held out. If cameras adjusted on the rest let the held-out ones be triangulated with
smaller errors than the cameras of before, all tracks are adjusted; else the group of images stays as it was.
Everything is measured in network pixels, so that photos of different sizes count alike.
"""

from .refine import TrackFinder, refine_scene
from .results import GroupRefinement, Refinement, RefinementOptions

__all__ = ["GroupRefinement", "Refinement", "RefinementOptions", "TrackFinder", "refine_scene"]
