"""``mast3r demo`` as a process, and people who use its page in a real browser, for tests.

`MAST3R_SCREENSHOTS=FOLDER` keeps pictures of what they see.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import trimesh
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--use-gl=swiftshader", "--enable-webgl", "--ignore-gpu-blocklist"]
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 420, "height": 900}
SIZE = 96
"""Long side of photos for the network: the smallest that the page takes."""
MAX_PHOTOS = 12
PATIENCE = 120.0
"""Seconds: no test waits for so long where all is well."""
GROUND = np.array([28, 31, 36])
"""Colour of the empty 3D view."""


@dataclass(frozen=True)
class Served:
    """A running ``mast3r demo``.

    Attributes:
        url: of its page.
        root: its work folder.
        process: stopped at the end of the tests.
    """

    url: str
    root: Path
    process: subprocess.Popen[str]

    def sessions(self) -> set[Path]:
        """Folders of the visitors."""
        return {folder.parent for folder in self.root.glob("*/predictions")}

    def computed(self) -> dict[Path, int]:
        """All predictions of the network on disk, and when they were written."""
        files = (path for folder in self.sessions() for path in folder.glob("predictions/**/*"))
        return {path: path.stat().st_mtime_ns for path in files if path.is_file()}


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Start the command, wait for its page, stop it."""
    root = folder / "sessions"
    words = ["--device", "cpu", "--image-size", str(SIZE), "--workdir", str(root)]
    words += ["--max-photos", str(MAX_PHOTOS), "--max-file-mb", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mast3r_demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
        cwd=folder,
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("stop with"):
                break
        pages = [line.split()[1] for line in said if line.startswith("page")]
        assert pages, said
        yield Served(pages[0], root, process)
    finally:
        process.terminate()
        rest = process.communicate(timeout=PATIENCE)[0]
        assert "Traceback" not in rest, rest


class Visitor:
    """Somebody with a browser of their own; nothing but the server can be reached.

    Attributes:
        page: playwright's.
        foreign: requests for other hosts, which were not let through.
        faults: errors in the browser's console, and answers of the server that are errors.
        views: addresses of all views of finished scenes that were loaded.
    """

    def __init__(
        self, browser: Any, server: Served, *, size: dict[str, int] | None = None, dark: bool = False
    ) -> None:
        self.server = server
        self.foreign: list[str] = []
        self.faults: list[str] = []
        self.views: list[str] = []
        self._context = browser.new_context(
            viewport=size or WIDE, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        self._context.set_default_timeout(500 * PATIENCE)
        self._context.route(re.compile("^(http|ws)"), self._let_through)
        self.page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("response", self._look)
        self.open()

    def open(self) -> None:
        """Open the page, or open it again."""
        self.page.goto(self.server.url)
        self.page.locator("#mast3r-run").wait_for()
        assert self.sees(lambda: "press Run" in self.status())

    def close(self) -> None:
        """Close the browser's window."""
        self._context.close()

    def sees(self, true: Callable[[], bool]) -> bool:
        """Wait for something to become true, but not for ever."""
        end = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > end:
                return False
            self.page.wait_for_timeout(100)  # in which the browser's events are heard
        return True

    def upload(self, photos: Sequence[Path], field: str = "mast3r-upload") -> None:
        """Give files to a field."""
        self.page.set_input_files(f"#{field} input[type=file]", [str(photo) for photo in photos])

    def summary(self) -> str:
        """What the page says about the photos."""
        return str(self.page.locator("#mast3r-summary").inner_text()) if self._has("#mast3r-summary") else ""

    def status(self, field: str = "mast3r-status") -> str:
        """The status line, in one line."""
        return " | ".join(self.page.locator(f"#{field}").inner_text().split("\n"))

    def start(self, photos: Sequence[Path]) -> None:
        """Upload photos and press Run."""
        self.upload(photos)
        assert self.sees(lambda: f"{len(photos)} photos" in self.summary()), self.summary()
        self.page.locator("#mast3r-run").click()

    def finish(self) -> str:
        """Wait for the end of a run that goes well; returns the status line."""
        before = len(self.views)
        assert self.sees(lambda: "placed" in self.status() or self.failed()), self.status()
        assert not self.failed(), self.status()
        assert self.sees(lambda: self.page.locator("#mast3r-downloads-panel").is_visible())
        assert self.sees(lambda: len(self.views) > before)
        return self.status()

    def failed(self) -> bool:
        """Whether the status line tells of an error."""
        return bool(self.page.locator("#mast3r-status .mast3r-status.error").count())

    def show(self, tab: str) -> None:
        """Go to a tab by its heading."""
        self.page.get_by_role("tab", name=tab, exact=True).locator("visible=true").first.click()

    def unfold(self, panel: str) -> None:
        """Open a part of the page that is folded away."""
        self.page.locator(f"#{panel} > button").click()

    def set_number(self, control: str, value: float) -> None:
        """Type a number beside a slider."""
        box = self.page.locator(f"#{control} input[type=number]")
        box.press("Control+a")
        box.press_sequentially(str(value))
        box.press("Enter")

    def picture(self, selector: str) -> np.ndarray:
        """A part of the page as it looks, (h, w, 3)."""
        shot = self.page.locator(selector).first.screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))

    def draws(self, selector: str = "#mast3r-view3d canvas") -> bool:
        """Whether the 3D view shows something on its ground."""
        away = np.abs(self.picture(selector).astype(int) - GROUND).max(axis=2)
        return bool(0.02 < (away > 12).mean() < 0.98)

    def fetch(self, url: str) -> bytes:
        """What the browser loads from an address."""
        answer = self.page.request.get(url)
        assert answer.ok, answer.status
        return bytes(answer.body())

    def points(self) -> int:
        """Points of the 3D view that was loaded last."""
        return points_of(self.fetch(self.views[-1]))

    def image(self, selector: str) -> np.ndarray:
        """The picture that an image component shows, (h, w, 3)."""
        address = self.page.locator(f"{selector} img").first.get_attribute("src")
        return np.asarray(Image.open(io.BytesIO(self.fetch(address))).convert("RGB"))

    def download(self, selector: str, folder: Path) -> Path:
        """Press a button that saves a file; the file."""
        with self.page.expect_download() as saving:
            self.page.locator(selector).click()
        path = folder / saving.value.suggested_filename
        saving.value.save_as(path)
        return path

    def shot(self, name: str) -> None:
        """Keep a picture of the whole page, if asked for."""
        if folder := os.environ.get("MAST3R_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)

    def _has(self, selector: str) -> bool:
        return bool(self.page.locator(selector).count())

    def _let_through(self, route: Any) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(self.server.url).netloc:
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def _hear(self, message: Any) -> None:
        # Babylon tries WebGPU before WebGL, and says so where a browser has none
        if message.type == "error" and "WebGPU" not in message.text:
            self.faults.append(message.text)

    def _look(self, answer: Any) -> None:
        if answer.status >= 400:
            self.faults.append(f"{answer.status} {answer.url}")
        if re.search(r"/view_\w+\.glb$", answer.url):
            self.views.append(answer.url)


def points_of(glb: bytes) -> int:
    """Points of all clouds in a GLB file."""
    scene = trimesh.load(io.BytesIO(glb), file_type="glb")
    return sum(len(part.vertices) for part in scene.geometry.values() if isinstance(part, trimesh.PointCloud))
