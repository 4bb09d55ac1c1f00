"""Graphs for diffusion series: fit (mean b=0, mask, registration), harmonize, prepare.

All that is anatomy happens on the mean b=0 image, which is one more contrast of the person; the
series itself is read by the node that changes it and by the one that measures it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_harmony.exceptions import DataError
from bids_harmony.interfaces.anatomy import RegisterToAnatomy, ReuseBrain
from bids_harmony.interfaces.diffusion import (
    BrainFromB0,
    HarmonizeSeries,
    MeanB0,
    PlaceSeries,
    PrepareSeries,
    WriteSeries,
)
from bids_harmony.interfaces.figures import DrawSeriesChange
from bids_harmony.workflows.anat import FIT_OUTPUTS, SHARED_OUTPUTS, Precomputed
from bids_harmony.workflows.dwi_fits import init_dwi_maps_wf

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings
    from bids_harmony.workflows.model_record import Model

__all__ = [
    "SERIES_GIB",
    "SERIES_VOXELS",
    "init_dwi_fit_wf",
    "init_dwi_harmonize_wf",
    "init_dwi_prepare_wf",
]

logger = logging.getLogger(__name__)

# Peak memory of a node in GiB; a series of 140 x 140 x 90 voxels and 150 volumes has 0.5 GiB as
# stored, and is held twice while it is changed.
SERIES_VOXELS = 140 * 140 * 90 * 150
_MEM_SERIES, _MEM_HARMONIZE, _MEM_MASK, _MEM_REGISTER, _MEM_WRITE = 1.5, 3.0, 1.0, 1.5, 1.5
#: Of the largest node.
SERIES_GIB = max(_MEM_SERIES, _MEM_HARMONIZE, _MEM_MASK, _MEM_REGISTER, _MEM_WRITE)
_NOTHING_PRECOMPUTED = Precomputed()


def init_dwi_fit_wf(
    *,
    scan: Scan,
    settings: Settings,
    precomputed: Precomputed = _NOTHING_PRECOMPUTED,
    with_t1w: bool = False,
    name: str = "dwi_fit_wf",
) -> Workflow:
    """Mask the brain of a series and register it to the reference template, by its mean b=0.

    The mask is that of an earlier run or of another pipeline where there is one. With a T1w of the
    same person the series goes rigidly to it, and through it to the template.

    Parameters
    ----------
    scan, settings, precomputed, with_t1w, name
        As for `anat.init_anat_fit_wf`; the scan has `gradients`.

    Returns
    -------
    Workflow
        Inputs and outputs as those of `anat.init_anat_fit_wf`.
    """
    workflow = Workflow(name)
    inputnode = Node(IdentityInterface(["t1w_file", "t1w_mask", "t1w_xfm"]), name="inputnode")
    outputnode = Node(
        IdentityInterface([*FIT_OUTPUTS, "similarity", "xfm_from", *SHARED_OUTPUTS]),
        name="outputnode",
    )
    if precomputed.written:
        outputnode.inputs.mask_file = str(precomputed.mask)
        outputnode.inputs.mask_kind = precomputed.mask_kind
        outputnode.inputs.xfm_file = str(precomputed.xfm)
        workflow.add_nodes([inputnode, outputnode])
        return workflow

    # Stage 1: one image that stands for the series.
    mean_b0 = Node(
        MeanB0(**_tables(scan, settings)),
        name="mean_b0",
        mem_gb=_MEM_SERIES,
    )

    # Stage 2: the brain.
    if precomputed.mask is None:
        brain: Any = BrainFromB0()
    else:
        brain = ReuseBrain(given_mask=str(precomputed.mask))
    mask_brain = Node(brain, name="mask_brain", mem_gb=_MEM_MASK)

    # Stage 3: the transform to the reference.
    words = {"modality": "dwi", "seed": settings.random_seed, "sloppy": settings.sloppy}
    if with_t1w:
        register = Node(RegisterToAnatomy(**words), name="register", mem_gb=_MEM_REGISTER)
        fields = [(f, f) for f in ("t1w_file", "t1w_mask", "t1w_xfm")]
        workflow.connect([(inputnode, register, fields)])
    else:
        register = Node(PlaceSeries(**words), name="register", mem_gb=_MEM_REGISTER)
        workflow.connect([(mask_brain, register, [("mask_file", "mask_file")])])
        workflow.add_nodes([inputnode])
    masks = [("mask_file", "mask_file"), ("kind", "mask_kind")]
    workflow.connect(
        [
            (mean_b0, mask_brain, [("out_file", "in_file")]),
            (mean_b0, register, [("out_file", "in_file")]),
            (mask_brain, outputnode, masks),
            (register, outputnode, [("xfm_file", "xfm_file"), ("similarity", "similarity")]),
        ]
    )
    return workflow


def init_dwi_harmonize_wf(
    *,
    scan: Scan,
    settings: Settings,
    model: Model,
    target_site: str,
    input_hash: str,
    name: str = "dwi_harmonize_wf",
) -> Workflow:
    """Harmonize one series, draw what changed and write the derivative.

    Parameters
    ----------
    scan, settings, target_site, input_hash, name
        As for `anat.init_anat_harmonize_wf`.
    model : Model
        With the profiles of both sites.

    Returns
    -------
    Workflow
        Inputs ``inputnode``: ``mask_file``, ``mask_kind``, ``xfm_file``.
    """
    workflow = Workflow(name)
    inputnode = Node(IdentityInterface(list(FIT_OUTPUTS)), name="inputnode")
    harmonize = Node(
        HarmonizeSeries(
            **_tables(scan, settings),
            mode=settings.dwi_mode,
            **model.for_node(settings),
            source_profile=str(model.source_profile),
            target_profile=str(model.target_profile),
            keep_header=settings.keep_header_extensions,
            write_change=settings.write_change,
        ),
        name="harmonize",
        n_procs=settings.omp_nthreads,
        mem_gb=_MEM_HARMONIZE,
    )
    draw_change = Node(
        DrawSeriesChange(title=f"{scan.label}: {scan.site.site} to {target_site}"),
        name="draw_change",
        mem_gb=_MEM_WRITE,
    )
    write_harmonized = Node(
        WriteSeries(
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
    made = [("comparison_file", "comparison_file"), ("quality_file", "quality_file")]
    written = [
        ("out_file", "in_file"),
        ("quality_file", "quality_file"),
        ("change_files", "change_files"),
    ]
    workflow.connect(
        [
            (inputnode, harmonize, [(f, f) for f in FIT_OUTPUTS]),
            (inputnode, write_harmonized, [("mask_kind", "mask_kind")]),
            (harmonize, draw_change, made),
            (harmonize, write_harmonized, written),
            (draw_change, write_harmonized, [("out_file", "figure_file")]),
        ]
    )
    if settings.dwi_fits and _carries_tensor(scan, settings):
        _connect_fits(workflow, scan, settings, target_site, input_hash)
    return workflow


def _carries_tensor(scan: Scan, settings: Settings) -> bool:
    """Whether anything can be fitted; clinical series may have three directions."""
    from bids_harmony.diffusion.tensor import tensor_volumes
    from bids_harmony.workflows.site_scans import gradients_of

    try:
        tensor_volumes(gradients_of(scan, settings))
    except DataError as error:
        logger.warning("%s is harmonized, but no model is fitted: %s", scan.label, error)
        return False
    return True


def _connect_fits(
    workflow: Workflow, scan: Scan, settings: Settings, target_site: str, input_hash: str
) -> None:
    """Fit before and after; the harmonized series is finished when its maps are written."""
    dwi_maps_wf = init_dwi_maps_wf(
        scan=scan, settings=settings, target_site=target_site, input_hash=input_hash
    )
    inputnode, harmonize, write_harmonized = (
        workflow.get_node(name) for name in ("inputnode", "harmonize", "write_harmonized")
    )
    workflow.connect(
        [
            (
                inputnode,
                dwi_maps_wf,
                [("mask_file", "inputnode.mask_file"), ("xfm_file", "inputnode.xfm_file")],
            ),
            (harmonize, dwi_maps_wf, [("out_file", "inputnode.harmonized_file")]),
            (
                dwi_maps_wf,
                write_harmonized,
                [
                    ("outputnode.map_files", "map_files"),
                    ("outputnode.quality_file", "fits_file"),
                    ("outputnode.figure_files", "fit_figures"),
                    ("outputnode.summary_file", "summary_file"),
                ],
            ),
        ]
    )


def init_dwi_prepare_wf(
    *, scan: Scan, settings: Settings, name: str = "dwi_prepare_wf"
) -> Workflow:
    """Take from one series what shows its scanner.

    Parameters
    ----------
    scan : Scan
    settings : Settings
    name : str

    Returns
    -------
    Workflow
        Inputs ``inputnode``: ``mask_file``, ``mask_kind``, ``xfm_file``. Its node ``prepare``
        leaves ``prepared.npz``.
    """
    workflow = Workflow(name)
    inputnode = Node(IdentityInterface(list(FIT_OUTPUTS)), name="inputnode")
    prepare = Node(
        PrepareSeries(**_tables(scan, settings), mode=settings.dwi_mode),
        name="prepare",
        mem_gb=_MEM_SERIES,
    )
    workflow.connect([(inputnode, prepare, [(f, f) for f in FIT_OUTPUTS])])
    return workflow


def _tables(scan: Scan, settings: Settings) -> dict[str, Any]:
    """Inputs of every node that reads the series."""
    bval, bvec = scan.gradients or (Path(), Path())
    return {
        "in_file": str(scan.path),
        "bval_file": str(bval),
        "bvec_file": str(bvec),
        "b0_threshold": settings.b0_threshold,
    }
