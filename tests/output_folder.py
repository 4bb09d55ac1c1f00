"""An output folder as runs leave it: two images, a diffusion series, a failure and logs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

KINDS = ("before", "after", "target", "change", "densities", "mask", "registration")
HOSTILE = "<script>alert(1)</script>"


def draw(path: Path, seed: int = 0) -> None:
    """A picture that does not compress."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (60, 180, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def pixels(path: Path) -> np.ndarray:
    """Pixels of a picture, (rows, columns, 3) from 0 to 1."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float64) / 255


def write(path: Path, record: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record))


DIFFUSION = {"DiffusionMode": "rish", "DiffusionQuality": {"fa_wm_median_source": 0.4567}}


def add_scan(out: Path, suffix: str, *, site: str = "GE", folder: str = "anat", **changes) -> Path:
    """Sidecars and pictures of one harmonized scan of ``sub-01_ses-A``; gives the sidecar."""
    unit = out / "sub-01" / "ses-A" / folder
    kind = "" if suffix in ("T1w", "dwi") else suffix
    mask, xfm = f"sub-01_ses-A_desc-brain{kind}_mask", f"sub-01_ses-A_from-{suffix}_to-MNI_xfm"
    write(unit / f"{mask}.json", {"MaskKind": "deepbet"})
    write(unit / f"{xfm}.json", {"RegistrationSimilarity": 0.93})
    stem = f"sub-01_ses-A_desc-harmonizedCOI_{suffix}"
    record = {
        "Sources": [
            f"bids:raw:sub-01/ses-A/{folder}/sub-01_ses-A_{suffix}.nii.gz",
            f"bids::sub-01/ses-A/{folder}/{mask}.nii.gz",
            f"bids::sub-01/ses-A/{folder}/{xfm}.txt",
        ],
        "HarmonizationMethod": "ihf",
        "HarmonizationTarget": "COI",
        "HarmonizationSource": {
            "Site": site, "Vendor": "GE", "Model": "Signa", "MagneticFieldStrength": 3,
            "Evidence": "InstitutionName", "Candidates": {"InstitutionName": site},
        },
        "OutOfDistributionScore": 1.1,
        "HarmonizationQuality": {
            "rmse_brain": 0.1, "ssim_brain": 0.9, "psnr_brain_db": 20.0, "psnr_whole_db": None,
            "wasserstein_source": 0.08, "wasserstein_harmonized": 0.02, "b_scale": 1.02,
            "same_site": False,
        },
        **(DIFFUSION if suffix == "dwi" else {}),
        **changes,
    }  # fmt: skip
    write(unit / f"{stem}.json", record)
    write(unit / f"{stem}.nii.gz", "")
    for seed, picture in enumerate(KINDS if suffix != "dwi" else ("maps",)):
        draw(out / "sub-01" / "figures" / f"{stem}_{picture}.png", seed)
    return unit / f"{stem}.json"


def add_run(out: Path, name: str, scans: dict, *, level: str = "participant") -> None:
    """Logs of one run; names sort as the runs follow each other."""
    write(out / "logs" / name / "status.json", {"run_id": name, "started": name, "scans": scans})
    write(
        out / "logs" / name / "settings.toml",
        f'analysis_level = "{level}"\ntarget_site = "COI"\nmethod = "ihf"\n[provenance]\n'
        'version = "9.8.7"\npython = "3.11"\n[provenance.software]\nnumpy = "2.3.5"\n',
    )


@pytest.fixture
def out(tmp_path) -> Path:
    """Written by two runs: the second failed on the FLAIR."""
    out = tmp_path / "out"
    add_scan(out, "T1w", site=HOSTILE)
    add_scan(out, "T2w")
    add_scan(out, "dwi", folder="dwi")
    columns = {"b_scale": {"Description": "Strength of the gradients", "Units": "1"}}
    write(out / "sub-01/ses-A/sub-01_ses-A_scans.json", columns)
    done = {f"sub-01_ses-A_{s}": {"state": "done", "exit_code": 0} for s in ("T1w", "T2w", "dwi")}
    add_run(out, "run1", done)
    failure = {"state": "failed", "error": "DataError", "exit_code": 65}
    message = f"The scan is empty [{HOSTILE}] Look at the scan."
    flair = {"sub-01_ses-A_FLAIR": failure | {"message": message}}
    skipped = {label: {"state": "skipped"} for label in done}
    add_run(out, "run2", skipped | flair)
    return out
