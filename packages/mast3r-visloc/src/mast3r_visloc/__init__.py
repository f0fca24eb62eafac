"""Visual localisation: where was this photo taken, in a known map.

Names are imported on first use (PEP 562), so that ``import mast3r_visloc`` imports neither torch nor COLMAP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .cameras import Camera as Camera
    from .cameras import QueryCamera as QueryCamera
    from .cameras import normalized as normalized
    from .cameras import parse_camera as parse_camera
    from .cameras import project as project
    from .cameras import query_camera as query_camera
    from .cameras import unproject as unproject
    from .datasets import Candidate as Candidate
    from .datasets import LocalizationDataset as LocalizationDataset
    from .datasets import Query as Query
    from .datasets import VislocAachenDayNight as VislocAachenDayNight
    from .datasets import VislocCambridgeLandmarks as VislocCambridgeLandmarks
    from .datasets import VislocInLoc as VislocInLoc
    from .datasets import VislocSevenScenes as VislocSevenScenes
    from .evaluate import EvaluationReport as EvaluationReport
    from .evaluate import Shard as Shard
    from .evaluate import evaluate as evaluate
    from .evaluation import GroundTruth as GroundTruth
    from .evaluation import NamedPose as NamedPose
    from .evaluation import PoseError as PoseError
    from .evaluation import QueryRecord as QueryRecord
    from .evaluation import Run as Run
    from .evaluation import RunFiles as RunFiles
    from .evaluation import RunWriter as RunWriter
    from .evaluation import Summary as Summary
    from .evaluation import compare_poses as compare_poses
    from .evaluation import export_run as export_run
    from .evaluation import merge_runs as merge_runs
    from .evaluation import parse_thresholds as parse_thresholds
    from .evaluation import pose_error as pose_error
    from .evaluation import read_poses as read_poses
    from .evaluation import read_run as read_run
    from .evaluation import read_truth as read_truth
    from .evaluation import result_label as result_label
    from .evaluation import result_line as result_line
    from .evaluation import result_table as result_table
    from .evaluation import summarize as summarize
    from .evaluation import summary_line as summary_line
    from .evaluation import write_poses as write_poses
    from .formats import Pair as Pair
    from .formats import read_kapture as read_kapture
    from .formats import read_pairs as read_pairs
    from .formats import read_query_list as read_query_list
    from .formats import write_pairs as write_pairs
    from .localizing import IndexReport as IndexReport
    from .localizing import LocalizationOptions as LocalizationOptions
    from .localizing import Localizer as Localizer
    from .localizing import MapIndex as MapIndex
    from .localizing import build_index as build_index
    from .maps import DensePoints as DensePoints
    from .maps import LocalizationMap as LocalizationMap
    from .maps import MapImage as MapImage
    from .maps import NetworkPoints as NetworkPoints
    from .maps import SparsePoints as SparsePoints
    from .maps import lookup as lookup
    from .maps import network_points as network_points
    from .maps import read_map as read_map
    from .maps import write_localized_model as write_localized_model
    from .maps.as_dataset import ColmapMap as ColmapMap
    from .maps.as_dataset import RgbdFolder as RgbdFolder
    from .pnp import PnPResult as PnPResult
    from .pnp import PnPSolver as PnPSolver
    from .pnp import estimate_pose as estimate_pose
    from .pnp import find_inliers as find_inliers
    from .pnp import reprojection_errors as reprojection_errors
    from .pnp import run_pnp as run_pnp
    from .poses import Correspondences as Correspondences
    from .poses import Pose as Pose
    from .preparing import PreparationReport as PreparationReport
    from .preparing import PreparationRequest as PreparationRequest
    from .preparing import prepare as prepare
    from .reference import MapMatches as MapMatches
    from .reference import ReferenceOptions as ReferenceOptions
    from .reference import ReferencePipeline as ReferencePipeline
    from .reference import iterate_reference_views as iterate_reference_views
    from .reference import reference_views as reference_views
    from .report import save_localization_picture as save_localization_picture

_MODULES = {
    "cameras": (
        "Camera",
        "QueryCamera",
        "query_camera",
        "normalized",
        "parse_camera",
        "project",
        "unproject",
    ),
    "datasets": (
        "Candidate",
        "LocalizationDataset",
        "Query",
        "VislocAachenDayNight",
        "VislocCambridgeLandmarks",
        "VislocInLoc",
        "VislocSevenScenes",
    ),
    "evaluate": (
        "EvaluationReport",
        "Shard",
        "evaluate",
    ),
    "evaluation": (
        "GroundTruth",
        "NamedPose",
        "PoseError",
        "QueryRecord",
        "Run",
        "RunFiles",
        "RunWriter",
        "Summary",
        "compare_poses",
        "export_run",
        "merge_runs",
        "parse_thresholds",
        "pose_error",
        "read_poses",
        "read_run",
        "read_truth",
        "result_label",
        "result_line",
        "result_table",
        "summarize",
        "summary_line",
        "write_poses",
    ),
    "formats": (
        "Pair",
        "read_kapture",
        "read_pairs",
        "read_query_list",
        "write_pairs",
    ),
    "localizing": (
        "IndexReport",
        "LocalizationOptions",
        "Localizer",
        "MapIndex",
        "build_index",
    ),
    "maps": (
        "DensePoints",
        "LocalizationMap",
        "MapImage",
        "NetworkPoints",
        "SparsePoints",
        "lookup",
        "network_points",
        "read_map",
        "write_localized_model",
    ),
    "maps.as_dataset": (
        "ColmapMap",
        "RgbdFolder",
    ),
    "pnp": (
        "PnPResult",
        "PnPSolver",
        "estimate_pose",
        "find_inliers",
        "reprojection_errors",
        "run_pnp",
    ),
    "poses": (
        "Correspondences",
        "Pose",
    ),
    "preparing": (
        "PreparationReport",
        "PreparationRequest",
        "prepare",
    ),
    "reference": (
        "MapMatches",
        "ReferenceOptions",
        "ReferencePipeline",
        "iterate_reference_views",
        "reference_views",
    ),
    "report": ("save_localization_picture",),
}

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
