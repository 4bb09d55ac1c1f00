"""How large a run of the travelling-subject benchmark is: quick, reduced or full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from anatomies import source_names
from travelling_cohort import Plan

from bids_harmony.methods.registry import REGISTRY
from bids_harmony.phantom.scanner import SITES

__all__ = ["FORMS", "Form"]

#: Whether label maps and real scans are there; the benchmark runs without.
HAS_DATA = bool(source_names("labels"))
_SUPERVISED = tuple(m for m in REGISTRY if REGISTRY[m].supervised)


@dataclass(frozen=True)
class Form:
    """Everything that makes one run smaller than another.

    Attributes
    ----------
    name, about : str
    seeds : tuple of int
        Draws of the cohort.
    sites : tuple of str
        The target is among them.
    training_per_site, paired : int
    heads, heads_without_fields : tuple of (kind, int)
        Test people with receive fields and without.
    without_fields : tuple of str
        Methods scored without receive fields, too.
    varied_heads : tuple of (kind, int)
        Test people of the cohort in which people differ as real people do.
    n4_sites : int
        Source sites at which N4 is scored; it takes 17 s of processor for a scan at 2 mm.
    paired_steps, paired_width : int
        Slices shown to each supervised network, and filters of its first layer.
    twin_people, twin_scanners : int
        Synthetic twins that adaptation draws from.
    twin_steps, adapt_steps : int
        Adaptation of the shipped weights to the cohort's sites.
    choice_people, choice_scanners, choice_steps, choice_pairs : int
        Synthetic twins behind the table of choices.
    choices : tuple of str
        Groups of the table of choices besides the default.
    loss_steps : int
    loss_sites : int
    loss_modalities : tuple of str
    proof_people : int
    proof_modalities : tuple of str
    """

    name: str
    about: str
    seeds: tuple[int, ...]
    sites: tuple[str, ...]
    training_per_site: int
    paired: int
    heads: tuple[tuple[str, int], ...]
    heads_without_fields: tuple[tuple[str, int], ...]
    without_fields: tuple[str, ...]
    varied_heads: tuple[tuple[str, int], ...]
    n4_sites: int
    paired_steps: int
    paired_width: int
    twin_people: int
    twin_scanners: int
    twin_steps: int
    adapt_steps: int
    choice_people: int
    choice_scanners: int
    choice_steps: int
    choice_pairs: int
    choices: tuple[str, ...]
    loss_steps: int
    loss_sites: int
    loss_modalities: tuple[str, ...]
    proof_people: int
    proof_modalities: tuple[str, ...]

    def plan(self, seed: int, *, fields: bool = True) -> Plan:
        """The cohort of one seed."""
        heads = self.heads if fields else self.heads_without_fields
        return Plan(
            sites=self.sites,
            training_per_site=self.training_per_site,
            paired=self.paired,
            test=heads if HAS_DATA else (("phantom", 1),),
            fields=fields,
            seed=seed,
        )

    def varied_plan(self, seed: int) -> Plan:
        """The cohort of one seed with people who differ as real people do."""
        heads = self.varied_heads if HAS_DATA else (("phantom", 1),)
        return replace(self.plan(seed), paired=0, test=heads, varied=True)

    def proof_plan(self, seed: int) -> Plan:
        """Many people, nobody scanned for supervised methods."""
        count = self.proof_people
        maps = min(4, count // 2)
        test = (("labels", maps), ("scans", count - maps)) if HAS_DATA else (("phantom", count),)
        return replace(self.plan(seed), paired=0, test=test, modalities=self.proof_modalities)

    def loss_plan(self, seed: int) -> Plan:
        """Small: the literal preset takes some twenty times as long as the default."""
        test = (("labels" if HAS_DATA else "phantom", 1),)
        sites = self.sites[: self.loss_sites]
        return replace(self.plan(seed), sites=sites, modalities=self.loss_modalities, test=test)

    def scored(self, methods: Sequence[str], plan: Plan) -> list[tuple[list[str], Plan]]:
        """Methods, and the plan that these are scored on."""
        wanted = [m for m in methods if plan.fields or m in self.without_fields]
        few = replace(plan, scored=plan.sources[: self.n4_sites])
        supervised = [m for m in wanted if m in _SUPERVISED]
        slow = {"histogram-n4", *supervised}
        parts = [
            ([m for m in wanted if m not in slow], plan),
            (supervised, plan),
            ([m for m in wanted if m == "histogram-n4"], few),
        ]
        return [part for part in parts if part[0]]


_ALL = tuple(REGISTRY)
_FAST = tuple(m for m in _ALL if m not in ("histogram-n4", *_SUPERVISED))
_SITES = tuple(SITES)
_NETWORK = ("affine net", "recursion", "AAN", "grid", "closed form", "encoder")

_REDUCED = Form(
    name="reduced",
    about="one seed, two heads with receive fields and one without, all sites; hours",
    seeds=(0,),
    sites=_SITES,
    training_per_site=5,
    paired=2,
    heads=(("labels", 1), ("scans", 1)),
    heads_without_fields=(("labels", 1),),
    without_fields=_FAST,
    varied_heads=(("labels", 3), ("scans", 3)),
    n4_sites=4,
    paired_steps=300,
    paired_width=8,
    twin_people=20,
    twin_scanners=32,
    twin_steps=200,
    adapt_steps=100,
    choice_people=12,
    choice_scanners=20,
    choice_steps=60,
    choice_pairs=8,
    choices=_NETWORK,
    loss_steps=15,
    loss_sites=3,
    loss_modalities=("T1w",),
    proof_people=6,
    proof_modalities=("T1w",),
)

_QUICK = replace(
    _REDUCED,
    name="quick",
    about="every part once, on one head and three source sites: 20 minutes on two cores",
    sites=_SITES[:4],
    training_per_site=2,
    paired=1,
    heads=(("labels", 1),),
    varied_heads=(("labels", 1),),
    n4_sites=1,
    paired_steps=60,
    twin_people=3,
    twin_scanners=6,
    twin_steps=10,
    adapt_steps=6,
    choice_people=4,
    choice_scanners=6,
    choice_steps=5,
    choice_pairs=4,
    choices=("AAN", "closed form"),
    loss_steps=3,
    proof_people=4,
)

_FULL = replace(
    _REDUCED,
    name="full",
    about="three seeds, six heads, all sites, published sizes: wants an accelerator",
    seeds=(0, 1, 2),
    paired=6,
    heads=(("phantom", 2), ("labels", 2), ("scans", 2)),
    heads_without_fields=(("phantom", 2), ("labels", 2), ("scans", 2)),
    without_fields=_ALL,
    varied_heads=(("phantom", 4), ("labels", 4), ("scans", 4)),
    n4_sites=len(_SITES),
    paired_steps=4000,
    paired_width=64,
    choice_steps=2000,
    choice_pairs=24,
    choices=("preset", *_NETWORK),
    loss_steps=2000,
    loss_sites=4,
    loss_modalities=("T1w", "T2w"),
    proof_people=13,
    proof_modalities=("T1w", "T2w"),
)

#: By name; the first is the smallest.
FORMS: dict[str, Form] = {form.name: form for form in (_QUICK, _REDUCED, _FULL)}
