"""People made of whole-head label maps in FreeSurfer's numbers.

The labels become fractions of grey matter, white matter and CSF in reference space; deep nuclei
keep relaxation of their own. What a label map holds beyond the brain is not used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.resampling import resample_to_grid
from bids_harmony.imaging.volume import from_image, read_volume
from bids_harmony.phantom.people import SourceMaps

__all__ = [
    "LabelMap",
    "align_labels",
    "brain_tissues",
    "labels_to_maps",
    "read_label_map",
]

Array = np.ndarray

# Numbers of FreeSurferColorLUT.txt, left and right.
_CORTEX = (3, 42, 8, 47, 17, 53, 18, 54, *range(1000, 1036), *range(2000, 2036))
_LESION = (25, 57, 77, 78, 79, 80, 81, 82)
"""Lesions and hypointensities: nearer to grey than to white matter in T1 and T2."""
_WHITE = (2, 41, 7, 46, 16, 85, 192, *range(251, 256))
_VENTRICLES = (4, 43, 5, 44, 14, 15, 72, 31, 63, 30, 62, 136, 137, 163, 164)
"""With choroid plexus and perivascular spaces. SynthSeg's training maps call pieces of the lateral
ventricles 136, 137, 163 and 164."""
_CSF = (24,)
#: Label numbers, iron in mg per 100 g of fresh tissue (Hallgren and Sourander 1958) and T1
#: relative to the cortex. T1 is rounded: shorter than the cortex everywhere, shortest in the
#: pallidum. The accumbens takes the caudate's iron, the ventral diencephalon that of the
#: substantia nigra.
_NUCLEI: tuple[tuple[tuple[int, ...], float, float], ...] = (
    ((10, 49, 9, 48), 4.8, 0.86),  # thalamus
    ((11, 50), 9.3, 0.90),  # caudate
    ((12, 51), 13.3, 0.85),  # putamen
    ((13, 52), 21.3, 0.70),  # pallidum
    ((26, 58), 9.3, 0.92),  # accumbens
    ((28, 60), 18.5, 0.76),  # ventral diencephalon
)
_CORTEX_IRON = 2.9
_R2_AT_NO_IRON = 12.7
_R2_PER_IRON = 0.61
"""R2 in 1/s at 3 T: Gelman et al. 1999 (Radiology 210:759) give the intercept, 14.4 for the
prefrontal cortex and 25.8 for the pallidum; the slope follows."""

SULCUS_MM = 5.0
"""Half the width of the gaps that belong to the brain: sulci, fissures, the smaller cisterns."""
SHELL_MM = 1.0
"""Subarachnoid space outside the gyri; 2 mm all round would be 300 ml, more than people have."""
MARGIN_MM = 12.0
"""Border round the brain when the rest of the head is cut off."""
STAIRCASE_SIGMA = 0.5
"""Smoothing of the labels' edges, in their voxels."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A label map in RAS+ voxel order.

    Attributes
    ----------
    data : (X, Y, Z) int32
        FreeSurfer numbers.
    affine : (4, 4) float
        Voxel indices to RAS+ mm.
    name : str
        Tells the map from others; file name without extension.
    """

    data: Array
    affine: Array
    name: str

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Edges of a voxel in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def read_label_map(path: str | os.PathLike[str]) -> LabelMap:
    """Read a label map and check that it shows a brain in FreeSurfer's numbers.

    Parameters
    ----------
    path : path-like
        NIfTI; numbers as in FreeSurferColorLUT.txt. Numbers that are not of the brain are allowed.

    Returns
    -------
    LabelMap
        Cut to the brain.

    Raises
    ------
    ImageError
        The values are not whole numbers, or cortex or white matter is missing; and as
        `imaging.volume.read_volume`.
    """
    volume = read_volume(path)
    data = np.rint(volume.data).astype(np.int32)
    if not np.array_equal(data, volume.data):
        raise ImageError(
            "not a label map",
            where=str(path),
            expected="whole numbers",
            got=f"{volume.data[data != volume.data][0]:g}",
            hint="Scans go to phantom.real_anatomy.",
        )
    missing = [
        tissue
        for tissue, labels in (("cortex", _CORTEX), ("white matter", _WHITE))
        if not np.isin(data, labels).any()
    ]
    if missing:
        raise ImageError(
            f"a label map without {' and '.join(missing)}",
            where=str(path),
            expected="FreeSurfer's numbers: 3 and 42 for the cortex, 2 and 41 for white matter",
            got=", ".join(str(n) for n in np.unique(data)[:12]),
        )
    return _cropped(LabelMap(data, volume.affine, Path(path).name.partition(".")[0]))


def _cropped(label_map: LabelMap) -> LabelMap:
    """The brain and `MARGIN_MM` round it: a head has three times as many voxels."""
    box = ndimage.find_objects(np.isin(label_map.data, (*_CORTEX, *_WHITE)).astype(np.int8))[0]
    margin = [int(np.ceil(MARGIN_MM / edge)) for edge in label_map.voxel_mm]
    window = tuple(
        slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True)
    )
    affine = label_map.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in window]
    return LabelMap(label_map.data[window], affine, label_map.name)


def brain_tissues(label_map: LabelMap) -> Array:
    """Tissue of every voxel: 0 outside the brain, 1 grey matter, 2 white matter, 3 CSF.

    Parameters
    ----------
    label_map : LabelMap

    Returns
    -------
    (X, Y, Z) uint8
        The brain is closed over its sulci, with a shell of 1 mm round it. What is no tissue in
        there is CSF, whether or not the map labels the subarachnoid space.
    """
    grey = (*_CORTEX, *_LESION, *(label for labels, _, _ in _NUCLEI for label in labels))
    tissue = np.zeros(label_map.data.shape, np.uint8)
    for number, labels in ((1, grey), (2, _WHITE), (3, _VENTRICLES)):
        tissue[np.isin(label_map.data, labels)] = number
    tissue[_closed(tissue > 0, label_map.voxel_mm) & (tissue == 0)] = 3
    return tissue


def _closed(inside: Array, voxel_mm: tuple[float, float, float]) -> Array:
    """Closing by `SULCUS_MM`, then a dilation by `SHELL_MM`; distances in mm."""
    pad = [int(np.ceil((SULCUS_MM + SHELL_MM) / edge)) + 1 for edge in voxel_mm]
    padded = np.pad(inside, [(p, p) for p in pad])
    wide = ndimage.distance_transform_edt(~padded, sampling=voxel_mm) <= SULCUS_MM
    wide = ndimage.binary_fill_holes(wide)
    closed = ndimage.distance_transform_edt(wide, sampling=voxel_mm) > SULCUS_MM - SHELL_MM
    return closed[tuple(slice(p, -p) for p in pad)]


def align_labels(
    label_map: LabelMap, tissue: Array | None = None, *, sloppy: bool = False
) -> Array:
    """Register a label map to the reference template, by a T1w image painted from its tissues.

    Parameters
    ----------
    label_map : LabelMap
    tissue : (X, Y, Z) uint8, optional
        `brain_tissues(label_map)`, where it is at hand.
    sloppy : bool
        As `imaging.registration.register_to_reference`.

    Returns
    -------
    (4, 4) float64
        RAS+ mm of the labels to reference RAS+ mm, affine.

    Raises
    ------
    ImageError
        The registration failed.
    """
    tissue = brain_tissues(label_map) if tissue is None else tissue
    # About the T1w contrast of a 3 T MPRAGE.
    painted = np.array([0, 700, 1000, 250], dtype=np.int16)[tissue]
    volume = from_image(nib.Nifti1Image(painted, label_map.affine), label_map.name)
    mask = BrainMask(tissue > 0, "given")
    registration = register_to_reference(volume, mask, modality="T1w", sloppy=sloppy)
    return registration.world


def labels_to_maps(
    label_map: LabelMap, grid: ReferenceGrid, *, world: Array | None = None
) -> SourceMaps:
    """Tissue fractions and relaxation of a label map in reference space.

    Parameters
    ----------
    label_map : LabelMap
    grid : ReferenceGrid
    world : (4, 4) float, optional
        RAS+ mm of the labels to reference RAS+ mm; registered when it is not given.

    Returns
    -------
    SourceMaps
        Deep nuclei are grey matter with shorter T1 and T2 than the cortex.
    """
    tissue = brain_tissues(label_map)
    world = align_labels(label_map, tissue) if world is None else world

    def on_grid(values: Array) -> Array:
        soft = ndimage.gaussian_filter(
            values, STAIRCASE_SIGMA, output=np.float32, mode="nearest", truncate=4.0
        )
        return np.clip(resample_to_grid(soft, label_map.affine, world, grid, order=1), 0, 1)

    maps = np.stack([on_grid((tissue == number).astype(np.float32)) for number in (1, 2, 3)])
    total = maps.sum(0)
    fractions = (maps / np.maximum(total, 1e-6) * (total > 0.5)).astype(np.float32)
    t1_loss = np.zeros(tissue.shape, np.float32)
    t2_loss = np.zeros(tissue.shape, np.float32)
    r2_cortex = _R2_AT_NO_IRON + _R2_PER_IRON * _CORTEX_IRON
    for labels, iron, t1 in _NUCLEI:
        nucleus = np.isin(label_map.data, labels)
        t1_loss[nucleus] = 1 - t1
        t2_loss[nucleus] = 1 - r2_cortex / (_R2_AT_NO_IRON + _R2_PER_IRON * iron)
    return SourceMaps(
        fractions=fractions,
        t1_factor=1 - on_grid(t1_loss),
        t2_factor=1 - on_grid(t2_loss),
        density_factor=np.ones(grid.shape, np.float32),
        grid=grid,
        name=label_map.name,
    )
