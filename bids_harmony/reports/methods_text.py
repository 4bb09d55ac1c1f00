"""What was done, in sentences that a methods section can take over, with citations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony import __version__
from bids_harmony.bids.derivative import write_text
from bids_harmony.bids.scan_records import part
from bids_harmony.imaging.reference import REFERENCE
from bids_harmony.methods.registry import REGISTRY
from bids_harmony.reports.bibliography import Reference, bibtex, references

if TYPE_CHECKING:
    from bids_harmony.bids.scan_records import ScanRecord
    from bids_harmony.settings import Settings

__all__ = [
    "Done",
    "MethodsText",
    "done_by_scans",
    "group_methods_text",
    "methods_text",
    "planned",
    "write_citation",
]

_CITED = re.compile(r"\[@([\w, @]+)\]")

_MASKS = {
    "deepbet": "The brain was extracted by deepbet [@deepbet], from T1w scans and from scans of "
    "persons without one.",
    "skull-stripped": "Scans that came without a skull were masked by their own foreground.",
    "given": "Brain masks were taken from earlier derivatives.",
    "T1w": "Scans of other contrasts took the brain mask of the same person's T1w scan.",
    "person": "Sessions of one person were registered rigidly to their mean image, which was "
    "registered to the template [@within]; they share one brain mask, that of "
    "most of them (deepbet [@deepbet], or given).",
    "template": "Scans of persons without a T1w scan took the brain mask of the template.",
}


_DWI_MODES = {
    "rish": "the mean b=0 as an image; the shells by the strength of the gradients, as free water "
    "shows it, by the noise of repeated volumes, and by levels of rotation-invariant features of "
    "spherical harmonics [@rish] as far as sites differ by more than people do",
    "attenuation": "the mean b=0 as an image, the attenuation of each shell from the quantiles of "
    "the site to those of the target",
    "volume": "each volume as an image",
}


_FITS = {
    "tensor": "Tensors were fitted with DIPY [@dipy].",
    "noddi": "Where the scheme allows it, NODDI [@noddi] was fitted with AMICO [@amico].",
    "force": "FORCE [@force] was fitted with DIPY [@dipy].",
}


@dataclass(frozen=True)
class Done:
    """What a methods text depends on.

    Attributes
    ----------
    methods, targets, modalities, masks : tuple of str
        Names as in sidecars; `masks` are kinds of `imaging.mask.BrainMask`.
    version : str
        Of this package.
    dwi_modes : tuple of str
        Ways in which diffusion series were harmonized.
    n4, sloppy : bool
    fits : tuple of str
        Of ``--dwi-fits``: models that were asked for.
    profile_filters : tuple of str
        Queries that the people fit who show the sites.
    means : tuple of str
        Names of the sites whose mean is the target, one text for each such mean.
    """

    methods: tuple[str, ...]
    targets: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    masks: tuple[str, ...] = tuple(_MASKS)
    version: str = __version__
    dwi_modes: tuple[str, ...] = ()
    n4: bool = False
    sloppy: bool = False
    fits: tuple[str, ...] = ("tensor", "noddi")
    profile_filters: tuple[str, ...] = ()
    means: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodsText:
    """Paragraphs with ``[@key]`` marks, and the articles that they cite in that order."""

    paragraphs: tuple[str, ...]
    references: tuple[Reference, ...] = field(default=())

    def plain(self) -> list[str]:
        """Paragraphs with authors and years in place of the marks."""
        return [_CITED.sub(_short, text) for text in self.paragraphs]

    def markdown(self) -> str:
        """The whole as the text of ``CITATION.md``."""
        lines = ["# Methods", ""]
        for text in self.plain():
            lines += [text, ""]
        lines += ["## References", ""]
        lines += [f"* {r.full} {r.address}".rstrip() for r in self.references]
        return "\n".join(lines) + "\n"


def methods_text(done: Done) -> MethodsText:
    """Describe what was done.

    Parameters
    ----------
    done : Done

    Returns
    -------
    MethodsText
    """
    images = [m for m in done.modalities if m != "dwi"]
    target = " and ".join(done.targets) or "the target site"
    kinds = ", ".join(images) or "Structural"
    paragraphs = [
        f"Scans were harmonized by bids_harmony {done.version} (research software), a BIDS App "
        "[@bids, @bids_apps] built on Nipype [@nipype] and PyBIDS [@pybids].",
        " ".join(_MASKS[kind] for kind in _MASKS if kind in done.masks),
        "Each scan was registered, rigidly and then with twelve parameters, to the ICBM 152 2009a "
        f"symmetric template [@icbm152] ({REFERENCE}, through nilearn [@nilearn]) by ANTs "
        "[@ants]; "
        "scans of other contrasts went through the same person's T1w scan where there was one."
        + (" Registration was coarse (--sloppy): not for results." if done.sloppy else "")
        + (" Smooth fields were divided out beforehand (N4 [@n4])." if done.n4 else ""),
    ]
    if images or "dwi" not in done.modalities:
        paragraphs += [
            f"{kinds} scans were harmonized to the site {target} (method {method}): "
            f"{_sentence(method)}. Only the change "
            "was interpolated back to the scan's own grid and added to its voxels, so that no "
            "anatomy was resampled. Outside the brain, the intensity map that best explains the "
            "change inside was applied."
            for method in done.methods
        ]
    paragraphs += [
        f"The target is no site, but the mean of {sites}: each counts once, however many people "
        "show it."
        for sites in done.means
    ]
    paragraphs += [
        "How sites look was learnt from people with "
        f"{query} (columns of participants.tsv and sessions.tsv), and applied to all."
        for query in done.profile_filters
    ]
    if "dwi" in done.modalities:
        paragraphs += [
            f"Diffusion series were harmonized to the site {target} with one scale per series: "
            f"{_DWI_MODES[mode]}. b-values and directions were not changed."
            + "".join(f" {words}" for name, words in _FITS.items() if name in done.fits)
            for mode in done.dwi_modes
            if mode in _DWI_MODES
        ]
    paragraphs.append(
        "Harmonized images were compared with their sources by structural similarity [@ssim], "
        "also at several scales [@ms_ssim], and with the target site by the Wasserstein distance "
        "of brain intensities."
    )
    return _cited([text for text in paragraphs if text])


def group_methods_text() -> MethodsText:
    """Describe how a cohort was measured."""
    return _cited(
        [
            "Each measure of a scan was explained by its site and by covariates that can be told "
            "from the site; where people were scanned at several sites, they entered as blocks. "
            "Given is the partial omega squared of the site, with an interval of the partial eta "
            "squared from the noncentral F distribution [@steiger]. Beside the harmonized images "
            "stands what ComBat [@combat, @combat_mri] makes of the same measures of the source.",
            "The share of a covariate's effect that is left is the ratio of its slopes within "
            "sites after and before, with the interval of Fieller [@fieller]. Agreement of "
            "travelling subjects is the intraclass correlation ICC(2,1) [@icc].",
            "A classifier (logistic regression or a support vector machine, whichever found more) "
            "was trained anew on each kind of image to tell the site, cross-validated by "
            "participant. Controls are the raw intensities, the source after registration and "
            "scaling, a blurred copy, and the shape of the brain mask alone, which no change of "
            "intensities can take back.",
            "Travelling subjects' scans were compared with the same person's scan at the target "
            "site on the reference grid, by RMSE, PSNR, MS-SSIM [@ms_ssim] and, where its weights "
            "are installed, shift-tolerant LPIPS [@lpips, @st_lpips].",
        ]
    )


def planned(settings: Settings) -> Done:
    """What a run with these settings would do, as far as they tell."""
    never = set() if settings.derivatives else {"given"}
    if settings.mask_without_t1w != "template" and not settings.longitudinal:
        never.add("template")
    masks = tuple(kind for kind in _MASKS if kind not in never)
    return Done(
        masks=masks,
        methods=(settings.method,),
        targets=(settings.target_site,) if settings.target_site else (),
        modalities=settings.modalities,
        dwi_modes=(settings.dwi_mode,),
        n4=settings.n4,
        sloppy=settings.sloppy,
        fits=settings.dwi_fits,
        profile_filters=(settings.profile_filter,) if settings.profile_filter else (),
        means=("all sites of the dataset",) if settings.to_mean else (),
    )


def done_by_scans(scans: Iterable[ScanRecord]) -> Done:
    """What was done to scans, from their sidecars and the settings of the runs that made them."""
    scans = list(scans)
    asked: list[Mapping[str, Any]] = [scan.run.settings for scan in scans if scan.run]
    versions = _values(scan.run.provenance.get("version") for scan in scans if scan.run)
    return Done(
        methods=_values(scan.sidecar.get("HarmonizationMethod") for scan in scans),
        targets=_values(scan.sidecar.get("HarmonizationTarget") for scan in scans),
        modalities=_values(scan.modality for scan in scans),
        dwi_modes=_values(scan.sidecar.get("DiffusionMode") for scan in scans),
        masks=_values(scan.mask.get("MaskKind") for scan in scans),
        version=" and ".join(versions) or __version__,
        n4=any(settings.get("n4") is True for settings in asked),
        sloppy=any(settings.get("sloppy") is True for settings in asked),
        fits=_values(
            name for settings in asked for name in settings.get("dwi_fits", ("tensor", "noddi"))
        ),
        profile_filters=_values(scan.sidecar.get("ProfileFilter") for scan in scans),
        means=_values(_mean_sites(scan.sidecar) for scan in scans),
    )


def _mean_sites(sidecar: Mapping[str, Any]) -> str:
    sites = part(part(sidecar, "SiteEvidence"), "TargetIsMeanOf")
    return f"the sites {', '.join(map(str, sites))}" if sites else ""


def write_citation(output_dir: Path, done: Done) -> Path:
    """Write ``logs/CITATION.md`` and ``logs/CITATION.bib``; returns the first."""
    text = methods_text(done)
    folder = Path(output_dir) / "logs"
    write_text(folder / "CITATION.bib", bibtex(r.key for r in text.references))
    write_text(folder / "CITATION.md", text.markdown())
    return folder / "CITATION.md"


def _cited(paragraphs: Sequence[str]) -> MethodsText:
    """The paragraphs with the articles that they cite."""
    keys = [key for text in paragraphs for mark in _CITED.findall(text) for key in _keys(mark)]
    return MethodsText(tuple(paragraphs), tuple(references(keys)))


def _sentence(method: str) -> str:
    """What a method does; sidecars may name one of another version."""
    known = REGISTRY.get(method)
    return known.sentence if known else "see the documentation of this method"


def _values(found: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value) for value in found if value))


def _keys(mark: str) -> list[str]:
    return [key.strip(" @") for key in mark.split(",")]


def _short(mark: re.Match[str]) -> str:
    return "(" + "; ".join(r.short for r in references(_keys(mark[1]))) + ")"
