"""Sessions: their folders, and that these are gone in the end, however that comes (spec 60 D6)."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mast3r_demo.folder_lock import is_held
from mast3r_demo.jobs import Cancelled, JobControl
from mast3r_demo.session import Session, SessionStore
from mast3r_model import InputError, OutputError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    with SessionStore(tmp_path / "root", keep_hours=1) as store:
        yield store


def endless(control: JobControl) -> None:
    with control.progress("endless", None) as advance:
        while True:
            time.sleep(0.01)
            advance(1)


def unused_for(session: Session, hours: float) -> None:
    session.last_used -= 3600 * hours


def fill(session: Session, size: int) -> None:
    (session.uploads / "0001.jpg").write_bytes(bytes(size))


def test_a_session_has_folders_of_its_own(store: SessionStore) -> None:
    session = store.create()
    assert len(session.id) == 32
    assert int(session.id, 16) >= 0
    assert session.folder == store.root / session.id
    for folder in (session.folder, session.uploads, session.frames, session.predictions, session.exports):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert store.get(session.id) is session
    assert store.create().id != session.id


@pytest.mark.parametrize("wrong", ["", "..", "0" * 32, "../" + "0" * 29, "/etc", "gradio"])
def test_only_ids_that_were_given_out_are_sessions(wrong: str, store: SessionStore) -> None:
    store.create()
    with pytest.raises(InputError, match="has ended"):
        store.get(wrong)


def test_end_deletes(store: SessionStore) -> None:
    session, other = store.create(), store.create()
    fill(session, 10)
    store.end(session.id)
    assert not session.folder.exists()
    assert other.folder.exists()
    with pytest.raises(InputError, match="has ended"):
        store.get(session.id)
    with pytest.raises(InputError, match="has ended"), session.new_export("a.glb"):
        pass
    with pytest.raises(InputError, match="has ended"):
        session.run(endless, seconds=1)
    store.end(session.id)  # twice does no harm


def test_end_cancels_the_job_and_waits_for_it_before_it_deletes(store: SessionStore) -> None:
    session, go_on = store.create(), threading.Event()

    def stubborn(control: JobControl) -> None:
        go_on.wait(60)
        (session.predictions / "late").write_text("x")
        control.check()

    job = session.run(stubborn, seconds=60)
    store.end(session.id)
    assert session.folder.exists()
    go_on.set()
    with pytest.raises(Cancelled):
        job.result()
    store.sweep()
    assert not session.folder.exists()


def test_one_job_at_a_time(store: SessionStore) -> None:
    session = store.create()
    job = session.run(endless, seconds=60)
    with pytest.raises(InputError, match="still running"):
        session.run(endless, seconds=60)
    with pytest.raises(InputError, match="still running"):
        session.clear()
    job.cancel()
    assert job.wait(10)
    assert session.run(lambda control: 3, seconds=60).result() == 3
    session.clear()
    assert session.job is None


def test_uploads_are_numbered(store: SessionStore, tmp_path: Path) -> None:
    source = tmp_path / "..; rm -rf $(pwd).jpg"
    source.write_bytes(b"1")
    (tmp_path / "link.jpg").symlink_to(source)
    session = store.create()
    copies = session.add_uploads([source, source], [".jpg", ".png"])
    assert [copy.name for copy in copies] == ["0001.jpg", "0002.png"]
    assert session.photo_names["0001.jpg"] == source.name
    with pytest.raises(InputError, match="is no file"):
        session.add_uploads([tmp_path / "link.jpg"], [".jpg"])
    session.clear()
    assert not list(session.uploads.iterdir())
    assert session.add_uploads([source], [".jpg"])[0].name == "0003.jpg"  # no name comes twice


def test_exports_appear_whole_and_three_glbs_stay(store: SessionStore) -> None:
    session = store.create()
    for number in range(5):
        with session.new_export(f"{number}.glb") as temporary:
            temporary.write_bytes(b"x")
            assert not (session.exports / f"{number}.glb").exists()
        os.utime(session.exports / f"{number}.glb", (number, number))
    assert sorted(path.name for path in session.exports.iterdir()) == ["2.glb", "3.glb", "4.glb"]
    with suppress(ZeroDivisionError), session.new_export("b.ply") as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert not list(session.exports.glob("*ply"))
    for name in ("../a.glb", "/a.glb", ".a", "a/b"):
        with pytest.raises(InputError, match="no name"), session.new_export(name):
            pass


def test_links_are_deleted_and_not_what_they_point_to(store: SessionStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(bytes(1 << 20))
    session = store.create()
    (session.exports / "folder").symlink_to(outside)
    (session.exports / "file").symlink_to(outside / "precious")
    session.predictions.rmdir()
    session.predictions.symlink_to(outside)
    store.end(session.id)
    assert not session.folder.exists()
    assert (outside / "precious").stat().st_size == 1 << 20


def test_the_sweeper_takes_what_is_unused(store: SessionStore) -> None:
    old, busy, new = store.create(), store.create(), store.create()
    job = busy.run(endless, seconds=60)
    unused_for(old, 1.1)
    unused_for(busy, 1000)
    store.sweep()
    assert [session.folder.exists() for session in (old, busy, new)] == [False, True, True]
    assert store.get(busy.id) is busy  # in use again
    job.cancel()
    assert job.wait(10)
    unused_for(busy, 1000)
    store.sweep()
    assert not busy.folder.exists()


def test_above_the_disk_limit_those_unused_for_longest_go_first(tmp_path: Path) -> None:
    with SessionStore(tmp_path, disk_limit_bytes=2500) as store:
        busy, first, second, third = (store.create() for _ in range(4))
        for hours, session in enumerate((third, second, first, busy)):
            fill(session, 1000)
            unused_for(session, hours / 10)
        job = busy.run(endless, seconds=60)
        unused_for(busy, 1)
        store.sweep()
        assert [s.folder.exists() for s in (busy, first, second, third)] == [True, False, False, True]
        job.cancel()


def test_links_do_not_count_against_the_disk_limit(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(10_000))
    with SessionStore(tmp_path / "root", disk_limit_bytes=5000) as store:
        session = store.create()
        (session.exports / "large").symlink_to(tmp_path / "large")
        (session.exports / "all").symlink_to(tmp_path)
        store.sweep()
        assert session.folder.exists()


def test_the_sweeper_runs_by_itself(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, keep_hours=1)
    session = store.create()
    unused_for(session, 2)
    store.start_sweeper(0.01)
    deadline = time.monotonic() + 20
    while session.folder.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    store.close()
    assert not session.folder.exists()


def test_close_cancels_and_deletes_all_but_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    store = SessionStore(tmp_path)
    session, other = store.create(), store.create()
    job = session.run(endless, seconds=60)
    waiting = other.run(endless, seconds=60)
    (store.gradio_folder / "upload").write_text("x")
    store.close()
    assert job.finished
    assert waiting.finished
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="stopping"):
        store.create()
    store.close()  # twice does no harm


def test_a_temporary_store_leaves_nothing(tmp_path: Path) -> None:
    with SessionStore.temporary(parent=tmp_path) as store:
        fill(store.create(), 10)
        assert stat.S_IMODE(store.root.stat().st_mode) == 0o700
    assert not list(tmp_path.iterdir())


def test_kept_sessions_are_found_again(tmp_path: Path) -> None:
    with SessionStore(tmp_path, keep=True) as store:
        session = store.create()
        fill(session, 10)
        (store.gradio_folder / "upload").write_text("x")
    assert (session.uploads / "0001.jpg").exists()
    assert not store.gradio_folder.exists()
    with SessionStore(tmp_path, keep=True) as store:
        assert store.get(session.id).uploads == session.uploads
        with pytest.raises(InputError):
            store.get("f" * 32)
    with SessionStore(tmp_path):
        assert not session.folder.exists()


def test_a_shared_cache(tmp_path: Path) -> None:
    with SessionStore(tmp_path, shared_cache=True) as store:
        first, second = store.create(), store.create()
        assert first.predictions == second.predictions == tmp_path / "shared-predictions"
        store.end(first.id)
        assert second.predictions.is_dir()
    assert not list(tmp_path.iterdir())


def test_one_server_for_each_folder(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    assert is_held(tmp_path)
    with pytest.raises(InputError, match=f"in use by another server \\(process {os.getpid()}\\)"):
        SessionStore(tmp_path)
    store.close()
    assert not is_held(tmp_path)
    SessionStore(tmp_path).close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        SessionStore(tmp_path / "file" / "root")


SERVER = """
import sys, time
from pathlib import Path
from mast3r_demo.session import SessionStore
from mast3r_demo.stopping import stop_signals

def endless(control):
    with control.progress("endless", None) as advance:
        while True:
            time.sleep(0.01)
            advance(1)

with stop_signals() as stop:
    where = Path(sys.argv[1])
    with SessionStore.temporary(parent=where) if sys.argv[2] == "temporary" else SessionStore(where) as store:
        session = store.create()
        (session.uploads / "0001.jpg").write_bytes(bytes(100))
        session.run(endless, seconds=600)
        print(session.folder, flush=True)
        stop.wait()
"""


def start_server(parent: Path, kind: str) -> tuple[subprocess.Popen[str], Path]:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(parent), kind], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    return server, Path(server.stdout.readline().strip())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_deletes(number: signal.Signals, tmp_path: Path) -> None:
    server, folder = start_server(tmp_path, "temporary")
    with server:
        assert folder.is_dir()
        server.send_signal(number)
        # -2: the signal came before `wait`, so it was raised as KeyboardInterrupt
        assert server.wait(30) in (0, -signal.SIGINT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["temporary", "workdir"])
def test_what_a_killed_server_left_goes_at_the_next_start(kind: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    server, folder = start_server(tmp_path, kind)
    with server:
        if kind == "temporary":  # while it lives nobody touches its folder
            SessionStore.temporary(parent=tmp_path).close()
        else:
            with pytest.raises(InputError, match=f"process {server.pid}"):
                SessionStore(tmp_path)
        assert folder.is_dir()
        server.kill()
        server.wait(30)
    assert folder.is_dir()
    next_one = SessionStore.temporary(parent=tmp_path) if kind == "temporary" else SessionStore(tmp_path)
    with next_one:
        assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_folders_that_only_look_alike_stay(tmp_path: Path) -> None:
    (tmp_path / "mast3r-demo-notes").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / ".server.lock").write_text("1")
    (tmp_path / "mast3r-demo-link").symlink_to(tmp_path / "outside")
    SessionStore.temporary(parent=tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mast3r-demo-link",
        "mast3r-demo-notes",
        "outside",
    ]
    assert (tmp_path / "outside" / ".server.lock").exists()
