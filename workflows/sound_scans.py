"""Scans that can be used as far as headers and tables tell, and which of them show a site."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.exceptions import BidsHarmonyError
from bids_harmony.io.header_check import check_header
from bids_harmony.sites.names import same_site
from bids_harmony.workflows.reference_images import ProfileKey, are_given, reference_images

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.diffusion.gradients import Gradients
    from bids_harmony.settings import Settings

logger = logging.getLogger(__name__)

__all__ = ["check_scan", "choose_sound"]


def check_scan(scan: Scan, settings: Settings) -> Gradients | None:
    """Read the header of a scan, and the tables of a series.

    Returns
    -------
    Gradients or None
        Of a series.

    Raises
    ------
    MissingInput, InputOutputError, DataError
        What whoever reads all of it will say.
    """
    shape = check_header(scan.path, series=scan.gradients is not None)
    if scan.gradients is None:
        return None
    return read_gradients(*scan.gradients, shape[3], b0_threshold=settings.b0_threshold)


def choose_sound(
    key: ProfileKey,
    settings: Settings,
    everyone: Sequence[Scan],
    *,
    check: Callable[[Scan, Settings], object] = check_scan,
    quiet: bool = False,
) -> tuple[Scan, ...]:
    """As `reference_images`, but scans that cannot be used are chosen only where all are such.

    What is left out is told with its reason.

    Parameters
    ----------
    key, settings, everyone
        As for `reference_images`.
    check : callable
        As `check_scan`.
    quiet : bool
        Say nothing of what is left out.
    """
    if are_given(key, settings):
        return reference_images(key, settings, everyone)

    def is_sound(scan: Scan) -> bool:
        try:
            check(scan, settings)
        except BidsHarmonyError as error:
            if not quiet:
                logger.warning("Not among those that show a site's profile: %s", error)
            return False
        return True

    own = [s for s in everyone if s.modality == key.modality and same_site(s.site.site, key.site)]
    return reference_images(key, settings, [s for s in own if is_sound(s)] or own)
