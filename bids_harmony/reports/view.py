"""A page to turn and slice images in three dimensions, before beside after, without network.

NiiVue draws them. It is no part of this package: ``make niivue`` fetches it, and the page gets a
copy. Research software, not for diagnosis.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony.bids.derivative import write_text
from bids_harmony.bids.naming import report_path
from bids_harmony.bids.run_records import RunRecord, Unit
from bids_harmony.bids.scan_records import ScanRecord, read_scans
from bids_harmony.exceptions import MissingInput
from bids_harmony.imaging.volume import Volume, read_volume
from bids_harmony.reports.page import filled

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["VIEW_BYTES", "read_niivue", "write_view_page"]

#: Of all images of a page together.
VIEW_BYTES = 16_000_000
_PROGRAM = "niivue.umd.js"
#: Spacings in mm, tried in this order until the images fit.
_LADDER = (1.0, 1.5, 2.0, 3.0, 4.0)
#: Grey values kept of an image: more than a screen shows.
_LEVELS = 1000


def read_niivue(folder: Path) -> str:
    """Text of the viewer's program.

    Parameters
    ----------
    folder : Path
        As ``make niivue`` leaves it.

    Raises
    ------
    MissingInput
        When it is not there.
    """
    path = Path(folder) / _PROGRAM
    if not path.is_file():
        raise MissingInput(
            "The viewer NiiVue is not there",
            where=f"--report-3d {folder}",
            expected=f"a folder with {_PROGRAM}",
            hint="`make niivue` fetches it into build/niivue (needs npm); it is no part of this "
            "package.",
        )
    return path.read_text(encoding="utf-8")


def write_view_page(
    output_dir: Path,
    bids_dir: Path,
    unit: Unit,
    runs: Sequence[RunRecord],
    niivue: Path,
    *,
    level: str = "root",
) -> Path | None:
    """Write ``sub-X[_ses-Y]_view.html`` beside the page of a unit.

    Parameters
    ----------
    output_dir, bids_dir : Path
    unit : Unit
    runs : sequence of RunRecord
    niivue : Path
        Folder of the viewer.
    level : {"root", "subject", "session"}
        Folder of the page, as in ``--report-output-level``.

    Returns
    -------
    Path or None
        None without structural images.

    Raises
    ------
    MissingInput
        When the viewer or a source image is not there.
    """
    program = read_niivue(niivue)
    scans = [scan for scan in read_scans(output_dir, unit, runs) if scan.modality != "dwi"]
    if not scans:
        return None
    text = filled(
        "view.html",
        unit=unit.label,
        program=program,
        scans=_embedded(scans, bids_dir),
        labels=[scan.label for scan in scans],
    )
    page = report_path(output_dir, unit.subject, unit.session, level=level)
    path = page.with_name(f"{page.stem}_view.html")
    write_text(path, text)
    return path


def _embedded(scans: Sequence[ScanRecord], bids_dir: Path) -> str:
    """Images before and after as JSON, as fine as there is room."""
    pairs = [(read_volume(_source(scan, bids_dir)), read_volume(scan.image)) for scan in scans]
    text = ""
    for spacing in _LADDER:
        shown = [
            {"before": _nifti(before, top, spacing), "after": _nifti(after, top, spacing)}
            for before, after in pairs
            if (top := float(max(np.percentile(v.data, 99.8) for v in (before, after))) or 1.0)
        ]
        text = json.dumps(shown)
        if len(text) <= VIEW_BYTES:
            break
    return text


def _source(scan: ScanRecord, bids_dir: Path) -> Path:
    uri = str(next(iter(scan.sidecar.get("Sources", [])), ""))
    path = bids_dir / uri.removeprefix("bids:").partition(":")[2]
    if not path.is_file():
        raise MissingInput(
            "The image before harmonization is not there", where=str(path), expected=scan.label
        )
    return path


def _nifti(volume: Volume, top: float, spacing: float) -> str:
    """An image in blocks of about `spacing` mm as NIfTI in base64; `top` becomes `_LEVELS`."""
    import nibabel as nib
    from skimage.measure import block_reduce

    block = np.maximum(np.floor(spacing / np.array(volume.voxel_mm) + 1e-3), 1).astype(int)
    # Whole blocks only: filled up with zeros, the last would be dark.
    whole = tuple(slice(0, n // b * b) for n, b in zip(volume.data.shape, block, strict=True))
    means: NDArray = block_reduce(volume.data[whole], tuple(block), np.mean)
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ ((block - 1) / 2)
    affine[:3, :3] = volume.affine[:3, :3] * block
    grey = np.clip(np.rint(means / top * _LEVELS), -_LEVELS, 2 * _LEVELS).astype(np.int16)
    content = nib.Nifti1Image(grey, affine).to_bytes()
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
