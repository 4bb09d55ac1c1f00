"""Shells of a series that its own site and the target do not both show.

The strength of the gradients and the noise are the scanner's, whatever the weighting, and b=0 has
none: they are harmonized all the same. What is known of single shells is not known of these. What
must not happen is that a shell comes to lie on the wrong side of one that was harmonized as a
whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bids_harmony.diffusion.gradients import Shell, others_told
from bids_harmony.methods.shell_models import RishModel, ShellModel, above_nothing
from bids_harmony.sites.series_difference import b_scale

__all__ = ["OtherShells"]

Array = np.ndarray

_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class OtherShells:
    """One model for shells that both sites show, one for the others; signals still fall with b.

    Where the mean signal of one of the others was at most that of the next lower b (of b=0 for the
    lowest), and at least that of the next higher b that both sites show, and would not be any
    more, it is put between them where it was, on a logarithmic scale. Shells that both sites show
    must be changed before the others, and these from the lowest b on (`in_turn`).

    Attributes
    ----------
    known : callable
        `ShellModel`.
    rest : RishModel, optional
        None where there are no others.
    others : tuple of float
        `Shell.b` of those that `rest` is for.
    means : dict of b to two (V,) arrays
        Mean signals of the shells so far, before and after.
    moved : list of int
        Voxels of each of the others in which it was put back.
    """

    known: ShellModel
    rest: RishModel | None
    others: tuple[float, ...]
    means: dict[float, tuple[Array, Array]] = field(default_factory=dict)
    moved: list[int] = field(default_factory=list)

    def in_turn(self, shells: Sequence[Shell]) -> list[Shell]:
        """Shells in the order in which they must be changed."""
        return sorted(shells, key=lambda shell: (shell.b in self.others, shell.b))

    def __call__(self, shell: Shell, signal: Array, mean: Array) -> Array:
        """Change the signals of one shell."""
        if shell.b not in self.others:
            changed = self.known(shell, signal, mean)
        else:
            assert self.rest is not None
            changed = self.rest(shell, signal, mean)
            changed = changed * self._factor(shell.b, signal, changed, mean)[:, None]
        if self.others:
            self.means[shell.b] = _means(signal, changed, mean)
        return changed

    def told(self, *, with_b0: bool) -> dict[str, Any]:
        """What was done to the others, for the sidecar; nothing where there are none.

        Parameters
        ----------
        with_b0 : bool
            Whether the mean b=0 was harmonized.
        """
        rest = self.rest
        if rest is None or not self.others:
            return {}
        scale = b_scale(rest.source, rest.target)
        known = ", ".join(f"b={b:.0f}" for b in self.means if b not in self.others)
        # How it was done, or why not.
        parts = [
            (with_b0, "mean b=0", "mean b=0 (too thin a slab)"),
            (
                scale != 1,
                f"strength of the gradients ({scale:.3f} of the target's)",
                "strength of the gradients (no difference in free water, or none was seen)",
            ),
            (any(noise.sd for noise in rest.noise), "noise", "noise (not known)"),
            (bool(known), f"levels (they follow {known})", "levels (no shell to follow)"),
        ]
        return {
            "Shells": [s.nominal for s in rest.gradients.shells if s.b in self.others],
            "Note": others_told(self.others, rest.source.shells, rest.target.shells),
            "Done": [how for done, how, _ in parts if done],
            "NotDone": [why for done, _, why in parts if not done],
            "KeptInOrderShare": sum(self.moved) / max(1, len(self.moved) * int(rest.inside.sum())),
        }

    def _factor(self, b: float, signal: Array, changed: Array, mean: Array) -> Array:
        """What puts a shell between its neighbours where it would have left them, (V,)."""
        means = {0.0: (mean, mean)} | self.means
        own, own_new = _means(signal, changed, mean)
        lower, lower_new = means[max(k for k in means if k < b)]
        below = own <= lower
        lost = below & (own_new > lower_new)
        wanted = lower_new * own / lower
        if any(k > b for k in means):
            higher, higher_new = means[min(k for k in means if k > b)]
            above = own >= higher
            lost |= above & (own_new < higher_new)
            width = np.log(lower / higher)
            place = np.log(lower / own) / np.where(width > 0, width, 1)
            between = lower_new * (higher_new / lower_new) ** np.where(below & above, place, 0)
            wanted = np.where(above, np.where(below, between, higher_new * own / higher), wanted)
        self.moved.append(int(np.count_nonzero(lost)))
        return np.where(lost, wanted / own_new, 1).astype(np.float32)


def _means(before: Array, after: Array, mean: Array) -> tuple[Array, Array]:
    """Mean over the volumes of a shell before and after, above 0, in double precision.

    Signals are written `above_nothing`, and no higher than b=0 where they were not.
    """
    most = np.where(before <= mean[:, None], mean[:, None], np.inf)
    first, second = (
        np.maximum(signal.mean(axis=1, dtype=float), _LEAST)
        for signal in (before, np.minimum(above_nothing(after, before), most))
    )
    return first, second
