"""Losses on unpaired scans: the paper's two, and an identity loss on same-site pairs.

Zhu et al. 2026, eq. 3 and 4. Anatomy is compared with the network's own input, so that the closed
form's contrast change is not punished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bids_harmony.model.encoder import Encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.training.losses import (
    LossBalance,
    anatomical_consistency,
    artefact_consistency,
    balance_losses,
    clamp_with_way_back,
    identity_loss,
)
from bids_harmony.training.pair_sampler import Pairs
from bids_harmony.training.training_pass import change_with_gradients

__all__ = ["UnpairedLoss", "balanced"]

#: An output nearer to its source than this gives the anatomical loss no gradient to judge.
_UNCHANGED = 1e-4


@dataclass(frozen=True)
class UnpairedLoss:
    """Weighted losses of pairs, all of them means over slices.

    Attributes
    ----------
    encoder : Encoder
    lambda_ac, lambda_art, identity_weight : float
        Weights of the anatomical, the artefact and the identity loss.
    keep : float
        k of eq. 4.
    seed : int
        With the step, draws the positions of eq. 3.
    """

    encoder: Encoder
    lambda_ac: float
    lambda_art: float
    identity_weight: float = 0.0
    keep: float = 0.9
    seed: int = 0

    def __call__(self, network: IHFNetwork, pairs: Pairs) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss, and its parts unweighted.

        Parameters
        ----------
        network : IHFNetwork
        pairs : Pairs

        Returns
        -------
        loss : () tensor
        numbers : dict of () tensors
        """
        output = pairs.stack + change_with_gradients(network, pairs.stack, pairs.condition)
        anatomical, artefact = self.terms(output, pairs)
        # Its share of the batch's slices, so that the loss of a batch is the mean of its parts'.
        identity = (
            identity_loss(output, pairs.stack, pairs.same_site) * pairs.same_site.to(output).mean()
        )
        loss = self.lambda_ac * anatomical + self.lambda_art * artefact
        numbers = {"anatomical": anatomical, "artefact": artefact}
        if self.identity_weight:
            loss = loss + self.identity_weight * identity
        return loss, numbers | {"identity": identity}

    def terms(self, output: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Anatomical and artefact loss, unweighted, of an output (B, 3, X, Y)."""
        output = clamp_with_way_back(output)
        after = self.encoder.features(output)
        with torch.no_grad():
            before = self.encoder.features(pairs.stack.clamp(0, 1))
        drawn = np.random.default_rng([self.seed, 0xAC, pairs.step]).integers(1 << 62)
        generator = torch.Generator().manual_seed(int(drawn))
        # Differences of statistics are far smaller than what half precision resolves.
        with torch.autocast(output.device.type, enabled=False):
            after, before = [t.float() for t in after], [t.float() for t in before]
            anatomical = anatomical_consistency(before, after, generator=generator)
            return anatomical, artefact_consistency(after, pairs.target, keep=self.keep)


def balanced(network: IHFNetwork, loss: UnpairedLoss, pairs: Pairs) -> LossBalance:
    """Judge the weights of both losses at the network's present output.

    A network that changes nothing yet is judged at a brightened image instead.
    """
    with torch.no_grad():
        output = pairs.stack + change_with_gradients(network, pairs.stack, pairs.condition)
        if float((output - pairs.stack).abs().max()) < _UNCHANGED:
            output = pairs.stack.clamp(0, 1).pow(0.8)
    output.requires_grad_()
    anatomical, artefact = loss.terms(output, pairs)
    return balance_losses(
        anatomical, artefact, output, lambda_ac=loss.lambda_ac, lambda_art=loss.lambda_art
    )
