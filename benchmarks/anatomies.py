"""People for the travelling-subject benchmark, made once and kept in a cache.

    python benchmarks/anatomies.py --kind labels --seeds 1 2 --montage build/labels.png

Three kinds: `phantom` (the package's own template), `labels` (a folder of whole-head label maps)
and `scans` (real T1w scans). Prints seconds and tissue volumes of every person.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.mask import brain_mask
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.volume import read_volume
from bids_harmony.io.atomic import write_atomically
from bids_harmony.phantom import anatomy, people
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.people import AS_IT_IS, SourceMaps, Variety, draw_person
from bids_harmony.phantom.scanner import SITES, acquire
from lab import label_maps, real_anatomy

__all__ = ["KINDS", "REAL_SCANS", "load_people", "source_names"]

KINDS = ("phantom", "labels", "scans")
ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
#: One whole-brain T1w of each person, looked at after segmentation at 2 mm.
REAL_SCANS = (
    "multivendor/sub-ge01/anat/sub-ge01_T1w.nii.gz",
    "multivendor/sub-philips01/anat/sub-philips01_T1w.nii.gz",
    "multivendor/sub-philips02/anat/sub-philips02_T1w.nii.gz",
    "multivendor/sub-philips03/anat/sub-philips03_T1w.nii.gz",
    "multivendor/sub-philips04/anat/sub-philips04_T1w.nii.gz",
    "multivendor/sub-siemens01/anat/sub-siemens01_rec-norm_T1w.nii.gz",
    "multivendor/sub-uih01/anat/sub-uih01_T1w.nii.gz",
    "ms_3t_mni/sub-cs07/anat/sub-cs07_space-MNI152_desc-brain_T1w.nii.gz",
    "ms_3t_mni/sub-cs19/anat/sub-cs19_space-MNI152_desc-brain_T1w.nii.gz",
)
_ARRAYS = ("fractions", "t1_factor", "t2_factor", "density_factor")


def load_people(
    kind: str,
    grid: ReferenceGrid,
    cache_dir: Path,
    seeds: Iterable[int],
    *,
    folder: Path | None = None,
    names: Collection[str] | None = None,
    variation: float | None = None,
) -> list[Anatomy]:
    """People of one kind, from the cache where they are there.

    Parameters
    ----------
    kind : {"phantom", "labels", "scans"}
    grid : ReferenceGrid
    cache_dir : Path
        Made when it is not there. A changed source file, recipe or grid makes new files.
    seeds : iterable of int
        One person of every source and seed. Seed 0 of a label map or scan is its own person, not
        deformed.
    folder : Path, optional
        Label maps (``*.nii*``) or T1w scans (``*_T1w.nii*``, searched in sub-folders; the first
        of each person). By default the shared test data.
    names : collection of str, optional
        Of `source_names`: only these sources.
    variation : float, optional
        As of `make_anatomy` and `Variety`, for those that are deformed; by default theirs.

    Returns
    -------
    list of Anatomy
        Sources in order of name, then seeds. `seed` is unique among people of all kinds;
        `source` tells the map or scan, and is empty for the phantom.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: expected one of {', '.join(KINDS)}")
    cache_dir.mkdir(parents=True, exist_ok=True)
    seeds = list(seeds)
    if kind == "phantom":
        return [_person(cache_dir, grid, None, seed, variation) for seed in seeds]
    sources = _sources(kind, folder)
    if not sources:
        raise FileNotFoundError(f"no {kind} in {folder or DATA}")
    return [
        _person(cache_dir, grid, (kind, name, path), seed, variation)
        for name, path in sources.items()
        if names is None or name in names
        for seed in seeds
    ]


def source_names(kind: str, folder: Path | None = None) -> list[str]:
    """Label maps or scans that people can be made of, sorted; none where the data is not there."""
    return list(_sources(kind, folder))


def _sources(kind: str, folder: Path | None) -> dict[str, Path]:
    """Files by person: what the file name says before its first underscore."""
    if kind == "labels":
        files = sorted((folder or DATA / "labels").glob("*.nii*"))
    elif folder is not None:
        files = sorted(folder.rglob("*_T1w.nii*"))
    else:
        files = [DATA / name for name in REAL_SCANS if (DATA / name).is_file()]
    found: dict[str, Path] = {}
    for file in files:
        found.setdefault(file.name.partition(".")[0].split("_")[0], file)
    return dict(sorted(found.items()))


def _recipe() -> bytes:
    """The code that makes people: other code makes other people."""
    modules = (anatomy, people, label_maps, real_anatomy)
    return b"".join(Path(m.__file__).read_bytes() for m in modules)


def _digest(*parts: bytes | str) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def _person(
    cache_dir: Path,
    grid: ReferenceGrid,
    source: tuple[str, str, Path] | None,
    seed: int,
    variation: float | None,
) -> Anatomy:
    where = f"{grid.name} {grid.voxel_mm:g} {grid.shape}"
    own = {} if variation is None else {"variation": variation}
    mark = "".join(f"-{value:g}" for value in own.values())
    if source is None:
        digest = _digest(_recipe(), where, "phantom", str(seed))
        file = cache_dir / f"phantom-{grid.voxel_mm:g}mm-{seed}{mark}-{digest[:16]}.npz"
        return _cached(file, grid, lambda: make_anatomy(grid, seed, **own))
    kind, name, path = source
    digest = _digest(_recipe(), where, kind, name, path.read_bytes())
    stem = f"{kind}-{name}-{grid.voxel_mm:g}mm"

    def draw() -> Anatomy:
        maps = _maps(cache_dir / f"{stem}-source-{digest[:16]}.npz", grid, kind, name, path)
        return draw_person(maps, seed, AS_IT_IS if seed == 0 else Variety(**own))

    person = _cached(cache_dir / f"{stem}-{seed}{mark}-{digest[:16]}.npz", grid, draw)
    # Above 2^32, where no phantom person's number is.
    number = 2**32 + int(_digest(kind, name, str(seed))[:8], 16)
    return replace(person, seed=number, source=f"{kind} {name}")


def _cached(file: Path, grid: ReferenceGrid, make: Callable[[], Anatomy]) -> Anatomy:
    if not file.is_file():
        person = make()
        arrays = {name: getattr(person, name) for name in (*_ARRAYS, "mask")}
        _write(file, arrays | {"seed": np.int64(person.seed)})
    with np.load(file, allow_pickle=False) as stored:
        return Anatomy(
            **{name: stored[name] for name in (*_ARRAYS, "mask")},
            grid=grid,
            seed=int(stored["seed"]),
        )


def _maps(file: Path, grid: ReferenceGrid, kind: str, name: str, path: Path) -> SourceMaps:
    if not file.is_file():
        if kind == "labels":
            maps = label_maps.labels_to_maps(label_maps.read_label_map(path), grid)
        else:
            volume = read_volume(path)
            mask = brain_mask(volume)
            world = register_to_reference(volume, mask, modality="T1w").world
            maps = real_anatomy.scan_to_maps(volume, mask, world, grid)
        _write(file, {name: getattr(maps, name) for name in _ARRAYS})
    with np.load(file, allow_pickle=False) as stored:
        return SourceMaps(**{n: stored[n] for n in _ARRAYS}, grid=grid, name=f"{kind} {name}")


def _write(file: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(file, buffer.getvalue())


def _row(person: Anatomy) -> np.ndarray:
    """Three sections of a person's T1w and T2w at the target site, side by side."""
    tiles = []
    x, y, z = (n // 2 for n in person.grid.shape)
    for modality in ("T1w", "T2w"):
        image = acquire(person, SITES["COI"], modality, scan_seed=1)
        image = np.clip(image / np.percentile(image[person.mask], 99.5), 0, 1)
        for section in (image[:, :, z], image[:, y], image[x]):
            tile = section.T[::-1]
            tiles.append(np.pad(tile, ((0, max(person.grid.shape) - tile.shape[0]), (0, 4))))
    return np.hstack(tiles)


def main() -> None:
    """Fill the cache and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--voxel", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("build/people"))
    parser.add_argument("--montage", type=Path)
    options = parser.parse_args()
    grid = reference_grid(options.voxel)
    for when in ("first", "again"):
        start, cpu = time.perf_counter(), time.process_time()
        found = load_people(
            options.kind, grid, options.cache, options.seeds, folder=options.folder
        )
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        each = f"{wall / len(found):.2f} s, {cpu / len(found):.2f} s of CPU"
        print(f"{when}: {len(found)} people, each {each}")
    for person in found:
        litres = person.fractions.reshape(3, -1).sum(1) * grid.voxel_mm**3 / 1e6
        grey, white, csf = litres / litres.sum()
        print(
            f"{person.source or person.seed!s:18s} {person.seed:12d} {litres.sum():.2f} l, "
            f"GM {grey:.0%}, WM {white:.0%}, CSF {csf:.0%}"
        )
    if options.montage:
        from matplotlib import image

        image.imsave(options.montage, np.vstack([_row(p) for p in found]), cmap="gray")


if __name__ == "__main__":
    main()
