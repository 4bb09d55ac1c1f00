"""What is applied to a scan: the difference of two sites, as far as their scans support it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bids_harmony.imaging.legendre import FIELD_DEGREES
from bids_harmony.sites.covariates import separation, shared_covariates
from bids_harmony.sites.curve_difference import Bend, curve_difference
from bids_harmony.sites.enough_people import ENOUGH_PEOPLE
from bids_harmony.sites.field_scatter import scanners_share
from bids_harmony.sites.priors import MEASURES, Prior, prior_of
from bids_harmony.sites.random_effects import (
    Difference,
    mean_per_person,
    site_difference,
    widening,
)
from bids_harmony.sites.scan_measures import ScanMeasures
from bids_harmony.sites.sharpness_difference import sharpness_difference

__all__ = ["SiteDifference", "compare_sites"]

Array = np.ndarray

#: What is believed before any scan, of contrasts, field and detail each: as likely as not, two
#: names are one scanner, which differ in none.
_PRIOR = 0.2
#: Terms of a fitted field move together between people: they count for fewer than they are.
_FIELD_TEMPER = 0.5
#: A covariate may move a measure by so many residual standard deviations per standard deviation of
#: its own: contrast of grey to white matter falls by about 3 % in 20 years (Salat et al. 2009,
#: NeuroImage 48:21), people of one age differ by 2 %.
_SLOPE_RESIDUALS = 2.0
#: Where one person stands for both sites, so much of the scatter between repeats is left: what is
#: asked for is the difference of these very scans.
_SAME_PERSON = 0.5
#: People of the site that is known worse.
_TOO_FEW = 2


@dataclass(frozen=True, eq=False)
class SiteDifference:
    """Target less source, with its evidence.

    Attributes
    ----------
    probability : float
        That the sites differ in anything; the whole change is scaled by it.
    by_part : tuple of float
        That they differ in contrasts, in the field, in detail. Two scanners that differ in one are
        two scanners: then all of their differences count.
    contrasts : (2,) float64
        Posterior mean difference of log grey and log CSF over white matter, of two scanners.
    field : (20,) float64
        The same of the sites' mean log fields.
    scan_field : float
        Share of a scan's own deviation from its site's field that is the scanner's and goes out;
        the rest is anatomy that a field fit takes up.
    by_contrast : tuple of Difference
        The two contrasts in full: raw, standard error, residual.
    repeat_sd : (2,) float64
        Of the contrasts between scans of one person; NaN where nobody was scanned twice.
    people : tuple of int
        Of source and target.
    covariates : tuple of str
        Those that entered.
    separation : tuple of float
        Of each covariate, difference of the sites' means in pooled standard deviations within
        sites; infinite where it does not vary within them.
    blur : (3,) float64
        Variance to add to the blur along each axis, mm^2, of two scanners; negative to take away.
    bend : Bend, optional
        How intensities differ beyond the tissues' means; None where it is not known.
    same_person : bool
        One person stands for both sites: what the person differs in from others cancels.
    mean_of : mapping of str to int
        Where the target is the mean of several sites, these and the people of each. Then `people`
        has as many for the target as would know one site as well.
    applied : (2,) float64, optional
        By how much the closed form changes both log contrasts of a scan that shows the source's
        own: less than what the scans support where few people show a site
        (`methods.tissue_form.TissueMap`). None where nobody has asked it.
    """

    probability: float
    by_part: tuple[float, float, float]
    contrasts: Array
    field: Array
    scan_field: float
    by_contrast: tuple[Difference, ...]
    repeat_sd: Array
    people: tuple[int, int]
    covariates: tuple[str, ...]
    separation: tuple[float, ...]
    blur: Array = dataclasses.field(default_factory=lambda: np.zeros(3))
    bend: Bend | None = None
    same_person: bool = False
    mean_of: Mapping[str, int] = dataclasses.field(default_factory=dict)
    applied: Array | None = None

    @property
    def support(self) -> float:
        """How far the people seen can tell a scanner's contrast from their own, 0 to 1.

        One or two people may be ill, or segmented badly, and nobody there would contradict them:
        0. Five of either site and more, or one person who was at both: 1.
        """
        return float(np.clip((self._worth - _TOO_FEW) / (ENOUGH_PEOPLE - _TOO_FEW), 0, 1))

    @property
    def condition_share(self) -> float:
        """How much of the way to the target's condition the evidence supports, 0 to 1."""
        return self.probability * float(np.clip(self._worth / ENOUGH_PEOPLE, 0, 1))

    @property
    def error(self) -> float:
        """Standard error of the sites' difference, in standard deviations between people."""
        people = (ENOUGH_PEOPLE, ENOUGH_PEOPLE) if self.same_person else self.people
        return float(np.sqrt(sum(1 / max(count, 1) for count in people)))

    @property
    def _worth(self) -> int:
        """As many people of the site that is known worse."""
        return ENOUGH_PEOPLE if self.same_person else min(self.people)

    def for_sidecar(self) -> dict[str, Any]:
        """Numbers for people: how well the sites are known and what was shrunk by how much."""
        names = ("GreyToWhite", "CSFToWhite")
        supported = self.contrasts * self.probability
        contrast = {
            name: {
                "RawLogDifference": round(self.by_contrast[i].raw, 5),
                "StandardError": _finite(self.by_contrast[i].standard_error),
                "SupportedLogDifference": round(float(supported[i]), 5),
                "AppliedLogDifference": _finite(
                    np.nan if self.applied is None else float(self.applied[i])
                ),
                "BetweenPeopleSD": round(self.by_contrast[i].residual_sd, 5),
                "RepeatSD": _finite(float(self.repeat_sd[i])),
            }
            for i, name in enumerate(names)
        }
        mean_of = {"TargetIsMeanOf": dict(self.mean_of)} if self.mean_of else {}
        return {
            "SourcePeople": self.people[0],
            "TargetPeople": sum(self.mean_of.values()) or self.people[1],
            **mean_of,
            "ProbabilitySitesDiffer": round(self.probability, 6),
            "ProbabilityByPart": {
                name: round(value, 6)
                for name, value in zip(("Contrasts", "Field", "Detail"), self.by_part, strict=True)
            },
            "Contrasts": contrast,
            "ScanFieldShare": round(self.scan_field, 4),
            "BlurVarianceDifference": [round(float(v) * self.probability, 3) for v in self.blur],
            "SamePerson": self.same_person,
            "Covariates": {
                name: _finite(apart)
                for name, apart in zip(self.covariates, self.separation, strict=True)
            },
        }


def compare_sites(
    source: ScanMeasures,
    target: ScanMeasures,
    modality: str,
    *,
    same_person: bool = False,
    share: float = 1.0,
) -> SiteDifference:
    """Estimate the difference of two sites from single scans of both.

    Parameters
    ----------
    source, target : ScanMeasures
    modality : str
    same_person : bool
        Both sites are known from scans of one and the same person.
    share : float
        How much of the difference is given: the source may be one of the sites whose mean is the
        target, and what it is compared with are the others (`ScanMeasures.seen_from`).

    Returns
    -------
    SiteDifference
    """
    own, own_people, own_repeat = mean_per_person(source.measures, source.people)
    other, other_people, other_repeat = mean_per_person(target.measures, target.people)
    names, x_own, x_other = shared_covariates(source, own_people, target, other_people)
    of_contrasts, of_field, of_detail = ScanMeasures.parts()
    priors = _priors(modality)
    groups = target.groups_of(other_people)
    sites = len(set(groups or ("",)))

    def differ(column: int, prior: Prior, *, adjusted: bool, wider: float = 1.0) -> Difference:
        return site_difference(
            own[:, column],
            other[:, column],
            between_sites_sd=wider * prior.between_sites_sd,
            residual_sd=_SAME_PERSON * prior.repeat_sd if same_person else prior.residual_sd,
            prior_people=prior.people,
            source_covariates=x_own if adjusted else None,
            target_covariates=x_other if adjusted else None,
            slope_sd=np.full(len(names) if adjusted else 0, _SLOPE_RESIDUALS * prior.residual_sd),
            target_groups=groups,
        )

    found = [
        differ(column, prior, adjusted=column < of_contrasts.stop)
        for column, prior in enumerate(priors)
    ]
    odds = np.array([d.log_odds_different for d in found])
    by_part = (
        _probability(odds[of_contrasts].sum()),
        _probability(_FIELD_TEMPER * odds[of_field][1:].sum()),
        _probability(odds[of_detail].sum()),
    )
    wider = np.ones(len(priors))
    for part in (of_contrasts, of_field, of_detail):
        wider[part] = widening(found[part], [p.between_sites_sd for p in priors[part]], sites)
    found = [
        differ(column, prior, adjusted=column < of_contrasts.stop, wider=float(wider[column]))
        for column, prior in enumerate(priors)
    ]
    found = [_shared(own, share) for own in found]
    means = np.array([d.mean for d in found])
    of_sites = means[of_field]
    of_sites[0] = 0
    repeats = (
        np.nanmean(np.stack([own_repeat, other_repeat]), axis=0)
        if (np.isfinite(own_repeat).any() or np.isfinite(other_repeat).any())
        else own_repeat
    )
    bend = curve_difference(source, target, modality, same_person=same_person)
    return SiteDifference(
        probability=float(1 - np.prod(1 - np.array(by_part))),
        by_part=by_part,
        contrasts=means[of_contrasts],
        field=of_sites,
        scan_field=scanners_share(source.fields),
        by_contrast=tuple(found[of_contrasts]),
        repeat_sd=np.sqrt(repeats[of_contrasts]),
        people=(len(own_people), _as_many(groups) or len(other_people)),
        covariates=names,
        separation=tuple(float(v) for v in separation(x_own, x_other)),
        blur=share * sharpness_difference(source, target, modality, same_person=same_person),
        bend=None if bend is None else dataclasses.replace(bend, change=share * bend.change),
        same_person=same_person,
    )


def _shared(found: Difference, share: float) -> Difference:
    """A share of a difference, with what is known of it."""
    return dataclasses.replace(
        found,
        raw=share * found.raw,
        mean=share * found.mean,
        standard_error=share * found.standard_error,
        posterior_sd=share * found.posterior_sd,
    )


def _as_many(groups: Sequence[str] | None) -> int:
    """People of one site who would tell its mean as well as these tell the mean of their sites."""
    counts = list(Counter(groups or ()).values())
    return int(len(counts) ** 2 / sum(1 / n for n in counts)) if counts else 0


def _probability(log_odds: float) -> float:
    """Of a difference, from the logarithm of its Bayes factor."""
    total = np.log(_PRIOR / (1 - _PRIOR)) + np.clip(log_odds, -50, 50)
    return float(1 / (1 + np.exp(-total)))


def _priors(modality: str) -> list[Prior]:
    """One for each column of `ScanMeasures.measures`."""
    field = [prior_of(modality, f"field_{max(int(degree), 1)}") for degree in FIELD_DEGREES]
    detail = [prior_of(modality, "detail")] * 2
    return [*(prior_of(modality, name) for name in MEASURES), *field, *detail]


def _finite(value: float) -> float | None:
    return round(value, 5) if np.isfinite(value) else None
