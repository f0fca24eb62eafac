"""Which photos look alike: ways that need nothing but the encoder's tokens, on a walk with known neighbours.

    python benchmarks/retrieval.py ../shared/images/sceaux ../shared/images/nle_tower --model nano

The first folder is a walk: photos next to each other in the order of their names are next to each other in
the world. The others are other places. Prints a table (Markdown):

- neighbour: share of the walk's photos whose most similar one (of the walk) is the next or the one before;
- AP: mean average precision of finding the photos at most 2 steps away among the walk's;
- rank correlation of similarity with nearness in the walk (Spearman);
- places: how often a photo of the same place is more alike than one of another (area under the ROC curve).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

from mast3r_match import EncoderRetriever, asmk_similarity, find_photos
from mast3r_match.retrieval import Whitening
from mast3r_model import load_model


def pooled(features: list[Tensor]) -> np.ndarray:
    """Cosine of two images' features."""
    unit = normalize(torch.stack(features), dim=1)
    return (unit @ unit.T).numpy()


def generalized_mean(tokens: list[Tensor], power: float = 3.0) -> np.ndarray:
    """GeM: the p-norm mean of the positive parts."""
    return pooled([image.clamp_min(1e-6).pow(power).mean(0).pow(1 / power) for image in tokens])


def whitened(tokens: list[Tensor]) -> list[Tensor]:
    """Whitened by the principal axes of the set."""
    whitening = Whitening.fit(torch.cat(tokens), variance=0.9995)
    return [whitening(image) for image in tokens]


def own_codebook(tokens: list[Tensor], words: int, assignments: int) -> np.ndarray:
    """ASMK on k-means words of the set itself."""
    features = [normalize(image, dim=1) for image in whitened(tokens)]
    codebook, _ = kmeans2(
        torch.cat(features).numpy(), words, iter=8, minit="points", rng=np.random.default_rng(0)
    )
    return asmk_similarity(codebook, features, assignments=assignments)


def measures(similarity: np.ndarray, place: np.ndarray) -> list[float]:
    """The table's four columns."""
    similarity = (similarity + similarity.T) / 2
    np.fill_diagonal(similarity, -np.inf)
    count = int((place == 0).sum())
    walk = similarity[:count, :count]
    apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    order = np.argsort(-walk, axis=1)[:, :-1]
    ranked = np.take_along_axis(apart, order, axis=1)
    near = ranked <= 2
    precision = near.cumsum(axis=1) / np.arange(1, count)
    upper = np.triu_indices(count, 1)
    areas = []
    for row in range(len(place)):
        same = (place == place[row]) & (np.arange(len(place)) != row)
        if same.any() and (place != place[row]).any():
            areas.append((similarity[row, same][:, None] > similarity[row, place != place[row]]).mean())
    return [
        float((ranked[:, 0] == 1).mean()),
        float(((precision * near).sum(axis=1) / near.sum(axis=1)).mean()),
        float(spearmanr(-apart[upper], walk[upper])[0]),
        float(np.mean(areas)) if areas else float("nan"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    photos = [find_photos([folder]) for folder in arguments.folders]
    place = np.repeat(np.arange(len(photos)), [len(listed) for listed in photos])
    retriever = EncoderRetriever(load_model(arguments.model, device="cpu"), image_size=arguments.size)
    tokens = [retriever.describe([photo])[0] for listed in photos for photo in listed]
    ways: dict[str, Callable[[list[Tensor]], np.ndarray]] = {
        "mean of tokens": lambda given: pooled([image.mean(0) for image in given]),
        "GeM, p = 3": generalized_mean,
        "mean of whitened tokens": lambda given: pooled([image.mean(0) for image in whitened(given)]),
        "ASMK, 64 own words, 1 assignment": lambda given: own_codebook(given, 64, 1),
        "ASMK, 256 own words, 5 assignments": lambda given: own_codebook(given, 256, 5),
        "mutual tokens (`encoder`)": lambda given: retriever.similarity(given, given),
    }
    print("| way | neighbour | AP | rank correlation | places |\n|---|---|---|---|---|")  # noqa: T201
    for name, way in ways.items():
        values = " | ".join(f"{value:.2f}" for value in measures(way(tokens).astype(np.float64), place))
        print(f"| {name} | {values} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
