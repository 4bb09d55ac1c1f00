"""What is measured on an image of the biology benchmark, with the true tissue of the person."""

from __future__ import annotations

import numpy as np
from biology_people import Person
from scipy.ndimage import gaussian_filter

from bids_harmony.phantom.anatomy import deep_grey
from bids_harmony.quality.image_metrics import psnr

__all__ = ["CONTRASTS", "MEASURE_OF", "measures"]

Array = np.ndarray

#: Of each planted effect, the measure that shows it.
MEASURE_OF = {
    "grey_t1": "grey_white",
    "white_t1": "grey_white",
    "deep_t2": "deep_white",
    "atrophy": "brain_white",
    "lesions_ml": "lesion_signal",
}
#: Contrasts of tissues: their variance between sites is that of scanners.
CONTRASTS = ("grey_white", "deep_white", "csf_white")
_PERCENTILE = 99.5
#: White matter about a lesion, standard deviation of a Gaussian.
_NEAR_MM = 8.0


def measures(person: Person, data: Array, twin: Array) -> dict[str, float]:
    """Measure one image.

    Parameters
    ----------
    person : Person
    data, twin : (X, Y, Z) float32
        The image, and the noise-free one of the person at the target.

    Returns
    -------
    dict
        ``grey_white``, ``deep_white``, ``csf_white``: log of the median of cortical grey, deep
        grey and CSF over that of white matter, in voxels of nearly one tissue and free of lesions.
        ``brain_white``: log of the mean of the brain over the median of white matter.
        ``lesion_signal``: what lesions add to the sum of white matter, in per cent of it, each
        against the white matter near it. ``psnr_db``: to the twin, both scaled by their own robust
        maximum.
    """
    grey, white, csf = person.fractions
    deep = deep_grey(person.grid)
    healthy = person.mask & ~person.lesion
    tissue = {
        "grey_white": healthy & (grey > 0.8) & (deep < 0.1),
        "deep_white": healthy & (grey > 0.7) & (deep > 0.6),
        "csf_white": healthy & (csf > 0.8),
    }
    pure_white = healthy & (white > 0.9)
    level = float(np.median(data[pure_white]))

    def log_ratio(value: float) -> float:
        return float(np.log(max(value, 1e-6) / level))

    found = {name: log_ratio(float(np.median(data[at]))) for name, at in tissue.items()}
    found["brain_white"] = log_ratio(float(data[person.mask].mean(dtype=np.float64)))
    found["lesion_signal"] = _lesion_signal(person, data, pure_white, level)
    ours, goal = (d / np.percentile(d[person.mask], _PERCENTILE) for d in (data, twin))
    found["psnr_db"] = float(psnr(goal, ours, data_range=1.0, mask=person.mask))
    return found


def _lesion_signal(person: Person, data: Array, pure_white: Array, level: float) -> float:
    at = person.lesion & (person.fractions[1] > 0.5)
    if not at.any():
        return 0.0
    sigma = _NEAR_MM / person.grid.voxel_mm
    weight = gaussian_filter(pure_white.astype(np.float32), sigma)
    around = gaussian_filter(np.where(pure_white, data, 0), sigma) / np.maximum(weight, 1e-4)
    added = (data[at] - around[at]).sum(dtype=np.float64)
    return float(100 * added / level / person.fractions[1].sum(dtype=np.float64))
