"""Spaces in which harmonized structural scans are written besides their own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.naming import bids_uri
from bids_harmony.imaging.templates import Template, find_template, template_home
from bids_harmony.settings.spaces import ANATOMY, NATIVE, REFERENCE_SPACE, TEMPLATES, Space
from bids_harmony.workflows.given import find_given, shown_file

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings

__all__ = ["files_of", "on_reference", "spaces_of", "templates_of", "written_spaces"]

logger = logging.getLogger(__name__)


def _asked(settings: Settings) -> Iterator[Space]:
    yield from map(Space.of, settings.output_spaces)


def on_reference(settings: Settings) -> bool:
    """Whether scans are also written on the reference grid."""
    return any(space.name == REFERENCE_SPACE for space in _asked(settings))


def templates_of(settings: Settings) -> dict[Space, Template]:
    """Files of the templates that are asked for.

    Raises
    ------
    MissingInput, NotFetched
        When one is not there.
    """
    home = template_home(settings.template_dir)
    return {
        space: find_template(space.name, space.resolution or 1, home)
        for space in _asked(settings)
        if space.name in TEMPLATES
    }


def written_spaces(scan: Scan, settings: Settings) -> list[str | None]:
    """Labels of the spaces that a scan is written in, None for its own.

    Diffusion series stay in their own: their gradients do not turn with them. A T1w is in the
    space of the T1w as it is.
    """
    if scan.gradients:
        return [None]
    labels = [
        None if space.name == NATIVE or space.name == scan.modality else space.label
        for space in _asked(settings)
    ]
    return list(dict.fromkeys(labels))


def spaces_of(scan: Scan, t1w: Scan | None, settings: Settings) -> list[dict[str, Any]]:
    """What `PlaceInSpaces` must know of each space of a scan, and what its sidecar tells.

    Parameters
    ----------
    scan : Scan
        Structural.
    t1w : Scan or None
        T1w of the same person through which it goes to the reference.
    settings : Settings

    Returns
    -------
    list of dict
        ``label``, ``like`` and ``told``, fields of the sidecar; and ``world`` from the reference,
        or ``warp`` and ``steps`` of another pipeline, or neither for the T1w's own space.
    """
    from bids_harmony.imaging.templates import world_to_template

    found: list[dict[str, Any]] = []
    for space, template in templates_of(settings).items():
        told: dict[str, Any] = {"SpatialReference": space.name}
        if space.resolution:
            told["Resolution"] = f"{template.name}, res-{space.resolution} of TemplateFlow"
        one: dict[str, Any] = {"label": space.label, "like": str(template.t1w), "told": told}
        given = find_given(t1w or scan, settings)
        if given is not None and (warp := given.transforms.get(space.name)) is not None:
            one |= {"warp": str(warp), "steps": [str(path) for path in given.to_anatomy]}
            told["TransformFrom"] = shown_file(given, warp)
        else:
            one["world"] = world_to_template(template).tolist()
        found.append(one)
    if scan.modality != ANATOMY and any(space.name == ANATOMY for space in _asked(settings)):
        if t1w is None:
            _warn_without_t1w(scan.label)
        else:
            uri = bids_uri(t1w.path, settings.bids_dir)
            told = {"SpatialReference": uri}
            found.append({"label": ANATOMY, "like": str(t1w.path), "told": told})
    return found


@lru_cache(maxsize=4096)
def _warn_without_t1w(label: str) -> None:
    logger.warning("%s: not written in the space of the T1w, there is no T1w beside it", label)


def files_of(scan: Scan, t1w: Scan | None, settings: Settings) -> list[Path]:
    """Files of templates, and transforms to them, that a scan's images in spaces depend on."""
    given = find_given(t1w or scan, settings)
    found: list[Path | None] = []
    for space, template in templates_of(settings).items():
        found += [template.t1w, template.mask]
        if given is not None and space.name in given.transforms:
            found += [*given.to_anatomy, given.transforms[space.name]]
    return [path for path in found if path is not None]
