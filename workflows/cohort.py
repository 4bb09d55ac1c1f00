"""The graph of a whole run: one graph per scan, with the few links between scans of one person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nipype.pipeline.engine import Node, Workflow

from bids_harmony.interfaces.derivatives import WriteAnatomy
from bids_harmony.interfaces.sessions import ShareSpace
from bids_harmony.settings.spaces import NATIVE
from bids_harmony.workflows.anat import (
    FIT_OUTPUTS,
    SHARED,
    SHARED_OUTPUTS,
    T1W_XFM,
    init_anat_fit_wf,
    masked_by_itself,
    person_wf_name,
    scan_wf_name,
)
from bids_harmony.workflows.dwi import init_dwi_fit_wf
from bids_harmony.workflows.given import copied_files
from bids_harmony.workflows.precomputed import (
    anatomy_hash,
    find_precomputed,
    given_mask,
    steps_of_mask,
)

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings
    from bids_harmony.workflows.given import Given

__all__ = ["companion_of", "init_cohort_wf", "person_folder", "scan_folder"]


# Name of the graph in a scan's graph that fits mask and transform.
_FIT = "fit_wf"
_WRITE, _MEM_WRITE = "write_anatomy", 0.7
# Of a person's scans as stored, and one of them on a grid of its own.
_MEM_SHARE = 2.5
# Last nodes of what follows a fit, and what they leave.
_LAST = {"write_harmonized": "out_file", "prepare": "prepared_file"}


def companion_of(scan: Scan, scans: Sequence[Scan]) -> Scan | None:
    """T1w through which a scan of another contrast goes to the reference.

    The first T1w (by path) of the same session, else of the same person; None for a T1w and where
    there is none.
    """
    if scan.modality == "T1w":
        return None
    own = sorted(
        (s for s in scans if s.modality == "T1w" and s.subject == scan.subject),
        key=lambda s: str(s.path),
    )
    return next((s for s in own if s.session == scan.session), own[0] if own else None)


def scan_folder(settings: Settings, name: str, scan: Scan) -> Path:
    """Work folder of a scan in the graph of that name."""
    return settings.work_dir.absolute() / name / scan_wf_name(scan.label)


def person_folder(settings: Settings, name: str, scan: Scan) -> Path:
    """Work folder of what the sessions of a scan's person share, in the graph of that name."""
    return settings.work_dir.absolute() / name / person_wf_name(scan)


def _init_person_wf(scan: Scan, settings: Settings) -> Workflow:
    """Graph that finds the space that a scan shares with its person's other sessions."""
    workflow = Workflow(person_wf_name(scan))
    masks = [given_mask(member, settings, warn=False) for member in scan.together]
    steps = [
        steps_of_mask(mask, member, settings) if mask else ()
        for mask, member in zip(masks, scan.together, strict=True)
    ]
    share = ShareSpace(
        in_files=[str(member.path) for member in scan.together],
        given_masks=[str(mask or "") for mask in masks],
        steps=[[str(path) for path in own] for own in steps],
        modality=scan.modality,
        extract=masked_by_itself(scan, settings, with_t1w=False),
        seed=settings.random_seed,
        sloppy=settings.sloppy,
    )
    workflow.add_nodes([Node(share, name="share_space", mem_gb=_MEM_SHARE)])
    return workflow


def _reused(given: Given | None, scan: Scan, settings: Settings) -> Given | None:
    """What of another pipeline is used: no transform to a template, where sessions share a space
    and no image is written on a template."""
    if given is None or not scan.together or set(settings.output_spaces) - {NATIVE}:
        return given
    return replace(given, transforms={})


def init_cohort_wf(
    *,
    settings: Settings,
    work: Sequence[Scan],
    scans: Sequence[Scan],
    init_scan_wf: Callable[[Scan, Scan | None], Workflow],
    name: str,
) -> Workflow:
    """Join the graphs of scans: fit, and what comes after it.

    Parameters
    ----------
    settings : Settings
    work : sequence of Scan
        Scans to work on.
    scans : sequence of Scan
        All that were selected; T1w among them that `work` needs are fitted, too.
    init_scan_wf : callable
        Makes the graph that follows the fit of a scan, given the scan and the T1w that it goes
        through; inputs ``inputnode``: ``mask_file``, ``mask_kind``, ``xfm_file``. Mask and
        transform are written when it is done: a scan that is refused leaves none behind.
    name : str
        Name of the graph and of its folder in the work folder.

    Returns
    -------
    Workflow
    """
    cohort = Workflow(name, base_dir=str(settings.work_dir.absolute()))
    graphs: dict[str, Workflow] = {}
    people: dict[str, Workflow] = {}

    def fit(scan: Scan) -> Workflow:
        if scan.label in graphs:
            return graphs[scan.label]
        t1w = companion_of(scan, scans)
        wanted = anatomy_hash(scan, settings, t1w=t1w)
        precomputed = find_precomputed(scan, settings, wanted)
        if precomputed.written:
            t1w = None
        init_fit_wf = init_dwi_fit_wf if scan.modality == "dwi" else init_anat_fit_wf
        fit_wf = init_fit_wf(
            scan=scan,
            settings=settings,
            precomputed=precomputed,
            with_t1w=t1w is not None,
            name=_FIT,
        )
        graph = graphs[scan.label] = Workflow(scan_wf_name(scan.label))
        graph.add_nodes([fit_wf])
        # Images from outside the dataset have no place in its derivative.
        if not precomputed.written and scan.path.is_relative_to(settings.bids_dir):
            write_anatomy = Node(
                WriteAnatomy(
                    scan=scan,
                    settings=settings,
                    input_hash=wanted,
                    mask_from=precomputed.mask_from,
                    copied=copied_files(_reused(precomputed.given, scan, settings), settings),
                ),
                name=_WRITE,
                mem_gb=_MEM_WRITE,
            )
            made = [
                (f"outputnode.{field}", field)
                for field in (*FIT_OUTPUTS, "similarity", "xfm_from", *SHARED_OUTPUTS)
            ]
            graph.connect([(fit_wf, write_anatomy, made)])
        cohort.add_nodes([graph])
        if scan.together and not precomputed.written:
            name = person_wf_name(scan)
            person = people.get(name) or people.setdefault(name, _init_person_wf(scan, settings))
            link = (f"share_space.{SHARED}", f"{_FIT}.inputnode.{SHARED}")
            cohort.connect([(person, graph, [link])])
        if t1w is not None:
            fit_wf.inputs.inputnode.t1w_file = str(t1w.path)
            before = fit(t1w)
            fields = [("mask_file", "t1w_mask"), ("xfm_file", "t1w_xfm")]
            links = [(f"{_FIT}.outputnode.{a}", f"{_FIT}.inputnode.{b}") for a, b in fields]
            cohort.connect([(before, graph, links)])
        return graph

    for scan in work:
        graph = fit(scan)
        t1w = companion_of(scan, scans)
        apply_wf = init_scan_wf(scan, t1w)
        links = [(f"outputnode.{field}", f"inputnode.{field}") for field in FIT_OUTPUTS]
        graph.connect([(graph.get_node(_FIT), apply_wf, links)])
        # To ask for a field by its name would add it, and a notifier of traits would complain.
        wanted = apply_wf.get_node("inputnode").inputs.copyable_trait_names()
        if t1w is not None and T1W_XFM in wanted:
            link = (f"{_FIT}.outputnode.xfm_file", f"{apply_wf.name}.inputnode.{T1W_XFM}")
            cohort.connect([(fit(t1w), graph, [link])])
        if write_anatomy := graph.get_node(_WRITE):
            last = next(node for node in _LAST if apply_wf.get_node(node))
            graph.connect(apply_wf, f"{last}.{_LAST[last]}", write_anatomy, "after")
    return cohort
