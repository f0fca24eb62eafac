"""Bundle adjustment of focal lengths, poses and points by COLMAP, on flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pycolmap
from jaxtyping import Bool, Float, Int

from mast3r_model import Mast3rError

from .errors import colmap_errors


@dataclass(frozen=True, eq=False)
class BundleCameras:
    """Cameras whose pixels (0, 0) are their principal points, with square pixels.

    Attributes:
        focal: (n,) in pixels.
        world2cam: (n, 4, 4).
        lens: (n,) images of one number share their focal length.
    """

    focal: Float[np.ndarray, " n"]
    world2cam: Float[np.ndarray, "n 4 4"]
    lens: Int[np.ndarray, " n"]

    def projections(self) -> Float[np.ndarray, "n 3 4"]:
        """From the world to pixels."""
        projections = self.world2cam[:, :3].copy()
        projections[:, :2] *= self.focal[:, None, None]
        return projections


@dataclass(frozen=True, eq=False)
class BundleObservations:
    """Points and where images see them.

    Attributes:
        points: (t, 3) first guesses in the world.
        track: (m,) which point, 0..t-1.
        image: (m,) which camera.
        xy: (m, 2) where, in the cameras' pixels.
    """

    points: Float[np.ndarray, "t 3"]
    track: Int[np.ndarray, " m"]
    image: Int[np.ndarray, " m"]
    xy: Float[np.ndarray, "m 2"]


def adjust_bundle(
    cameras: BundleCameras,
    observed: BundleObservations,
    *,
    fixed_poses: Bool[np.ndarray, " n"],
    fixed_focals: Bool[np.ndarray, " n"],
    loss_scale: float = 1.0,
    iterations: int = 100,
    threads: int = 1,
) -> BundleCameras:
    """Move cameras and points so that projections come near to what was observed (Cauchy's loss).

    The world's frame stays where fixed poses hold it; without any, a similarity is left open.

    Args:
        cameras: all of them observe something.
        observed: points with at least two observations each.
        fixed_poses: images whose pose stays to the bit.
        fixed_focals: images whose focal length stays to the bit.
        loss_scale: from about this many pixels on, errors count less than by their square.
        iterations: at most.
        threads: -1 for all; one is needed for the same result to the bit.

    Returns:
        The cameras after the adjustment.

    Raises:
        Mast3rError: COLMAP found no usable solution.
    """
    reconstruction = _reconstruction(cameras, observed)
    config = pycolmap.BundleAdjustmentConfig()
    for index in range(len(cameras.focal)):
        config.add_image(index + 1)
        if fixed_poses[index]:
            config.set_constant_rig_from_world_pose(index + 1)
        if fixed_focals[index]:
            config.set_constant_cam_intrinsics(int(cameras.lens[index]) + 1)
    if not fixed_poses.any():
        config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = loss_scale
    options.ceres.solver_options.max_num_iterations = iterations
    options.ceres.solver_options.function_tolerance = 1e-5
    options.ceres.solver_options.num_threads = threads
    with colmap_errors("bundle adjustment"):
        summary = pycolmap.create_default_bundle_adjuster(options, config, reconstruction).solve()
    if not summary.is_solution_usable():
        raise Mast3rError(f"bundle adjustment found no solution: {summary.brief_report()}")
    return _cameras(reconstruction, cameras, fixed_poses, fixed_focals)


def _reconstruction(cameras: BundleCameras, observed: BundleObservations) -> pycolmap.Reconstruction:
    reconstruction = pycolmap.Reconstruction()
    order = np.lexsort((observed.track, observed.image))
    bounds = np.searchsorted(observed.image[order], np.arange(len(cameras.focal) + 1))
    place = np.empty(len(order), np.int64)
    for index, focal in enumerate(cameras.focal):
        lens = int(cameras.lens[index]) + 1
        if not reconstruction.exists_camera(lens):
            camera = pycolmap.Camera(
                camera_id=lens, model="SIMPLE_PINHOLE", width=1, height=1, params=[focal, 0, 0]
            )
            reconstruction.add_camera_with_trivial_rig(camera)
        own = order[bounds[index] : bounds[index + 1]]
        place[own] = np.arange(len(own))
        reconstruction.add_image_with_trivial_frame(
            pycolmap.Image(name=str(index), keypoints=observed.xy[own], camera_id=lens, image_id=index + 1),
            pycolmap.Rigid3d(cameras.world2cam[index, :3]),
        )
    order = np.argsort(observed.track, kind="stable")
    ends = np.searchsorted(observed.track[order], np.arange(len(observed.points) + 1)).tolist()
    images, places = (observed.image[order] + 1).tolist(), place[order].tolist()
    for number, position in enumerate(observed.points):
        own_rows = range(ends[number], ends[number + 1])
        elements = [pycolmap.TrackElement(images[row], places[row]) for row in own_rows]
        reconstruction.add_point3D(position, pycolmap.Track(elements))
    return reconstruction


def _cameras(
    reconstruction: pycolmap.Reconstruction,
    before: BundleCameras,
    fixed_poses: Bool[np.ndarray, " n"],
    fixed_focals: Bool[np.ndarray, " n"],
) -> BundleCameras:
    """The cameras of a reconstruction; what was fixed does not even go through COLMAP's quaternions."""
    focal, world2cam = before.focal.copy(), before.world2cam.copy()
    for index in range(len(focal)):
        image = reconstruction.images[index + 1]
        if not fixed_focals[index]:
            focal[index] = reconstruction.cameras[image.camera_id].focal_length
        if not fixed_poses[index]:
            world2cam[index, :3] = image.cam_from_world().matrix()
    if not (np.isfinite(focal).all() and np.isfinite(world2cam).all() and (focal > 0).all()):
        raise Mast3rError("bundle adjustment ran away: a camera is no camera any more")
    return BundleCameras(focal, world2cam, before.lens)
