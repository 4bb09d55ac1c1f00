"""Graphs for structural scans: fit (mask, registration), harmonize, prepare for training.

Fit and apply are apart, as in sMRIPrep: what an earlier run or another pipeline fitted goes into a
buffer node and its stage is skipped. All nodes of a scan are coarse; none works on a slice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_harmony.interfaces.anatomy import (
    BrainFromAnatomy,
    BrainFromImage,
    BrainFromTemplate,
    RegisterToAnatomy,
    RegisterToReference,
    ReuseBrain,
)
from bids_harmony.interfaces.derivatives import WriteHarmonized
from bids_harmony.interfaces.figures import DrawChange
from bids_harmony.interfaces.harmonization import Harmonize, PrepareForTraining
from bids_harmony.interfaces.reuse import ReuseTransform
from bids_harmony.interfaces.sessions import TakeShared
from bids_harmony.interfaces.spaces import PlaceInSpaces
from bids_harmony.interfaces.summaries import SummarizeScan
from bids_harmony.settings.spaces import ANATOMY
from bids_harmony.workflows.given import Given, find_given, shown_file
from bids_harmony.workflows.spaces import on_reference, spaces_of

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings
    from bids_harmony.workflows.model_record import Model

__all__ = [
    "FIT_OUTPUTS",
    "HEAD_GIB",
    "HEAD_VOXELS",
    "SHARED",
    "SHARED_OUTPUTS",
    "T1W_XFM",
    "Precomputed",
    "init_anat_fit_wf",
    "init_anat_harmonize_wf",
    "init_anat_train_wf",
    "masked_by_itself",
    "person_wf_name",
    "scan_wf_name",
]

# Peak memory of a node in GiB, measured on a 1 mm head of this many voxels and rounded up.
HEAD_VOXELS = 256 * 256 * 192
_MEM_MASK, _MEM_REGISTER, _MEM_HARMONIZE, _MEM_SUMMARIZE, _MEM_WRITE = 2.0, 1.5, 2.0, 1.2, 0.7
#: What a fit gives.
FIT_OUTPUTS = ("mask_file", "mask_kind", "xfm_file")
#: What a scan takes from the graph of its person, where sessions share a space.
SHARED = "shared_file"
#: What such a scan gives besides.
SHARED_OUTPUTS = ("person_mask", "shares_with")
#: What the space of the T1w needs as well.
T1W_XFM = "t1w_xfm"
#: Of the largest node.
HEAD_GIB = max(_MEM_MASK, _MEM_REGISTER, _MEM_HARMONIZE, _MEM_SUMMARIZE, _MEM_WRITE)


@dataclass(frozen=True)
class Precomputed:
    """What is known of a scan before the run.

    Attributes
    ----------
    mask, xfm : Path, optional
        Brain mask and transform to the reference.
    mask_from : str
        What sidecars call a mask of another pipeline; empty for others.
    mask_to_anatomy : tuple of Path
        Transforms from the scan to the space of a given mask, where that is another.
    given : Given, optional
        Transforms of another pipeline.
    mask_kind : str
        How the mask was made (`imaging.mask.BrainMask.kind`).
    written : bool
        Both are outputs of an earlier run: on the scan's own grid, and not to be written again.
    """

    mask: Path | None = None
    mask_kind: str = "given"
    xfm: Path | None = None
    written: bool = False
    mask_from: str = ""
    mask_to_anatomy: tuple[Path, ...] = ()
    given: Given | None = None


def scan_wf_name(label: str) -> str:
    """Name of a scan's graph: its label in the letters that Nipype allows."""
    return re.sub(r"\W", "_", label.replace("+", "_plus_")) + "_wf"


def person_wf_name(scan: Scan) -> str:
    """Name of the graph of what the sessions of a scan's person share."""
    return f"sub_{scan.subject}_{scan.modality}_space_wf".replace("+", "_plus_")


def masked_by_itself(scan: Scan, settings: Settings, *, with_t1w: bool) -> bool:
    """Whether the brain is found in the scan, where no mask is given."""
    if scan.modality == ANATOMY:
        return True
    return not with_t1w and settings.mask_without_t1w == "deepbet"


def init_anat_fit_wf(
    *,
    scan: Scan,
    settings: Settings,
    precomputed: Precomputed = Precomputed(),
    with_t1w: bool = False,
    name: str = "anat_fit_wf",
) -> Workflow:
    """Mask the brain of a scan and register it to the reference template.

    A T1w is masked by itself and registered with its mask. Another scan goes rigidly to the T1w of
    the same person, takes its mask from there and its transform through it; without a T1w, it is
    masked by itself, too, or registered as a whole head and given the template's mask.

    Parameters
    ----------
    scan : Scan
    settings : Settings
    precomputed : Precomputed
        Mask and transform that are there already.
    with_t1w : bool
        The input node is fed with a T1w of the same person.
    name : str

    Returns
    -------
    Workflow
        Inputs ``inputnode``: ``t1w_file``, ``t1w_mask``, ``t1w_xfm``; or, where sessions share a
        space, ``shared_file``. Outputs ``outputnode``: ``mask_file``, ``mask_kind``, ``xfm_file``,
        ``similarity`` of a registration that was made, and what `SHARED_OUTPUTS` names.
    """
    if scan.together and not precomputed.written:
        return _init_shared_fit_wf(scan, name)
    workflow = Workflow(name)
    inputnode = Node(IdentityInterface(["t1w_file", "t1w_mask", "t1w_xfm"]), name="inputnode")
    maskbuffer = Node(IdentityInterface(["mask_file", "mask_kind"]), name="maskbuffer")
    xfmbuffer = Node(IdentityInterface(["xfm_file"]), name="xfmbuffer")
    outputs = [*FIT_OUTPUTS, "similarity", "xfm_from", *SHARED_OUTPUTS]
    outputnode = Node(IdentityInterface(outputs), name="outputnode")
    workflow.connect(
        [
            (maskbuffer, outputnode, [("mask_file", "mask_file"), ("mask_kind", "mask_kind")]),
            (xfmbuffer, outputnode, [("xfm_file", "xfm_file")]),
        ]
    )
    in_file = str(scan.path)
    register_args: dict[str, Any] = {
        "in_file": in_file,
        "modality": scan.modality,
        "seed": settings.random_seed,
        "sloppy": settings.sloppy,
    }

    # Stage 1: the brain, where it does not need the transform.
    mask_comes_first = precomputed.mask is not None or masked_by_itself(
        scan, settings, with_t1w=with_t1w
    )
    if precomputed.mask is not None and precomputed.written:
        maskbuffer.inputs.mask_file = str(precomputed.mask)
        maskbuffer.inputs.mask_kind = precomputed.mask_kind
    elif mask_comes_first:
        if precomputed.mask is None:
            interface: Any = BrainFromImage(in_file=in_file)
        else:
            interface = ReuseBrain(in_file=in_file, given_mask=str(precomputed.mask))
            if precomputed.mask_to_anatomy:
                interface.inputs.to_anatomy = [str(p) for p in precomputed.mask_to_anatomy]
        mask_brain = Node(interface, name="mask_brain", mem_gb=_MEM_MASK)
        workflow.connect(mask_brain, "mask_file", maskbuffer, "mask_file")
        workflow.connect(mask_brain, "kind", maskbuffer, "mask_kind")

    # Stage 2: the transform to the reference. Without a mask of its own, another contrast's needs
    # the one to the T1w as well, which is not kept.
    if precomputed.xfm is not None and (mask_comes_first or not with_t1w):
        xfmbuffer.inputs.xfm_file = str(precomputed.xfm)
    elif scan.modality != "T1w" and with_t1w:
        register = Node(RegisterToAnatomy(**register_args), name="register", mem_gb=_MEM_REGISTER)
        fields = [(f, f) for f in ("t1w_file", "t1w_mask", "t1w_xfm")]
        workflow.connect(
            [(inputnode, register, fields), (register, xfmbuffer, [("xfm_file", "xfm_file")])]
        )
        if not mask_comes_first:
            mask_brain = Node(
                BrainFromAnatomy(in_file=in_file), name="mask_brain", mem_gb=_MEM_WRITE
            )
            workflow.connect(
                [
                    (inputnode, mask_brain, [("t1w_mask", "t1w_mask"), ("t1w_xfm", "t1w_xfm")]),
                    (register, mask_brain, [("to_t1w", "to_t1w")]),
                    (mask_brain, maskbuffer, [("mask_file", "mask_file"), ("kind", "mask_kind")]),
                ]
            )
    elif (given := precomputed.given) is not None and given.reference is not None:
        reuse = ReuseTransform(
            **register_args,
            given_xfm=str(given.reference),
            given_name=shown_file(given, given.reference),
        )
        if given.to_anatomy:
            reuse.inputs.to_anatomy = [str(path) for path in given.to_anatomy]
        register = Node(reuse, name="register", mem_gb=_MEM_REGISTER)
        workflow.connect(
            [
                (maskbuffer, register, [("mask_file", "mask_file")]),
                (register, xfmbuffer, [("xfm_file", "xfm_file")]),
                (register, outputnode, [("xfm_from", "xfm_from")]),
            ]
        )
    else:
        register = Node(
            RegisterToReference(**register_args), name="register", mem_gb=_MEM_REGISTER
        )
        if mask_comes_first:
            workflow.connect(maskbuffer, "mask_file", register, "mask_file")
        workflow.connect(register, "xfm_file", xfmbuffer, "xfm_file")
    if not mask_comes_first and not with_t1w:
        mask_brain = Node(BrainFromTemplate(in_file=in_file), name="mask_brain", mem_gb=_MEM_WRITE)
        workflow.connect(
            [
                (xfmbuffer, mask_brain, [("xfm_file", "xfm_file")]),
                (mask_brain, maskbuffer, [("mask_file", "mask_file"), ("kind", "mask_kind")]),
            ]
        )

    if (register := workflow.get_node("register")) is not None:
        workflow.connect(register, "similarity", outputnode, "similarity")
    return workflow


def _init_shared_fit_wf(scan: Scan, name: str) -> Workflow:
    """Take mask and transform from what the sessions of a person share."""
    workflow = Workflow(name)
    inputnode = Node(IdentityInterface([SHARED]), name="inputnode")
    outputs = [*FIT_OUTPUTS, "similarity", "xfm_from", *SHARED_OUTPUTS]
    outputnode = Node(IdentityInterface(outputs), name="outputnode")
    take = Node(TakeShared(in_file=str(scan.path)), name="mask_brain", mem_gb=_MEM_WRITE)
    taken = [("kind", "mask_kind"), *((f, f) for f in (*outputs[:1], *outputs[2:4]))]
    workflow.connect(
        [
            (inputnode, take, [(SHARED, SHARED)]),
            (take, outputnode, [*taken, *((f, f) for f in SHARED_OUTPUTS)]),
        ]
    )
    return workflow


def init_anat_harmonize_wf(
    *,
    scan: Scan,
    settings: Settings,
    model: Model,
    target_site: str,
    input_hash: str,
    t1w: Scan | None = None,
    name: str = "anat_harmonize_wf",
) -> Workflow:
    """Harmonize one scan, draw and measure what changed, and write the derivative.

    Parameters
    ----------
    scan : Scan
    settings : Settings
    model : Model
    target_site : str
    input_hash : str
        Goes into the sidecar; a later run with the same hash skips the scan.
    t1w : Scan, optional
        T1w of the same person through which the scan goes to the reference.
    name : str

    Returns
    -------
    Workflow
        Inputs ``inputnode``: ``mask_file``, ``mask_kind``, ``xfm_file``, and ``t1w_xfm`` where the
        scan is also written in the space of the T1w.
    """
    workflow = Workflow(name)
    spaces = spaces_of(scan, t1w, settings)
    # What does not begin at the reference begins at the T1w.
    through_t1w = scan.modality != ANATOMY and any("world" not in space for space in spaces)
    with_t1w = [T1W_XFM] if through_t1w else []
    inputnode = Node(IdentityInterface([*FIT_OUTPUTS, *with_t1w]), name="inputnode")
    harmonize = Node(
        Harmonize(
            in_file=str(scan.path),
            **model.for_node(settings),
            voxel_mm=settings.voxel_mm,
            modality=scan.modality,
            source_site=model.source_site or scan.site.site,
            target_site=target_site,
            n4=settings.n4,
            on_reference=on_reference(settings),
            write_change=settings.write_change,
            on_ood=settings.on_ood,
            keep_header=settings.keep_header_extensions,
        ),
        name="harmonize",
        n_procs=settings.omp_nthreads,
        mem_gb=_MEM_HARMONIZE,
    )
    draw_change = Node(
        DrawChange(
            title=f"{scan.label}: {scan.site.site} to {target_site}",
            target_site=target_site,
            in_file=str(scan.path),
        ),
        name="draw_change",
        mem_gb=_MEM_WRITE,
    )
    summarize = Node(SummarizeScan(), name="summarize", mem_gb=_MEM_SUMMARIZE)
    given = find_given(scan, settings)
    if given is not None and given.tissues:
        # Of the numbers alone: site profiles compare what was segmented in one way.
        summarize.inputs.tissue_files = [str(path) for path in given.tissues.values()]
        summarize.inputs.steps = [str(path) for path in given.to_anatomy]
    write_harmonized = Node(
        WriteHarmonized(
            scan=scan,
            settings=settings,
            input_hash=input_hash,
            target_site=target_site,
            model=model.for_sidecar(),
            device=model.device,
        ),
        name="write_harmonized",
        mem_gb=_MEM_WRITE,
    )
    if spaces:
        place = Node(
            PlaceInSpaces(spaces=[_without(space, "told") for space in spaces]),
            name="place",
            mem_gb=_MEM_HARMONIZE,
        )
        write_harmonized.inputs.spaces_told = {s["label"]: s["told"] for s in spaces}
        workflow.connect(
            [
                (inputnode, place, [(f, f) for f in ("xfm_file", *with_t1w)]),
                (harmonize, place, [("out_file", "in_file")]),
                (place, write_harmonized, [("space_files", "space_files")]),
            ]
        )
    outputs = [("comparison_file", "comparison_file"), ("quality_file", "quality_file")]
    written = [
        ("out_file", "in_file"),
        ("reference_file", "reference_file"),
        ("quality_file", "quality_file"),
        ("change_files", "change_files"),
    ]
    workflow.connect(
        [
            (inputnode, harmonize, [(f, f) for f in FIT_OUTPUTS]),
            (inputnode, write_harmonized, [("mask_kind", "mask_kind")]),
            (harmonize, draw_change, outputs),
            (harmonize, summarize, outputs),
            (inputnode, summarize, [("xfm_file", "xfm_file")]),
            (summarize, write_harmonized, [("summary_file", "summary_file")]),
            (
                harmonize,
                write_harmonized,
                written if harmonize.inputs.on_reference else [written[0], *written[2:]],
            ),
            (inputnode, draw_change, [("mask_file", "mask_file")]),
            (
                draw_change,
                write_harmonized,
                [("out_file", "figure_file"), ("picture_files", "picture_files")],
            ),
        ]
    )
    return workflow


def _without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


def init_anat_train_wf(*, scan: Scan, settings: Settings, name: str = "anat_train_wf") -> Workflow:
    """Put one scan on the reference grid for training.

    Parameters
    ----------
    scan : Scan
    settings : Settings
    name : str

    Returns
    -------
    Workflow
        Inputs ``inputnode``: ``mask_file``, ``mask_kind``, ``xfm_file``.
    """
    workflow = Workflow(name)
    inputnode = Node(IdentityInterface(list(FIT_OUTPUTS)), name="inputnode")
    prepare = Node(
        PrepareForTraining(in_file=str(scan.path), n4=settings.n4, voxel_mm=settings.voxel_mm),
        name="prepare",
        mem_gb=_MEM_REGISTER,
    )
    workflow.connect([(inputnode, prepare, [(f, f) for f in FIT_OUTPUTS])])
    return workflow
