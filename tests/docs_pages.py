"""The documentation's pages as the tests read them: their code blocks, and the folder the code is run in."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "packages/*/*.md",
        "packages/*/docs/*.md",
        "packages/*/docker/*.md",
        "packages/*/src/*/weights/*/*.md",
        "examples/**/*.md",
        "benchmarks/*.md",
    )
    for page in ROOT.glob(pattern)
)
PROGRAMS = r"(?:[A-Z_]+=\S+ )*(?:mast3r|pip|uv|python3?|pytest|bash|torchrun|git|docker|eval)\b"
STILL_LIFE = (
    ROOT / "packages" / "mast3r-demo" / "src" / "mast3r_demo" / "quickstart" / "still_life" / "photos"
)
NETWORK_SIDE = 96
"""Long side of what the network sees where the pages leave it at its default: a page says what a user types, and
the tests' photos are small."""


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: ``python``, ``sh``, ``toml``, ...; empty if the fence says none.
        word: what the fence says beside, for the tests: ``no-run`` or ``run``.
        body: the code.
    """

    language: str
    word: str
    body: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks, and indented ones that hold commands."""
    text = page.read_text(encoding="utf-8")
    fence = re.compile(r"^( *)```(\w*)(?: ([\w-]+))?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    found = [Block(language, word, body) for _, language, word, body in fence.findall(text)]
    indented = re.findall(r"(?:^    [^\n]*\n)+", fence.sub("", text), re.MULTILINE)
    return found + [Block("sh", "", body) for body in indented if re.match(rf"\s*{PROGRAMS}", body)]


def shell_lines(block: Block) -> Iterator[str]:
    """Commands of a block, with continued lines joined; of a block without a language, only what is one."""
    if block.language not in ("", "sh", "bash", "console"):
        return
    for line in re.sub(r"\\\n", " ", block.body).splitlines():
        plain = re.sub(r"\s+#( .*)?$", "", line).strip()
        if plain and not plain.startswith("#") and (block.language or re.match(PROGRAMS, plain)):
            yield plain


def sample_folder(folder: Path) -> Path:
    """Fill a folder with what the pages speak of: photos, masks, a video, intrinsics."""
    import cv2
    import numpy as np

    (folder / "examples").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(ROOT / "examples" / name, folder / "examples" / name)
        for copy in (name, {"a.jpg": "left.jpg", "b.jpg": "right.jpg"}[name]):
            shutil.copy(ROOT / "examples" / name, folder / copy)
    views = [Image.open(STILL_LIFE / f"{number}.jpg") for number in range(1, 5)]
    for inside in ("photos", "more_photos", "masks"):
        (folder / inside).mkdir()
    for number, view in enumerate(views[:3], start=1):
        view.save(folder / "photos" / f"{number:02}.jpg", quality=92)
        mask = np.full((240, 320), 255, dtype=np.uint8)
        mask[200:] = 0
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
    for name in "ab":
        Image.new("L", (640, 480), 255).save(folder / "masks" / f"{name}.png")
    for place in ("more_photos/04.jpg", "photo.jpg"):
        views[3].save(folder / place, quality=92)
    np.savetxt(folder / "K.txt", [[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
    video = cv2.VideoWriter(str(folder / "walk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 4, (320, 240))
    wall = Image.open(folder / "b.jpg")
    for number in range(10):
        shifted = wall.crop((4 * number, 0, 560 + 4 * number, 420)).resize((320, 240))
        video.write(np.asarray(shifted)[..., ::-1])
    video.release()
    return folder
