"""A field of known tensors as a series with FSL's gradient files, and what MRtrix3 makes of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from lab.diffusion_cohort import fsl_directions
from lab.diffusion_scanner import spread_directions

__all__ = [
    "MRTRIX_COMMANDS",
    "TensorField",
    "make_tensor_field",
    "mrtrix_maps",
    "mrtrix_missing",
    "mrtrix_version",
    "oblique_affine",
    "write_tensor_series",
]

Array = np.ndarray

MRTRIX_COMMANDS = ("dwi2tensor", "tensor2metric")
VOXEL_MM = (2.0, 2.2, 2.7)
B_VALUE, DIRECTIONS, B0_VOLUMES, S0 = 1000.0, 30, 4, 1000.0


@dataclass(frozen=True, eq=False)
class TensorField:
    """Tensors of which all is known.

    Attributes
    ----------
    values : (X, Y, Z, 3) float
        Diffusivities, mm2/s, descending.
    axes : (X, Y, Z, 3, 3) float
        Their directions as columns, scanner RAS+.
    """

    values: Array
    axes: Array

    @property
    def tensors(self) -> Array:
        """(X, Y, Z, 3, 3), mm2/s, scanner RAS+."""
        return np.einsum("...ik,...k,...jk->...ij", self.axes, self.values, self.axes)

    @property
    def maps(self) -> dict[str, Array]:
        """True ``fa``, ``md``, ``ad`` and ``rd`` (Basser and Pierpaoli 1996), and ``v1`` RAS+."""
        mean = self.values.mean(axis=-1)
        spread = np.square(self.values - mean[..., None]).sum(axis=-1)
        return {
            "fa": np.sqrt(1.5 * spread / np.square(self.values).sum(axis=-1)),
            "md": mean,
            "ad": self.values[..., 0],
            "rd": self.values[..., 1:].mean(axis=-1),
            "v1": self.axes[..., 0],
        }


def make_tensor_field(shape: tuple[int, int, int], rng: np.random.Generator) -> TensorField:
    """Draw tensors whose main direction is clear: the largest diffusivity is 1.3 x the next."""
    values = np.sort(rng.uniform(2e-4, 1.2e-3, (*shape, 3)))[..., ::-1].copy()
    values[..., 0] = values[..., 1] * rng.uniform(1.3, 3.0, shape)
    axes = Rotation.random(int(np.prod(shape)), random_state=rng).as_matrix()
    return TensorField(values, axes.reshape(*shape, 3, 3))


def oblique_affine(codes: str) -> Array:
    """Voxels to RAS+ mm of a grid that is turned about all three axes.

    Parameters
    ----------
    codes : str
        Where the voxel axes point before the turn, as ``LAS``.
    """
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(tuple(codes)), (1, 1, 1))
    turn = Rotation.from_euler("xyz", [17, -12, 24], degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.linalg.inv(affine[:3, :3]) * VOXEL_MM
    affine[:3, 3] = [-11, 7, 23]
    return np.asarray(affine)


def write_tensor_series(
    folder: Path,
    field: TensorField,
    affine: Array,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
) -> dict[str, str]:
    """Write what a scanner would take of the field.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    field : TensorField
    affine : (4, 4) float
        Voxels to RAS+ mm.
    rng : numpy.random.Generator
    noise : float
        Standard deviation of real and imaginary part as a share of the signal at b=0.

    Returns
    -------
    dict
        ``in_file``, ``bval_file``, ``bvec_file`` and ``mask_file``, as `FitTensor` takes them.
    """
    world = np.concatenate([np.zeros((B0_VOLUMES, 3)), spread_directions(DIRECTIONS, rng)])
    b_values = np.where(world.any(axis=1), B_VALUE, 0.0)
    along = np.einsum("ni,...ij,nj->...n", world, field.tensors, world)
    signal = S0 * np.exp(-b_values * along)
    if noise:
        errors = noise * S0 * rng.standard_normal((2, *signal.shape))
        signal = np.hypot(signal + errors[0], errors[1])
    folder.mkdir(parents=True, exist_ok=True)
    ends = {"in": ".nii.gz", "bval": ".bval", "bvec": ".bvec", "mask": "_mask.nii.gz"}
    files = {f"{kind}_file": str(folder / f"dwi{end}") for kind, end in ends.items()}
    nib.save(nib.Nifti1Image(signal.astype(np.float32), affine), files["in_file"])
    whole = np.ones(signal.shape[:3], np.uint8)
    nib.save(nib.Nifti1Image(whole, affine), files["mask_file"])
    np.savetxt(files["bval_file"], b_values[None], fmt="%g")
    np.savetxt(files["bvec_file"], fsl_directions(world, affine).T, fmt="%.9f")
    return files


def mrtrix_missing() -> str:
    """Why MRtrix3 cannot be asked; empty where it can."""
    missing = [name for name in MRTRIX_COMMANDS if shutil.which(name) is None]
    return f"needs MRtrix3: no {' and '.join(missing)} on PATH" if missing else ""


def mrtrix_version() -> str:
    """As `dwi2tensor` tells it."""
    told = subprocess.check_output(["dwi2tensor", "-version"], text=True)
    return told.split("==")[1].split()[1]


def mrtrix_maps(
    files: dict[str, str], folder: Path, options: Sequence[str] = ()
) -> dict[str, Array]:
    """Maps of a series by MRtrix3, in the voxel order of the series' file.

    Parameters
    ----------
    files : dict
        As `write_tensor_series` gives them.
    folder : Path
        For MRtrix3's files; there already.
    options : sequence of str
        Of ``dwi2tensor``.

    Returns
    -------
    dict
        ``fa``, ``md``, ``ad`` and ``rd``, and ``v1`` as MRtrix3 has it: scanner RAS+.
    """
    tensor = str(folder / "tensor.mif")
    names = {"fa": "-fa", "md": "-adc", "ad": "-ad", "rd": "-rd", "v1": "-vector"}
    paths = {name: folder / f"mrtrix_{name}.nii" for name in names}
    quiet = ["-quiet", "-force", "-nthreads", "0"]
    gradients = ["-fslgrad", files["bvec_file"], files["bval_file"]]
    subprocess.run(
        ["dwi2tensor", *quiet, *options, *gradients, files["in_file"], tensor], check=True
    )
    wanted = [word for name, option in names.items() for word in (option, str(paths[name]))]
    subprocess.run(["tensor2metric", *quiet, "-modulate", "none", *wanted, tensor], check=True)
    affine = nib.Nifti1Image.from_filename(files["in_file"]).affine
    maps = {}
    for name, path in paths.items():
        image = nib.Nifti1Image.from_filename(path)
        if not np.allclose(image.affine, affine, atol=1e-4):
            raise ValueError(f"{path.name} does not lie as the series does")
        maps[name] = image.get_fdata()
    return maps
