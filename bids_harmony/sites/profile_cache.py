"""Site profiles made on the fly: one file each, shared by all jobs of an output folder.

A model knows the sites that it was trained on. For any other site a handful of its scans is
enough; what is made of them stays in ``OUT/models/banks`` for the next job.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bids_harmony.io.locks import locked
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.profile_files import read_made_of, read_profile, read_site, write_profile

__all__ = ["ProfileCache", "GivenProfiles", "ProfileSource"]


class ProfileSource(Protocol):
    """Where a method finds the profiles of sites that its model does not know."""

    @property
    def voxel_mm(self) -> float:
        """Spacing of the profiles' grid."""
        ...

    def on_grid(self, voxel_mm: float) -> ProfileSource:
        """The same place, for profiles on another grid."""
        ...

    def read(self, site: str, modality: str) -> tuple[ImageProfile, dict[str, Any]] | None:
        """A profile and what it was made of, or None where there is none."""
        ...

    def made_of(self, site: str, modality: str) -> dict[str, Any] | None:
        """What a profile was made of, or None where there is none."""
        ...

    def sites(self, modality: str) -> tuple[str, ...]:
        """Sites with a profile of the modality, sorted."""
        ...


@dataclass(frozen=True, eq=False)
class GivenProfiles:
    """Profiles in memory, in a cache's place; they come before a model's own of their names.

    Attributes
    ----------
    profiles : mapping of (site, modality) to ImageProfile
    voxel_mm : float
        Spacing of their grid.
    """

    profiles: Mapping[tuple[str, str], ImageProfile]
    voxel_mm: float

    def on_grid(self, voxel_mm: float) -> GivenProfiles:
        """The profiles as they are, if that is their grid; none of them is on any other."""
        return GivenProfiles(self.profiles if voxel_mm == self.voxel_mm else {}, voxel_mm)

    def read(self, site: str, modality: str) -> tuple[ImageProfile, dict[str, Any]] | None:
        """Give a profile and what it was made of, or None where there is none."""
        profile = self.profiles.get((site, modality))
        return None if profile is None else (profile, {"given": True})

    def made_of(self, site: str, modality: str) -> dict[str, Any] | None:
        """What a profile was made of, or None where there is none."""
        return {"given": True} if (site, modality) in self.profiles else None

    def sites(self, modality: str) -> tuple[str, ...]:
        """Sites with a profile of the modality, sorted."""
        return tuple(sorted(site for site, kind in self.profiles if kind == modality))


@dataclass(frozen=True)
class ProfileCache:
    """A folder of profiles on one reference grid.

    Attributes
    ----------
    folder : Path
    voxel_mm : float
        Spacing of the grid.
    """

    folder: Path
    voxel_mm: float

    def on_grid(self, voxel_mm: float) -> ProfileCache:
        """The same folder, for profiles on another grid."""
        return replace(self, voxel_mm=voxel_mm)

    def path(self, site: str, modality: str) -> Path:
        """File of a profile. Site names may hold any character: a hash tells them apart."""
        slug = re.sub(r"[^A-Za-z0-9]+", "-", site).strip("-")[:32] or "site"
        digest = hashlib.sha256(site.encode()).hexdigest()[:8]
        return self.folder / f"{slug}-{digest}_{modality}_{self.voxel_mm:g}mm.safetensors"

    def read(self, site: str, modality: str) -> tuple[ImageProfile, dict[str, Any]] | None:
        """Give a profile and what it was made of, or None where there is none.

        Raises
        ------
        DataError
            The file is damaged.
        """
        path = self.path(site, modality)
        if not path.is_file():
            return None
        profile, made_of, _ = read_profile(path)
        return profile, made_of

    def made_of(self, site: str, modality: str) -> dict[str, Any] | None:
        """What a profile was made of, or None where there is none; no image is read for it.

        Raises
        ------
        DataError
            The file is damaged.
        """
        path = self.path(site, modality)
        return read_made_of(path) if path.is_file() else None

    def write(self, profile: ImageProfile, made_of: Mapping[str, Any]) -> None:
        """Write a profile in one step, with what it was made of.

        A true ``made_of["given"]`` says that a user gave images in the site's place: the profile
        then comes before a model's own of that name.
        """
        write_profile(self.path(profile.site, profile.modality), profile, self.voxel_mm, made_of)

    def remove(self, site: str, modality: str) -> None:
        """Take a profile out of the cache, if there is one."""
        self.path(site, modality).unlink(missing_ok=True)

    def sites(self, modality: str) -> tuple[str, ...]:
        """Sites with a profile of the modality, sorted."""
        pattern = f"*_{modality}_{self.voxel_mm:g}mm.safetensors"
        return tuple(sorted(read_site(path) for path in self.folder.glob(pattern)))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cache while profiles are made, so that parallel jobs do not make them twice.

        The lock goes with the process that holds it. Where a file system knows no locks, jobs do
        the same work twice and write the same bytes.

        Raises
        ------
        CannotCreateOutput
            The folder cannot be made or written to.
        """
        with locked(self.folder / ".lock"):
            yield
