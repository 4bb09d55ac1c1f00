"""How relaxation times change with the field strength, from 0.05 to 7 T.

T1 of white and grey matter at 1.5, 3 and 7 T after Wright et al. 2008 (MAGMA 21:121), between and
below with the powers of Rooney et al. 2007 (Magn Reson Med 57:308), at 0.05 T after O'Reilly and
Webb 2022 (Magn Reson Med 87:884), whom the powers would undercut. T2 after Cox and Gowland 2010
(Magn Reson Med 64:1440): linear in the field. CSF does not change.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["relaxation_factors"]

_FIELDS = np.log([0.05, 0.2, 1.5, 3.0, 7.0])
#: T1 in ms at those fields; the second is (0.2 / 1.5) to the power of 0.38 of the third.
_T1 = {"GM": (327.0, 561.0, 1197.0, 1607.0, 1939.0), "WM": (275.0, 299.0, 646.0, 838.0, 1126.0)}
#: T2 in ms at 1.5, 3 and 7 T.
_T2 = {"GM": (87.0, 76.0, 47.0), "WM": (80.0, 71.0, 47.0)}


@lru_cache(maxsize=256)
def relaxation_factors(tissue: str, field_tesla: float) -> tuple[float, float]:
    """Give T1 and T2 of a tissue at a field strength, over those at 3 T.

    Parameters
    ----------
    tissue : {"GM", "WM", "CSF"}
    field_tesla : float
        0.05 to 7; beyond, the end of the range counts.
    """
    if tissue not in _T1:
        return 1.0, 1.0
    t1 = np.log(_T1[tissue])
    longitudinal = np.exp(np.interp(np.log(field_tesla), _FIELDS, t1) - t1[3])
    slope, level = np.polyfit([1.5, 3.0, 7.0], _T2[tissue], 1)
    transverse = (level + slope * np.clip(field_tesla, 0.05, 7.0)) / (level + slope * 3.0)
    return float(longitudinal), float(transverse)
