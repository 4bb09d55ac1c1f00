"""People who differ as real people do: relaxation of each tissue, age, atrophy, iron, lesions.

`make_anatomy` and `draw_person` give a person shape and texture, and one factor of relaxation for
all tissues alike. Here that common factor is replaced by factors of every tissue, drawn about
curves of age, so that what a study looks for is in the images and its size is known.

Sizes are set by what is seen between people at one scanner (standard deviation of the log of a
tissue's T1w intensity over that of white matter): grey matter 1.5 %, deep grey matter 1 to 2 %
beyond age, CSF 7 % (ventricles) to 13 % (all CSF). Sources: ON-Harmony (Warrington et al. 2023,
Imaging Neurosci 1) and the three protocols of SDSU with nine people, two-way fits of person and
scanner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from bids_harmony.phantom.anatomy import Anatomy, deep_grey
from bids_harmony.phantom.pathology import with_lesions

__all__ = [
    "AGES",
    "LOCAL_VARIATION",
    "PERSON_SD",
    "Biology",
    "age_curves",
    "draw_biology",
    "with_biology",
]

#: Years from which people are drawn, evenly.
AGES = (20.0, 80.0)

#: Age at which all curves but that of lesions are zero: about the middle of those whose relaxation
#: times `anatomy.TISSUES` tabulates.
REFERENCE_AGE = 45.0

#: Standard deviation between people of one age, in the unit of each field of `Biology`. T1 varies
#: mostly in common (water content), little in one tissue alone: contrast of grey and white matter
#: varies by 1.5 %, T1 itself by 1 % (Wansapura et al. 1999: 13 of 1331 ms, 10 of 832 ms). Iron:
#: putamen 13.3 +- 3.4 mg per 100 g (Hallgren and Sourander 1958), which is 10 % of R2 by
#: `deep_t2_of_iron`. Density of CSF stands for flow and protein, too.
PERSON_SD = {
    "common_t1": 0.010,
    "grey_t1": 0.0045,
    "white_t1": 0.0045,
    "deep_t1": 0.005,
    "grey_t2": 0.01,
    "white_t2": 0.01,
    "deep_t2": 0.08,
    "grey_density": 0.003,
    "csf_density": 0.09,
    "atrophy": 0.03,
}

#: What `variation` the anatomy should be drawn with: local factors of more would make the
#: contrast of deep grey matter differ by more than it does.
LOCAL_VARIATION = 0.012

#: Tissue gives way to CSF as far as CSF is near: standard deviation of a Gaussian, mm.
_NEAR_CSF_MM = 2.5

#: Log-normal load of lesions: standard deviation of the log, median in ml at 40 years, growth of
#: the log per year thereafter (volumes of healthy adults, DeCarli et al. 2005, Neurobiol Aging
#: 26:491; rounded).
LESIONS = (1.0, 0.15, 0.05)

#: Iron of the putamen in mg per 100 g over age in years (Hallgren and Sourander 1958, J Neurochem
#: 3:41): ``14.62 (1 - exp(-0.04 age)) + 0.46``; R2 in 1/s at 3 T rises by 0.61 for each from 12.7
#: (Gelman et al. 1999, Radiology 210:759).
_IRON = (14.62, 0.04, 0.46)
_R2 = (12.7, 0.61)


@dataclass(frozen=True)
class Biology:
    """How one person differs from the mean of all people at `REFERENCE_AGE`.

    Attributes
    ----------
    age : float
        Years. For the record: its effects are in the other fields already.
    grey_t1, white_t1, deep_t1 : float
        Log of the ratio to the tissue's usual T1; 0.08 is 8 % longer. Deep grey matter (basal
        ganglia, thalamus) has its own on top of that of grey matter.
    grey_t2, white_t2, deep_t2 : float
        Likewise of T2; iron makes `deep_t2` negative. It, too, comes on top of `grey_t2`.
    grey_density, white_density, csf_density : float
        Likewise of the proton density.
    atrophy : float
        Share of grey matter that gave way to CSF; white matter loses as much less as it is farther
        from CSF. Negative: more tissue than usual.
    lesions_ml : float
        Volume of lesions of white matter.
    """

    age: float = REFERENCE_AGE
    grey_t1: float = 0.0
    white_t1: float = 0.0
    deep_t1: float = 0.0
    grey_t2: float = 0.0
    white_t2: float = 0.0
    deep_t2: float = 0.0
    grey_density: float = 0.0
    white_density: float = 0.0
    csf_density: float = 0.0
    atrophy: float = 0.0
    lesions_ml: float = 0.0


def deep_t2_of_iron(age: float) -> float:
    """Log of T2 of deep grey matter relative to `REFERENCE_AGE`, from iron that comes with age."""

    def r2(years: float) -> float:
        most, rate, first = _IRON
        return float(_R2[0] + _R2[1] * (most * (1 - np.exp(-rate * years)) + first))

    return float(np.log(r2(REFERENCE_AGE) / r2(age)))


def age_curves(age: float) -> Biology:
    """The mean person of an age.

    Parameters
    ----------
    age : float
        Years, 18 and more; below, nothing here holds.

    Returns
    -------
    Biology
        `lesions_ml` is the median.

    Notes
    -----
    T1 is a parabola: shortest in white matter at 40 years and 4 % longer at 75, in the cortex
    shortest at 55 and 2 % longer at 20 (Cho et al. 1997, Magn Reson Imaging 15:1133, for the
    shape; Yeatman, Wandell and Mezer 2014, Nat Commun 5:4932, and Callaghan et al. 2014, Neurobiol
    Aging 35:1862, for the size, rounded). So the T1w contrast of cortex and white matter fades
    with age (Salat et al. 2009, NeuroImage 48:21). T2 of white matter grows by 3 % from 45 to 75
    (Siemonsen et al. 2008, AJNR 29:950, for the sign). Atrophy: 0.2 % each year to 60 and 0.5 %
    from then on (Hedman et al. 2012, Hum Brain Mapp 33:1987).
    """

    def parabola(size: float, lowest: float) -> float:
        return size * ((age - lowest) ** 2 - (REFERENCE_AGE - lowest) ** 2) / 35.0**2

    _, median, growth = LESIONS
    return Biology(
        age=age,
        grey_t1=parabola(0.02, 55.0),
        white_t1=parabola(0.04, 40.0),
        white_t2=0.001 * (age - REFERENCE_AGE),
        deep_t2=deep_t2_of_iron(age),
        atrophy=0.002 * (age - REFERENCE_AGE) + 0.003 * max(0.0, age - 60.0),
        lesions_ml=median * float(np.exp(growth * max(0.0, age - 40.0))),
    )


def draw_biology(seed: int, *, age: float | None = None) -> Biology:
    """Draw how a person differs from others: the curves of age, and `PERSON_SD` about them.

    Parameters
    ----------
    seed : int
        Of the person: the same seed gives the same biology at the same age.
    age : float, optional
        Years; drawn evenly from `AGES` when it is not given.

    Returns
    -------
    Biology
    """
    rng = np.random.default_rng([seed, 0xB1])
    drawn = rng.uniform(*AGES)
    mean = age_curves(float(drawn) if age is None else age)
    own = {name: float(rng.normal(0.0, sd)) for name, sd in PERSON_SD.items()}
    common = own.pop("common_t1")
    own["grey_t1"] += common
    own["white_t1"] += common
    changed = {name: getattr(mean, name) + value for name, value in own.items()}
    lesions = mean.lesions_ml * float(np.exp(rng.normal(0.0, LESIONS[0])))
    return replace(mean, lesions_ml=lesions, **changed)


def with_biology(anatomy: Anatomy, biology: Biology) -> Anatomy:
    """Give a person the tissue properties, atrophy and lesions of a biology.

    Parameters
    ----------
    anatomy : Anatomy
        In reference space: deep grey matter is found by its place. Drawn with `LOCAL_VARIATION`.
        Its own overall factors of T1, T2 and density are taken out; what varies within the brain
        stays.
    biology : Biology

    Returns
    -------
    Anatomy
        Same mask, seed and source.
    """
    fractions = _with_atrophy(anatomy, biology.atrophy)
    deep = deep_grey(anatomy.grid) * fractions[0]
    b = biology
    logs = {
        "t1_factor": (b.grey_t1, b.white_t1, 0.0, b.deep_t1),
        "t2_factor": (b.grey_t2, b.white_t2, 0.0, b.deep_t2),
        "density_factor": (b.grey_density, b.white_density, b.csf_density, 0.0),
    }
    factors = {}
    for name, (grey, white, csf, nuclei) in logs.items():
        own = getattr(anatomy, name)
        change = np.tensordot([grey, white, csf], fractions, axes=1) + nuclei * deep
        factors[name] = (own / _overall(anatomy, own) * np.exp(change)).astype(np.float32)
    changed = replace(anatomy, fractions=fractions, **factors)
    if biology.lesions_ml <= 0:
        return changed
    return with_lesions(changed, anatomy.seed, load_ml=biology.lesions_ml)


def _overall(anatomy: Anatomy, factor: np.ndarray) -> float:
    """Geometric mean of a factor over the cortex and white matter."""
    tissue = (anatomy.fractions[:2].max(0) > 0.5) & (deep_grey(anatomy.grid) < 0.1)
    return float(np.exp(np.log(factor[tissue]).mean(dtype=np.float64))) if tissue.any() else 1.0


def _with_atrophy(anatomy: Anatomy, lost: float) -> np.ndarray:
    """Fractions with more or less CSF; sums stay."""
    grey, _, csf = anatomy.fractions
    near = gaussian_filter(csf, _NEAR_CSF_MM / anatomy.grid.voxel_mm)
    usual = float(np.average(near, weights=grey)) if grey.any() else 0.0
    if lost == 0 or usual == 0:
        return anatomy.fractions
    tissue = 1 - csf
    left = np.minimum(tissue * np.exp(-lost * near / usual), 1) * anatomy.mask
    fractions = anatomy.fractions * (left / np.maximum(tissue, 1e-6))
    fractions[2] = np.where(anatomy.mask, 1 - left, 0)
    return fractions.astype(np.float32)
