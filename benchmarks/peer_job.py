"""One job of another program, as its documentation tells to run it; a part of `peers`.

    python benchmarks/peer_job.py JOB FOLDER

Run by an interpreter that has that program, and not necessarily bids_harmony. The folder holds
``scan.nii.gz``, ``mask.nii.gz``, ``target.nii.gz`` and ``target_mask.nii.gz``, or what the job
says; the result goes into it. It stands alone so that its imports are those of the peer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAPS_PER_SITE = 20


def individual(method: str, folder: Path) -> None:
    """intensity-normalization, of a scan alone."""
    import nibabel as nib
    from intensity_normalization import normalize_image

    scan, mask = (nib.load(folder / f"{name}.nii.gz") for name in ("scan", "mask"))
    save(normalize_image(scan, method=method, mask=mask).get_data(), folder / f"{method}.nii.gz")


def nyul(folder: Path) -> None:
    """intensity-normalization, landmarks of both scans."""
    import nibabel as nib
    from intensity_normalization import NyulNormalizer, create_image

    scan, mask, target, target_mask = (
        create_image(nib.load(folder / f"{name}.nii.gz"))
        for name in ("scan", "mask", "target", "target_mask")
    )
    normalizer = NyulNormalizer()
    normalizer.fit_population([scan, target], [mask, target_mask])
    save(normalizer.transform(scan, mask).get_data(), folder / "nyul.nii.gz")


def save(data: Any, path: Path) -> None:
    """Write an image on the grid of the scan; the package leaves that to its users."""
    import nibabel as nib

    affine = nib.load(path.parent / "scan.nii.gz").affine
    nib.save(nib.Nifti1Image(data.astype("float32"), affine), path)


def ants_histogram(folder: Path) -> None:
    import ants

    scan, target = (ants.image_read(str(folder / f"{n}.nii.gz")) for n in ("scan", "target"))
    ants.image_write(ants.histogram_match_image(scan, target), str(folder / "matched.nii.gz"))


def ants_n4(folder: Path) -> None:
    import ants

    scan, mask = (ants.image_read(str(folder / f"{n}.nii.gz")) for n in ("scan", "mask"))
    ants.image_write(ants.n4_bias_field_correction(scan, mask=mask), str(folder / "n4.nii.gz"))


def combat(folder: Path) -> None:
    """neuroCombat on the voxels inside the mask of simulated maps of two sites."""
    import nibabel as nib
    import numpy as np
    import pandas as pd
    from neuroCombat import neuroCombat

    mask = nib.load(folder / "mask.nii.gz").get_fdata() > 0
    rng = np.random.default_rng(0)
    site = np.repeat([0, 1], MAPS_PER_SITE)
    maps = rng.normal(0.4, 0.1, (mask.sum(), site.size)) + 0.05 * site
    covariates = pd.DataFrame({"site": site, "age": rng.uniform(20, 80, site.size)})
    found = neuroCombat(maps, covariates, "site", continuous_cols=["age"])["data"]
    np.save(folder / "combat.npy", found.astype(np.float32))


def dictionary(folder: Path) -> None:
    """dmri-harmonization with its own two commands and its own settings but for the names."""
    programs = Path(sys.executable).parent
    settings = folder / "settings.yaml"
    subprocess.run([programs / "harmonization_get_global_D", "write", settings], check=True)
    text = settings.read_text()
    for line in text.splitlines():
        name = line.partition(":")[0]
        if name in (new := {
            "path": folder / "series", "outpath": folder / "made",
            "outfilename": folder / "dictionary.npy", "dataname": "dwi.nii.gz",
            "bval": "dwi.bvals", "bvec": "dwi.bvecs", "maskname": "dwi_brain_mask.nii.gz",
            "glob": False,
        }):  # fmt: skip
            text = text.replace(line, f"{name}: {new[name]}", 1)
    settings.write_text(text)
    (folder / "made").mkdir()
    for program in ("harmonization_get_global_D", "harmonization_harmonize_my_data"):
        subprocess.run([programs / program, settings], check=True)


JOBS: dict[str, Callable[[Path], None]] = {
    "fcm": lambda folder: individual("fcm", folder),
    "whitestripe": lambda folder: individual("whitestripe", folder),
    "nyul": nyul,
    "ants-histogram": ants_histogram,
    "ants-n4": ants_n4,
    "combat": combat,
    "dictionary": dictionary,
}

if __name__ == "__main__":
    JOBS[sys.argv[1]](Path(sys.argv[2]))
