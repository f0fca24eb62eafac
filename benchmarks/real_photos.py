"""Matches on real photos beside SIFT's, pair by pair: inliers of a RANSAC fundamental matrix.

    python benchmarks/real_photos.py ../shared/images --model nano

Both see every photo at 320x240. The network: mutual nearest neighbours, started on every second pixel. SIFT:
default detector of OpenCV, ratio test 0.8, mutual. Both: RANSAC fundamental matrix, 1.5 px at 320x240.
Prints a table (Markdown) and, with ``--pictures FOLDER``, draws the matches.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mast3r_match import match_images, save_match_picture
from mast3r_model import LoadedImage, load_image, load_model

SIZE = 320
THRESHOLD = 1.5


@dataclass(frozen=True)
class Count:
    """Matches of one method on one pair."""

    matches: int
    inliers: int


def count_inliers(points0: np.ndarray, points1: np.ndarray) -> Count:
    """How many matches fit one fundamental matrix."""
    if len(points0) < 8:
        return Count(len(points0), 0)
    cv2.setRNGSeed(0)
    _, mask = cv2.findFundamentalMat(
        points0.astype(np.float64), points1.astype(np.float64), cv2.USAC_MAGSAC, THRESHOLD, 0.9999, 10_000
    )
    return Count(len(points0), 0 if mask is None else int(mask.sum()))


def sift_matches(image0: np.ndarray, image1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SIFT with ratio test 0.8 and a mutual check."""
    sift = cv2.SIFT_create()
    (keypoints0, desc0), (keypoints1, desc1) = (
        sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None) for image in (image0, image1)
    )
    if desc0 is None or desc1 is None or len(desc0) < 2 or len(desc1) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    matcher = cv2.BFMatcher()
    forward = {
        m.queryIdx: m.trainIdx
        for m, n in matcher.knnMatch(desc0, desc1, k=2)
        if m.distance < 0.8 * n.distance
    }
    backward = {m[0].queryIdx: m[0].trainIdx for m in matcher.knnMatch(desc1, desc0, k=1)}
    pairs = [(i, j) for i, j in forward.items() if backward[j] == i]
    points0 = np.array([keypoints0[i].pt for i, _ in pairs]).reshape(-1, 2)
    points1 = np.array([keypoints1[j].pt for _, j in pairs]).reshape(-1, 2)
    return points0, points1


def photo_pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """The chateau pair and the ten pairs of neighbouring sceaux photos."""
    chateau = sorted((folder / "chateau").glob("*.png"))
    sceaux = sorted((folder / "sceaux").glob("*.JPG"))
    pairs = [("chateau", chateau[0], chateau[1])]
    pairs += [(f"sceaux {a.stem[-2:]}-{b.stem[-2:]}", a, b) for a, b in itertools.pairwise(sceaux)]
    return pairs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = load_model(options.model, device="cpu")
    rows = []
    print(  # noqa: T201
        "| pair | nano: inliers / matches | share | SIFT: inliers / matches | share |\n|---|---|---|---|---|"
    )
    for name, path0, path1 in photo_pairs(options.folder):
        photo0, photo1 = load_image(path0, size=SIZE), load_image(path1, size=SIZE)
        found = match_images(model, photo0, photo1, subsample=2, border=3)
        small = [_network_pixels(photo) for photo in (photo0, photo1)]
        nano = count_inliers(
            photo0.transform.points_to_network(found.keypoints0),
            photo1.transform.points_to_network(found.keypoints1),
        )
        sift = count_inliers(*sift_matches(*small))
        rows.append({"pair": name, "nano": vars(nano), "sift": vars(sift)})
        print(f"| {name} | {_cells(nano)} | {_cells(sift)} |", flush=True)  # noqa: T201
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            picture = options.pictures / f"{name.replace(' ', '_')}.png"
            save_match_picture(picture, found, photo0.original, photo1.original)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _network_pixels(photo: LoadedImage) -> np.ndarray:
    """The picture that the network sees, uint8 RGB."""
    pixels = (photo.tensor * 0.5 + 0.5).clamp(0, 1) * 255
    return np.ascontiguousarray(pixels.round().byte().permute(1, 2, 0).numpy())


def _cells(count: Count) -> str:
    share = count.inliers / count.matches if count.matches else 0.0
    return f"{count.inliers} / {count.matches} | {share:.0%}"


if __name__ == "__main__":
    main()
