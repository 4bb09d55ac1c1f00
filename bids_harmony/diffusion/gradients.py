"""Gradients of a diffusion series: b-values, directions, and the shells that they form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bids_harmony.exceptions import DataError

__all__ = ["Gradients", "Shell", "equal_shell", "match_shells", "other_shells", "others_told"]

B0_THRESHOLD = 50.0
"""s/mm2; up to here a volume counts as b=0 (DIPY's default; vendors write 0.001, 1.25 or 5)."""
SHELL_GAP = 100.0
SHELL_GAP_SHARE = 0.1
# Two shells count as the same up to such a distance in s/mm2, or such a share of the b-value; the
# larger of the two counts.
_WITHIN, _WITHIN_SHARE = 100.0, 0.1
"""Sorted b-values belong to one shell until a step of more than `SHELL_GAP` s/mm2 and more than
this share of the lower one: vendors scatter by some 20 to 50 s/mm2, protocols keep shells apart by
200 and more."""
NOMINAL_STEP = 50.0
"""s/mm2; nominal b-values are multiples of this."""


@dataclass(frozen=True, eq=False)
class Shell:
    """Volumes of one diffusion weighting.

    Attributes
    ----------
    b : float
        Median of the volumes' b-values, s/mm2.
    volumes : ndarray (M,) intp
        Indices in the series, ascending.
    spread : float
        Largest minus smallest b-value, s/mm2. Steps that are small everywhere (a Cartesian
        sampling of q-space) make one wide shell, which this tells.
    """

    b: float
    volumes: np.ndarray
    spread: float

    @property
    def nominal(self) -> float:
        """`b` rounded to 50 s/mm2: what the protocol likely asked for; for names and words."""
        return max(NOMINAL_STEP, float(np.floor(self.b / NOMINAL_STEP + 0.5)) * NOMINAL_STEP)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Weighting and direction of each volume of a series.

    Attributes
    ----------
    bvals : ndarray (N,) float64
        s/mm2, not negative.
    bvecs : ndarray (N, 3) float64
        Unit vectors; zeros where a b=0 volume has no direction. In the frame of the bvec file
        (FSL: the axes of the image as it is stored, x reversed if their determinant is positive).
    b0_threshold : float
        Up to this many s/mm2 a volume counts as b=0.
    lengths : tuple of two float
        Shortest and longest direction of a weighted volume as the file has it, before it was made
        unit.
    """

    bvals: np.ndarray
    bvecs: np.ndarray
    b0_threshold: float = B0_THRESHOLD
    lengths: tuple[float, float] = (1.0, 1.0)

    @property
    def b0(self) -> np.ndarray:
        """Which volumes count as b=0; (N,) bool."""
        return self.bvals <= self.b0_threshold

    @property
    def shells(self) -> tuple[Shell, ...]:
        """Weighted volumes by shell, smallest b first.

        Sorted b-values start a new shell at a step of more than 100 s/mm2 that is also more than
        10 % of the lower one.
        """
        weighted = np.flatnonzero(~self.b0)
        if not weighted.size:
            return ()
        order = weighted[np.argsort(self.bvals[weighted], kind="stable")]
        b = self.bvals[order]
        new = np.diff(b) > np.maximum(SHELL_GAP, SHELL_GAP_SHARE * b[:-1])
        return tuple(
            Shell(
                b=float(np.median(self.bvals[group])),
                volumes=np.sort(group),
                spread=float(np.ptp(self.bvals[group])),
            )
            for group in np.split(order, np.flatnonzero(new) + 1)
        )

    def select(self, volumes: np.ndarray) -> Gradients:
        """Gradients of some volumes.

        Parameters
        ----------
        volumes : ndarray
            Indices, or (N,) bool.

        Returns
        -------
        Gradients
            In the order of the indices.
        """
        return replace(self, bvals=self.bvals[volumes], bvecs=self.bvecs[volumes])


def match_shells(source: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    """The target's nearest shell for each shell of a series.

    Parameters
    ----------
    source : sequence of float
        b-values of the series' shells (`Shell.b`), s/mm2; b=0 left out.
    target : sequence of float
        b-values of the shells that the target has.

    Returns
    -------
    tuple of int
        For each of `source` an index into `target`. Two may share one; the smaller b wins a tie.

    Raises
    ------
    DataError
        A shell whose nearest one in the target lies too far: contrast changes with b, and a scan
        must not be given the contrast of another weighting.
    """
    matched = []
    for b in source:
        nearest = equal_shell(b, target)
        if nearest is None:
            raise DataError(
                "The target has no shell like one of this series",
                where=f"shell b={b:.0f} s/mm2",
                expected=f"a target shell within {_WITHIN:g} s/mm2 or {_WITHIN_SHARE:.0%}",
                got="target shells " + (", ".join(f"b={t:.0f}" for t in target) or "none"),
                hint="Choose a target site with this weighting, or leave these volumes out.",
            )
        matched.append(nearest)
    return tuple(matched)


def equal_shell(b: float, known: Sequence[float]) -> int | None:
    """Index of the nearest of some shells; None where it lies too far to be the same.

    Parameters
    ----------
    b : float
        s/mm2.
    known : sequence of float
        b-values of the shells to choose from; the smaller one wins a tie.
    """
    nearest = min(range(len(known)), key=lambda i: (abs(known[i] - b), known[i]), default=None)
    if nearest is None or abs(known[nearest] - b) > max(_WITHIN, _WITHIN_SHARE * known[nearest]):
        return None
    return nearest


def other_shells(source: Sequence[float], *known: Sequence[float]) -> tuple[float, ...]:
    """Those of a series' shells that not all of some sites have.

    Parameters
    ----------
    source : sequence of float
        b-values of the series' shells (`Shell.b`), s/mm2.
    *known : sequence of float
        b-values of the shells of each site.

    Returns
    -------
    tuple of float
        In the order of `source`.
    """
    return tuple(b for b in source if any(equal_shell(b, shells) is None for shells in known))


def common_shells(known: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """Shells that have an equal at every one of some sites.

    Parameters
    ----------
    known : mapping of str to sequence of float
        b-values of the shells of each site, s/mm2.

    Returns
    -------
    tuple of float
        Ascending; sites may call one shell by names that differ a little, all of which are there.

    Raises
    ------
    DataError
        There is none.
    """
    found = sorted({b for shells in known.values() for b in shells})
    others = other_shells(found, *known.values())
    if len(others) == len(found):
        raise DataError(
            "The sites have no shell in common, so that their mean has none",
            expected="a b-value that all of them show",
            got="; ".join(f"{site}: {_listed(shells)}" for site, shells in known.items()),
            hint="Name one site as the target, or leave out the series of some with "
            "--bids-filter-file.",
        )
    return tuple(b for b in found if b not in others)


def left_out_told(left_out: Mapping[str, Sequence[float]]) -> str:
    """Which shells of which sites are not in a mean of sites; empty where all are."""
    if not left_out:
        return ""
    told = "; ".join(f"{_listed(shells)} of {site}" for site, shells in left_out.items())
    return f"not in the mean, because not all sites show it: {told}"


def _listed(shells: Sequence[float]) -> str:
    return ", ".join(f"b={b:.0f}" for b in shells) or "none"


def others_told(others: Sequence[float], source: Sequence[float], target: Sequence[float]) -> str:
    """What is done to shells that not both sites show, before more than tables is known.

    Parameters
    ----------
    others : sequence of float
        `other_shells`, s/mm2.
    source, target : sequence of float
        Shells of the series' own site and of the target.
    """
    lacking, own, wanted = (_listed(shells) for shells in (others, source, target))
    return (
        f"{lacking} s/mm2 is not shown by both sites (its own: {own}; target: {wanted}). Such "
        "shells get what needs no equal shell, as far as it is known: mean b=0, strength of the "
        "gradients, noise. --strict-shells refuses the series."
    )
