"""Files at the root of the derivative: what it is, how to read it, what validators pass over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_harmony import __version__
from bids_harmony.bids.carried import holds_in_json
from bids_harmony.bids.derivative import merge_table, write_json, write_text
from bids_harmony.bids.inventory import check_dataset
from bids_harmony.bids.naming import harmonized_description
from bids_harmony.settings import Settings

__all__ = [
    "BIDS_VERSION",
    "generated_by",
    "source_datasets",
    "source_link",
    "target_description",
    "write_dataset_files",
]

BIDS_VERSION = "1.11.0"

# Names that BIDS does not know (yet). "figures" without a slash: with one, the validator still
# complains.
_BIDSIGNORE = (
    "*_xfm.*", "*_dwi.bval", "*_dwi.bvec", "*_dwimap.*", "figures", "summaries", "*.html",
    "models", "logs", "group_*", "group.*", "*_decisions.tsv",
    # The validator's second star is never empty.
    "codes_*", "*_desc-curves*", "*_desc-*Curves*", "*_desc-orders*", "*_desc-*Orders*",
)  # fmt: skip

_CHANGES = {
    "change": "Harmonized image less its source, in the unit of the source; of diffusion series "
    "factors by b-value and order of spherical harmonics",
    "fieldout": "Smooth field by which the source was divided",
    "fieldin": "Smooth field by which the result was multiplied",
    "curves": "Where intensities of the tissues went between the two fields",
    "orders": "Of a diffusion series, factors by b-value and order as a table",
}

_README = """\
# Harmonized brain images

Made by bids_harmony {version} from the dataset "{name}". Research software, not for diagnosis.

Every `*_desc-harmonized<Site>_<modality>.nii.gz` lies on the grid of the scan it was made from and
shows that scan as the site in its name would have made it. The JSON beside it tells the source,
the site the scan came from and how that is known, the model, the seed and the quality numbers; the
`scans.tsv` of each subject or session lists these numbers. A diffusion series keeps its b-values
and directions: `.bval` and `.bvec` are copies of the source's. `*_mask.nii.gz` is the brain mask
that was used, `*_xfm.txt` the transform to the template (ITK, physical coordinates).
`descriptions.tsv` explains every `desc` label, `logs/` holds one folder per run, `summaries/` of
each subject what the level group reads of every image. A dataset in `derivatives/`, if there is
one, has the same images under the names of their sources.
"""


def write_dataset_files(settings: Settings, targets: Mapping[str, str] | None = None) -> None:
    """Write ``dataset_description.json``, ``README.md``, ``.bidsignore`` and ``descriptions.tsv``.

    Each is written atomically and only when it changes, so that any number of jobs may call this
    at once.

    Parameters
    ----------
    settings : Settings
    targets : mapping, optional
        Further ``desc`` labels and what they mean.
    """
    source = check_dataset(settings.bids_dir)
    output = settings.output_dir
    name = str(source.get("Name", settings.bids_dir.name))
    write_json(output / "dataset_description.json", _description(settings, name, source))
    write_text(output / "README.md", _README.format(version=__version__, name=name))
    write_text(output / ".bidsignore", "".join(f"{line}\n" for line in _BIDSIGNORE))
    labels = {
        "brain": "Brain mask on the grid of the T1w scan (anat) or of the diffusion series (dwi)",
        "brainT2w": "Brain mask on the grid of the T2w scan",
        "brainFLAIR": "Brain mask on the grid of the FLAIR scan",
    }
    if settings.target_site:
        label = harmonized_description(settings.target_site)
        words = target_description(settings.target_site, mean=settings.to_mean)
        labels[label] = f"{words} (method {settings.method})"
        if settings.write_change:
            labels |= {
                label.replace("harmonized", kind, 1): f"{text} ({label})"
                for kind, text in _CHANGES.items()
            }
    labels |= targets or {}
    rows = [{"desc_id": f"desc-{label}", "description": text} for label, text in labels.items()]
    merge_table(output / "descriptions.tsv", rows, key="desc_id")
    write_json(
        output / "descriptions.json",
        {
            "desc_id": {"Description": "Label of the entity desc"},
            "description": {"Description": "What images with this label are"},
        },
    )


def target_description(target: str, *, mean: bool = False) -> str:
    """What ``descriptions.tsv`` says first of images harmonized to a site, or to a mean."""
    if mean:
        return "Harmonized to the mean of all sites"
    return f"Harmonized to site {target}"


def generated_by() -> dict[str, str]:
    """What ``GeneratedBy`` says of this program."""
    return {
        "Name": "bids_harmony",
        "Version": __version__,
        "Description": "Harmonization of multi-site MR images",
    }


def source_link(bids_dir: Path, root: Path) -> str:
    """The source dataset as seen from another's root; relative, so that both can move together."""
    return Path(os.path.relpath(os.path.realpath(bids_dir), os.path.realpath(root))).as_posix()


def source_datasets(source: Mapping[str, Any]) -> dict[str, Any]:
    """``SourceDatasets`` where the source has a DOI; its folder is no URI, which a URL must be."""
    doi = source.get("DatasetDOI")
    return {"SourceDatasets": [{"DOI": doi}]} if isinstance(doi, str) and doi else {}


def _description(settings: Settings, name: str, source: Mapping[str, Any]) -> dict[str, Any]:
    raw = source_link(settings.bids_dir, settings.output_dir)
    record: dict[str, Any] = {
        "Name": f"{name}, harmonized by bids_harmony",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated_by()],
        **source_datasets(source),
        # What "bids:raw:" stands for in the sidecars.
        "DatasetLinks": {"raw": raw},
    }
    return record | {
        field: source[field]
        for field in ("License", "EthicsApprovals")
        if source.get(field) and holds_in_json(source[field])
    }
