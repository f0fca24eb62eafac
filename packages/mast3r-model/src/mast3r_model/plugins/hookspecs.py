"""The hooks that a plugin may implement: one per kind of thing it can add.

A plugin is a module named by an entry point of the group ``mast3r``::

    # pyproject.toml
    [project.entry-points.mast3r]
    my-plugin = "my_plugin.plugin"

    # my_plugin/plugin.py
    from mast3r_model import hookimpl

    @hookimpl
    def mast3r_heads():
        return {"my-head": "my_plugin.heads:make_my_head"}

Every hook takes no argument and returns a mapping from name to the thing itself or, better, to an import
string ``"package.module:Name"`` that is resolved when the name is first used: discovering plugins imports
nothing heavy. Names are case sensitive. A name that two plugins give is an error that names both.
docs/plugins.md says which kinds this version reads; the others are kept for the packages that follow.

Source: spec 00 (Plugins), spec 40 section 14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pluggy

PROJECT = "mast3r"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Target = str | Callable[..., object] | object
"""A registered thing, or the import string ``"package.module:Name"`` of one."""


@dataclass(frozen=True)
class CommandSpec:
    """One command of the ``mast3r`` program, described without importing it.

    Args:
        target: import string of a click command, such as ``"mast3r_match.cli:match"``.
        help: one line for the list of ``mast3r --help``.
        section: heading under which the list shows it, such as ``"Match"``.
    """

    target: str
    help: str
    section: str = "Other"


class Mast3rHooks:
    """Specifications of all hooks. Plugins write module-level functions of these names, without ``self``."""

    @hookspec
    def mast3r_heads(self) -> Mapping[str, Target]:
        """Heads: from decoder outputs to pointmaps and descriptors (spec 10 section 5).

        A factory is called with one ``HeadSpec`` (frozen: sizes of encoder and decoder, patch size,
        regression modes, number of descriptor channels) and returns a ``HeadPair(head1, head2, local=None)``
        of ``nn.Module``. Heads are called as ``head(decoder_outputs, image_shape, local)`` and return a dict
        of channel-last maps ``pts3d`` (B, H, W, 3), ``conf`` (B, H, W), ``desc`` (B, H, W, D), ``desc_conf``
        (B, H, W). The name is what a model's ``head_type`` says.

        Example::

            @hookimpl
            def mast3r_heads():
                return {"my-head": "my_plugin.heads:make_head"}

            def make_head(spec):                       # my_plugin/heads.py
                return HeadPair(MyHead(spec), MyHead(spec))
        """
        raise NotImplementedError

    @hookspec
    def mast3r_models(self) -> Mapping[str, Target]:
        """Checkpoint presets: short names for ``load_model`` and ``--model``.

        Each value is a ``ModelPreset(location, description, licence)``; the location is a folder, a file, or
        the id of a repository on the Hugging Face hub.

        Example::

            @hookimpl
            def mast3r_models():
                return {"indoor": "my_plugin.presets:INDOOR"}

            INDOOR = ModelPreset("someone/mast3r-indoor", "fine-tuned indoors", "CC BY-NC-SA 4.0")
        """
        raise NotImplementedError

    @hookspec
    def mast3r_commands(self) -> Mapping[str, CommandSpec]:
        """Commands of the ``mast3r`` program.

        Each value is a ``CommandSpec``. A name of two words (``"evaluate pairs"``) puts the command into a
        group, so several packages can fill one group. How to write the command itself: ``mast3r_model.cli``.

        Example::

            @hookimpl
            def mast3r_commands():
                return {"hello": CommandSpec("my_plugin.cli:hello", "Greet a photo.", "Match")}
        """
        raise NotImplementedError

    @hookspec
    def mast3r_datasets(self) -> Mapping[str, Target]:
        """Training datasets, by the name that expressions use (spec 40 sections 2 and 14).

        Each value is a class or another factory. What it makes has ``__len__``, ``resolutions`` (a list of
        (width, height)), and ``dataset[(index, resolution_index)]``: a list of two view dictionaries. The
        base class ``mast3r_train.DatasetAlgebra`` gives it the operators of expressions. ``set_epoch(epoch)``
        and ``batch(items)`` (the collated views of several samples at once) are called if they are there. An
        item depends on nothing but its index and the dataset's arguments, and works in forked and in spawned
        workers (files are opened late, no handles are kept). ``mast3r_train.PairDataset`` is the base for
        photos with depth and poses; ``mast3r_train.conformance.assert_conforms`` checks a dataset.

        Example::

            @hookimpl
            def mast3r_datasets():
                return {"MyScenes": "my_plugin.datasets:MyScenes"}

            # then: mast3r train --train_dataset "1000 @ MyScenes(split='train', resolution=(512, 384))"
        """
        raise NotImplementedError

    @hookspec
    def mast3r_transforms(self) -> Mapping[str, Target]:
        """Image transforms of training (spec 40 section 5).

        Each value is a callable from a PIL image to a float tensor (3, H, W) in [-1, 1], or a class whose
        instances are such callables.

        Example::

            @hookimpl
            def mast3r_transforms():
                return {"Grey": "my_plugin.transforms:grey"}
        """
        raise NotImplementedError

    @hookspec
    def mast3r_losses(self) -> Mapping[str, Target]:
        """Training losses and pixel criteria (spec 40 sections 8 and 14).

        Each value is a class (or a ready object, for a criterion named without a call, such as ``L21``).
        Pixel criteria have ``distance(a, b)`` on (n, 3). Losses have ``compute_loss(gt1, gt2, pred1, pred2,
        **kw)`` that returns a scalar, or ``(scalar, details)``; arithmetic (``0.1*A() + B()``) comes from
        the base class. Details are floats or 0-d tensors; their keys become log columns, so keep them stable.

        Example::

            @hookimpl
            def mast3r_losses():
                return {"Smoothness": "my_plugin.losses:Smoothness"}
        """
        raise NotImplementedError

    @hookspec
    def mast3r_preprocessors(self) -> Mapping[str, Target]:
        """Commands that turn a public dataset's raw files into the layout that its loader reads (spec 41).

        Each value is a click command with the options ``--raw``, ``--out``, ``--pairs`` and ``--workers``.

        A name that starts with ``sky-`` is no such command, but finds the sky for ``mast3r data sky``: a
        function without arguments that returns a function from an RGB image (PIL) to its mask (height,
        width), bool or uint8 with 127 and above for sky.

        Example::

            @hookimpl
            def mast3r_preprocessors():
                return {"myscenes": "my_plugin.prepare:prepare"}
        """
        raise NotImplementedError

    @hookspec
    def mast3r_pair_graphs(self) -> Mapping[str, Target]:
        """Scene graphs: which images meet (spec 30).

        Each value is a function of one ``GraphRequest`` (frozen: ``count`` images; ``arguments``, the text
        after the name, split at hyphens: ``swin-5-noncyclic`` gives ``("5", "noncyclic")``;
        ``integer(position, default)`` reads one; ``similarity()`` is the matrix (count, count) of how alike
        the images are, which may run a network). It returns pairs of indices below ``count``; pairs of an
        image with itself, and pairs that came before either way round, are dropped.

        Example::

            @hookimpl
            def mast3r_pair_graphs():
                return {"chain": "my_plugin.graphs:chain"}

            def chain(request):                        # my_plugin/graphs.py; --graph chain-2
                step = request.integer(0, default=1, minimum=1)
                return [(i, i + step) for i in range(request.count - step)]
        """
        raise NotImplementedError

    @hookspec
    def mast3r_exporters(self) -> Mapping[str, Target]:
        """Formats that a reconstruction can be written in (spec 30 section 12).

        Each value is a function ``(scene, folder) -> list[Path]`` that writes a ``mast3r_sfm.Scene`` into a
        folder that exists, and returns the files that it wrote; options with defaults may follow, by keyword.
        `Scene.save` gives it a temporary folder whose entries are moved to their place when all formats are
        written, so write nowhere else and do not write down the folder's own path;
        ``scene.image_folder`` is relative to the final place. An ``OSError`` is told to the user, and nothing
        is left of the save. Poses of different ``scene.components()`` do not relate to each other.

        Example::

            @hookimpl
            def mast3r_exporters():
                return {"centres": "my_plugin.exporters:write_centres"}

            def write_centres(scene, folder):          # my_plugin/exporters.py
                path = folder / "centres.txt"
                np.savetxt(path, [image.cam2world[:3, 3] for image in scene.images])
                return [path]

            # then: scene.save("scene", formats=["colmap", "centres"])
        """
        raise NotImplementedError

    @hookspec
    def mast3r_engines(self) -> Mapping[str, Target]:
        """Engines: who computes the network's predictions for many pairs (spec 30).

        Each value is a factory ``(model, cache, options)``: the network, the ``PredictionCache`` of this
        machine and the ``PredictionOptions``. It returns an engine: a context manager (entering starts its
        workers, leaving ends them) with ``workers``, the number of tasks that it does at the same time, and
        ``run(tasks)``. That does each task somewhere by ``PredictionWorker(model, store, options).run(task)``
        and yields the reports, in any order, each when the results are in the cache. Tasks of one call do not
        need each other's results.

        Example::

            @hookimpl
            def mast3r_engines():
                return {"cluster": "my_plugin.engines:ClusterEngine"}
        """
        raise NotImplementedError

    @hookspec
    def mast3r_retrievers(self) -> Mapping[str, Target]:
        """Retrievers: which images look alike (spec 30, spec 50).

        Each value is a factory ``(model, **options)`` of an object with ``describe(images)``, which returns
        one object of any kind for each image (a path, a ``LoadedImage`` or an ``EncodedImage``), and
        ``similarity(queries, database)``, which returns an array (queries, database) of floats from two
        sequences of such objects: larger is more alike, on any scale.

        Example::

            @hookimpl
            def mast3r_retrievers():
                return {"clip": "my_plugin.retrieval:ClipRetriever"}

            class ClipRetriever:                       # my_plugin/retrieval.py; --retrieval clip
                def __init__(self, model, *, layer=-1): ...
                def describe(self, images): return [self.embed(image) for image in images]
                def similarity(self, queries, database): return np.stack(queries) @ np.stack(database).T
        """
        raise NotImplementedError

    @hookspec
    def mast3r_localization_datasets(self) -> Mapping[str, Target]:
        """Datasets of visual localisation, by the name that expressions use (spec 50).

        Each value is a class whose objects have what ``mast3r_visloc.LocalizationDataset`` says: ``name``,
        ``thresholds`` (pairs of metres and degrees), ``map`` (a ``LocalizationMap``: photos with cameras,
        poses and, read when asked for, 3D points), ``queries`` (``Query``: name, path, camera and true pose
        where known) and ``candidates(number)`` (``Candidate``: which map images to try, best first).

        Example::

            @hookimpl
            def mast3r_localization_datasets():
                return {"MyBuilding": "my_plugin.visloc:MyBuilding"}

            class MyBuilding:             # my_plugin/visloc.py; mast3r visloc evaluate "MyBuilding('/data')"
                name, thresholds = "my building", ((0.1, 1), (0.5, 5))
                def __init__(self, root):
                    photos = sorted(Path(root, "queries").iterdir())
                    self.map = read_map(Path(root) / "map")
                    self.queries = [Query(photo.name, photo) for photo in photos]
                def candidates(self, number):
                    return [Candidate(image.name, 1.0) for image in self.map.images[:20]]
        """
        raise NotImplementedError

    @hookspec
    def mast3r_pnp_solvers(self) -> Mapping[str, Target]:
        """Solvers of the perspective-n-point problem (spec 50).

        Each value is a function ``(points2d, points3d, camera, threshold_px, seed, weights=None)``: pixels
        (n, 2), an integer being a pixel's centre, and world points (n, 3), float64; a
        ``mast3r_visloc.Camera`` with its distortion; the largest error of an inlier in pixels. It returns a
        ``mast3r_visloc.PnPResult``, with ``success`` False rather than an exception where the points do not
        suffice. ``mast3r_visloc.estimate_pose`` then fits the pose to its inliers, and judges it.

        Example::

            @hookimpl
            def mast3r_pnp_solvers():
                return {"mine": "my_plugin.pnp:solve"}

            def solve(points2d, points3d, camera, threshold_px, seed, weights=None):    # --solver mine
                pose = my_ransac(points2d, points3d, camera.intrinsics, threshold_px, seed)   # 4x4 or None
                if pose is None:
                    return PnPResult(False, None, np.zeros(len(points2d), bool), 0, camera)
                inliers = find_inliers(pose, points2d, points3d, camera, threshold_px)
                return PnPResult(True, pose, inliers, int(inliers.sum()), camera)
        """
        raise NotImplementedError

    @hookspec
    def mast3r_localizers(self) -> Mapping[str, Target]:
        """Who finds where a photo was taken, for programs that have a map and photos (spec 60 D1).

        Each value is a factory ``(map_path, model)``: the folder of a map (a saved scene, a COLMAP model,
        ...) and a network. It returns a localizer: an object with ``localize(photo_path)``, which returns an
        object with ``success``, ``cam2world`` (4x4 in the map's world, camera axes x right, y down, z ahead;
        None without success), ``num_inliers`` and ``reason`` (for people; None with success), and optionally
        ``intrinsics`` (3x3, in the pixels of the photo's file). A localizer with ``close()`` is closed after
        use. A map that cannot be used, and a photo that cannot be read, are errors (``Mast3rError``).

        Example::

            @hookimpl
            def mast3r_localizers():
                return {"nearest": "my_plugin.localizing:NearestPhoto"}

            class NearestPhoto:                        # my_plugin/localizing.py: a tab of `mast3r demo`
                def __init__(self, map_path, model):
                    self.map, self.model = read_map(map_path), model
                def localize(self, photo_path):
                    image = self.map.most_similar(photo_path)
                    return Found(success=True, cam2world=image.cam2world, num_inliers=0, reason=None)
        """
        raise NotImplementedError


KINDS: tuple[str, ...] = tuple(
    name.removeprefix("mast3r_") for name in vars(Mast3rHooks) if name.startswith("mast3r_")
)
"""Every kind, in the order of the specification above: what ``registry(kind)`` accepts."""
