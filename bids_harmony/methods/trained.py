"""What methods with files of their own share: the folder's tensors beside its site profiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from bids_harmony.exceptions import DataError, SiteError
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.methods.base import Applied, finish
from bids_harmony.methods.profiled import Profiled
from bids_harmony.model.method_files import read_method
from bids_harmony.model.slicewise import translate_volume

__all__ = ["SliceTranslator", "TrainedMethod"]


class TrainedMethod(Profiled, ABC):
    """A method with a model folder of its own, perhaps for one target site.

    Parameters are those of `Profiled`; the folder is one that the level train wrote for this
    method.
    """

    def load(self) -> None:
        """Read tensors and description."""
        self.tensors, self.metadata = read_method(self.model_dir, self.name)
        extra = self.metadata["extra"]
        self.version = str(extra["version"])
        self.target_site: str | None = extra.get("target_site")
        self.count_weights(self.metadata["weights"]["sha256"])

    @abstractmethod
    def modalities(self) -> set[str]:
        """Modalities that the method was trained for."""

    def targets(self, modality: str) -> tuple[str, ...]:
        """Sites that the method can harmonize to."""
        if modality not in self.modalities():
            return ()
        known = self.sites(modality)
        return known if self.target_site is None else tuple({self.target_site} & set(known))

    def check_target(self, modality: str, site: str) -> None:
        """Refuse another target than that of the training.

        Raises
        ------
        SiteError
        """
        if site not in self.targets(modality):
            raise SiteError(
                f"The method {self.name} was not trained for {site!r} and {modality}",
                where=str(self.model_dir),
                expected=", ".join(self.targets(modality)) or "another modality",
                got=site,
                hint="Run the level train with --target-site "
                f"{site} --method {self.name} and scans of this modality.",
            )


class SliceTranslator(TrainedMethod):
    """A method that translates one axial slice at a time.

    Intensities above 1 (the brightest 0.5 % of a brain) are more than the networks were shown:
    what is above 1 is taken off before and put back after.

    Attributes
    ----------
    build : callable
        Generator from its ``config`` in ``model.json``.
    signed : bool
        The network's range is [-1, 1].
    """

    build: ClassVar[Callable[..., nn.Module]]
    signed: ClassVar[bool]

    def load(self) -> None:
        """Read the networks."""
        super().load()
        self.networks: dict[tuple[str, str | None], nn.Module] = {}
        for number, about in enumerate(self.metadata["extra"]["networks"]):
            network = type(self).build(**about["config"])
            try:
                network.load_state_dict(_part(self.tensors, number))
            except RuntimeError as error:
                raise DataError(
                    "The weights do not fit the network described",
                    where=str(self.model_dir),
                    got=str(error),
                ) from error
            place = about["modality"], about["source_site"]
            self.networks[place] = network.to(self.device).eval()

    def modalities(self) -> set[str]:
        """Modalities with a network."""
        return {modality for modality, _ in self.networks}

    def network(self, modality: str, source_site: str) -> nn.Module:
        """The network of a source site, or the one for all.

        Raises
        ------
        SiteError
            There are networks per site, and none of this one.
        """
        for place in ((modality, source_site), (modality, None)):
            if place in self.networks:
                return self.networks[place]
        sites = sorted(str(site) for kind, site in self.networks if kind == modality)
        raise SiteError(
            f"The method {self.name} has no network for {source_site!r} and {modality}",
            where=str(self.model_dir),
            expected=", ".join(sites),
            got=source_site,
            hint="Train with travelling subjects of this site, or one network for all sites.",
        )

    def translate(self, network: nn.Module, data: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Run a network over the volume; see `slicewise.translate_volume`."""
        return translate_volume(
            network,
            data,
            mask,
            multiple=int(network.multiple),  # type: ignore[arg-type]
            signed=self.signed,
            batch_size=self.batch_size,
            device=self.device,
        )

    def translated(self, network: nn.Module, data: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Translate a scan in [0, 1]; what the method does at test time."""
        return self.translate(network, data, mask)

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Harmonize one prepared scan; a scan of the target site is not exempt."""
        self.check_target(modality, target_site)
        network = self.network(modality, source_site)
        shown = np.minimum(prepared.data, 1)
        made = self.translated(network, shown, prepared.mask)
        return finish(made + (prepared.data - shown), prepared.mask)


def _part(tensors: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    prefix = f"{number}."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
