"""Maps all around a point of a scene, rendered by Habitat-Sim (spec 41 section 1).

Habitat-Sim is no dependency of ours: it is installed with conda. The preparation takes any `OpenScene`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_train.errors import SampleError

from .panoramas import Panorama, distance_of_cube_depth

MAP_TO_WORLD = np.diag([1.0, -1.0, -1.0])
"""From a map's axes (x right, y down, z forward) to Habitat's world (x right, y up, z backward)."""


class SceneRenderer(Protocol):
    """An open scene."""

    def render(self, position: Float[np.ndarray, " 3"]) -> Panorama:
        """What is seen all around from a point of Habitat's world; the map's axes are `MAP_TO_WORLD`.

        Raises:
            SampleError: it cannot be rendered.
        """

    def close(self) -> None:
        """Let go of the scene."""


class OpenScene(Protocol):
    """Opens a scene; picklable, so a function at the top of a module."""

    def __call__(self, scene: Path, config: Path | None, shape: tuple[int, int]) -> SceneRenderer:
        """Open.

        Args:
            scene: the scene's file or folder.
            config: the scene dataset's configuration, if the scene has one.
            shape: (height, width) of the maps.

        Raises:
            SampleError: the scene cannot be opened.
        """


def require_habitat_sim() -> None:
    """Raise an `InputError` if Habitat-Sim is not installed."""
    if importlib.util.find_spec("habitat_sim") is None:
        raise InputError(
            "rendering Habitat's scenes needs Habitat-Sim (the module habitat_sim), which is not installed",
            hint="conda install habitat-sim headless -c conda-forge -c aihabitat, where mast3r is installed",
        )


def open_habitat_scene(scene: Path, config: Path | None, shape: tuple[int, int]) -> SceneRenderer:
    """Open a scene with Habitat-Sim; see `OpenScene`."""
    require_habitat_sim()
    return _HabitatScene(scene, config, shape)


class _HabitatScene:
    def __init__(self, scene: Path, config: Path | None, shape: tuple[int, int]) -> None:
        import habitat_sim  # type: ignore[import-not-found]

        self._library: Any = habitat_sim
        self._scene = scene
        backend = habitat_sim.SimulatorConfiguration()
        backend.scene_id = str(scene)
        if config is not None:
            backend.scene_dataset_config_file = str(config)
        agent = habitat_sim.agent.AgentConfiguration()
        agent.sensor_specifications = [
            self._sensor("color", habitat_sim.SensorType.COLOR, shape),
            self._sensor("depth", habitat_sim.SensorType.DEPTH, shape),
        ]
        try:
            self._simulator: Any = habitat_sim.Simulator(habitat_sim.Configuration(backend, [agent]))
        except Exception as error:  # the library raises plain exceptions of several kinds
            raise SampleError(f"Habitat-Sim cannot open {scene}: {error}") from error

    def render(self, position: Float[np.ndarray, " 3"]) -> Panorama:
        agent = self._simulator.get_agent(0)
        agent.set_state(self._library.AgentState(position=np.asarray(position, dtype=np.float32)))
        try:
            seen = self._simulator.get_sensor_observations()
        except Exception as error:  # as above
            raise SampleError(f"Habitat-Sim cannot render {self._scene}: {error}") from error
        color = np.ascontiguousarray(np.asarray(seen["color"])[..., :3], dtype=np.uint8)
        return Panorama(color, distance_of_cube_depth(np.asarray(seen["depth"], dtype=np.float32)))

    def close(self) -> None:
        self._simulator.close()

    def _sensor(self, name: str, kind: Any, shape: tuple[int, int]) -> Any:
        sensor = self._library.EquirectangularSensorSpec()
        sensor.uuid = name
        sensor.sensor_type = kind
        sensor.resolution = list(shape)
        sensor.position = [0.0, 0.0, 0.0]  # by default it would be above the agent
        return sensor
