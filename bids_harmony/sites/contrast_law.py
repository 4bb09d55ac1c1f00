"""How far a person deviates at another scanner: in proportion to the contrast that it shows.

Contrast of grey to white matter is what a sequence makes of their relaxation times. Where it is
twice as strong, the change of a person's relaxation times is about twice as strong, too. With
g = log(grey / white) of a site,

    k = (g_target - p) / (g_source - p),

p being the contrast of a scanner without any weighting. In T1w images grey is brighter there: its
proton density is higher. In T2w images what repetition leaves of T1 makes up for that. FLAIR mixes
both weightings: no single number tells k, and 1 is as good as any. ``benchmarks/contrast_law.py``
has the fit of p to the signal equations, and how people of 17 real sites spread against contrast.
"""

from __future__ import annotations

__all__ = ["WITHOUT_WEIGHTING", "deviation_gain"]

#: Log contrast of grey over white matter without weighting, as `tissue_profile` measures it:
#: partial volume makes contrasts of images smaller than those of the equations.
WITHOUT_WEIGHTING = {"T1w": 0.17, "T2w": -0.07}
#: Bounds of k.
_LEAST, _MOST = 0.4, 2.5
#: A contrast as close to p as this is no measure of weighting.
_CLOSEST = 0.05


def deviation_gain(modality: str, source: float, target: float) -> float:
    """Factor k on a person's deviation in log(grey / white) between two sites.

    Parameters
    ----------
    modality : str
    source, target : float
        log(grey / white) of either site.

    Returns
    -------
    float
        Between 0.4 and 2.5; 1 where the law says nothing.
    """
    level = WITHOUT_WEIGHTING.get(modality)
    if level is None:
        return 1.0
    own, other = source - level, target - level
    if own * other <= 0 or min(abs(own), abs(other)) < _CLOSEST:
        return 1.0
    return min(max(other / own, _LEAST), _MOST)
