"""The two losses of IHF-Harmony on fixed encoder features, and what keeps them in balance.

Zhu, Zhu, Pang and Qiu, arXiv 2602.21536 (2026), eq. 3 and 4. Features come as a list of encoder
taps, layer 1 first, each (B, C, h, w); nothing here knows which encoder made them. Images live in
[0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bids_harmony.exceptions import DataError, UsageError

__all__ = [
    "LossBalance",
    "anatomical_consistency",
    "artefact_consistency",
    "balance_losses",
    "channel_statistics",
    "identity_loss",
    "clamp_with_way_back",
]

Statistics = tuple[Tensor, Tensor]  # channel means and standard deviations, (B, C) each

_EPS_VARIANCE = (
    1e-5  # keeps the gradient of a standard deviation finite where a channel is constant
)
_MAX_RATIO = 10.0  # of the pulls of two losses that is still tolerated
_EPS_NORM = 1e-6  # below this a feature vector has no direction


def anatomical_consistency(
    source: Sequence[Tensor],
    output: Sequence[Tensor],
    *,
    layers: Sequence[int] = (3, 4),
    queries: int = 256,
    window: int = 64,
    generator: torch.Generator | None = None,
) -> Tensor:
    """L_ac (eq. 3): source and output must look alike to themselves, location by location.

    Per layer, features lose their spatial mean and are scaled to unit length over channels. At
    `queries` random positions, the same in source and output and for all samples of the batch, the
    inner products with all positions of a window give one row of a self-similarity map; rows of
    source and output are compared by their cosine (spatially-correlative loss, Zheng et al., arXiv
    2104.00854). Without taking the mean off, all cosines of rectified features would be near 1.

    Parameters
    ----------
    source, output : sequences of (B, C, h, w) tensors
        All encoder taps of both images. No gradient flows into the source.
    layers : sequence of int
        Which taps count, from 1.
    queries : int
        How many positions are drawn; all are taken where a map has no more.
    window : int
        Side of the window in feature pixels, shifted to lie within the map; the whole map if that
        is smaller.
    generator : torch.Generator, optional
        Draws the positions.

    Returns
    -------
    () tensor
        Mean over layers, samples and positions. Zero for equal images; the same for features ``s f
        + t``, s > 0.

    Raises
    ------
    UsageError
        For an unknown layer.
    """
    terms = []
    for layer in layers:
        before, after = _tap(source, layer).detach(), _tap(output, layer)
        height, width = after.shape[-2:]
        drawn = torch.randperm(
            height * width, generator=generator, device=generator.device if generator else None
        )[:queries].to(after.device)
        seen = _window_positions(drawn, height, width, window)
        rows_before = _self_similarity(before, drawn, seen)
        rows_after = _self_similarity(after, drawn, seen)
        terms.append((1 - F.cosine_similarity(rows_before, rows_after, dim=-1)).mean())
    return torch.stack(terms).mean()


def channel_statistics(features: Tensor) -> Statistics:
    """Mean and biased standard deviation, ``sqrt(var + 1e-5)``, of every channel.

    Parameters
    ----------
    features : (B, C, h, w) tensor

    Returns
    -------
    means, stds : (B, C) tensors
    """
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
    return mean, torch.sqrt(variance + _EPS_VARIANCE)


def artefact_consistency(
    output: Sequence[Tensor],
    target: Sequence[Tensor] | Sequence[Statistics],
    *,
    layers: Sequence[int] = (1, 2, 3),
    keep: float = 0.9,
) -> Tensor:
    """L_art (eq. 4): channel statistics of the output must be those of the target site.

    Per sample and layer, the ``round(keep C)`` channels whose *means* differ least are selected
    (without gradient); squared differences of their means and of their standard deviations are
    averaged over the selected channels and summed over layers. The selection is gathered per
    sample: a mask shared by a batch would strike out the union of what its samples reject.

    Parameters
    ----------
    output : sequence of (B, C, h, w) tensors
        All encoder taps of the output.
    target : sequence of (B, C, h, w) tensors or of pairs of (B, C) tensors
        All taps of the target image, or their `channel_statistics`: cached, or the mean of a site.
    layers : sequence of int
        Which taps count, from 1.
    keep : float
        Share of channels that are kept.

    Returns
    -------
    () tensor
        Mean over the batch.

    Raises
    ------
    UsageError
        For an unknown layer or a share outside (0, 1].
    """
    _check_share(keep)
    total: Tensor | None = None
    for layer in layers:
        mean, std = channel_statistics(_tap(output, layer))
        goal = _tap(target, layer)
        goal_mean, goal_std = channel_statistics(goal) if isinstance(goal, Tensor) else goal
        of_means = (mean - goal_mean.detach()).square()
        of_stds = (std - goal_std.detach()).square()
        count = max(1, round(keep * mean.shape[1]))
        chosen = of_means.detach().topk(count, dim=1, largest=False).indices
        term = (of_means + of_stds).gather(1, chosen).mean(dim=1)
        total = term if total is None else total + term
    if total is None:
        raise UsageError("The artefact loss needs at least one layer", got="none")
    return total.mean()


@dataclass(frozen=True)
class LossBalance:
    """Weights of both losses, and the gradient norms at the network's output that they were judged
    by.

    `norm_ac` and `norm_art` are of the unweighted terms; `rescaled` says whether `lambda_art` was
    changed.
    """

    lambda_ac: float
    lambda_art: float
    norm_ac: float
    norm_art: float
    rescaled: bool


def balance_losses(
    loss_ac: Tensor,
    loss_art: Tensor,
    output: Tensor,
    *,
    lambda_ac: float = 1.0,
    lambda_art: float = 2.0,
) -> LossBalance:
    """Compare the pull of both losses on the output; make it equal if one is far stronger.

    The scale of the encoder decides how strong either loss is, so published weights mean little
    with another encoder. If the weighted gradient norms differ by more than ten times,
    `lambda_art` becomes the weight that makes them equal. Where one of the weights is 0, both
    stay.

    Parameters
    ----------
    loss_ac, loss_art : () tensors
        Both terms, unweighted, as functions of `output`. The graph is kept.
    output : tensor
        The network's output (or what stands for it), part of both graphs. It must differ from the
        source: L_ac is at its minimum where they are equal, and has no gradient there.
    lambda_ac, lambda_art : float
        The weights to be judged.

    Returns
    -------
    LossBalance

    Raises
    ------
    DataError
        If either gradient is zero or not finite, so that no balance exists.
    """
    norms = []
    for name, loss in (("anatomical", loss_ac), ("artefact", loss_art)):
        (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
        norm = float(torch.linalg.vector_norm(gradient))
        if not (math.isfinite(norm) and norm > 0):
            raise DataError(
                f"The {name} loss has no usable gradient at the output",
                expected="a finite norm above zero",
                got=f"{norm:g}",
                hint="Judge the balance at an output that differs from the source.",
            )
        norms.append(norm)
    norm_ac, norm_art = norms
    # A loss that is switched off stays so.
    rescaled = False
    if lambda_ac > 0 and lambda_art > 0:
        ratio = (lambda_art * norm_art) / (lambda_ac * norm_ac)
        rescaled = not 1 / _MAX_RATIO <= ratio <= _MAX_RATIO
    weight = lambda_ac * norm_ac / norm_art if rescaled else lambda_art
    return LossBalance(lambda_ac, weight, norm_ac, norm_art, rescaled)


def clamp_with_way_back(image: Tensor) -> Tensor:
    """Clamp the values to [0, 1], and let the gradient lead back into that range.

    A plain clamp gives saturated pixels no gradient, and skull-stripped background lies on the
    border of the range. A gradient that always passes drives them on for ever: beyond the border
    the loss no longer sees them, and nothing calls them back (of the preset ``paper``, trained
    from nothing, 15 dB became -10 within 500 slices). For training only.

    Parameters
    ----------
    image : tensor

    Returns
    -------
    tensor of the same shape
        Exactly ``image.clamp(0, 1)``. Its gradient is that of `image`, but 0 where a step against
        it would lead out of the range or farther out.
    """
    return _ClampWithWayBack.apply(image)


def identity_loss(output: Tensor, source: Tensor, same_site: Tensor) -> Tensor:
    """Mean absolute change of the samples whose target is their own site (ours, weight 0 by
    default).

    Parameters
    ----------
    output, source : (B, C, H, W) tensors
    same_site : (B,) bool tensor

    Returns
    -------
    () tensor
        Zero if the batch has no such sample.
    """
    per_sample = (output - source).abs().flatten(1).mean(dim=1)
    weights = same_site.to(per_sample)
    return (per_sample * weights).sum() / weights.sum().clamp(min=1)


class _ClampWithWayBack(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, image: Tensor) -> Tensor:
        context.save_for_backward(image)
        return image.clamp(0, 1)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        (image,), (gradient,) = context.saved_tensors, gradients
        leads_out = ((image <= 0) & (gradient > 0)) | ((image >= 1) & (gradient < 0))
        return gradient.masked_fill(leads_out, 0)


def _self_similarity(features: Tensor, drawn: Tensor, seen: Tensor | None) -> Tensor:
    """Rows (B, K, N) of the self-similarity map: cosines of K drawn with N seen positions."""
    flat = features.flatten(2)
    flat = flat - flat.mean(dim=2, keepdim=True)
    flat = F.normalize(flat, dim=1, eps=_EPS_NORM)
    rows = flat[:, :, drawn].transpose(1, 2) @ flat
    # One matrix product, then a gather of scalars: gathering whole feature vectors for every
    # window would need C times the memory.
    return rows if seen is None else rows.gather(2, seen.expand(rows.shape[0], -1, -1))


def _window_positions(drawn: Tensor, height: int, width: int, window: int) -> Tensor | None:
    """Flat indices (K, N) of the window around every drawn position; None for the whole map."""
    tall, wide = min(window, height), min(window, width)
    if (tall, wide) == (height, width):
        return None
    top = (drawn // width - tall // 2).clamp(0, height - tall)
    left = (drawn % width - wide // 2).clamp(0, width - wide)
    rows = top[:, None] + torch.arange(tall, device=drawn.device)
    columns = left[:, None] + torch.arange(wide, device=drawn.device)
    return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)


def _tap(taps: Sequence[Any], layer: int) -> Any:
    if not 1 <= layer <= len(taps):
        raise UsageError("Unknown encoder layer", expected=f"1 to {len(taps)}", got=str(layer))
    return taps[layer - 1]


def _check_share(keep: float) -> None:
    if not 0 < keep <= 1:
        raise UsageError(
            "Share to keep out of range", expected="above 0, at most 1", got=f"{keep:g}"
        )
