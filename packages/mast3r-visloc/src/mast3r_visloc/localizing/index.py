"""The map's images, encoded once for all queries, in memory's stead on the disk (spec 50 D1, D3)."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from jaxtyping import Float
from torch import Tensor

from mast3r_model import ImageError, NetworkIdentity, atomic_write, network_identity
from mast3r_visloc.maps import LocalizationMap, MapImage

from .feature_files import MapFeatures, read_features, rounded, write_features
from .photos import read_photo
from .retrieval_vectors import pooled_tokens, read_vectors, write_vectors

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo

log = logging.getLogger("mast3r.visloc")

INDEX_FOLDER = ".mast3r"
MANIFEST = "index.json"
FORMAT = "mast3r localisation index 1"

_READ_AT_ONCE = 32


@dataclass(frozen=True)
class IndexReport:
    """What `MapIndex.build` did.

    Attributes:
        folder: of the index.
        images: that it holds now.
        encoded: of them, encoded by this call.
        skipped: names of images that cannot be read.
        bytes: that its files take.
        densified: images without 3D that have points of the network now.
    """

    folder: Path
    images: int
    encoded: int
    skipped: tuple[str, ...]
    bytes: int
    densified: int = 0


class MapIndex:
    """Features of a map's images by their number; those that are missing are encoded when they are asked for.

    Features are known by the network's content, the size that images are brought to, and the photo's size and
    time of change: another network has a folder of its own, a photo that was replaced is encoded again.

    Args:
        localization_map: the map.
        model: the network.
        size: long side of the network's input in pixels.
        folder: where features are kept; None for a temporary one.
        batch_size: images that are encoded at a time.
        network: what `network_identity` says of the model; None to find out.
    """

    def __init__(
        self,
        localization_map: LocalizationMap,
        model: AsymmetricCroCo3DStereo,
        *,
        size: int,
        folder: Path | None,
        batch_size: int = 8,
        network: NetworkIdentity | None = None,
    ) -> None:
        self.map, self.model, self.size, self.batch_size = localization_map, model, size, batch_size
        self.network = network or network_identity(model)
        self._temporary = tempfile.TemporaryDirectory(prefix="mast3r-index-") if folder is None else None
        self.folder = Path(self._temporary.name if self._temporary is not None else folder or "")
        self._unreadable: set[int] = set()
        self._vectors: dict[str, Tensor] | None = None

    @classmethod
    def of(
        cls, localization_map: LocalizationMap, model: AsymmetricCroCo3DStereo, *, size: int, batch_size: int
    ) -> Self:
        """The index that lies in the map's folder, if one was made for this network and size; else a
        temporary one."""
        network = network_identity(model)
        folder = index_folder(localization_map, network, size)
        there = folder if (folder / MANIFEST).is_file() else None
        return cls(localization_map, model, size=size, folder=there, batch_size=batch_size, network=network)

    def build(self, progress: Callable[[int], None] | None = None) -> IndexReport:
        """Encode every image that is not there yet, and write the manifest.

        Args:
            progress: called with the number of images just done.

        Raises:
            OutputError: the folder cannot be written to.
            ImageError: no image can be read.
        """
        before = len(self.map.images) - self.missing()
        for start in range(0, len(self.map.images), self.batch_size):
            numbers = range(start, min(start + self.batch_size, len(self.map.images)))
            self._encode_missing(numbers)
            if progress is not None:
                progress(len(numbers))
        skipped = tuple(self.map.images[number].name for number in sorted(self._unreadable))
        if len(skipped) == len(self.map.images):
            raise ImageError(f"{self.map.source}: no image of the map can be read")
        used = {self._path(image) for image in self.map.images}
        for stale in set(self.folder.glob("*.safetensors")) - used:
            stale.unlink(missing_ok=True)
        vectors = self.pooled(range(len(self.map.images)))
        size = write_vectors(
            self.folder, {self._path(self.map.images[number]).name: each for number, each in vectors.items()}
        )
        self._write_manifest()
        there = [path for path in used if path.is_file()]
        return IndexReport(
            self.folder,
            len(there),
            len(there) - before,
            skipped,
            size + sum(path.stat().st_size for path in there),
        )

    def get(self, numbers: Sequence[int]) -> dict[int, MapFeatures]:
        """Features of images by number, on the CPU; images that cannot be read are left out, and named once.

        Args:
            numbers: of images of the map.
        """
        fresh = self._encode_missing(numbers)
        found: dict[int, MapFeatures] = {}
        for number in numbers:
            if number in self._unreadable:
                continue
            features = fresh.get(number) or read_features(self._path(self.map.images[number]))
            if features is None:  # damaged since
                self._path(self.map.images[number]).unlink(missing_ok=True)
                features = self._encode_missing([number]).get(number)
            if features is not None:
                found[number] = features
        return found

    def pooled(self, numbers: Sequence[int]) -> dict[int, Float[Tensor, " channels"]]:
        """One vector of each image, to find those that look alike: from the index's file where it has them,
        without reading features. Images that cannot be read are left out.

        Args:
            numbers: of images of the map.
        """
        if self._vectors is None:
            self._vectors = read_vectors(self.folder)
        names = {number: self._path(self.map.images[number]).name for number in numbers}
        missing = [number for number, name in names.items() if name not in self._vectors]
        for start in range(0, len(missing), _READ_AT_ONCE):
            for number, features in self.get(missing[start : start + _READ_AT_ONCE]).items():
                self._vectors[names[number]] = pooled_tokens(features.encoded)
        return {number: self._vectors[name] for number, name in names.items() if name in self._vectors}

    def missing(self) -> int:
        """How many images of the map have no features on the disk yet."""
        return sum(not self._path(image).is_file() for image in self.map.images)

    def file_of(self, number: int) -> str:
        """The name of an image's file of features: another one when the photo changes.

        Args:
            number: of the image.
        """
        return self._path(self.map.images[number]).name

    def close(self) -> None:
        """Delete a temporary folder."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def _encode_missing(self, numbers: Sequence[int]) -> dict[int, MapFeatures]:
        """Encode and write what is not there; what was encoded is returned."""
        missing = [
            number
            for number in dict.fromkeys(numbers)
            if number not in self._unreadable and not self._path(self.map.images[number]).is_file()
        ]
        done: dict[int, MapFeatures] = {}
        for start in range(0, len(missing), self.batch_size):
            photos = {}
            for number in missing[start : start + self.batch_size]:
                image = self.map.images[number]
                try:
                    photos[number] = read_photo(image.path, size=self.size, patch_size=self.model.patch_size)
                except ImageError as error:
                    self._unreadable.add(number)
                    log.warning("a map image is left out: %s", error.message)
            tensors = [photo.tensor for photo in photos.values()]
            encoded = self.model.encode(tensors, batch_size=self.batch_size)
            for (number, photo), image_features in zip(photos.items(), encoded, strict=True):
                done[number] = MapFeatures(rounded(image_features), photo.transform)
                write_features(self._path(self.map.images[number]), done[number])
        return done

    def _path(self, image: MapImage) -> Path:
        """Of an image's features: names of images are labels, so its name is a digest."""
        try:
            state = image.path.stat()
            noted = f"{image.name}\n{state.st_size}\n{state.st_mtime_ns}"
        except OSError:
            noted = image.name
        return self.folder / f"{hashlib.sha256(noted.encode()).hexdigest()[:32]}.safetensors"

    def _write_manifest(self) -> None:
        about = {
            "format": FORMAT,
            "about": "features of the map's images for mast3r visloc; may be deleted",
            "network": self.network.digest,
            "architecture": self.network.description,
            "precision": self.network.precision,
            "size": self.size,
            "images": {image.name: self._path(image).name for image in self.map.images},
        }
        with atomic_write(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")


def network_size(model: AsymmetricCroCo3DStereo, size: int | None) -> int:
    """The long side that photos are brought to: the one asked for, or what the network was made for."""
    return max(model.config.img_size) if size is None else size


def index_folder(localization_map: LocalizationMap, network: NetworkIdentity, size: int) -> Path:
    """Where the index of a map lies: in the map's folder, one for each network and size.

    Args:
        localization_map: the map.
        network: that encodes.
        size: long side of the network's input in pixels.
    """
    source = localization_map.source
    folder = source if source.is_dir() else source.parent
    return folder / INDEX_FOLDER / f"{network.digest[:12]}-{network.precision}-{size}"
