"""Graph of the models that are fitted to a series before and after harmonization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_harmony.interfaces.diffusion_fits import FitForce, FitNoddi, FitTensor, WriteMaps
from bids_harmony.interfaces.diffusion_quality import CompareFits, SummarizeSeries

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings

__all__ = ["init_dwi_maps_wf"]

# Peak memory of a node in GiB: a series of 140 x 140 x 81 voxels and 103 volumes as numbers.
_SLOPPY_SIMULATIONS = 2000
_MEM_FIT, _MEM_COMPARE, _MEM_WRITE = 2.5, 1.5, 0.5


def init_dwi_maps_wf(
    *,
    scan: Scan,
    settings: Settings,
    target_site: str,
    input_hash: str,
    name: str = "dwi_maps_wf",
) -> Workflow:
    """Fit a series and its harmonized twin, write the maps, compare and summarize them.

    The same node does both, with the same inputs but for the series.

    Parameters
    ----------
    scan : Scan
        With `gradients`.
    settings : Settings
        ``dwi_fits`` names the models; at least the tensor.
    target_site, input_hash
        As for `anat.init_anat_harmonize_wf`.
    name : str

    Returns
    -------
    Workflow
        Inputs ``inputnode``: ``harmonized_file``, ``mask_file``, ``xfm_file``. Outputs
        ``outputnode``: ``map_files`` (all that were written), ``quality_file``, ``figure_files``,
        ``summary_file``.
    """
    workflow = Workflow(name)
    inputs = ["harmonized_file", "mask_file", "xfm_file"]
    inputnode = Node(IdentityInterface(inputs), name="inputnode")
    outputs = ["map_files", "quality_file", "figure_files", "summary_file"]
    outputnode = Node(IdentityInterface(outputs), name="outputnode")
    bval, bvec = scan.gradients or ("", "")
    tables: dict[str, Any] = {
        "bval_file": str(bval),
        "bvec_file": str(bvec),
        "b0_threshold": settings.b0_threshold,
    }
    compare = Node(
        CompareFits(
            source_file=str(scan.path),
            title=f"{scan.label}: {scan.site.site} to {target_site}",
            **tables,
        ),
        name="compare_fits",
        mem_gb=_MEM_COMPARE,
    )
    summarize = Node(SummarizeSeries(), name="summarize_fits", mem_gb=_MEM_COMPARE)
    models: dict[str, Any] = {"tensor": FitTensor}
    if "noddi" in settings.dwi_fits:
        models["noddi"] = FitNoddi
    if "force" in settings.dwi_fits:
        models["force"] = FitForce
    # The figure has one line for what was not fitted; NODDI's is the reference.
    noted = next((model for model in ("noddi", "force") if model in models), None)
    gather = Node(Merge(2 * len(models), no_hash=True), name="gather_maps")
    place = 0
    for model, adapter in models.items():
        own: dict[str, Any] = {}
        if model == "tensor":
            own = {"method": settings.tensor_method}
        elif model == "force":
            own = {"seed": settings.random_seed}
            if settings.sloppy:
                own["simulations"] = _SLOPPY_SIMULATIONS
        for state in ("source", "harmonized"):
            fit = Node(adapter(**tables, **own), name=f"fit_{model}_{state}", mem_gb=_MEM_FIT)
            write = Node(
                WriteMaps(scan=scan, settings=settings, input_hash=input_hash),
                name=f"write_{model}_{state}",
                mem_gb=_MEM_WRITE,
            )
            if state == "source":
                fit.inputs.in_file = str(scan.path)
                workflow.connect(inputnode, "harmonized_file", write, "after")
            else:
                write.inputs.target_site = target_site
                workflow.connect(inputnode, "harmonized_file", fit, "in_file")
            place += 1
            workflow.connect(
                [
                    (inputnode, fit, [("mask_file", "mask_file")]),
                    (fit, write, [("map_files", "map_files"), ("record_file", "record_file")]),
                    (fit, compare, [("map_files", f"{state}_{model}")]),
                    (fit, summarize, [("map_files", f"{state}_{model}")]),
                    (write, gather, [("out_files", f"in{place}")]),
                ]
            )
            if (model, state) == (noted, "harmonized"):
                workflow.connect(fit, "statement", compare, "note")
    figures = Node(Merge(2, no_hash=True), name="gather_figures")
    workflow.connect(
        [
            (
                inputnode,
                compare,
                [("mask_file", "mask_file"), ("harmonized_file", "harmonized_file")],
            ),
            (inputnode, summarize, [("xfm_file", "xfm_file")]),
            (summarize, outputnode, [("summary_file", "summary_file")]),
            (compare, figures, [("maps_figure", "in1"), ("densities_figure", "in2")]),
            (compare, outputnode, [("quality_file", "quality_file")]),
            (figures, outputnode, [("out", "figure_files")]),
            (gather, outputnode, [("out", "map_files")]),
        ]
    )
    return workflow
