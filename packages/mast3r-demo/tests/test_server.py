"""The running server, asked through gradio's own client: the API, several visitors, limits, what is left behind."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from mast3r_demo.example_sets import find_examples
from mast3r_demo.limits import Limits
from mast3r_demo.server import gradio_environment, launch
from mast3r_demo.server_options import ServerOptions
from mast3r_demo.session import SessionStore
from mast3r_model import load_model

SIZE = 128
PATIENCE = 120.0


@dataclass
class Running:
    """A server in this process."""

    url: str
    store: SessionStore
    page: Any
    gate: Gate

    def client(self) -> Client:
        """A new visitor."""
        return Client(self.url, verbose=False, download_files=False)

    def get(self, path: str) -> httpx.Response:
        """Fetch a path as a stranger."""
        return httpx.get(f"{self.url.rstrip('/')}{path}", follow_redirects=False)


class Gate:
    """Lets jobs of a test wait before they get the network."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Semaphore(0)

    def close(self) -> None:
        """From now on jobs wait; `waiting` counts those that do."""
        while self.waiting.acquire(blocking=False):
            pass
        self.open.clear()

    def pass_through(self) -> None:
        self.waiting.release()
        assert self.open.wait(PATIENCE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    from mast3r_demo.app import build_app

    root = tmp_path_factory.mktemp("server") / "sessions"
    gate = Gate()
    model = load_model("nano", device="cpu")
    limits = Limits(max_photos=6, max_pixels=400_000, max_file_bytes=200_000, max_video_bytes=300_000,
                    max_pairs=8, queue_size=2, seconds=PATIENCE)  # fmt: skip
    options = ServerOptions(limits=limits, image_size=SIZE)
    with SessionStore(root) as store, gradio_environment(store.gradio_folder):
        page = build_app(options, lambda: model, store)
        network = page.services.network
        usual = network.get
        network.get = lambda: (gate.pass_through(), usual())[1]
        url = launch(page, options, store)
        try:
            yield Running(url, store, page, gate)
        finally:
            gate.open.set()
            page.close(verbose=False)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small photos of one place."""
    folder = tmp_path_factory.mktemp("house")
    found = next(example for example in find_examples() if example.name == "room")
    paths = []
    for number, source in enumerate(found.photos[:3]):
        path = folder / f"view {number}.jpg"
        Image.open(source).resize((160, 120)).save(path, quality=95)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def done(server: Running, house: list[Path]) -> tuple[Client, dict[str, Any], str]:
    """A visitor with a reconstruction: client, report, GLB."""
    client = server.client()
    report, glb = client.predict([handle_file(path) for path in house], image_size=SIZE, quality="coarse",
                                 api_name="/reconstruct")  # fmt: skip
    return client, report, path_of(glb)


def path_of(value: Any) -> str:
    """The server's path of a file in an answer that was not downloaded."""
    return str(value["path"] if isinstance(value, dict) else value)


def test_three_photos_become_a_scene(done: tuple[Client, dict[str, Any], str], house: list[Path]) -> None:
    _, report, glb = done
    assert report["photos"] == [path.name for path in house]
    assert report["points"] > 1000
    assert report["pairs"] == 3
    pose = np.array(report["cameras"][1]["cam2world"])
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-6)
    assert Path(glb).read_bytes()[:4] == b"glTF"
    assert not report["dropped"]


def test_an_export_is_of_the_sessions_scene(done: tuple[Client, dict[str, Any], str]) -> None:
    client, _, _ = done
    with zipfile.ZipFile(path_of(client.predict("colmap", api_name="/export"))) as archive:
        names = archive.namelist()
    assert any(name.startswith("sparse/0/") for name in names)
    ply = Path(path_of(client.predict("ply", percentile=50, api_name="/export")))
    assert ply.read_bytes().startswith(b"ply")
    fewer = Path(path_of(client.predict("ply", percentile=90, api_name="/export")))
    assert fewer.stat().st_size < ply.stat().st_size


def test_an_export_without_a_scene_says_what_to_do(server: Running) -> None:
    with pytest.raises(AppError, match="press Run"):
        server.client().predict("glb", api_name="/export")


def test_two_photos_are_matched(server: Running, house: list[Path]) -> None:
    client = server.client()
    count, csv, npz = client.predict(
        handle_file(house[0]), handle_file(house[1]), size=SIZE, api_name="/match"
    )
    lines = Path(path_of(csv)).read_text().splitlines()
    assert count > 20
    assert len(lines) == count + 1
    assert path_of(npz).endswith(".npz")
    fewer, *_ = client.predict(handle_file(house[0]), handle_file(house[1]), size=SIZE,
                               min_confidence=3.0, api_name="/match")  # fmt: skip
    assert fewer < count


def test_a_photo_is_localized_in_the_sessions_scene(
    done: tuple[Client, dict[str, Any], str], house: list[Path]
) -> None:
    from mast3r_demo.localizing import localizer_names

    if not localizer_names():
        pytest.skip("nobody localizes here")
    client, _, _ = done
    status, view, pose = client.predict(photo=handle_file(house[1]), api_name="/localize")
    assert Path(path_of(view)).read_bytes()[:4] == b"glTF"
    assert pose["success"], status
    assert pose["inliers"] > 10
    assert np.array(pose["cam2world"]).shape == (4, 4)


def test_a_video_becomes_a_scene(server: Running, house: list[Path], tmp_path: Path) -> None:
    import cv2

    video = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for path in house:
        for _ in range(10):
            writer.write(cv2.imread(str(path)))
    writer.release()
    client = server.client()
    report, _ = client.predict(video=handle_file(video), fps=1.0, pairs="swin", image_size=SIZE,
                               quality="coarse", api_name="/reconstruct")  # fmt: skip
    assert len(report["photos"]) == 3


def test_documented_names_are_the_only_ones(server: Running) -> None:
    named = server.client().view_api(return_format="dict", print_info=False)["named_endpoints"]
    expected = {"/reconstruct", "/match", "/export"}
    from mast3r_demo.localizing import localizer_names

    if localizer_names():
        expected.add("/localize")
    assert set(named) == expected
    parameters = [parameter["parameter_name"] for parameter in named["/reconstruct"]["parameters"]]
    assert parameters[:4] == ["photos", "video", "fps", "focal"]
    assert {"pairs", "quality", "coarse_lr", "tsdf", "percentile"} <= set(parameters)


def test_two_visitors_at_once_have_their_own_scenes(
    server: Running, house: list[Path], done: tuple[Client, dict[str, Any], str]
) -> None:
    first, second = server.client(), server.client()
    jobs = [
        client.submit([handle_file(path) for path in photos], image_size=SIZE, quality="coarse",
                      api_name="/reconstruct")
        for client, photos in ((first, house[:2]), (second, house[1:]))
    ]  # fmt: skip
    reports = [job.result(timeout=PATIENCE)[0] for job in jobs]
    assert reports[0]["photos"] == [path.name for path in house[:2]]
    assert reports[1]["photos"] == [path.name for path in house[1:]]
    files = [path_of(client.predict("cameras", api_name="/export")) for client in (first, second)]
    texts = [Path(file).read_text() for file in files]
    assert texts[0] != texts[1]
    assert Path(done[2]).is_file(), "the scene of an earlier visitor is still there"


def test_a_cancelled_job_stops_its_work(server: Running, house: list[Path]) -> None:
    before = set(server.page.services.visits._visits)
    server.gate.close()
    client = server.client()
    try:
        job = client.submit([handle_file(path) for path in house], image_size=SIZE, api_name="/reconstruct")
        assert server.gate.waiting.acquire(timeout=PATIENCE)
        (new,) = set(server.page.services.visits._visits) - before
        session = server.page.services.visits._visits[new].session
        assert session.busy
        job.cancel()
        wait_for(lambda: session.job._control._cancelled.is_set())
    finally:
        server.gate.open.set()
    assert session.job.wait(PATIENCE)
    assert session.result is None
    assert not list(session.predictions.rglob("*.safetensors")), "nothing was computed after the cancel"


def test_a_full_queue_refuses_the_next_job(server: Running, house: list[Path]) -> None:
    server.gate.close()
    photos = [handle_file(path) for path in house[:2]]
    clients = [server.client() for _ in range(4)]
    try:
        jobs = []
        for number, client in enumerate(clients[:3]):
            jobs.append(client.submit(photos, image_size=SIZE, quality="coarse", api_name="/reconstruct"))
            if number == 0:
                assert server.gate.waiting.acquire(timeout=PATIENCE)
            else:
                wait_for(lambda number=number: len(server.page._queue) == number)
        with pytest.raises(Exception, match="Queue is full"):
            clients[3].predict(photos, image_size=SIZE, api_name="/reconstruct")
    finally:
        server.gate.open.set()
    assert all(job.result(timeout=PATIENCE)[0]["points"] for job in jobs)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", b"hello", "Invalid file type"),
        ("photo.jpg", b"this is no photo", "is no photo"),
        ("large.jpg", b"\xff\xd8" + bytes(250_000), "may have 0 MB"),
    ],
)
def test_a_file_that_is_no_photo_is_refused(
    server: Running, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AppError, match=said):
        server.client().predict([handle_file(path)], api_name="/reconstruct")


def test_too_many_pixels_are_refused_before_decoding(server: Running, tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.new("1", (1000, 1000)).save(path)
    with pytest.raises(AppError, match=r"wide\.png has 1000x1000"):
        server.client().predict([handle_file(path)], api_name="/reconstruct")


def test_a_file_beyond_the_servers_limit_is_refused_at_the_door(server: Running) -> None:
    answer = httpx.post(
        f"{server.url.rstrip('/')}/gradio_api/upload", files={"files": ("big.mp4", bytes(400_000))}
    )
    assert answer.status_code == 413


def test_too_many_pairs_are_refused_with_a_proposal(
    server: Running, tmp_path: Path, house: list[Path]
) -> None:
    photos = []
    for number in range(5):
        path = tmp_path / f"{number}.jpg"
        Image.open(house[number % 3]).rotate(number).save(path)
        photos.append(handle_file(path))
    with pytest.raises(AppError, match=r"5 photos make 10 pairs this way, at most 8.*choose other pairs"):
        server.client().predict(photos, api_name="/reconstruct")


def test_a_value_outside_of_its_range_is_refused(server: Running, house: list[Path]) -> None:
    photos = [handle_file(path) for path in house]
    for wrong in ({"coarse_lr": 5}, {"pairs": "nonsense"}, {"image_size": 4096}):
        with pytest.raises(AppError):
            server.client().predict(photos, api_name="/reconstruct", **wrong)


def test_nothing_outside_is_served(server: Running, done: tuple[Client, dict[str, Any], str]) -> None:
    _, _, glb = done
    private = [path for path in server.store.root.glob("*/predictions/**/*") if path.is_file()]
    private += [path for path in server.store.root.glob("*/uploads/*") if path.is_file()]
    assert len(private) > 3
    stranger = [
        "/etc/passwd",
        str(Path(__file__).resolve()),
        os.path.abspath("pyproject.toml"),
        str(server.store.root / ".server.lock"),
        str(private[0]),
        str(private[-1]),
        f"{server.store.gradio_folder}/../.server.lock",
    ]
    for path in stranger:
        assert server.get(f"/gradio_api/file={path}").status_code == 403, path
    assert server.get(f"/gradio_api/file={glb}").status_code == 200
    assert server.get("/monitoring").status_code in (403, 404)
    assert server.get("/gradio_api/monitoring/summary").status_code in (403, 404)


def test_a_path_of_the_server_is_no_upload(server: Running) -> None:
    client = server.client()
    for path in ("/etc/passwd", str(Path(__file__).resolve())):
        forged = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "a.jpg"}
        with pytest.raises(
            Exception, match=r"(?i)cannot move|not uploaded|not allowed|no file|Invalid file type"
        ):
            client.predict([forged], api_name="/reconstruct")


def test_names_of_uploads_do_not_become_paths(server: Running, tmp_path: Path, house: list[Path]) -> None:
    odd = tmp_path / "a <b>&..%2f.jpg"
    odd.write_bytes(house[0].read_bytes())
    client = server.client()
    report, _ = client.predict([handle_file(odd), handle_file(house[1])], image_size=SIZE, quality="coarse",
                               api_name="/reconstruct")  # fmt: skip
    assert len(report["photos"]) == 2
    uploads = [path.name for path in server.store.root.glob("*/uploads/*")]
    assert uploads
    assert all(name[:4].isdigit() for name in uploads)


def test_files_are_gone_when_the_session_ends(server: Running, house: list[Path], tmp_path: Path) -> None:
    own = tmp_path / "mine.jpg"
    Image.open(house[0]).rotate(1).save(own)
    visits = server.page.services.visits
    before = set(visits._visits)
    _, glb = server.client().predict([handle_file(own), handle_file(house[1])], image_size=SIZE,
                                     quality="coarse", api_name="/reconstruct")  # fmt: skip
    (new,) = set(visits._visits) - before
    visit = visits._visits[new]
    folder, upload = (
        visit.session.folder,
        [Path(path) for path in visit.uploaded if path.endswith("mine.jpg")],
    )
    assert folder.is_dir()
    assert upload[0].is_file()
    visits.leave(visit)
    assert not folder.exists()
    assert not upload[0].exists()
    assert not Path(path_of(glb)).exists()
    shared = list(server.store.gradio_folder.rglob("view 1.jpg"))
    assert shared, "another visitor's upload of the same photo stays"


def test_a_session_that_was_swept_says_so(server: Running, house: list[Path]) -> None:
    visits = server.page.services.visits
    before = set(visits._visits)
    client = server.client()
    client.predict([handle_file(path) for path in house[:2]], image_size=SIZE, quality="coarse",
                   api_name="/reconstruct")  # fmt: skip
    (new,) = set(visits._visits) - before
    server.store.end(new)
    with pytest.raises(AppError, match="reload the page"):
        client.predict("glb", api_name="/export")


def test_an_unexpected_error_shows_a_number_only(
    server: Running, house: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(server.page.services.network, "get", fail)
    with pytest.raises(AppError) as caught:
        server.client().predict([handle_file(path) for path in house], api_name="/reconstruct")
    assert "secret" not in str(caught.value)
    number = str(caught.value).split("job ")[1][:8]
    assert number in caplog.text
    assert "the secret of the house" in caplog.text


def test_the_page_asks_nobody_else(server: Running) -> None:
    text = server.get("/").text
    for host in ("fonts.googleapis", "gstatic", "cdn.jsdelivr", "huggingface.co/front"):
        assert host not in text.replace("cdnjs.cloudflare.com", ""), host
