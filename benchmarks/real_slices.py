"""Real slices of several scanners, and how they get to the reference grid without registration.

Slices go where the template's brain is by centre, or by centre and size, nothing more: a head that
is turned, or a slice at another height than assumed, stays wrong. Images, masks and numbers stay
in memory.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.reference import reference_grid, reference_mask

__all__ = [
    "SLICES", "Scan", "halves", "head_mask", "inner_head", "ixi_scans", "lgg_scans", "moved",
    "placed", "ulf_scans",
]  # fmt: skip

Array = np.ndarray

SLICES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "real_slices"
#: A brain's length and width over those of its head at the height of the ventricles.
BRAIN_SHARE = 0.85
#: Assumed heights, mm in MNI space. The three hospitals': where their T1w is most like the
#: template (20 or 32 mm, by person); the low-field set's: by eye, wrong by up to 15 mm.
_IXI_MM = 20.0
_ULF_MM = (24.0, 32.0, 40.0, 48.0)
_ULF_LOW_MM = {"p4": (-24.0, -16.0, -8.0, 0.0)}
#: Where a stack of the four institutions is taken to begin and end: the template's brain.
_STACK_MM = (-72.0, 83.0)


@dataclass(frozen=True, eq=False)
class Scan:
    """Slices of one scan of one person on the reference grid.

    Attributes
    ----------
    person, site, modality : str
    data : (X, Y, n) float32
        In stored units.
    mask : (X, Y, n) bool
        The brain, or what is taken for it.
    heights : (n,) int
        Indices along the reference grid's last axis, increasing.
    grid : ReferenceGrid
    tumour : (X, Y, n) bool or None
    head : (X, Y, n) bool or None
        Where the head is, if the skull is still there.
    """

    person: str
    site: str
    modality: str
    data: Array
    mask: Array
    heights: Array
    grid: ReferenceGrid
    tumour: Array | None = None
    head: Array | None = None


def head_mask(plane: Array) -> Array:
    """Largest bright piece of a slice, holes filled: (X, Y) bool."""
    smooth = ndimage.gaussian_filter(plane.astype(np.float32), 2)
    # Otsu's threshold parts fat from brain as often as head from air.
    parts, count = ndimage.label(smooth > threshold_otsu(smooth) / 2)
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, np.arange(1, count + 1))
    return np.asarray(ndimage.binary_fill_holes(parts == 1 + int(np.argmax(sizes))))


def inner_head(head: Array, share: float = BRAIN_SHARE) -> Array:
    """The head's outline, shrunk to `share` about its middle: (X, Y) bool."""
    low, high = _box(head)
    centre = (low + high) / 2
    step = np.eye(2) / share
    shrunk = ndimage.affine_transform(
        head.astype(np.uint8), step, offset=centre - step @ centre, order=0
    )
    return np.asarray(shrunk > 0) & head


def placed(stack: Array, inside: Array, grid: ReferenceGrid, heights: Sequence[int]) -> Array:
    """Stretch and shift slices so that `inside` fills the template's brain, axis by axis.

    Parameters
    ----------
    stack : (x, y, n) float32
    inside : (x, y, n) bool
        Its largest slice goes onto the template's largest slice among `heights`, and all slices
        with it.
    grid : ReferenceGrid
    heights : sequence of int

    Returns
    -------
    (X, Y, n) float32
        Interpolated linearly; smoothed first where the grid is coarser.
    """
    brain = reference_mask(grid)[..., list(heights)]
    (low, high), (start, end) = (_box(_largest(mask)) for mask in (inside, brain))
    step = (high - low + 1) / (end - start + 1)
    offset = (low + high) / 2 - step * (start + end) / 2
    smooth = np.maximum(step - 1, 0) / 2
    planes = [
        ndimage.affine_transform(
            ndimage.gaussian_filter(plane.astype(np.float32), smooth), np.diag(step),
            offset=offset, output_shape=grid.shape[:2], order=1,
        )
        for plane in np.moveaxis(stack, 2, 0)
    ]  # fmt: skip
    return np.stack(planes, axis=2)


def moved(plane: Array, grid: ReferenceGrid, height: int) -> Array:
    """Shift a slice by whole voxels, its brain's middle onto the template's: (X, Y) float32.

    Nothing is interpolated, so that noise stays as it is.
    """
    (low, high), (start, end) = _box(plane > 0), _box(reference_mask(grid)[..., height])
    shift = (start + end) // 2 - (low + high) // 2
    result = np.zeros(grid.shape[:2], np.float32)
    first = np.maximum(shift, 0)
    last = np.minimum(shift + plane.shape, result.shape)
    into = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    out_of = tuple(slice(a, b) for a, b in zip(first - shift, last - shift, strict=True))
    result[into] = plane[out_of]
    return result


def halves(scans: Sequence[Scan]) -> dict[str, int]:
    """Person to half, 0 or 1; by turns in the order of names, site by site."""
    sites: dict[str, set[str]] = {}
    for scan in scans:
        sites.setdefault(scan.site, set()).add(scan.person)
    return {p: i % 2 for people in sites.values() for i, p in enumerate(sorted(people))}


def ixi_scans(modality: str, grid: ReferenceGrid) -> Iterator[Scan]:
    """The three hospitals: one skull-stripped slice of 1 mm a person."""
    folder = SLICES / "ixi_3hospitals"
    fine, step = reference_grid(1.0), round(grid.voxel_mm)
    with np.load(folder / "slices.npz", allow_pickle=False) as stored:
        for row in _table(folder / "index.csv"):
            name = f"{row['person']}_{modality}"
            if name in stored.files:
                plane = moved(stored[name], fine, _height(_IXI_MM, fine))
                brain = ndimage.binary_fill_holes(plane > 0)
                # Both grids begin at one corner; the same weight of neighbours for everyone.
                plane = ndimage.gaussian_filter(plane, (step - 1) / 2)[::step, ::step, None]
                at, mask = np.array([_height(_IXI_MM, grid)]), brain[::step, ::step, None]
                yield Scan(row["person"], row["site"], modality, plane, mask, at, grid)


def lgg_scans(grid: ReferenceGrid) -> Iterator[Scan]:
    """FLAIR of four institutions: four slices a person, skull still there."""
    folder = SLICES / "tcga_lgg"
    depth = {r["person"]: int(r["n_slices_source"]) for r in _table(folder / "index.csv")}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as stored:
            for name in stored.files:
                if not name.endswith("_FLAIR"):
                    continue
                person = name.removesuffix("_FLAIR")
                stack = stored[name]
                bits = np.unpackbits(stored[f"{person}_mask"], count=stack.size)
                tumour = _turned(np.moveaxis(bits.reshape(stack.shape), 0, 2)).astype(np.float32)
                share = (stored[f"{person}_slices"] + 0.5) / depth[person]
                mm = _STACK_MM[0] + share * (_STACK_MM[1] - _STACK_MM[0])
                heights = [_height(value, grid) for value in mm]
                data = _turned(np.moveaxis(stack, 0, 2)).astype(np.float32)
                scan = _of_heads(person, file.stem, "FLAIR", data, grid, heights)
                inside = _stack(data, lambda plane: inner_head(head_mask(plane)))
                drawn = placed(tumour, inside, grid, heights) > 0.5
                yield replace(scan, tumour=drawn)


def ulf_scans(modality: str, grid: ReferenceGrid) -> Iterator[tuple[Scan, Scan]]:
    """Four patients at 0.055 T and at 3 T, both under the masks of the low field."""
    for file in sorted((SLICES / "ulf_0.055T_vs_3T").glob("p*.npz")):
        heights = [_height(mm, grid) for mm in _ULF_LOW_MM.get(file.stem, _ULF_MM)]
        with np.load(file, allow_pickle=False) as stored:
            low, high = (
                _turned(stored[f"{modality}_{kind}"][..., ::-1]).astype(np.float32)
                * np.float32(stored[f"{modality}_{kind}_scale"])
                for kind in ("lowfield", "3T_reg")
            )
        scan = _of_heads(file.stem, "0.055T", modality, low, grid, heights)
        inside = _stack(low, lambda plane: inner_head(head_mask(plane)))
        other = np.maximum(placed(high, inside, grid, heights), 0)
        yield scan, replace(scan, site="3T", data=other)


def _of_heads(
    person: str, site: str, modality: str, data: Array, grid: ReferenceGrid, heights: list[int]
) -> Scan:
    heads = _stack(data, head_mask)
    inside = _stack(heads, inner_head)
    made, mask, head = (
        placed(stack.astype(np.float32), inside, grid, heights) for stack in (data, inside, heads)
    )
    return Scan(
        person, site, modality, np.maximum(made, 0), mask > 0.5, np.array(heights), grid,
        head=head > 0.5,
    )  # fmt: skip


def _stack(data: Array, of_plane: Callable[[Array], Array]) -> Array:
    return np.stack([of_plane(plane) for plane in np.moveaxis(data, 2, 0)], axis=2)


def _turned(stack: Array) -> Array:
    """Rows from front to back, columns across, to X across and Y from back to front."""
    return np.swapaxes(stack, 0, 1)[:, ::-1]


def _largest(mask: Array) -> Array:
    return mask[..., int(np.argmax(mask.sum(axis=(0, 1))))]


def _box(mask: Array) -> tuple[Array, Array]:
    places = np.argwhere(mask)
    return places.min(axis=0), places.max(axis=0)


def _height(mm: float, grid: ReferenceGrid) -> int:
    return round((mm - grid.affine[2, 3]) / grid.voxel_mm)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
