"""What a run will refuse, as far as headers, tables and the model tell: known before it begins.

The plan asks, and so does the run itself: what is refused here is refused in both, with the same
words and the same code. What only voxels tell is left to the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.dataset import Problem, ScanSelection, find_everyone
from bids_harmony.bids.site_search import scans_of
from bids_harmony.diffusion.gradients import (
    common_shells,
    left_out_told,
    other_shells,
    others_told,
)
from bids_harmony.exceptions import BidsHarmonyError, NotFetched, SiteError
from bids_harmony.io.names import file_stem
from bids_harmony.methods import check_method_for_series
from bids_harmony.methods.registry import find_method
from bids_harmony.sites.names import same_site
from bids_harmony.workflows.models import known_by_model, model_folder
from bids_harmony.workflows.running import failed_status
from bids_harmony.workflows.scan_models import (
    check_shells,
    no_profile,
    no_series,
)
from bids_harmony.workflows.series_profiles import cached_shells
from bids_harmony.workflows.site_scans import (
    ProfileKey,
    are_given,
    check_scan,
    choose_sound,
    few_sites,
    left_by_filter,
)
from bids_harmony.workflows.status import why_unseen

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.diffusion.gradients import Gradients
    from bids_harmony.settings import Settings

__all__ = ["foresee"]


def foresee(settings: Settings, selection: ScanSelection) -> ScanSelection:
    """Take out of a selection what the level participant would refuse.

    Parameters
    ----------
    settings : Settings
        With the `target_site` as the dataset or the model spells it.
    selection : ScanSelection

    Returns
    -------
    ScanSelection
        The other scans; those that are refused are among the problems, and shells that not both
        sites show among the warnings.

    Raises
    ------
    MissingInput, DataError
        When there is no model, or it cannot be used.
    """
    outlook = _Outlook(settings, selection)
    if selection.scans:
        # A model that cannot be had is no fault of a scan.
        model_folder(settings)
    if any(scan.modality != "dwi" for scan in selection.scans):
        _ = outlook.model
    scans, problems = [], list(selection.problems)
    for scan in selection.scans:
        try:
            outlook.check(scan)
            scans.append(scan)
        except BidsHarmonyError as error:
            problems.append(Problem(scan.label, scan.path, error))
    return replace(
        selection,
        scans=tuple(scans),
        problems=tuple(problems),
        warnings=(*selection.warnings, *outlook.warnings),
    )


@dataclass(frozen=True)
class _Shown:
    """Scans that will show a site's profile; or why they cannot."""

    scans: tuple[Scan, ...] = ()
    reason: BidsHarmonyError | None = None
    by_model: bool = False
    filtered: SiteError | None = None


@dataclass
class _Outlook:
    """What is known of scans and keys; each question is asked once."""

    settings: Settings
    selection: ScanSelection
    checked: dict[Path, Gradients | BidsHarmonyError | None] = field(default_factory=dict)
    keys: dict[ProfileKey, _Shown] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def target(self) -> str:
        return str(self.settings.target_site)

    @cached_property
    def model(self) -> Any:
        """What the model knows."""
        return known_by_model(self.settings)

    @cached_property
    def needs_source(self) -> bool:
        """Whether the method asks how a scan's own site looks."""
        method = find_method(self.settings.method)
        return method.learns_sites and bool(method.harmonizer_class().needs_source)

    @property
    def selects_all(self) -> bool:
        """Whether the selection is the whole dataset."""
        s = self.settings
        return not (s.selects_people or s.bids_filters or s.source_site)

    @cached_property
    def everyone(self) -> ScanSelection:
        """Scans of the whole dataset, and what of it cannot be used."""
        if self.selects_all:
            return self.selection
        return find_everyone(self.settings, sites=self.selection.sites)

    def check(self, scan: Scan) -> None:
        """Raise what the run would raise for a scan."""
        gradients = self.read(scan, self.settings)
        if gradients is not None:
            self.check_shells(scan, gradients)
            return
        shown = self.shown(ProfileKey(self.target, scan.modality))
        if shown.reason:
            raise shown.reason
        if not shown.by_model and not shown.scans:
            self.check_fetched(ProfileKey(self.target, scan.modality), scan)
            raise no_profile(scan, self.model.targets(scan.modality), self.settings)
        if self.settings.profile_filter and self.needs_source:
            own = ProfileKey(scan.site.site, scan.modality)
            if reason := self.shown(own).filtered:
                raise reason

    def check_fetched(self, key: ProfileKey, scan: Scan) -> None:
        """Raise the reason where scans would show a site, but are not here."""
        if are_given(key, self.settings):
            return
        files = self.selection.sites.scans
        missing = [
            problem
            for problem in self.everyone.problems
            if isinstance(problem.error, NotFetched)
            and problem.label.endswith(f"_{key.modality}")
            and (told := files.get(problem.path.relative_to(self.settings.bids_dir).as_posix()))
            and told.site == key.site
        ]
        if missing:
            first = missing[0]
            raise NotFetched(
                f"the {key.modality} scans that would show how {key.site} looks are not here",
                where=scan.label,
                got=f"{len(missing)} that were not fetched",
                hint=f"The first, {first.label}: {first.error}",
            )

    def read(self, scan: Scan, settings: Settings) -> Gradients | None:
        """As `check_scan`."""
        if scan.path not in self.checked:
            try:
                self.checked[scan.path] = check_scan(scan, settings)
            except BidsHarmonyError as error:
                self.checked[scan.path] = error
        found = self.checked[scan.path]
        if isinstance(found, BidsHarmonyError):
            raise found
        return found

    def shown(self, key: ProfileKey) -> _Shown:
        """What will show how a site looks."""
        if key not in self.keys:
            self.keys[key] = self._look(key)
        return self.keys[key]

    def _look(self, key: ProfileKey) -> _Shown:
        if self.settings.to_mean and key.site == self.target:
            sites = {*self.selection.sites.showing(key.modality), *self._sources(key.modality)}
            if len(sites) < 2:
                return _Shown(reason=few_sites(key.modality, sorted(sites)))
            return _Shown(by_model=True)
        if key.modality != "dwi":
            if self._known(key):
                return _Shown(by_model=True)
            if self.model.cache is None:  # a method that only knows what it was trained for
                return _Shown()
        found = _Shown()
        for among in self._nearer_first(key):
            found = self._chosen(key, among())
            if found.scans and not found.reason:
                break
        if not found.scans and self.settings.profile_filter:
            reason = left_by_filter(key, self.settings, self.everyone.scans)
            return _Shown(reason=reason, filtered=reason)
        return found

    def _sources(self, modality: str) -> set[str]:
        """Sites of the selected scans, also those that are only claimed."""
        return {s.site.site for s in self.selection.scans if s.modality == modality}

    def _chosen(self, key: ProfileKey, among: Sequence[Scan]) -> _Shown:
        chosen = choose_sound(key, self.settings, among, check=self.read, quiet=True)
        failed = []
        for scan in chosen:
            try:
                self.read(scan, self.settings)
            except BidsHarmonyError as error:
                failed.append(failed_status(scan, error, quiet=True))
        reason = why_unseen(key.site, failed) if len(failed) == len(chosen) else None
        return _Shown(chosen, reason)

    def _known(self, key: ProfileKey) -> bool:
        """Whether the model knows a site, or an earlier run left what it saw of it."""
        if self.model.cache is None:
            return key.site in self.model.targets(key.modality)
        if key.site in self.model.own_sites(key.modality):
            return True
        made_of = self.model.cache.made_of(key.site, key.modality)
        if made_of is None or are_given(key, self.settings) or made_of.get("given"):
            return False
        return bool(made_of.get("filter") == self.settings.profile_filter)

    def _nearer_first(self, key: ProfileKey) -> Iterator[Callable[[], Sequence[Scan]]]:
        """Scans to choose from; of images any will do, the question is only whether there are."""
        if key.modality != "dwi":
            # That a site is claimed does not mean that scans show it.
            if not self.settings.source_site:
                yield lambda: self.selection.scans
            yield lambda: self._some_of(key)
        yield lambda: self.everyone.scans

    def _some_of(self, key: ProfileKey) -> Sequence[Scan]:
        """Scans of the first person in the dataset who has one of that site and modality."""
        people = sorted(
            file.partition("/")[0].removeprefix("sub-")
            for file, evidence in self.selection.sites.scans.items()
            if evidence.site == key.site and file_stem(file).endswith(f"_{key.modality}")
        )
        if not people or are_given(key, self.settings):
            return ()
        return scans_of(self.settings, people[0], self.selection.sites)

    def check_shells(self, scan: Scan, gradients: Gradients) -> None:
        """Raise what the run would raise for a series, or note its shells without an equal."""
        check_method_for_series(self.settings.method)
        source = self.target if same_site(scan.site.site, self.target) else scan.site.site
        known: list[Sequence[float]] = []
        for site, which in ((self.target, "target site's"), (source, "site's own")):
            if self.settings.to_mean and site == self.target:
                shells = self.shells_of_mean
            else:
                shells = self.shells_of(site, which, scan)
            check_shells(gradients, shells, self.settings)
            known.insert(0, shells)
        others = other_shells([shell.b for shell in gradients.shells], *known)
        if others and source != self.target:
            self.warnings.append(f"{scan.label}: {others_told(others, *known)}")

    def shells_of(self, site: str, which: str, scan: Scan) -> tuple[float, ...]:
        """Shells that a site will show, s/mm2; raises the reason where it shows none."""
        shells = None
        if not are_given(ProfileKey(site, "dwi"), self.settings):
            shells = cached_shells(site, self.settings)
        if shells is None:
            shown = self.shown(ProfileKey(site, "dwi"))
            if shown.reason:
                raise shown.reason
            if not shown.scans:
                self.check_fetched(ProfileKey(site, "dwi"), scan)
                raise no_series(scan, which, site, self.settings)
            shells = self._shells(shown.scans)
        return shells

    @cached_property
    def shells_of_mean(self) -> tuple[float, ...]:
        """Shells of the mean of all sites, s/mm2; what is left out is among the warnings."""
        shown = self.shown(ProfileKey(self.target, "dwi"))
        if shown.reason:
            raise shown.reason
        known = {}
        for site in sorted({*self.selection.sites.showing("dwi"), *self._sources("dwi")}):
            own = cached_shells(site, self.settings)
            shown = self.shown(ProfileKey(site, "dwi"))
            if own is None and shown.scans and not shown.reason:
                own = self._shells(shown.scans)
            # A site that nothing shows is not in the mean.
            if own:
                known[site] = own
        if len(known) < 2:
            raise few_sites("dwi", list(known))
        common = common_shells(known)
        lost = {site: [b for b in own if b not in common] for site, own in known.items()}
        if left := left_out_told({site: shells for site, shells in lost.items() if shells}):
            self.warnings.append(f"Diffusion series: {left}")
        return common

    def _shells(self, series: Sequence[Scan]) -> tuple[float, ...]:
        read = [self.checked.get(scan.path) for scan in series]
        sound = [g for g in read if g is not None and not isinstance(g, BidsHarmonyError)]
        return tuple(sorted({shell.nominal for g in sound for shell in g.shells}))
