"""Harmonize images in memory: an estimator by scikit-learn's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from bids_harmony.api.arguments import (
    as_list,
    as_many,
    check_flags,
    checked_covariates,
    is_single,
)
from bids_harmony.api.learnt import Learnt, learn, settle
from bids_harmony.api.profile import SiteProfile, profile_of
from bids_harmony.api.ready import Ready
from bids_harmony.api.rows import Row, Seen, read_rows, rows_of
from bids_harmony.exceptions import UsageError

__all__ = ["Harmonizer"]


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
    longitudinal : bool
        Scans of one person share one template space, in the middle of all of them, and one brain
        mask: what differs between them is then no matter of how well each met the template. Who
        was scanned is told by `people`.
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

    _learnt: Learnt
    _seen: dict[str, Seen]

    def __init__(
        self,
        target: Any = None,
        *,
        method: str = "ihf",
        modality: str | None = None,
        voxel_mm: float | None = None,
        on_ood: str = "auto",
        skull_strip: bool = False,
        longitudinal: bool = False,
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
        self.longitudinal = longitudinal
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
            One for each image, as for `SiteProfile.from_images`. With `longitudinal`, `people`
            must be told.

        Returns
        -------
        Harmonizer
            Itself. Masks and registrations of these images are remembered, so that `transform`
            does not make them again; the images are not.

        Raises
        ------
        UsageError, SiteError, MissingInput, InputOutputError, ImageError
        """
        images = as_list(images)
        if sites is None:
            raise UsageError("It must be told which site made each image", where="sites")
        names = [str(site) for site in as_many(sites, len(images), "sites")]
        check_flags(
            longitudinal=self.longitudinal, skull_strip=self.skull_strip, sloppy=self.sloppy
        )
        recipe = settle(
            self.target,
            method=self.method,
            modality=self.modality,
            voxel_mm=self.voxel_mm,
            on_ood=self.on_ood,
            device=self.device,
            random_state=self.random_state,
            sloppy=self.sloppy,
            names=names,
        )
        known_of = checked_covariates(covariates, len(images))
        rows = rows_of(images, masks=masks, affines=affines, sites=names, people=people)
        known = self.target.name if isinstance(self.target, SiteProfile) else ""
        seen: dict[str, Seen] = {}
        found: list[tuple[Row, Ready]] = []
        for scan in read_rows(recipe, rows, longitudinal=self.longitudinal):
            name, location = names[scan.row.number], scan.location
            # The target's profile says what its site looks like: these tell nothing more.
            if not known or name != known:
                ready = scan.ready(recipe)
                location = ready.location if scan.given.volume is not None else None
                found.append((scan.row, ready))
            seen[scan.digest] = Seen(name, location, scan.row.person)
        found.sort(key=lambda pair: pair[0].number)
        profiles = {}
        for name in dict.fromkeys(names[row.number] for row, _ in found):
            own = [(row, ready) for row, ready in found if row.site == name]
            numbers = [row.number for row, _ in own]
            profiles[name] = profile_of(
                name,
                [ready for _, ready in own],
                recipe,
                people=None if people is None else [str(row.person) for row, _ in own],
                covariates={k: [values[n] for n in numbers] for k, values in known_of.items()},
            )
        self._keep(learn(self.target, self.method, profiles, recipe))
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
        people: Sequence[str] | None = None,
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
        people : sequence of str, optional
            With `longitudinal` who each scan is of; for scans that `fit` has seen it is known.
            Give all sessions of a person at once: the space of those that were given before stays
            as it is.

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
        learnt, recipe = self._learnt, self._learnt.recipe
        scans = as_list(images)
        rows = rows_of(
            scans,
            masks=masks,
            affines=affines,
            sites=[sites] * len(scans) if isinstance(sites, str) else sites,
            people=people,
        )
        # Slices lie on the template: sessions have no space to share.
        together = self.longitudinal and heights is None
        results: list[Any] = [None] * len(rows)
        for scan in read_rows(
            recipe, rows, longitudinal=together, heights=heights, known=self._seen
        ):
            seen = scan.seen.site if scan.seen is not None else None
            name = learnt.site_of(scan.given, scan.row.site, seen)
            results[scan.row.number] = learnt.harmonize(
                scan.ready(recipe), name, on_ood=self.on_ood, skull_strip=self.skull_strip
            )
        return results[0] if is_single(images) else results

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
        self._learnt.check_site(site, "site")
        found = self.method_.evidence(self.modality_, site, self._learnt.target_name)
        return found.for_sidecar() if found else None

    def _keep(self, learnt: Learnt) -> None:
        """Give what was learnt the names that scikit-learn's rules ask for."""
        self._learnt = learnt
        self.method_, self.profiles_, self.target_ = learnt.method, learnt.profiles, learnt.target
        self.modality_, self.voxel_mm_ = learnt.recipe.modality, learnt.recipe.voxel_mm
