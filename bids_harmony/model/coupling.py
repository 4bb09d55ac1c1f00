"""Injective hierarchical flow (IHF) block: subtract on the way in, fuse and add on the way back.

The subtraction is that of HierarchyFlow (arXiv 2308.06909) and IHF-Harmony (arXiv 2602.21536). The
paper leaves the exact recursion of the way back open; the convex form here is the reading that
reconstructs its input for every value of the fusion weights. The others are kept for ablation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bids_harmony.exceptions import UsageError
from bids_harmony.model.presets import RECURSIONS, Recursion, WeightStart

__all__ = ["IHFBlock"]


class IHFBlock(nn.Module):
    """Expand c channels to n * c and back.

    With ``a_1 .. a_n`` the chunks of the affine net at the block input x, the way in is
    ``h_i = h_(i-1) - a_i``, ``h_0 = x``, ``z = concat(h_1 .. h_n)``. The way back starts from
    ``r_(n-1) = zhat_n + a_n`` and goes, for i = n-1 .. 1,

    * ``convex``: ``r_(i-1) = w_i zhat_i + (1 - w_i) r_i + a_i``, ``w_i = sigmoid(omega_i)``;
    * ``mean``: the same with ``w_i = 1/2`` fixed;
    * ``hf``: ``w (zhat_i + r_i) + (1 - w) a_i`` (HierarchyFlow; not exact);
    * ``repo``: ``w (zhat_i + a_i) + (1 - w) r_i`` (the authors' code; not exact).

    Parameters
    ----------
    channels : int
        c.
    splits : int
        n.
    hidden : int
        Width of the affine net.
    recursion : {"convex", "mean", "hf", "repo"}
    shared_w : bool
        One fusion weight for the block instead of one per split. Always so in ``hf`` and ``repo``.
    w_init : {"half", "uniform"}
        Start of the weights; ``uniform`` gives all splits the same share 1/n.
    final_relu : bool
        End the affine net with a ReLU, as HierarchyFlow does.
    normalize : bool
        Instance normalisation in the affine net. It takes from the chunks how large a structure
        is: noise of any size comes out alike.
    """

    omega: Tensor

    def __init__(
        self,
        channels: int,
        splits: int,
        hidden: int,
        *,
        recursion: Recursion = "convex",
        shared_w: bool = False,
        w_init: WeightStart = "half",
        final_relu: bool = False,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        if recursion not in RECURSIONS:
            raise UsageError("Unknown recursion", expected=", ".join(RECURSIONS), got=recursion)
        if min(channels, splits, hidden) < 1:
            raise UsageError(
                "An IHF block needs channels, splits and a hidden width",
                expected="numbers from 1 on",
                got=f"{channels}, {splits}, {hidden}",
            )
        one_weight = shared_w or recursion in ("hf", "repo")
        if w_init == "uniform" and (one_weight or recursion == "mean"):
            raise UsageError(
                "Uniform fusion weights need a free weight per split",
                expected="recursion convex and shared_w off",
                got=f"recursion {recursion}, shared_w {shared_w}",
            )
        self.channels, self.splits, self.recursion = channels, splits, recursion
        layers: list[nn.Module] = []
        for width in (channels, hidden):
            # The bias of a convolution before instance norm has no effect.
            layers.append(nn.Conv2d(width, hidden, 3, padding=1, bias=not normalize))
            if normalize:
                layers.append(nn.InstanceNorm2d(hidden, affine=True))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(hidden, splits * channels, 3, padding=1))
        if final_relu:
            layers.append(nn.ReLU())
        self.affine = nn.Sequential(*layers)
        if recursion == "mean":
            self.register_buffer("omega", torch.zeros(splits - 1))
        elif recursion == "hf":
            self.omega = nn.Parameter(torch.full((1,), 0.5))
        elif w_init == "uniform":
            # w_i = 1 / (n - i + 1), hence omega_i = -log(n - i).
            left = torch.arange(splits - 1, 0, -1, dtype=torch.get_default_dtype())
            self.omega = nn.Parameter(-torch.log(left))
        else:
            self.omega = nn.Parameter(torch.zeros(1 if one_weight else splits - 1))

    @property
    def weights(self) -> Tensor:
        """Fusion weights w_1 .. w_(n-1), (n - 1,)."""
        weights = self.omega if self.recursion == "hf" else torch.sigmoid(self.omega)
        return weights.expand(self.splits - 1) if weights.numel() == 1 else weights

    @property
    def shares(self) -> Tensor:
        """Closed-form weights v_1 .. v_n, (n,): ``r_0 = sum_i v_i (zhat_i + a_1 + ... + a_i)``.

        They are non-negative and sum to 1; defined for ``convex`` and ``mean``.
        """
        self._require_exact("shares")
        one = self.omega.new_ones(1)
        weights = self.weights
        rest = torch.cat([one, torch.cumprod(1.0 - weights, 0)])
        return rest * torch.cat([weights, one])

    @property
    def is_exact(self) -> bool:
        """Whether the way back reconstructs the input when nothing was changed."""
        return self.recursion in ("convex", "mean")

    def forward_split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Way in.

        Parameters
        ----------
        x : Tensor, (B, c, h, w)

        Returns
        -------
        z : Tensor, (B, n * c, h, w)
        cache : Tensor, (B, n * c, h, w)
            The affine chunks that `reverse` needs.
        """
        # Half-precision sums would cost three digits of the reconstruction.
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        cache = self.affine(x).to(x.dtype)
        parts, rest = [], x
        for chunk in cache.chunk(self.splits, dim=1):
            rest = rest - chunk
            parts.append(rest)
        return torch.cat(parts, dim=1), cache

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Same as `forward_split`."""
        return self.forward_split(x)

    def reverse(self, zhat: Tensor, cache: Tensor) -> Tensor:
        """Way back.

        Parameters
        ----------
        zhat : Tensor, (B, n * c, h, w)
            Features, changed or not.
        cache : Tensor, (B, n * c, h, w)
            From `forward_split`.

        Returns
        -------
        Tensor, (B, c, h, w)
        """
        z, a, weights = zhat.chunk(self.splits, 1), cache.chunk(self.splits, 1), self.weights
        r = z[-1] + a[-1]
        for i in range(self.splits - 2, -1, -1):
            w = weights[i]
            if self.recursion == "hf":
                r = w * (z[i] + r) + (1.0 - w) * a[i]
            elif self.recursion == "repo":
                r = w * (z[i] + a[i]) + (1.0 - w) * r
            else:
                r = torch.lerp(r, z[i], w) + a[i]
        return r

    def reverse_change(self, change: Tensor) -> Tensor:
        """Carry a change of the features back without the cache.

        The way back is affine in zhat and exact at zhat = z, so the output changes by
        ``d_0`` with ``d_(n-1) = change_n`` and ``d_(i-1) = w_i change_i + (1 - w_i) d_i``.

        Parameters
        ----------
        change : Tensor, (B, n * c, h, w)
            zhat - z.

        Returns
        -------
        Tensor, (B, c, h, w)
            Change of the block's output; zeros give exact zeros.
        """
        self._require_exact("reverse_change")
        parts, weights = change.chunk(self.splits, 1), self.weights
        d = parts[-1]
        for i in range(self.splits - 2, -1, -1):
            d = torch.lerp(d, parts[i], weights[i])
        return d

    def _require_exact(self, what: str) -> None:
        if not self.is_exact:
            raise UsageError(
                f"{what} is not defined for this recursion",
                expected="convex or mean",
                got=self.recursion,
            )

    def extra_repr(self) -> str:
        return f"{self.channels} -> {self.splits * self.channels}, recursion={self.recursion}"
