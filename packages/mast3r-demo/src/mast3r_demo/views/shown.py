"""Which points of a scene are shown, and how: the page's view controls (spec 60 D2)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mast3r_model import InputError
from mast3r_sfm import ViewFilters, filtered, shown_confidence

if TYPE_CHECKING:
    from mast3r_sfm import Scene, SceneImage


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """The page's view controls.

    Attributes:
        percentile: hide the least certain so many percent of all points; None: do not look at shares.
        min_confidence: show points above this confidence; given, the percentile does not count.
        max_points: show so many at most, see `ViewFilters.max_points`.
        only_photo: show the points of this photo (an index into `Scene.images`); None: of all.
        as_mesh: triangles between neighbouring pixels instead of points.
        clean_depth: hide points in front of what other photos see more surely.
        mask_sky: hide what looks like sky.
        drop_black: hide black backgrounds.
        drop_white: hide white backgrounds.
        cameras: draw them.
        camera_size: their height in world units; None or 0: in proportion to the scene.
        photos_in_cameras: with the photos on their image planes.
        tsdf: move depths by at most this, in world units, to where the photos agree; 0: off.
    """

    percentile: float | None = 20.0
    min_confidence: float | None = None
    max_points: int = 2_000_000
    only_photo: int | None = None
    as_mesh: bool = False
    clean_depth: bool = True
    mask_sky: bool = False
    drop_black: bool = False
    drop_white: bool = False
    cameras: bool = True
    camera_size: float | None = None
    photos_in_cameras: bool = True
    tsdf: float = 0.0

    def filters(self, scene: Scene) -> ViewFilters:
        """The same for a scene, in mast3r_sfm's words.

        Raises:
            InputError: a number is out of its range, or there is no such photo.
        """
        if self.only_photo is not None and not 0 <= self.only_photo < len(scene.images):
            raise InputError(
                f"there is no photo {self.only_photo + 1}: the scene has {len(scene.images)}",
                "choose one of the list",
            )
        return ViewFilters(
            percentile=self.percentile if self.min_confidence is None else None,
            min_confidence=self.min_confidence,
            max_points=self.max_points,
            only_photos=() if self.only_photo is None else (scene.images[self.only_photo].name,),
            as_mesh=self.as_mesh,
            clean_depth=self.clean_depth,
            mask_sky=self.mask_sky,
            drop_black=self.drop_black,
            drop_white=self.drop_white,
            camera_size=(self.camera_size or None) if self.cameras else 0,
            transparent_cameras=not self.photos_in_cameras,
            tsdf=self.tsdf,
        )


def shown_scene(scene: Scene, view: ViewSettings) -> Scene:
    """The scene as the controls want it.

    What takes long (sky, consistent depths, cleaning) is kept for the scene's last view, so that the sliders
    for confidence and points answer at once.

    Raises:
        InputError: see `ViewSettings.filters`.
    """
    filters = view.filters(scene)
    slow = ViewFilters(
        mask_sky=filters.mask_sky,
        drop_black=filters.drop_black,
        drop_white=filters.drop_white,
        clean_depth=filters.clean_depth,
        tsdf=filters.tsdf,
    )
    quick = replace(filters, mask_sky=False, drop_black=False, drop_white=False, clean_depth=False, tsdf=0.0)
    return filtered(replace(scene, images=_PREPARED.images(scene, slow)), quick)


def shown_threshold(scene: Scene, view: ViewSettings) -> float:
    """Above which confidence points are shown."""
    return shown_confidence(shown_scene(scene, replace(view, only_photo=None)))


def view_note(shown: Scene) -> str:
    """What a shown scene holds, one sentence or two.

    Args:
        shown: what `shown_scene` returned.
    """
    count, photos = len(shown.points), len(shown.images)
    text = f"{count:,} points of {photos} photo{'s' if photos != 1 else ''}, "
    text += f"of confidence above {shown_confidence(shown):.3g}."
    if not count:
        text = f"No point has a confidence above {shown_confidence(shown):.3g}: hide fewer."
    others = sum(image.component != 0 for image in shown.images)
    if others:
        text += (
            f" No match connects {others} of the photos to the others: to see them, "
            'choose one under "Show points of".'
        )
    return text


class _PreparedImages:
    """Of each scene that is still in use, the images of its last view."""

    def __init__(self) -> None:
        self._last: WeakKeyDictionary[Scene, tuple[ViewFilters, tuple[SceneImage, ...]]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def images(self, scene: Scene, slow: ViewFilters) -> tuple[SceneImage, ...]:
        """The scene's images after the slow filters."""
        with self._lock:
            kept = self._last.get(scene)
        if kept is not None and kept[0] == slow:
            return kept[1]
        images = filtered(scene, slow).images
        with self._lock:
            self._last[scene] = (slow, images)
        return images


_PREPARED = _PreparedImages()
