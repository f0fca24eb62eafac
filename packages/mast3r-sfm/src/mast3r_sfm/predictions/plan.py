"""What has to be computed: requested pairs, less what the cache holds, as tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mast3r_model import InputError, NetworkIdentity
from mast3r_sfm.pairs import Pair
from mast3r_sfm.photos import SourceImage

from .cache import PredictionCache
from .keys import features_key, image_identity, pair_key
from .options import PredictionOptions
from .schedule import batches, ordered_pairs
from .tasks import DecodeTask, EncodeTask, ImageWork, PairWork


@dataclass(frozen=True)
class Plan:
    """Requested pairs and the tasks that are left.

    Attributes:
        pairs: as requested.
        keys: of their predictions.
        identities: of the images, see `image_identity`.
        encoding: images whose features are missing, in the order of need.
        decoding: pairs whose predictions are missing, so ordered that few features are needed at a time.
    """

    pairs: tuple[Pair, ...]
    keys: tuple[str, ...]
    identities: tuple[str, ...]
    encoding: tuple[EncodeTask, ...]
    decoding: tuple[DecodeTask, ...]


def make_plan(
    images: Sequence[SourceImage],
    pairs: Sequence[Pair],
    network: NetworkIdentity,
    cache: PredictionCache,
    options: PredictionOptions,
    *,
    batch_size: int,
) -> Plan:
    """Find out what is missing.

    Batches are cut from the missing pairs in an order that depends on the request alone, so that a run that
    was killed goes on with the batches that it would have had.

    Raises:
        InputError: a pair that does not name two of the images.
    """
    for pair in pairs:
        if not all(0 <= index < len(images) for index in pair) or pair[0] == pair[1]:
            raise InputError(f"pair {tuple(pair)} does not name two of the {len(images)} images")
    identities = [image_identity(image) for image in images]
    keys = [
        pair_key(identities[first], identities[second], network, options.matching, options.storage)
        for first, second in pairs
    ]
    order = ordered_pairs(pairs, len(images), window=options.features_kept)
    once = {keys[index]: index for index in reversed(order)}  # one key may be asked for in both orders
    missing = [index for index in order if once[keys[index]] == index and not cache.has_pair(keys[index])]
    shapes = [tuple(sorted((images[first].shape, images[second].shape))) for first, second in pairs]
    decoding = [
        DecodeTask(
            tuple(_pair_work(images, pairs[index], keys[index], identities, network) for index in batch)
        )
        for batch in batches(missing, shapes, size=batch_size)
    ]
    needed = [number for index in missing for number in pairs[index]]
    encoding = encoding_tasks(images, needed, network, cache, batch_size=batch_size)
    return Plan(tuple(pairs), tuple(keys), tuple(identities), tuple(encoding), tuple(decoding))


def _pair_work(
    images: Sequence[SourceImage], pair: Pair, key: str, identities: Sequence[str], network: NetworkIdentity
) -> PairWork:
    image0, image1 = images[pair[0]], images[pair[1]]
    return PairWork(
        key=key,
        features0=features_key(image0, network),
        features1=features_key(image1, network),
        first=identities[pair[0]],
        allowed0=image0.allowed,
        allowed1=image1.allowed,
    )


def encoding_tasks(
    images: Sequence[SourceImage],
    numbers: Sequence[int],
    network: NetworkIdentity,
    cache: PredictionCache,
    *,
    batch_size: int,
) -> list[EncodeTask]:
    """Batches of images of one size whose features the cache lacks, each image content once.

    Args:
        images: all.
        numbers: of those that are needed, in the order of need; may repeat.
        network: that encodes.
        cache: where features are.
        batch_size: images at a time.
    """
    needed: dict[str, int] = {}
    for number in numbers:
        needed.setdefault(features_key(images[number], network), number)
    absent = [number for key, number in needed.items() if not cache.has_features(key)]
    keys = {number: key for key, number in needed.items()}
    shapes = [image.shape for image in images]
    return [
        EncodeTask(tuple(ImageWork(keys[index], images[index].pixels) for index in batch))
        for batch in batches(absent, shapes, size=batch_size)
    ]
