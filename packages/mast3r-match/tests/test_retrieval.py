"""Which images look alike: upstream's retrieval model, ASMK, and the encoder's tokens alone."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mast3r_match import (
    AsmkRetriever,
    EncoderRetriever,
    Retriever,
    asmk_similarity,
    image_similarity,
    make_retriever,
    read_retrieval_checkpoint,
)
from mast3r_match.retrieval import (
    AsmkDatabase,
    RetrievalHead,
    Whitening,
    encoder_retriever,
    read_codebook,
)
from mast3r_match.retrieval.checkpoint import codebook_path, parse_size
from mast3r_model import (
    CheckpointError,
    EncodedImage,
    InputError,
    UnsafeCheckpointError,
    load_image,
    load_model,
    write_pth,
)

Goldens = Callable[[str], Path]
VARIANTS = ("free", "proj", "resid")


@pytest.fixture
def golden(goldens: Goldens) -> dict[str, np.ndarray]:
    with np.load(goldens("sfm/retrieval/retrieval.npz")) as file:
        return dict(file)


@pytest.fixture
def write_checkpoint(golden: dict[str, np.ndarray], goldens: Goldens, tmp_path: Path) -> Callable[..., Path]:
    """Write one of the golden models as upstream's two files; returns the first."""
    configurations = json.loads(goldens("sfm/retrieval/retrieval.json").read_text())

    def write(
        variant: str = "free", *, size: object = 64, centroids: np.ndarray | None = None, **more: object
    ) -> Path:
        configuration = configurations[f"cfg_{variant}"]
        options = {
            **configuration,
            "hdims": "_".join(map(str, configuration["hdims"])),
            "featweights": "l2norm",
            "imsize": 512,
            "nclusters": size,
            "pretrained": "somewhere.pth",
            **more,
        }
        prefix = f"{variant}."
        state = {k.removeprefix(prefix): torch.tensor(v) for k, v in golden.items() if k.startswith(prefix)}
        path = tmp_path / "model_retrieval_trainingfree.pth"
        write_pth(path, {"args": argparse.Namespace(**options), "model": state})
        words = golden["asmk_centroids"] if centroids is None else centroids
        codebook = {"type": "Codebook", "params": {"size": size}, "state": {"centroids": words}}
        codebook_path(path).write_bytes(pickle.dumps(codebook))
        return path

    return write


class Tokens(nn.Module):
    """Stands in for a network whose encoder gives tokens of 32 channels."""

    patch_size = 16

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(enc_embed_dim=width)


def encoded(tokens: Tensor) -> EncodedImage:
    return EncodedImage(tokens, torch.zeros(len(tokens), 2, dtype=torch.int64), None, (64, 96))


# ---- upstream's model -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shrinkage", [1.0, 0.5])
def test_pca_whitening(golden: dict[str, np.ndarray], shrinkage: float) -> None:
    features = torch.from_numpy(golden["pca_X"])
    fitted = Whitening.fit(features, shrinkage=shrinkage)
    np.testing.assert_allclose(fitted.mean, golden[f"pca_m_s{shrinkage}"], atol=1e-5)
    projection = golden[f"pca_P_s{shrinkage}"]
    signs = np.sign((fitted.projection.numpy() * projection).sum(0))
    np.testing.assert_allclose(fitted.projection.numpy() * signs, projection, atol=1e-4)
    np.testing.assert_allclose(fitted(features).numpy() * signs, golden[f"pca_white_s{shrinkage}"], atol=2e-4)
    fewer = Whitening.fit(features, shrinkage=shrinkage, variance=0.9)
    kept = fewer.projection.shape[1]
    assert kept < 16
    torch.testing.assert_close(fewer.projection, fitted.projection[:, :kept])


def test_whitening_is_computed_in_double(golden: dict[str, np.ndarray]) -> None:
    whitening = Whitening(torch.from_numpy(golden["wh_m"]), torch.from_numpy(golden["wh_p"]))
    features = torch.from_numpy(golden["wh_x"])
    np.testing.assert_allclose(whitening(features), golden["wh_y"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(whitening(features, normalize=True), golden["wh_y_l2"], rtol=1e-6, atol=1e-7)
    with pytest.raises(InputError):
        Whitening.fit(torch.zeros(0, 3))


@pytest.mark.parametrize("variant", VARIANTS)
def test_features(golden: dict[str, np.ndarray], write_checkpoint: Callable[..., Path], variant: str) -> None:
    head = RetrievalHead(read_retrieval_checkpoint(write_checkpoint(variant)))
    tokens = torch.from_numpy(golden[f"{variant}_enc"])
    for image in range(2):
        found = head.local_features(tokens[image])
        np.testing.assert_array_equal(found.tokens, golden[f"{variant}_idx"][image])
        np.testing.assert_allclose(found.descriptors, golden[f"{variant}_local"][image], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.attention, golden[f"{variant}_attn"][image], rtol=1e-5)
    np.testing.assert_allclose(head.global_feature(tokens), golden[f"{variant}_global"], atol=1e-6)


def asmk_images(golden: dict[str, np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(golden["asmk_feats"][golden["asmk_ids"] == image]) for image in range(9)]


def test_asmk(golden: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    images = asmk_images(golden)
    scores = asmk_similarity(golden["asmk_centroids"], images)
    np.testing.assert_allclose(scores, golden["asmk_scores"], rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(np.argsort(-scores, axis=1, kind="stable"), golden["asmk_ranks"])
    monkeypatch.setattr("mast3r_match.retrieval.asmk._JOIN_BYTES", 1000)
    monkeypatch.setattr("mast3r_match.retrieval.asmk._DISTANCE_BYTES", 1000)
    np.testing.assert_allclose(asmk_similarity(golden["asmk_centroids"], images), scores, atol=1e-12)


def plain_asmk(codebook: np.ndarray, query: np.ndarray, image: np.ndarray, assignments: int) -> float:
    """The definition, word by word (spec 30 section 10.3)."""

    def signs(features: np.ndarray, count: int) -> dict[int, np.ndarray]:
        sums: dict[int, np.ndarray] = {}
        for feature in features:
            for word in np.argsort(((codebook - feature) ** 2).sum(1), kind="stable")[:count]:
                sums[word] = sums.get(word, 0) + feature - codebook[word]
        return {word: total > 0 for word, total in sums.items()}

    asked, kept = signs(query, assignments), signs(image, 1)
    bits = 32 * -(-codebook.shape[1] // 32)
    agreement = [1 - 2 * (asked[word] != kept[word]).sum() / bits for word in set(asked) & set(kept)]
    total = sum(value**3 for value in agreement if value >= 0)
    return total / np.sqrt(max(1, len(asked) * len(kept)))


@pytest.mark.parametrize("channels", [5, 32, 70])
def test_asmk_is_what_its_definition_says(channels: int) -> None:
    random = np.random.default_rng(channels)
    codebook = random.standard_normal((20, channels)).astype(np.float32)
    images = [random.standard_normal((n, channels)).astype(np.float32) for n in (7, 0, 30, 1)]
    scores = AsmkDatabase(codebook, [torch.from_numpy(x) for x in images]).scores(
        [torch.from_numpy(x) for x in images[:3]], assignments=3
    )
    plain = [[plain_asmk(codebook, query, image, 3) for image in images] for query in images[:3]]
    np.testing.assert_allclose(scores, plain, atol=1e-9)
    with pytest.raises(InputError, match="do not fit a codebook"):
        AsmkDatabase(codebook, [torch.zeros(3, channels + 1)])
    with pytest.raises(InputError, match="21 of 20 words"):
        AsmkDatabase(codebook, []).scores([], assignments=21)


def test_the_retriever_of_a_checkpoint(
    golden: dict[str, np.ndarray], write_checkpoint: Callable[..., Path]
) -> None:
    path = write_checkpoint("proj")
    images = [encoded(tokens) for tokens in torch.from_numpy(golden["proj_enc"])]
    similarity = image_similarity(Tokens(), images, retriever=path)
    expected = asmk_similarity(golden["asmk_centroids"], list(torch.from_numpy(golden["proj_local"])))
    np.testing.assert_allclose(similarity, expected, atol=1e-6)
    assert isinstance(make_retriever("mast3r", Tokens(), checkpoint=path), AsmkRetriever)
    with pytest.raises(CheckpointError, match="another width than this network's 48"):
        make_retriever(path, Tokens(48))
    with pytest.raises(CheckpointError, match="its codebook has 16"):
        make_retriever(write_checkpoint("free", centroids=np.zeros((64, 16), np.float32)), Tokens())
    with pytest.raises(InputError, match="missing a required argument: 'checkpoint'"):
        make_retriever("mast3r", Tokens())
    with pytest.raises(InputError, match="unknown retriever 'clip'"):
        make_retriever("clip", Tokens())


# ---- checkpoints ------------------------------------------------------------------------------------------


def test_options(write_checkpoint: Callable[..., Path], golden: dict[str, np.ndarray]) -> None:
    options = read_retrieval_checkpoint(write_checkpoint("resid")).options
    assert (options.hidden_dims, options.residual, options.features) == ((32,), True, -0.25)
    assert (options.image_size, options.codebook_size) == (512, 64)
    assert [parse_size(size) for size in (64, "64", "64k", "1M", None)] == [64, 64, 65536, 2**20, None]
    many = np.zeros((1024, 32), np.float32)
    assert read_retrieval_checkpoint(write_checkpoint(size="1k", centroids=many)).codebook.shape == (1024, 32)
    name = "MASt3R_metric_retrieval_trainingfree.pth"
    assert codebook_path(Path(name)).name == "MASt3R_metric_retrieval_codebook.pkl"
    for protocol in range(6):
        for words in (golden["asmk_centroids"], np.asfortranarray(golden["asmk_centroids"]).astype(">f8")):
            path = codebook_path(write_checkpoint())
            content = {"type": "Codebook", "params": {"size": 64}, "state": {"centroids": words}}
            path.write_bytes(pickle.dumps(content, protocol=protocol))
            np.testing.assert_array_equal(read_codebook(path, 64), golden["asmk_centroids"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"featweights": "max"}, "featweights 'max'"),
        ({"hdims": "x"}, "options cannot be read"),
        ({"size": 65}, "holds 64 words, but says 65"),
        ({"hdims": "32"}, r"lacks projector\.0\.weight"),
        ({"centroids": np.zeros(3)}, "no codebook"),
        ({"centroids": np.full((64, 32), np.nan)}, "not finite"),
        ({"centroids": [[1.0]]}, "no codebook"),
    ],
)
def test_checkpoints_that_do_not_fit(
    write_checkpoint: Callable[..., Path], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        RetrievalHead(read_retrieval_checkpoint(write_checkpoint(**changes)))


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch hacked",)


class Sneaky:
    """Changes one of the functions that a codebook may name."""

    def __reduce_ex__(self, protocol: int) -> object:
        return np.dtype, ("f4",), {"numpy": None}


@pytest.mark.parametrize(
    "content",
    [
        Evil(),
        Sneaky(),
        {"type": "Codebook", "params": {"size": 1}, "state": {"centroids": np.array([Evil()], dtype=object)}},
        np.zeros(3, dtype=[("a", "f4")]),
        np.array(["text"]),
        {1, 2},
        Path("x"),
    ],
    ids=["command", "function", "command in an array", "structured", "text", "set", "path"],
)
def test_hostile_codebooks(
    content: object, write_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint()
    for protocol in range(2, 6):
        codebook_path(path).write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(UnsafeCheckpointError, match="refused to load"):
            read_retrieval_checkpoint(path)
    assert not Path("hacked").exists()


HANDMADE = {
    "changes a stand-in": b"cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",
    "array of another size": b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
    b"(K\x01(K\x09tcnumpy\ndtype\n(X\x02\x00\x00\x00f4tR\x89C\x04aaaatb.",
    "calls the class": b"cnumpy\nndarray\n(K\x09tR.",
    "endless": b"]q\x00h\x00a.",
}


@pytest.mark.parametrize("name", HANDMADE)
def test_handmade_pickles(name: str, tmp_path: Path) -> None:
    path = tmp_path / "codebook.pkl"
    path.write_bytes(HANDMADE[name])
    with pytest.raises(UnsafeCheckpointError):
        read_codebook(path)


def test_damaged_files(write_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    path = write_checkpoint()
    codebook = codebook_path(path)
    whole = codebook.read_bytes()
    for damaged in (b"", whole[:100], b"text", b"\x80\x04K\x01.", b"(dp0\n."):
        codebook.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_retrieval_checkpoint(path)
    codebook.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        read_retrieval_checkpoint(path)
    write_pth(tmp_path / "other.pth", {"model": {}})
    with pytest.raises(CheckpointError, match="no retrieval checkpoint"):
        read_retrieval_checkpoint(tmp_path / "other.pth")
    torch.save({"args": Evil(), "model": {}}, tmp_path / "evil.pth")
    with pytest.raises(UnsafeCheckpointError):
        read_retrieval_checkpoint(tmp_path / "evil.pth")


# ---- the encoder alone ------------------------------------------------------------------------------------


def walk(count: int, step: int, seed: int = 0) -> list[EncodedImage]:
    """Images along a wall: each sees 60 of its tokens, noisy, `step` further than the last."""
    random = np.random.default_rng(seed)
    wall = random.standard_normal((60 + count * step, 24))
    seen = [wall[i * step : i * step + 60] for i in range(count)]
    return [encoded(torch.tensor(part + 0.2 * random.standard_normal(part.shape)).float()) for part in seen]


def test_neighbours_are_most_alike() -> None:
    images = walk(8, 12)
    similarity = image_similarity(Tokens(), images)
    assert similarity.dtype == np.float32
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-5)
    for row in range(8):
        apart = np.abs(np.argsort(-similarity[row]) - row)
        assert apart[0] == 0
        assert set(apart[1:3]) <= {1, 2}
    steps = [
        np.diagonal(similarity, offset).mean() for offset in range(5)
    ]  # further apart they share nothing
    assert steps == sorted(steps, reverse=True)


def test_queries_and_database_may_differ() -> None:
    images = walk(6, 12)
    retriever = EncoderRetriever(Tokens(), features=50)
    assert isinstance(retriever, Retriever)
    described = retriever.describe(images)
    all_pairs = retriever.similarity(described, described)
    np.testing.assert_allclose(retriever.similarity(described[2:4], described), all_pairs[2:4], atol=1e-6)
    # Fewer tokens than are kept: the missing ones count nowhere.
    small = [*described[:5], described[5][:20]]
    assert np.isfinite(retriever.similarity(small, small)).all()
    np.testing.assert_allclose(np.diag(retriever.similarity(small, small)), 1, atol=1e-5)
    with pytest.raises(InputError, match="features is 0"):
        EncoderRetriever(Tokens(), features=0)


def test_a_database_is_prepared_once_for_many_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    original = encoder_retriever.fit_to_images

    def counting(images: Sequence[torch.Tensor]) -> object:
        fitted.append(len(images))
        return original(images)

    monkeypatch.setattr(encoder_retriever, "fit_to_images", counting)
    images = walk(6, 12)
    retriever = EncoderRetriever(Tokens(), features=50)
    described = retriever.describe(images)
    rows = [retriever.similarity([query], described)[0] for query in described]
    assert fitted == [6]
    np.testing.assert_allclose(rows, retriever.similarity(described, list(described)), atol=1e-6)
    assert fitted == [6]  # another list of the same images
    other = retriever.similarity(described[:1], described[1:])
    assert fitted == [6, 5]
    np.testing.assert_array_equal(
        other, EncoderRetriever(Tokens(), features=50).similarity(described[:1], described[1:])
    )


def test_empty_and_equal_images() -> None:
    assert image_similarity(Tokens(), []).shape == (0, 0)
    black = [encoded(torch.zeros(12, 24))] * 3
    assert np.isfinite(image_similarity(Tokens(), black)).all()
    done: list[int] = []
    image_similarity(Tokens(), walk(5, 9), batch_size=2, progress=done.append)
    assert done == [2, 2, 1]


def test_photos(scene: np.ndarray, save_photo: Callable[[str, np.ndarray], Path]) -> None:
    """Files, loaded photos and encoded images are the same to it."""
    model = load_model("nano", device="cpu")
    crops = [scene[:192, :256], scene[16:208, 32:288], scene[::-1][:192, -256:]]
    paths = [save_photo(f"{row}.png", crop) for row, crop in enumerate(crops)]
    retriever = EncoderRetriever(model, image_size=128)
    by_path = image_similarity(model, paths, retriever=retriever)
    loaded = [load_image(path, 128) for path in paths]
    mixed: Sequence[object] = [loaded[0], model.encode([loaded[1].tensor])[0], paths[2]]
    np.testing.assert_allclose(image_similarity(model, mixed, retriever=retriever), by_path, atol=1e-4)


def test_real_photos(photos: Path) -> None:
    """A walk past a castle, and a tower: the most alike is of the same place, and near in the walk."""
    walked = sorted((photos / "sceaux").glob("*.JPG"))[::2]
    others = sorted((photos / "nle_tower").glob("*.jpg"))[::2]
    model = load_model("nano", device="cpu")
    similarity = image_similarity(
        model, [*walked, *others], retriever=EncoderRetriever(model, image_size=384)
    )
    np.fill_diagonal(similarity, -1)
    best = similarity.argmax(axis=1)
    count = len(walked)
    assert ((best[:count] < count).mean(), (best[count:] >= count).mean()) == (1, 1)
    assert (np.abs(best[:count] - np.arange(count)) <= 2).mean() >= 0.8
