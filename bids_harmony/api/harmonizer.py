"""Harmonize images in memory: one function, and an estimator by scikit-learn's rules."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from bids_harmony.api.apply import apply_method
from bids_harmony.api.inputs import (
    Given,
    as_affines,
    as_many,
    check_count,
    check_modality,
    given_image,
    is_image,
    is_single,
)
from bids_harmony.api.profile import SiteProfile, profile_of
from bids_harmony.api.ready import Location, Ready, Recipe
from bids_harmony.devices import resolve_device
from bids_harmony.exceptions import DataError, SiteError, UsageError
from bids_harmony.imaging.native import return_to_native
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.volume import to_native
from bids_harmony.io.pointers import is_named
from bids_harmony.methods import learns_sites, load_harmonizer
from bids_harmony.methods.profile_encoder import encoder_and_cells
from bids_harmony.methods.registry import METHOD_NEEDS
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.sites.profile_cache import GivenProfiles

__all__ = ["Harmonizer", "harmonize"]

logger = logging.getLogger(__name__)

#: Site of a target without a name, and of a scan that stands for its own site.
_TARGET, _OWN = "(target)", "(its own site)"
_ON_OOD = ("auto", "warn", "leave", "error")


@dataclass(frozen=True, eq=False)
class _Seen:
    site: str
    location: Location | None


def harmonize(
    image: Any,
    target: Any,
    mask: Any = None,
    *,
    source: SiteProfile | None = None,
    method: str = "ihf",
    modality: str | None = None,
    affine: Any = None,
    heights: Sequence[int] | None = None,
    voxel_mm: float | None = None,
    on_ood: str = "auto",
    skull_strip: bool = False,
    device: str = "cpu",
    random_state: int = 0,
    sloppy: bool = False,
) -> Any:
    """Make one scan look as if the site of another had made it.

    Without `source` the scan itself stands for its site, and where `target` is one image, one
    person stands for the other: how far a difference is the scanners' and not the people's is not
    known then, and deliberately little is changed. Profiles of several people say more.

    Parameters
    ----------
    image : path-like, nibabel image or array
        In native space, any grid, orientation and unit. An array needs `affine`; without it, it
        is slices (X, Y, n) on the reference grid.
    target : SiteProfile, path-like, nibabel image or array
    mask : path-like, nibabel image or array, optional
        Brain of `image`, on its own grid; found by itself otherwise.
    source : SiteProfile, optional
        Of the site that made `image`. Slices of a part of the brain need it.
    method, modality, voxel_mm, on_ood, skull_strip, device, random_state, sloppy
        As for `Harmonizer`.
    affine : (4, 4) array-like, optional
        Of an array: voxel indices to RAS+ mm.
    heights : sequence of int, optional
        Of slices: where they lie along the reference grid's last axis.

    Returns
    -------
    nibabel image or ndarray
        On the grid of `image` and in its units. A path or nibabel image gives a nibabel image with
        the scan's header and data type, an array gives float32. The input is left as it is.

    Raises
    ------
    UsageError
        An argument that makes no sense, such as a target that is neither image nor profile.
    MissingInput, InputOutputError, ImageError, OutOfRange
        An image or mask that cannot be read, used or harmonized.

    Examples
    --------
    >>> from bids_harmony import SiteProfile, harmonize, simulate
    >>> scans = [simulate(p, "COI", voxel_scale=6) for p in (2, 3)]
    >>> target = SiteProfile.from_images(scans, name="COI", voxel_mm=6, sloppy=True)
    >>> image = simulate(1, "GE", voxel_scale=6)
    >>> result = harmonize(image, target, sloppy=True)
    >>> result.shape == image.shape, result.get_data_dtype().name
    (True, 'int16')
    """
    harmonizer = Harmonizer(
        target,
        method=method,
        modality=modality,
        voxel_mm=voxel_mm,
        on_ood=on_ood,
        skull_strip=skull_strip,
        device=device,
        random_state=random_state,
        sloppy=sloppy,
    )
    if source is not None and not isinstance(source, SiteProfile):
        raise UsageError(
            "The source is not a profile",
            where="source",
            expected="a SiteProfile",
            got=type(source).__name__,
            hint="Make one of its scans with SiteProfile.from_images.",
        )
    recipe = harmonizer._settle()
    given = given_image(
        image, recipe.modality, recipe.voxel_mm, label="image", affine=affine, heights=heights
    )
    ready = recipe.ready(given, mask)
    own = source or profile_of("", [ready], recipe)
    name = own.name or _OWN
    harmonizer._learn({name: own}, recipe)
    return harmonizer._apply(ready, name)


class Harmonizer(TransformerMixin, BaseEstimator):
    """Make scans of several sites look as if one had made them.

    Follows scikit-learn: the constructor stores its arguments, `fit` learns how each site shows
    people, `transform` harmonizes; what is learnt ends in ``_``.

    Parameters
    ----------
    target : str, SiteProfile, path-like or nibabel image
        The site to harmonize to: the name of one of those that are given to `fit`, a profile, or
        one image.
        A profile with the name of one of these sites stands for that site.
    method : str
        ``"ihf"`` (closed form and network), or one that needs no more than scans of the sites:
        ``histogram``, ``histogram-cdf``, ``histogram-ratio``, ``histogram-fit``,
        ``histogram-tissue``, ``histogram-relative``, ``none``, ``blur``.
    modality : {"T1w", "T2w", "FLAIR"}, optional
        That of the target's profile by default, else T1w.
    voxel_mm : float, optional
        Spacing of the reference grid, mm; that of the target's profile by default, else 1. It
        says how finely the change is made, not what comes out: scans keep their own grids.
    on_ood : {"auto", "warn", "leave", "error"}
        What to do with a scan that is unlike those that the model was trained on, or would lose
        its contrast: warn and go on, leave it as it is, or refuse it. ``auto`` warns of the first
        and leaves the second as it is.
    skull_strip : bool
        Set what is outside the brain to 0.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"auto"``.
    random_state : int
        Seed of the registration's samples.
    sloppy : bool
        Register in a second or two instead of ten, a millimetre off: for trying things out.

    Attributes
    ----------
    profiles_ : dict of str to SiteProfile
        By site.
    target_ : SiteProfile
    modality_ : str
    voxel_mm_ : float

    Examples
    --------
    >>> from bids_harmony import Harmonizer, simulate
    >>> sites = ["COI", "COI", "GE", "GE"]
    >>> scans = [simulate(p, site, voxel_scale=6) for p, site in enumerate(sites)]
    >>> harmonizer = Harmonizer("COI", voxel_mm=6, sloppy=True).fit(scans, sites)
    >>> harmonizer.profiles_["GE"]
    SiteProfile('GE', 'T1w', scans=2, people=2, voxel_mm=6)
    >>> new = simulate(7, "GE", voxel_scale=6)
    >>> harmonizer.transform(new, "GE").shape == new.shape
    True
    """

    _seen: dict[str, _Seen]

    def __init__(
        self,
        target: Any = None,
        *,
        method: str = "ihf",
        modality: str | None = None,
        voxel_mm: float | None = None,
        on_ood: str = "auto",
        skull_strip: bool = False,
        device: str = "cpu",
        random_state: int = 0,
        sloppy: bool = False,
    ) -> None:
        self.target = target
        self.method = method
        self.modality = modality
        self.voxel_mm = voxel_mm
        self.on_ood = on_ood
        self.skull_strip = skull_strip
        self.device = device
        self.random_state = random_state
        self.sloppy = sloppy

    def fit(
        self,
        images: Any,
        sites: Any,
        masks: Any = None,
        *,
        affines: Any = None,
        people: Sequence[str] | None = None,
        covariates: Mapping[str, Sequence[float]] | None = None,
    ) -> Harmonizer:
        """Learn how each site shows people.

        Parameters
        ----------
        images : sequence of path-like, nibabel image or array
            As for `SiteProfile.from_images`; all of them count.
        sites : sequence of str
            Which site made each.
        masks, affines, people, covariates
            One for each image, as for `SiteProfile.from_images`.

        Returns
        -------
        Harmonizer
            Itself. Masks and registrations of these images are remembered, so that `transform`
            does not make them again; the images are not.

        Raises
        ------
        UsageError, SiteError, MissingInput, InputOutputError, ImageError
        """
        images = [images] if is_single(images) else list(images)
        check_count(images)
        count = len(images)
        if sites is None:
            raise UsageError("It must be told which site made each image", where="sites")
        names = [str(site) for site in as_many(sites, count, "sites")]
        recipe = self._settle(names)
        known = self.target.name if isinstance(self.target, SiteProfile) else ""
        rows = zip(
            images,
            names,
            as_many(masks, count, "masks"),
            as_affines(affines, count),
            strict=True,
        )
        seen: dict[str, _Seen] = {}
        ready: dict[str, list[Ready]] = {}
        for number, (image, name, mask, affine) in enumerate(rows):
            given = self._given(image, recipe, number, affine=affine)
            # The target's profile says what its site looks like: these tell nothing more.
            if known and name == known:
                seen[given.digest()] = _Seen(name, None)
                continue
            scan = recipe.ready(given, mask)
            located = scan.location if given.volume is not None else None
            seen[given.digest()] = _Seen(name, located)
            ready.setdefault(name, []).append(scan)
        profiles = {}
        for name, scans in ready.items():
            rows_of = [i for i, own in enumerate(names) if own == name]
            profiles[name] = profile_of(
                name, scans, recipe,
                people=_picked("people", people, rows_of, count),
                covariates={
                    key: _picked(key, values, rows_of, count) or ()
                    for key, values in (covariates or {}).items()
                },
            )  # fmt: skip
        self._learn(profiles, recipe)
        self._seen = seen
        return self

    def transform(
        self,
        images: Any,
        sites: Any = None,
        masks: Any = None,
        *,
        affines: Any = None,
        heights: Sequence[int] | None = None,
    ) -> Any:
        """Harmonize scans.

        Parameters
        ----------
        images : path-like, nibabel image or array; or a sequence of these
            An array needs its affine; without it, it is slices (X, Y, n) on the reference grid.
        sites : str, or sequence of str, optional
            Which site made each. It may be left out for scans that `fit` has seen, and where
            there is but one site besides the target.
        masks : sequence, or one for one image, optional
            Brain masks, on the scans' own grids.
        affines : sequence of (4, 4) array-like, or one for all, optional
            Of arrays.
        heights : sequence of int, optional
            Of slices: where they lie along the reference grid's last axis.

        Returns
        -------
        nibabel image or ndarray, or a list of these
            One for one, a list for a sequence, each on the scan's own grid and in its units. A
            path or nibabel image gives a nibabel image with the scan's header and data type, an
            array gives float32. A scan of the target's site comes back unchanged.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        UsageError, SiteError, MissingInput, InputOutputError, ImageError, OutOfRange
        """
        check_is_fitted(self, "method_")
        recipe = self._recipe(self.modality_, self.voxel_mm_)
        single = is_single(images)
        scans = [images] if single else list(images)
        check_count(scans)
        count = len(scans)
        rows = zip(
            scans,
            [sites] * count if isinstance(sites, str) else as_many(sites, count, "sites"),
            as_many(masks, count, "masks"),
            as_affines(affines, count),
            strict=True,
        )
        results = []
        for number, (image, site, mask, affine) in enumerate(rows):
            given = self._given(image, recipe, number, affine=affine, heights=heights)
            seen = self._seen.get(given.digest())
            name = self._site_of(given, site, seen)
            known = seen.location if seen is not None and mask is None else None
            results.append(self._apply(recipe.ready(given, mask, known), name))
        return results[0] if single else results

    def fit_transform(
        self,
        images: Any,
        sites: Any = None,
        masks: Any = None,
        *,
        affines: Any = None,
        **about: Any,
    ) -> Any:
        """Fit, and harmonize the same scans; arguments are those of `fit`."""
        fitted = self.fit(images, sites, masks, affines=affines, **about)
        return fitted.transform(images, affines=affines)

    def evidence(self, site: str) -> dict[str, Any] | None:
        """How well the difference of a site and the target is known, and how much of it counts.

        Parameters
        ----------
        site : str

        Returns
        -------
        dict or None
            ``SiteEvidence`` of the command line's sidecars; None for the target itself.
        """
        check_is_fitted(self, "method_")
        self._check_site(site, "site")
        found = self.method_.evidence(self.modality_, site, self._target_name)
        return found.for_sidecar() if found else None

    def _recipe(self, modality: str, voxel_mm: float) -> Recipe:
        device = str(resolve_device(self.device))
        return Recipe(modality, voxel_mm, device, self.random_state, self.sloppy)

    def _settle(self, names: Sequence[str] = ()) -> Recipe:
        """Check what was stored; modality and grid from the target where they were left open."""
        if self.method not in METHOD_NEEDS or not learns_sites(self.method):
            trained = self.method in METHOD_NEEDS
            raise UsageError(
                f"The method {self.method} needs a training of its own"
                if trained
                else "Unknown method",
                where="method",
                expected=", ".join(name for name in METHOD_NEEDS if learns_sites(name)),
                got=repr(self.method),
                hint="Train and apply it with the command line." if trained else "",
            )
        if self.on_ood not in _ON_OOD:
            raise UsageError(
                "Unknown way with unusual scans",
                where="on_ood",
                expected=", ".join(_ON_OOD),
                got=repr(self.on_ood),
            )
        target = self.target
        profile = target if isinstance(target, SiteProfile) else None
        if isinstance(target, str):
            if target not in names:
                _check_is_file(target, names)
        elif profile is None and not is_image(target):
            raise UsageError(
                "The target is neither an image nor a profile",
                where="target",
                expected="a SiteProfile, a path, a nibabel image"
                + (", or the name of one of the sites" if names else ""),
                got=type(target).__name__,
            )
        modality = self.modality or (profile.modality if profile else "T1w")
        check_modality(modality)
        voxel_mm = float(self.voxel_mm or (profile.voxel_mm if profile else 1.0))
        if profile is not None:
            _check_fits(profile, modality, voxel_mm, "target")
        return self._recipe(modality, voxel_mm)

    def _learn(self, profiles: Mapping[str, SiteProfile], recipe: Recipe) -> None:
        """Keep what is known of the sites, and load the method with it."""
        for name, profile in profiles.items():
            _check_fits(profile, recipe.modality, recipe.voxel_mm, name)
        if isinstance(self.target, SiteProfile):
            target = self.target
        elif isinstance(self.target, str) and self.target in profiles:
            target = profiles[self.target]
        else:
            given = given_image(
                self.target, recipe.modality, recipe.voxel_mm, label="target image"
            )
            target = profile_of("", [recipe.ready(given)], recipe)
        self._target_name = target.name or _TARGET
        self.profiles_ = {**profiles, **({target.name: target} if target.name else {})}
        self.target_, self.modality_, self.voxel_mm_ = target, recipe.modality, recipe.voxel_mm
        images = {
            (name, self.modality_): own.image_profile for name, own in self.profiles_.items()
        }
        images[self._target_name, self.modality_] = target.image_profile
        held = GivenProfiles(images, self.voxel_mm_)
        self.method_ = load_harmonizer(self.method, SHIPPED_MODEL, held, device=recipe.device)
        self._seen = {}

    def _given(
        self,
        image: Any,
        recipe: Recipe,
        number: int,
        *,
        affine: Any = None,
        heights: Sequence[int] | None = None,
    ) -> Given:
        return given_image(
            image, recipe.modality, recipe.voxel_mm,
            label=f"image {number + 1}", affine=affine, heights=heights,
        )  # fmt: skip

    def _site_of(self, given: Given, site: Any, seen: _Seen | None) -> str:
        if site is not None:
            self._check_site(str(site), given.where)
            return str(site)
        if seen is not None:
            return seen.site
        others = [name for name in self.profiles_ if name != self._target_name]
        if len(others) == 1:
            return others[0]
        raise UsageError(
            "It is not known which site made this scan",
            where=given.where,
            expected="sites: one of " + ", ".join(self.profiles_),
            got="none",
        )

    def _check_site(self, site: str, where: str) -> None:
        if site not in self.profiles_:
            raise SiteError(
                f"Nothing is known of the site {site!r}",
                where=where,
                expected=", ".join(self.profiles_),
                got=repr(site),
                hint="Give some of its scans to fit.",
            )

    def _apply(self, ready: Ready, site: str) -> Any:
        given, prepared = ready.given, ready.prepared
        outcome = apply_method(
            self.method_,
            prepared,
            modality=self.modality_,
            source_site=site,
            target_site=self._target_name,
            on_ood=self.on_ood,
            where=given.where,
            whole=ready.whole,
        )
        made = outcome.applied.data
        if given.volume is None:
            return self._slices(ready, made)
        native = return_to_native(
            given.volume, ready.mask, prepared, made, skull_strip=self.skull_strip
        )
        image, n_clipped = to_native(given.volume, native.data)
        if n_clipped:
            logger.warning(
                "%s: %d voxels did not fit %s and were clipped",
                given.where, n_clipped, image.get_data_dtype(),
            )  # fmt: skip
        return np.asarray(image.dataobj, np.float32) if given.as_array else image

    def _slices(self, ready: Ready, made: np.ndarray) -> np.ndarray:
        """Add the change to slices as they came."""
        slices, heights = ready.given.slices, ready.given.heights
        assert slices is not None
        prepared = ready.prepared
        change = (made - prepared.data)[..., heights] * np.float32(prepared.scale)
        outside = np.float32(0) if self.skull_strip else slices
        changed = np.maximum(slices + change, np.minimum(slices, 0))
        return np.where(ready.mask.data, changed, outside).astype(np.float32)


def _picked(
    what: str, values: Sequence[Any] | None, rows: Sequence[int], count: int
) -> list[Any] | None:
    if values is None:
        return None
    found = as_many(values, count, what)
    return [found[i] for i in rows]


def _check_is_file(target: str, names: Sequence[str]) -> None:
    if not is_named(target):
        raise SiteError(
            "The target is neither a site of these images nor a file",
            where="target",
            expected=", ".join(sorted(set(names))) or "a SiteProfile, a path, a nibabel image",
            got=repr(target),
        )


def _check_fits(profile: SiteProfile, modality: str, voxel_mm: float, where: str) -> None:
    """Refuse a profile of another modality, grid or encoder.

    Raises
    ------
    UsageError, DataError
    """
    if (profile.modality, profile.voxel_mm) != (modality, voxel_mm):
        raise UsageError(
            "Profiles of different modalities or grids cannot be compared",
            where=where,
            expected=f"{modality} at {voxel_mm:g} mm",
            got=f"{profile.modality} at {profile.voxel_mm:g} mm",
        )
    encoder, cells = encoder_and_cells()
    image, shape = profile.image_profile, reference_grid(voxel_mm).shape
    wanted = shape, (shape[2], 2, cells, cells), encoder.code_length
    found = image.mean_image.shape, image.texture.shape, image.codes.shape[-1]
    if found != wanted:
        raise DataError(
            "A profile that was made for another model",
            where=where,
            expected=str(wanted),
            got=str(found),
            hint="Make it again with SiteProfile.from_images.",
        )
