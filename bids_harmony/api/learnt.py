"""What a harmonizer learnt: the sites, the target, and the method that knows both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bids_harmony.api.apply import apply_method
from bids_harmony.api.arguments import check_modality, checked_seed, checked_spacing
from bids_harmony.api.checks import check_fits, check_method, check_on_ood, check_target
from bids_harmony.api.inputs import Given
from bids_harmony.api.profile import SiteProfile, profile_of
from bids_harmony.api.ready import Ready, Recipe
from bids_harmony.api.results import in_scan_space
from bids_harmony.devices import resolve_device
from bids_harmony.exceptions import SiteError, UsageError
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.base import Harmonizer as Method
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.sites.profile_cache import GivenProfiles

__all__ = ["Learnt", "learn", "settle"]

#: Site of a target without a name.
_TARGET = "(target)"


def settle(
    target: Any,
    *,
    method: str,
    modality: str | None,
    voxel_mm: float | None,
    on_ood: str,
    device: str,
    random_state: int,
    sloppy: bool,
    names: Sequence[str] = (),
) -> Recipe:
    """Check what a harmonizer is told; modality and grid come from the target where left open.

    Parameters
    ----------
    target, method, modality, voxel_mm, on_ood, device, random_state, sloppy
        As for `harmonizer.Harmonizer`.
    names : sequence of str
        Sites whose scans there are.

    Raises
    ------
    UsageError, SiteError, DataError
    """
    check_method(method)
    check_on_ood(on_ood)
    check_target(target, names)
    profile = target if isinstance(target, SiteProfile) else None
    modality = modality or (profile.modality if profile else "T1w")
    check_modality(modality)
    if voxel_mm is None:
        voxel_mm = profile.voxel_mm if profile else 1.0
    voxel_mm = checked_spacing(voxel_mm)
    seed = checked_seed(random_state)
    if profile is not None:
        check_fits(profile, modality, voxel_mm, "target")
    return Recipe(modality, voxel_mm, str(resolve_device(device)), seed, sloppy)


@dataclass(frozen=True, eq=False)
class Learnt:
    """Sites, target and method.

    Attributes
    ----------
    method : Method
    profiles : dict of str to SiteProfile
        By site; the target among them if it has a name.
    target : SiteProfile
    target_name : str
    recipe : Recipe
    """

    method: Method
    profiles: dict[str, SiteProfile]
    target: SiteProfile
    target_name: str
    recipe: Recipe

    def check_site(self, site: str, where: str) -> None:
        """Refuse a site that nothing is known of.

        Raises
        ------
        SiteError
        """
        if site not in self.profiles:
            raise SiteError(
                f"Nothing is known of the site {site!r}",
                where=where,
                expected=", ".join(self.profiles),
                got=repr(site),
                hint="Give some of its scans to fit.",
            )

    def site_of(self, given: Given, site: Any, seen: str | None) -> str:
        """Which site made a scan: the one that is named, that was seen, or the only other one.

        Raises
        ------
        SiteError, UsageError
        """
        if site is not None:
            self.check_site(str(site), given.where)
            return str(site)
        if seen is not None:
            return seen
        others = [name for name in self.profiles if name != self.target_name]
        if len(others) == 1:
            return others[0]
        raise UsageError(
            "It is not known which site made this scan",
            where=given.where,
            expected="sites: one of " + ", ".join(self.profiles),
            got="none",
        )

    def harmonize(self, ready: Ready, site: str, *, on_ood: str, skull_strip: bool) -> Any:
        """Harmonize one scan of a site; arguments and result as for `harmonizer.Harmonizer`."""
        outcome = apply_method(
            self.method,
            ready.prepared,
            modality=self.recipe.modality,
            source_site=site,
            target_site=self.target_name,
            on_ood=on_ood,
            where=ready.given.where,
            whole=ready.whole,
        )
        return in_scan_space(ready, outcome.applied.data, skull_strip=skull_strip)


def learn(target: Any, method: str, profiles: Mapping[str, SiteProfile], recipe: Recipe) -> Learnt:
    """Load a method with what is known of the sites.

    Parameters
    ----------
    target : str, SiteProfile, path-like or nibabel image
    method : str
    profiles : mapping of str to SiteProfile
        By site.
    recipe : Recipe

    Raises
    ------
    UsageError, DataError, MissingInput, InputOutputError, ImageError
    """
    for name, profile in profiles.items():
        check_fits(profile, recipe.modality, recipe.voxel_mm, name)
    if isinstance(target, str) and target in profiles:
        target = profiles[target]
    elif not isinstance(target, SiteProfile):
        target = profile_of("", [recipe.ready(recipe.given(target, "target image"))], recipe)
    target_name = target.name or _TARGET
    known = {**profiles, **({target.name: target} if target.name else {})}
    images = {(name, recipe.modality): own.image_profile for name, own in known.items()}
    images[target_name, recipe.modality] = target.image_profile
    loaded = load_harmonizer(
        method, SHIPPED_MODEL, GivenProfiles(images, recipe.voxel_mm), device=recipe.device
    )
    return Learnt(loaded, known, target, target_name, recipe)
