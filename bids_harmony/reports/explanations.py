"""The numbers of a scan in plain words, each with the value beyond which somebody should look.

The thresholds are reasons to look at the pictures. None of them says that a scan is good or bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from bids_harmony.bids.scan_records import part
from bids_harmony.quality.contrast import BRIGHT_BOUNDS, EDGE_BOUNDS
from bids_harmony.sites.enough_people import ENOUGH_PEOPLE
from bids_harmony.sites.training_range import UNUSUAL

__all__ = ["Finding", "quality_findings", "scan_warnings"]

#: Dice overlap with the template's brain and normalized mutual information of two images.
_LEAST_DICE, _LEAST_INFORMATION = 0.85, 1.05


@dataclass(frozen=True)
class _Explained:
    """A number: what it is called, what it means, and between which values it is as expected."""

    name: str
    words: str
    lowest: float | None = None
    highest: float | None = None
    unit: str = ""


_EXPLAINED = {
    "rmse_brain": _Explained(
        "Change inside the brain",
        "Typical size of the change, as a fraction of the scan's brightest tissue. Large means "
        "that the two sites differ much in brightness or contrast, or that something went wrong.",
        highest=0.25,
    ),
    "ssim_brain": _Explained(
        "Structure kept (SSIM)",
        "How alike source and harmonized are in small neighbourhoods; 1 is equal. A change of "
        "contrast or noise lowers it as well, moved or lost edges lower it more.",
        lowest=0.75,
    ),
    "ms_ssim_brain": _Explained(
        "Structure kept at all scales (MS-SSIM)",
        "The same from fine to coarse; 1 is equal.",
        lowest=0.80,
    ),
    "psnr_brain_db": _Explained(
        "Likeness to the source (PSNR)",
        "The change once more, in decibels: higher is more alike. A strong site effect makes it "
        "low without any fault.",
        unit="dB",
    ),
    "wasserstein_source": _Explained(
        "Distance to the target before",
        "How far brain intensities lie from those of the target site, on average, as a fraction "
        "of the scan's brightest tissue.",
    ),
    "wasserstein_harmonized": _Explained(
        "Distance to the target after", "The same after harmonization; it should have fallen."
    ),
    "change_outside_mask_share": _Explained(
        "Change outside the brain",
        "Share of all change that lies in the head outside the brain mask. There the intensity "
        "map of the brain is continued, so that the head stays whole.",
    ),
    "contrast_kept_gray_white": _Explained(
        "Contrast of grey to white matter, after over before",
        "1 is unchanged. Sites differ in it, so that other values are right where the sites are "
        "known to differ; far below 1 the scan has lost contrast.",
        *EDGE_BOUNDS,
    ),
    "contrast_kept_gray_csf": _Explained(
        "Contrast of grey matter to CSF, after over before", "The same.", *EDGE_BOUNDS
    ),
    "contrast_kept_above_white": _Explained(
        "Contrast of what is brighter than the tissues, after over before",
        "Lesions lie there in T2w and FLAIR. 1 is unchanged; far below 1 they fade.",
        *BRIGHT_BOUNDS,
    ),
    "nyquist_share": _Explained(
        "Checkerboard pattern",
        "Share of the change at the finest pattern that voxels can show. Networks that go wrong "
        "leave such patterns.",
        highest=0.05,
    ),
    "round_trip_error": _Explained(
        "Error of the network's way there and back",
        "Without modulation the network gives back its input; this is the largest deviation, "
        "rounding alone.",
        highest=1e-4,
    ),
}


@dataclass(frozen=True)
class Finding:
    """One number as the page shows it.

    Attributes
    ----------
    name, value, words : str
    threshold : str
        Such as "at most 0.25"; empty where there is none.
    beyond : bool
        The value is beyond the threshold.
    """

    name: str
    value: str
    words: str
    threshold: str = ""
    beyond: bool = False


def quality_findings(
    sidecar: Mapping[str, Any],
    transform: Mapping[str, Any],
    described: Mapping[str, Any],
) -> tuple[list[Finding], list[Finding]]:
    """Explain the numbers in the sidecars of a harmonized image and of its transform.

    Parameters
    ----------
    sidecar, transform : mapping
    described : mapping
        Descriptions of the columns of ``scans.tsv``, for numbers that are not explained here.

    Returns
    -------
    explained, others : list of Finding
        None and texts are left out.
    """
    told = {**part(sidecar, "HarmonizationQuality"), **part(sidecar, "DiffusionQuality")}
    quality = {key: value for key, value in told.items() if _is_number(value)}
    before = quality.get("wasserstein_source")
    same = part(sidecar, "HarmonizationQuality").get("same_site") is True
    findings = []
    for key, explained in _EXPLAINED.items():
        highest = explained.highest
        if key == "wasserstein_harmonized":
            highest = before
        elif key == "rmse_brain" and same:
            highest = 0.0
        if key in quality:
            findings.append(_finding(explained, quality[key], explained.lowest, highest))
    score = sidecar.get("OutOfDistributionScore")
    if _is_number(score):
        words = "How unlike the scan is to all that the model was trained on; about 1 is usual."
        findings.append(_finding(_Explained("Novelty for the model", words), score, None, UNUSUAL))
    similarity = transform.get("RegistrationSimilarity")
    if _is_number(similarity):
        # A Dice overlap is at most 1, a normalized mutual information at least 1.
        dice = similarity <= 1
        words = (
            "Overlap (Dice) of the brain mask with the template's brain after registration."
            if dice
            else "Normalized mutual information with the image it was registered to (1 to 2)."
        )
        lowest = _LEAST_DICE if dice else _LEAST_INFORMATION
        findings.append(_finding(_Explained("Registration", words), similarity, lowest, None))
    return findings, [
        _finding(_Explained(key, _description(described, key)), value, None, None)
        for key, value in quality.items()
        if key not in _EXPLAINED
    ]


def scan_warnings(sidecar: Mapping[str, Any], mask: Mapping[str, Any]) -> list[str]:
    """What a reader must know before trusting an image, in sentences; what to do at their end."""
    source = part(sidecar, "HarmonizationSource")
    told = [
        f"Statements about the site contradict each other: {text}. Taken: {source.get('Site')}. "
        "Name the right site with --source-site or --site-map if this is wrong."
        for text in _texts(source.get("Contradictions"))
    ]
    if isinstance(left := sidecar.get("LeftAsItIs"), str):
        told.append(f"The scan was left as it is. {left}. --on-ood warn writes it regardless.")
    if other := part(sidecar, "ShellsWithoutEqual"):
        done, left = (", ".join(_texts(other.get(k))) or "nothing" for k in ("Done", "NotDone"))
        told.append(f"{other.get('Note')} Done: {done}. Left as it was: {left}.")
    score = sidecar.get("OutOfDistributionScore")
    if _is_number(score) and score > UNUSUAL:
        told.append(
            f"The scan is unlike all that the model was trained on (score {score:.2f}, usual up "
            f"to {UNUSUAL:g}). Look at the image, its mask and its modality before using it."
        )
    clipped = part(sidecar, "IntensityTransform").get("ClippedVoxels")
    if _is_number(clipped) and clipped > 0:
        told.append(
            f"{clipped:g} voxels did not fit the integer type of the scan and were cut off at its "
            "end. Look for flat bright spots."
        )
    if mask.get("MaskKind") == "template":
        told.append(
            "There was no T1w scan of this person: the brain mask is that of the template. Look "
            "at its outline, or give a mask with --derivatives."
        )
    sites = {"Source": source.get("Site"), "Target": sidecar.get("HarmonizationTarget")}
    evidence = part(sidecar, "SiteEvidence")
    for role, site in sites.items():
        few = evidence.get(f"{role}People")
        # One person who was at both sites is worth as many.
        if _is_number(few) and 0 < few < ENOUGH_PEOPLE and not evidence.get("SamePerson"):
            told.append(
                f"The profile of {site or f'the {role.lower()} site'} was made from scans of "
                f"{few:g} {'people' if few > 1 else 'person'}; with {ENOUGH_PEOPLE} it is "
                "steady. Give more scans of that site if there are any."
            )
    return told


def _finding(
    explained: _Explained, value: float, lowest: float | None, highest: float | None
) -> Finding:
    bounds = [f"at least {lowest:.3g}"] if lowest is not None else []
    bounds += [f"at most {highest:.3g}"] if highest is not None else []
    beyond = (lowest is not None and value < lowest) or (highest is not None and value > highest)
    shown = f"{value:.1f}" if explained.unit == "dB" else f"{value:.3g}"
    return Finding(
        explained.name,
        f"{shown} {explained.unit}".strip(),
        explained.words,
        " and ".join(bounds),
        beyond,
    )


def _description(described: Mapping[str, Any], key: str) -> str:
    column = part(described, key)
    words, units = str(column.get("Description", "")), column.get("Units")
    return f"{words} [{units}]" if units else words


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _texts(value: Any) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []
