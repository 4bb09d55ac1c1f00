"""What is known of a site: made of a handful of its scans, kept in a small file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_harmony import __version__
from bids_harmony.api.arguments import (
    as_list,
    check_modality,
    checked_covariates,
    checked_seed,
    checked_spacing,
)
from bids_harmony.api.ready import Ready, Recipe
from bids_harmony.api.rows import rows_of
from bids_harmony.devices import resolve_device
from bids_harmony.exceptions import DataError, ImageError, MissingInput, UsageError
from bids_harmony.imaging.intensity import to_half
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.io.pointers import is_named
from bids_harmony.methods.profile_encoder import encoder_and_cells
from bids_harmony.sites.image_profile import MOST_CODED, ImageProfile, build_profile
from bids_harmony.sites.mean_site import mean_profile
from bids_harmony.sites.profile_files import as_stored, read_profile, write_profile

__all__ = ["SiteProfile", "profile_of"]

Array = np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class SiteProfile:
    """How one site shows people in one modality.

    Made with `from_images`, or read with `load`. It holds averages and a few numbers of each
    scan, no scan.

    Attributes
    ----------
    image_profile : ImageProfile
        What is measured, on the reference grid.
    voxel_mm : float
        Spacing of that grid, mm.

    Examples
    --------
    >>> from bids_harmony import SiteProfile, simulate
    >>> scans = [simulate(p, "GE", voxel_scale=6) for p in (1, 2)]
    >>> profile = SiteProfile.from_images(scans, name="GE", voxel_mm=6, sloppy=True)
    >>> profile
    SiteProfile('GE', 'T1w', scans=2, people=2, voxel_mm=6)
    >>> grey, white, csf = profile.tissue_means
    >>> bool(csf < grey < white < 1)
    True
    """

    image_profile: ImageProfile
    voxel_mm: float

    @classmethod
    def from_images(
        cls,
        images: Any,
        masks: Any = None,
        *,
        name: str = "",
        modality: str = "T1w",
        voxel_mm: float = 1.0,
        affines: Any = None,
        people: Sequence[str] | None = None,
        covariates: Mapping[str, Sequence[float]] | None = None,
        device: str = "cpu",
        random_state: int = 0,
        sloppy: bool = False,
    ) -> SiteProfile:
        """Measure scans of one site; five people and more are worth having, twenty are enough.

        Parameters
        ----------
        images : sequence of path-like, nibabel image or array; or one of these
            Scans of the site in native space, any grid, orientation and unit. An array needs its
            affine, or lies on the reference grid, (X, Y, Z).
        masks : sequence, optional
            Brain masks on the scans' own grids, as images, paths or arrays; None where one is to
            be found: a skull-stripped scan is its own, others are masked by deepbet.
        name : str
            Of the site. Two profiles of one name, if it is not empty, are one site.
        modality : {"T1w", "T2w", "FLAIR"}
        voxel_mm : float
            Spacing of the reference grid, mm. The shipped model is made for 1; coarser is faster.
        affines : sequence of (4, 4) array-like, or one for all, optional
            Of arrays: voxel indices to RAS+ mm.
        people : sequence of str, optional
            Whose scan each is; another person each by default.
        covariates : mapping of str to sequence of float, optional
            What is known of the person at each scan (age in years, sex as 0 and 1); NaN where it
            is not. They count where the other site's profile has them, too.
        device : str
            Of the brain extractor: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        random_state : int
            Seed of the registration's samples.
        sloppy : bool
            Register in a second or two instead of ten, a millimetre off: for trying things out.

        Returns
        -------
        SiteProfile

        Raises
        ------
        UsageError
            An argument that makes no sense.
        MissingInput, InputOutputError
            A file that is not there or cannot be read.
        ImageError
            An image or a mask that cannot be used.
        """
        check_modality(modality)
        images = as_list(images)
        recipe = Recipe(
            modality,
            checked_spacing(voxel_mm),
            str(resolve_device(device)),
            checked_seed(random_state),
            sloppy,
        )
        known = checked_covariates(covariates, len(images))
        rows = rows_of(images, masks=masks, affines=affines, people=people)
        ready = [recipe.ready(row.read(recipe), row.mask) for row in rows]
        told = None if people is None else [str(row.person) for row in rows]
        return profile_of(name, ready, recipe, people=told, covariates=known)

    @classmethod
    def mean_of(cls, profiles: Sequence[SiteProfile]) -> SiteProfile:
        """The mean of several sites, each of which counts once: a target that favours none.

        As ``--target-site mean``. A site that is one of them is compared with the others.

        Parameters
        ----------
        profiles : sequence of SiteProfile
            Two or more of different names, of one modality, on one grid.

        Returns
        -------
        SiteProfile
            Called ``mean``.

        Raises
        ------
        UsageError
            Something that is no profile.
        DataError
            Fewer than two sites, two of one name, several modalities or grids.
        """
        wrong = [p for p in profiles if not isinstance(p, cls)]
        if wrong:
            raise UsageError(
                "A mean of sites is one of their profiles",
                where="profiles",
                expected="SiteProfile, two and more",
                got=repr(wrong[0]),
            )
        own = [profile.image_profile for profile in profiles]
        grids = {profile.voxel_mm for profile in profiles}
        if len(grids) > 1 or len({profile.site for profile in own}) < len(own):
            raise DataError(
                "A mean of sites needs profiles of different sites on one grid",
                expected="different names, one voxel_mm",
                got=f"{', '.join(p.site or 'no name' for p in own)}; "
                f"{', '.join(f'{mm:g}' for mm in sorted(grids))} mm",
            )
        return cls(as_stored(mean_profile(own)), grids.pop() if grids else 0.0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile, whole or not at all; folders are made.

        Parameters
        ----------
        path : path-like
            ``.safetensors`` by custom: a format that cannot carry code.
        """
        encoder, _ = encoder_and_cells()
        made_of = {"version": __version__, "encoder": encoder.sha256}
        write_profile(Path(path), self.image_profile, self.voxel_mm, made_of)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SiteProfile:
        """Read what `save` wrote, or a profile that the command line left in ``OUT/models/banks``.

        Raises
        ------
        MissingInput
            No such file.
        DataError
            It is damaged, or no profile.
        """
        if not is_named(path):
            raise MissingInput("no such site profile", where=str(path))
        profile, _, voxel_mm = read_profile(Path(path))
        return cls(profile, voxel_mm)

    @property
    def name(self) -> str:
        """Name of the site; empty where none was given."""
        return self.image_profile.site

    @property
    def modality(self) -> str:
        """T1w, T2w or FLAIR."""
        return self.image_profile.modality

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the scans behind it."""
        return self.image_profile.scans

    @property
    def n_people(self) -> int:
        """How many people were scanned."""
        return len(set(self.image_profile.scan_measures.people))

    @property
    def tissue_means(self) -> Array:
        """Intensities of grey matter, white matter and CSF, (3,), as fractions of the scale."""
        return self.image_profile.tissue_means.copy()

    @property
    def quantiles(self) -> Array:
        """Intensity quantiles 0 to 100 % of the brain, (101,), as fractions of the scale."""
        return self.image_profile.quantiles.copy()

    @property
    def mean_image(self) -> nib.Nifti1Image:
        """Mean scan in MNI152NLin2009aSym, (X, Y, Z) float32, as fractions of the scale."""
        image = nib.Nifti1Image(
            self.image_profile.mean_image.copy(), reference_grid(self.voxel_mm).affine
        )
        image.set_sform(image.affine, 4)
        image.set_qform(image.affine, 4)
        image.header.set_xyzt_units("mm")
        return image

    def __repr__(self) -> str:
        return (
            f"SiteProfile({self.name!r}, {self.modality!r}, scans={len(self.images)}, "
            f"people={self.n_people}, voxel_mm={self.voxel_mm:g})"
        )


def profile_of(
    name: str,
    scans: Sequence[Ready],
    recipe: Recipe,
    *,
    people: Sequence[str] | None = None,
    covariates: Mapping[str, Sequence[float]] | None = None,
) -> SiteProfile:
    """Measure scans that are on the reference grid; `people` and `covariates` are one for each.

    Raises
    ------
    ImageError
        Slices of a part of the brain.
    """
    for scan in scans:
        if not scan.whole:
            raise ImageError(
                "a site is known from whole scans, not from some slices",
                where=scan.given.where,
                expected=f"{scan.prepared.data.shape[2]} slices",
                got=str(len(scan.given.heights)) if scan.given.heights is not None else "",
                hint="To harmonize slices, give the profile of their site as `source`.",
            )
    count = len(scans)
    labels = [scan.given.label for scan in scans]
    if len(set(labels)) < count:
        labels = [f"{label} ({number + 1})" for number, label in enumerate(labels)]
    encoder, cells = encoder_and_cells()
    profile = build_profile(
        name,
        recipe.modality,
        [
            (label, to_half(s.prepared.data).astype(np.float32), s.prepared.mask, s.prepared.scale)
            for label, s in zip(labels, scans, strict=True)
        ],
        encoder,
        cells=cells,
        voxel_mm=recipe.voxel_mm,
        coded=MOST_CODED,
        people=None if people is None else [str(person) for person in people],
        covariates=covariates,
    )
    # Rounded as files are, the command line's of prepared scans and of profiles: same numbers.
    return SiteProfile(as_stored(profile), recipe.voxel_mm)
