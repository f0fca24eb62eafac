"""Engines: equal results whoever computes, also when workers are killed."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mast3r_model import DeviceError, InputError, cpu_threads, hookimpl, network_identity, temporary_plugin
from mast3r_sfm.engines.local import LocalEngine
from mast3r_sfm.engines.processes import ProcessesEngine, worker_devices
from mast3r_sfm.engines.ray_cluster import RayEngine
from mast3r_sfm.engines.transport import shipped_by_file
from mast3r_sfm.predictions import predict_pairs

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def tiny() -> Iterator[ModuleType]:
    """The module of the tiny network, such that worker processes can import it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        patch.setenv("PYTHONPATH", str(HERE))
        patch.setenv("OMP_NUM_THREADS", "1")  # of the processes started here, see `_one_thread`
        yield importlib.import_module("fragile_network")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As many threads here as in each worker: with more, sums are rounded otherwise."""
    with cpu_threads(1):
        yield


@pytest.fixture
def expected(tiny: ModuleType, tmp_path: Path) -> dict[str, bytes]:
    """The files of an undisturbed run of the local engine."""
    return run(tiny, tiny.tiny_network(), LocalEngine, tmp_path / "expected")


def run(tiny: ModuleType, network: Any, engine: Any, folder: Path) -> dict[str, bytes]:
    predict_pairs(network, tiny.tiny_images(), tiny.PAIRS, cache=folder, engine=engine, options=tiny.OPTIONS)
    return pair_files(folder)


def pair_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "pairs").rglob("[!.]*.safetensors")}


def fragile(tiny: ModuleType, behaviour: str = "die", marker: Path | None = None) -> Any:
    """The same weights in a network that ends its process; its keys are its own."""
    network = tiny.tiny_network(tiny.FragileNetwork)
    network.behaviour, network.marker = behaviour, str(marker)
    return network


def same_pairs(one: dict[str, bytes], other: dict[str, bytes]) -> bool:
    """Whether two runs predicted the same, whatever the keys: everything after the headers is equal."""

    def tensors(data: bytes) -> bytes:
        return data[8 + int.from_bytes(data[:8], "little") :]

    return sorted(map(tensors, one.values())) == sorted(map(tensors, other.values()))


def test_killed_and_started_again(tiny: ModuleType, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    process = subprocess.Popen([sys.executable, str(HERE / "fragile_network.py"), str(cache)])
    deadline = time.monotonic() + 200
    while len(pair_files(cache)) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = pair_files(cache)
    assert 4 <= len(before) < len(tiny.PAIRS)
    network = fragile(tiny, "")
    network.batches = 10
    found = run(tiny, network, LocalEngine, cache)
    assert network.batches - 10 == 5 - len(before) // 2
    assert found.items() >= before.items()
    assert found == run(tiny, network, LocalEngine, tmp_path / "undisturbed")


@pytest.mark.slow
def test_processes_equal_local(tiny: ModuleType, expected: dict[str, bytes], tmp_path: Path) -> None:
    assert run(tiny, tiny.tiny_network(), ProcessesEngine, tmp_path / "cache") == expected


def test_a_process_is_killed(tiny: ModuleType, expected: dict[str, bytes], tmp_path: Path) -> None:
    found = run(tiny, fragile(tiny, "die", tmp_path / "marker"), ProcessesEngine, tmp_path / "cache")
    assert (tmp_path / "marker").exists()
    assert same_pairs(found, expected)


@pytest.mark.slow
def test_errors_of_processes_arrive(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not today") as caught:
        run(tiny, fragile(tiny, "refuse"), ProcessesEngine, tmp_path)
    assert caught.value.hint == "come back tomorrow"


@pytest.mark.slow
def test_a_batch_that_ends_every_worker(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="all worker processes have ended"):
        run(tiny, fragile(tiny, "always die"), ProcessesEngine, tmp_path)


def test_a_network_travels_by_file(tiny: ModuleType) -> None:
    network = tiny.tiny_network()
    source, closing = shipped_by_file(network)
    with closing:
        assert source.model is None
        built = source.build(torch.device("cpu"))
        assert network_identity(built) == network_identity(network)
        assert built.precision is None
    assert not Path(str(source.folder)).exists()
    source, closing = shipped_by_file(fragile(tiny))
    assert isinstance(source.build(torch.device("cpu")), tiny.FragileNetwork)


def test_devices_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert worker_devices(None) == [torch.device("cpu")] * 2
    assert worker_devices(3) == [torch.device("cpu")] * 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert worker_devices(None) == [torch.device("cuda", index) for index in range(4)]
    assert worker_devices(2) == [torch.device("cuda", 0), torch.device("cuda", 1)]


@pytest.fixture(scope="module")
def local_ray(tiny: ModuleType) -> Iterator[None]:
    """A Ray of this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
def test_ray_with_an_actor_killed(
    tiny: ModuleType, expected: dict[str, bytes], tmp_path: Path, local_ray: None
) -> None:
    found = run(tiny, fragile(tiny, "die", tmp_path / "marker"), RayEngine, tmp_path / "cache")
    assert (tmp_path / "marker").exists()
    assert same_pairs(found, expected)


@pytest.mark.slow
def test_errors_of_actors_arrive(tiny: ModuleType, tmp_path: Path, local_ray: None) -> None:
    with pytest.raises(InputError, match="not today"):
        run(tiny, fragile(tiny, "refuse"), RayEngine, tmp_path)
    with pytest.raises(DeviceError, match="3 workers ended while they did the same batch"):
        run(tiny, fragile(tiny, "always die"), RayEngine, tmp_path)


def test_a_plugins_engine(tiny: ModuleType, expected: dict[str, bytes], tmp_path: Path) -> None:
    """The example of docs/plugins.md: a factory of something with `workers` and `run`."""
    batches: list[int] = []

    class Told(LocalEngine):
        def run(self, tasks: Any) -> Any:
            batches.append(len(tasks))
            return super().run(tasks)

    class Plugin:
        @hookimpl
        def mast3r_engines(self) -> dict[str, Any]:
            return {"told": Told}

    with temporary_plugin(Plugin(), "told-plugin"):
        assert run(tiny, tiny.tiny_network(), "told", tmp_path / "cache") == expected
    assert sum(batches) == 3 + 5
