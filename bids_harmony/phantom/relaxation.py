"""How relaxation times change with the field strength, from 0.05 to 7 T.

T1 of white and grey matter with the powers of Rooney et al. 2007 (Magn Reson Med 57:308), which
agree with Wright et al. 2008 (MAGMA 21:121) at 1.5, 3 and 7 T within what the sources differ by;
at 0.05 T after O'Reilly and Webb 2022 (Magn Reson Med 87:884), whom the powers would undercut. T2
after Cox and Gowland 2010 (Magn Reson Med 64:1440): linear in the field. CSF does not change.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["relaxation_factors"]

_FIELDS = np.log([0.05, 0.2, 3.0, 7.0])
#: T1 in ms at those fields: from 0.2 T on 1.16 and 0.71 times the frequency in Hz to the power of
#: 0.376 and 0.382.
_T1 = {"GM": (327.0, 468.0, 1295.5, 1781.5), "WM": (275.0, 315.2, 886.9, 1225.8)}
_AT_THREE = 2
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
    longitudinal = np.exp(np.interp(np.log(field_tesla), _FIELDS, t1) - t1[_AT_THREE])
    slope, level = np.polyfit([1.5, 3.0, 7.0], _T2[tissue], 1)
    transverse = (level + slope * np.clip(field_tesla, 0.05, 7.0)) / (level + slope * 3.0)
    return float(longitudinal), float(transverse)
