"""Evaluation: errors and recalls, ground truth, and what a run leaves on the disk (spec 50 A8, D7).

Names are imported on first use (PEP 562): reading a file of poses needs neither matplotlib nor COLMAP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .aggregate import Summary as Summary
    from .aggregate import recall as recall
    from .aggregate import summarize as summarize
    from .aggregate import summary_line as summary_line
    from .compare import Comparison as Comparison
    from .compare import compare_poses as compare_poses
    from .errors import FAILED as FAILED
    from .errors import PoseError as PoseError
    from .errors import pose_error as pose_error
    from .errors import query_error as query_error
    from .exports import EXPORTS as EXPORTS
    from .exports import export_run as export_run
    from .labels import result_label as result_label
    from .lines import ENU as ENU
    from .lines import Horizon as Horizon
    from .lines import result_line as result_line
    from .match_files import match_path as match_path
    from .match_files import read_matches as read_matches
    from .pose_files import NamedPose as NamedPose
    from .pose_files import read_poses as read_poses
    from .pose_files import write_poses as write_poses
    from .pose_files import write_upstream_results as write_upstream_results
    from .reading import Run as Run
    from .reading import merge_runs as merge_runs
    from .reading import read_run as read_run
    from .records import QueryRecord as QueryRecord
    from .run import RunFiles as RunFiles
    from .run import RunWriter as RunWriter
    from .run import check_run_folder as check_run_folder
    from .tables import result_table as result_table
    from .thresholds import DEFAULT_THRESHOLDS as DEFAULT_THRESHOLDS
    from .thresholds import HLOC_THRESHOLDS as HLOC_THRESHOLDS
    from .thresholds import parse_thresholds as parse_thresholds
    from .truth import GroundTruth as GroundTruth
    from .truth import read_truth as read_truth

_MODULES = {
    "aggregate": ("Summary", "recall", "summarize", "summary_line"),
    "compare": ("Comparison", "compare_poses"),
    "errors": ("FAILED", "PoseError", "pose_error", "query_error"),
    "exports": ("EXPORTS", "export_run"),
    "labels": ("result_label",),
    "lines": ("ENU", "Horizon", "result_line"),
    "match_files": ("match_path", "read_matches"),
    "pose_files": ("NamedPose", "read_poses", "write_poses", "write_upstream_results"),
    "reading": ("Run", "merge_runs", "read_run"),
    "records": ("QueryRecord",),
    "run": ("RunFiles", "RunWriter", "check_run_folder"),
    "tables": ("result_table",),
    "thresholds": ("DEFAULT_THRESHOLDS", "HLOC_THRESHOLDS", "parse_thresholds"),
    "truth": ("GroundTruth", "read_truth"),
}

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
