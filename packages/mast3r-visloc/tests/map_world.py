"""A wall photographed by four cameras, with exact truth, written in every format of maps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image
from scipy.spatial.transform import Rotation

NORMAL, DISTANCE = np.array([-0.3, 0.1, 1.0]), 4.0
"""The wall: NORMAL . X = DISTANCE."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A photo: intrinsics in OpenCV's pixels, cam2world, (height, width)."""

    name: str
    K: np.ndarray
    pose: np.ndarray
    shape: tuple[int, int]

    def rays(self, xy: np.ndarray) -> np.ndarray:
        """(n, 3) in the camera's frame, z = 1."""
        return np.concatenate([xy, np.ones((len(xy), 1))], 1) @ np.linalg.inv(self.K).T

    def wall(self, xy: np.ndarray) -> np.ndarray:
        """(n, 3) world points of the wall behind pixels."""
        rays = self.rays(xy) @ self.pose[:3, :3].T
        along = (DISTANCE - NORMAL @ self.pose[:3, 3]) / (rays @ NORMAL)
        return self.pose[:3, 3] + along[:, None] * rays

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and depth of world points."""
        own = (points - self.pose[:3, 3]) @ self.pose[:3, :3]
        pixels = own @ self.K.T
        return pixels[:, :2] / pixels[:, 2:], own[:, 2]

    def grid(self) -> np.ndarray:
        y, x = np.indices(self.shape)
        return np.stack([x.ravel(), y.ravel()], 1).astype(float)

    def depth(self) -> np.ndarray:
        return self.project(self.wall(self.grid()))[1].reshape(self.shape)

    def picture(self) -> Image.Image:
        points = self.wall(self.grid())
        colors = 127 + 120 * np.sin(points @ np.array([[3.0, 1, 0.5], [0.7, 4, 1], [1, 1, 1]]))
        return Image.fromarray(colors.reshape(*self.shape, 3).astype(np.uint8))

    @property
    def colmap_params(self) -> list[float]:
        return [*self.K[[0, 1], [0, 1]], *(self.K[:2, 2] + 0.5)]


def _shot(number: int) -> Shot:
    shape = (64, 48) if number == 3 else (48, 64)
    K = np.array([[60.0 + number, 0, shape[1] / 2 - 1.2], [0, 62.0, shape[0] / 2], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("yx", [6 * number - 9, 3 * number - 4], degrees=True).as_matrix()
    pose[:3, 3] = [0.4 * number - 0.6, 0.1 * number, 0.05 * number]
    return Shot(f"seq-{number % 2}/frame-{number:06d}.color.png", K, pose, shape)


@dataclass(frozen=True, eq=False)
class World:
    """Four shots and points of the wall that they observe."""

    shots: tuple[Shot, ...] = field(default_factory=lambda: tuple(_shot(number) for number in range(4)))

    @property
    def points(self) -> np.ndarray:
        """(60, 3) on the wall."""
        across = np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 10), np.linspace(-1.2, 1.2, 6)), -1)
        xy = across.reshape(-1, 2)
        return np.concatenate([xy, (DISTANCE - xy @ NORMAL[:2])[:, None]], 1)

    def seen(self, shot: Shot) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the points that a shot sees, and their pixels."""
        pixels, _ = shot.project(self.points)
        inside = ((pixels > 0) & (pixels < np.array(shot.shape[::-1]) - 1)).all(1)
        return np.flatnonzero(inside), pixels[inside]

    def write_photos(self, folder: Path, prefix: str = "") -> None:
        for shot in self.shots:
            path = folder / prefix / shot.name
            path.parent.mkdir(parents=True, exist_ok=True)
            shot.picture().save(path)

    def reconstruction(self, *, rig: bool = False) -> pycolmap.Reconstruction:
        """A COLMAP model; point number i has the id i + 10. With `rig` shots 0 and 1 are one frame."""
        model = pycolmap.Reconstruction()
        tracks: dict[int, list[pycolmap.TrackElement]] = {}
        for number, shot in enumerate(self.shots):
            size = {"width": shot.shape[1], "height": shot.shape[0]}
            camera = pycolmap.Camera(model="PINHOLE", params=shot.colmap_params, camera_id=number + 3, **size)
            own, pixels = self.seen(shot)
            # one keypoint in front that shows no 3D point
            keypoints = np.concatenate([[[1.0, 1.0]], pixels + 0.5])
            image = pycolmap.Image(
                name=shot.name, keypoints=keypoints, camera_id=number + 3, image_id=number + 5
            )
            cam_from_world = pycolmap.Rigid3d(np.linalg.inv(shot.pose)[:3])
            if rig and number < 2:
                self._add_rigged(model, camera, image, cam_from_world, number)
            else:
                model.add_camera_with_trivial_rig(camera)
                model.add_image_with_trivial_frame(image, cam_from_world)
            for place, point in enumerate(own.tolist()):
                tracks.setdefault(point, []).append(pycolmap.TrackElement(number + 5, place + 1))
        for point, elements in tracks.items():
            model.add_point3D_with_id(
                point + 10, pycolmap.Point3D(xyz=self.points[point], track=pycolmap.Track(elements))
            )
        return model

    def _add_rigged(
        self,
        model: pycolmap.Reconstruction,
        camera: pycolmap.Camera,
        image: pycolmap.Image,
        cam_from_world: pycolmap.Rigid3d,
        number: int,
    ) -> None:
        model.add_camera(camera)
        if number == 0:
            return
        first, second = (np.linalg.inv(shot.pose) for shot in self.shots[:2])
        rig = pycolmap.Rig(rig_id=90)
        rig.add_ref_sensor(pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=3))
        rig.add_sensor(
            pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=4),
            pycolmap.Rigid3d((second @ np.linalg.inv(first))[:3]),
        )
        model.add_rig(rig)
        frame = pycolmap.Frame(frame_id=80, rig_id=90, rig_from_world=pycolmap.Rigid3d(first[:3]))
        images = []
        for index, shot in enumerate(self.shots[:2]):
            _, pixels = self.seen(shot)
            images.append(
                pycolmap.Image(
                    name=shot.name,
                    keypoints=np.concatenate([[[1.0, 1.0]], pixels + 0.5]),
                    camera_id=index + 3,
                    image_id=index + 5,
                )
            )
            frame.add_data_id(images[-1].data_id)
            images[-1].frame_id = 80
        model.add_frame(frame)
        for rigged in images:
            model.add_image(rigged)

    def write_colmap(self, folder: Path, *, text: bool = False, rig: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        model = self.reconstruction(rig=rig)
        if text:
            model.write_text(folder)
        else:
            model.write_binary(folder)

    def write_kapture(self, folder: Path) -> None:
        """Photos, cameras in COLMAP's convention, and depth of registered sensors."""
        self.write_photos(folder / "sensors" / "records_data")
        sensors, poses, photos, depths = [], [], [], []
        for number, shot in enumerate(self.shots):
            params = ", ".join(map(repr, [shot.shape[1], shot.shape[0], *map(float, shot.colmap_params)]))
            inverse = np.linalg.inv(shot.pose)
            quaternion = Rotation.from_matrix(inverse[:3, :3]).as_quat()[[3, 0, 1, 2]]
            pose = ", ".join(repr(float(value)) for value in [*quaternion, *inverse[:3, 3]])
            for sensor, kind in ((f"rgb{number}", "camera"), (f"depth{number}", "depth")):
                sensors.append(f"{sensor}, , {kind}, PINHOLE, {params}")
                poses.append(f"{number}, {sensor}, {pose}")
            photos.append(f"{number}, rgb{number}, {shot.name}")
            depths.append(f"{number}, depth{number}, {shot.name}.depth")
            depth = shot.depth().astype("<f4")
            (folder / "sensors" / "records_data" / f"{shot.name}.depth").write_bytes(depth.tobytes())
        for name, lines in (
            ("sensors", sensors),
            ("trajectories", poses),
            ("records_camera", photos),
            ("records_depth", depths),
        ):
            text = "\n".join(["# kapture format: 1.1", *lines]) + "\n"
            (folder / "sensors" / f"{name}.txt").write_text(text)

    def write_nerfstudio(self, folder: Path, change: Callable[[dict], None] = lambda document: None) -> None:
        """Photos in ``images/``, depth as .npy in metres."""
        self.write_photos(folder, "images")
        frames = []
        for number, shot in enumerate(self.shots):
            np.save(folder / f"depth_{number}.npy", shot.depth())
            fl_x, fl_y, cx, cy = shot.colmap_params
            frames.append(
                {
                    "file_path": f"./images/{shot.name}",
                    "depth_file_path": f"depth_{number}.npy",
                    "w": shot.shape[1],
                    "h": shot.shape[0],
                    "fl_x": fl_x,
                    "fl_y": fl_y,
                    "cx": cx,
                    "cy": cy,
                    "transform_matrix": (shot.pose @ np.diag([1, -1, -1, 1])).tolist(),
                }
            )
        document = {"camera_model": "OPENCV", "frames": frames}
        change(document)
        (folder / "transforms.json").write_text(json.dumps(document))

    def write_rgbd(self, folder: Path) -> None:
        """The shots of one camera, in 7-Scenes' layout; depth in millimetres."""
        shots = self.shots
        for number, shot in enumerate(shots):
            stem = folder / shot.name.removesuffix(".color.png")
            stem.parent.mkdir(parents=True, exist_ok=True)
            shot.picture().save(folder / shot.name)
            if number < len(shots) - 1:  # one photo without depth
                depth = np.round(shot.depth() * 1000).astype(np.uint16)
                depth[0, 0], depth[0, 1] = 0, 65535
                Image.fromarray(depth).save(f"{stem}.depth.png")
            np.savetxt(f"{stem}.pose.txt", shot.pose, fmt="%.17g")
        np.savetxt(folder / "intrinsics.txt", shots[0].K, fmt="%.17g")


def one_camera_world() -> World:
    """The first three shots, all through the first one's camera."""
    first, *others = World().shots[:3]
    return World((first, *(Shot(shot.name, first.K, shot.pose, first.shape) for shot in others)))
