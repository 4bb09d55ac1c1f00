"""Real scans of one person under two protocols: the distance before and after harmonization.

    python benchmarks/travelling_real.py --work build/travelling

Few and small, so an illustration and no proof. What is known of the target's protocol (its
*profile*) comes from other people's scans only; what methods need to know of the source's comes
from the scan itself, as in a dataset in which it is the only one of its site.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from from_the_box import known_sites

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.mask import BrainMask, brain_mask, transfer_mask
from bids_harmony.imaging.prepared import Prepared, prepare
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import register_rigid, register_to_reference
from bids_harmony.imaging.volume import Volume, read_volume
from bids_harmony.io.atomic import write_atomically
from bids_harmony.methods.histogram import match_distribution
from bids_harmony.methods.histogram_n4 import without_bias
from bids_harmony.quality.travelling import score_against_twin

__all__ = ["PAIRS", "Pair", "has_scan", "prepared_alone", "prepared_pair", "real_pairs"]

Array = np.ndarray

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_FIGURES = ("rmse", "rmse_gain_free", "psnr_db", "ms_ssim")


@dataclass(frozen=True)
class Pair:
    """Two scans of one person.

    Attributes
    ----------
    name, person : str
    source, target : str
        Files up to the modality, below the folder of the shared data.
    source_site, target_site : str
        Names of the two protocols.
    modalities : tuple of str
        The first is the T1w, which gives the brain mask.
    profile : tuple of str
        Other people's scans that stand for the protocol of the target.
    one_grid : bool
        One acquisition, reconstructed twice: nothing to register.
    n4 : bool
        Try N4 as well, alone and before matching. Seconds a scan, so only where a bias field is
        what differs.
    note : str
    """

    name: str
    person: str
    source: str
    target: str
    source_site: str
    target_site: str
    modalities: tuple[str, ...]
    profile: tuple[str, ...]
    one_grid: bool = False
    n4: bool = False
    note: str = ""


def _ms(person: str, session: int) -> str:
    stem = f"sub-{person}_ses-{session}"
    return f"ms_longitudinal/sub-{person}/ses-{session}/anat/{stem}"


_CONTRASTS = ("T1w", "T2w", "FLAIR")
PAIRS = (
    Pair(
        "two protocols", "ms01", _ms("ms01", 1), _ms("ms01", 2), "ms-a", "ms-b", _CONTRASTS,
        (_ms("ms12", 1), _ms("ms12", 2)),
        note="voxel sizes, coverage and contrast differ, and plexus and vessels are bright in the "
        "second T1w alone, as after a contrast agent, and a lesion is new in the second T2w and "
        "FLAIR, neither of which a method should imitate; profile: one person, same voxel size as "
        "the target, scanner not stated",
    ),
    Pair(
        "one protocol (floor)", "ms12", _ms("ms12", 1), _ms("ms12", 2), "ms-b", "ms-b",
        _CONTRASTS, (_ms("ms01", 2),),
        note="rescan; a method should leave it alone; profile: one person",
    ),
    Pair(
        "vendor bias correction off and on", "siemens01",
        "multivendor/sub-siemens01/anat/sub-siemens01_rec-raw",
        "multivendor/sub-siemens01/anat/sub-siemens01_rec-norm",
        "siemens-raw", "siemens-norm", ("T1w",),
        (
            "ms_3t_mni/sub-cs07/anat/sub-cs07_space-MNI152_desc-brain",
            "ms_3t_mni/sub-cs19/anat/sub-cs19_space-MNI152_desc-brain",
        ),
        one_grid=True,
        n4=True,
        note="one acquisition; profile: two patients at another Siemens 3 T scanner, bias "
        "corrected by N4, another sequence, so not the target's protocol",
    ),
)  # fmt: skip


def real_pairs(work_folder: Path, *, voxel_mm: float = 2.0) -> list[dict[str, Any]]:
    """Distance between the two scans of every pair, as they are and harmonized.

    Parameters
    ----------
    work_folder : Path
        Prepared scans are kept in ``real`` below it; delete that when preparation changes.
    voxel_mm : float
        Of the reference grid.

    Returns
    -------
    list of dict
        One row per pair, modality and method: ``n`` people scored (1), ``profile_people`` and
        ``profile``, figures of `score_against_twin` inside the brain that both scans cover
        (``covered``: its share of the target's brain), and a note. Empty without the data.
    """
    if not DATA.is_dir():
        print("real pairs: not run, the shared data are not beside the repository")
        return []
    grid, cache = reference_grid(voxel_mm), Path(work_folder) / "real"
    cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for pair in PAIRS:
        stems = (pair.source, pair.target, *pair.profile)
        if missing := [s for s in stems if not has_scan(s, pair.modalities[0])]:
            print(f"real pairs: {pair.name} not run, there is no {missing[0]}")
            continue
        for modality in pair.modalities:
            source, target = prepared_pair(pair, modality, grid, cache)
            profile = [prepared_alone(stem, modality, grid, cache) for stem in pair.profile]
            rows += _rows(pair, modality, source, target, profile)
    return rows


def _rows(
    pair: Pair,
    modality: str,
    source: Prepared,
    target: Prepared,
    profile: Sequence[Prepared],
) -> Iterator[dict[str, Any]]:
    mask = source.mask & target.mask
    names = [stem.rpartition("/")[2] for stem in pair.profile]
    people = len({name.split("_")[0] for name in names})
    images = [("none", source.data, "")]
    images += [(n, d, ", ".join(names)) for n, d in _matched(source, profile)]
    if pair.n4:
        even = without_bias(source.data, source.mask, source.grid)
        matched = _matched_even(even, source.mask, profile)
        images += [("n4", even, ""), ("histogram-n4", matched, ", ".join(names))]
    images += _from_the_box(pair, modality, source, profile)
    for method, data, made_of in images:
        score = score_against_twin(data, target.data, mask)
        yield {
            "pair": pair.name,
            "person": pair.person,
            "modality": modality,
            "method": method,
            "n": 1,
            **{figure: score[figure] for figure in _FIGURES},
            "covered": float(mask.sum() / target.mask.sum()),
            "profile_people": people if made_of else 0,
            "profile": made_of or "none",
            "note": pair.note,
        }


def _matched(source: Prepared, profile: Sequence[Prepared]) -> Iterator[tuple[str, Array]]:
    """Methods that know the target alone, as the package fits and applies them."""
    data, mask = source.data, source.mask
    wanted = np.mean([landmarks(b.data, b.mask) for b in profile], axis=0)
    yield "histogram", landmark_map(data, landmarks(data, mask), wanted)
    levels = np.linspace(0, 100, 101)
    spread = np.mean([np.percentile(b.data[b.mask], levels) for b in profile], axis=0)
    yield "histogram-cdf", match_distribution(data, mask, spread)


def _matched_even(even: Array, mask: Array, profile: Sequence[Prepared]) -> Array:
    """``histogram-n4`` of a scan that N4 has corrected."""
    corrected = [(without_bias(b.data, b.mask, b.grid), b.mask) for b in profile]
    wanted = np.mean([landmarks(*each) for each in corrected], axis=0)
    return landmark_map(even, landmarks(even, mask), wanted)


def _from_the_box(
    pair: Pair, modality: str, source: Prepared, profile: Sequence[Prepared]
) -> Iterator[tuple[str, Array, str]]:
    """The shipped model as ``participant`` applies it.

    The source's site is known from the scan itself, where it is the only one there; the target's
    from the other people's scans.
    """
    names = [stem.rpartition("/")[2] for stem in pair.profile]
    scans = {pair.source_site: [("itself", source)]}
    scans[pair.target_site] = list(zip(names, profile, strict=True))
    with known_sites(modality, scans) as known:
        for method in ("histogram-tissue", "histogram-relative", "ihf"):
            data = known.apply(
                method,
                source,
                modality=modality,
                source=pair.source_site,
                target=pair.target_site,
            )
            yield method, data, ", ".join(names)


def prepared_pair(
    pair: Pair, modality: str, grid: ReferenceGrid, cache: Path
) -> tuple[Prepared, Prepared]:
    """Both scans under one brain mask and one affine, so that intensities alone differ.

    The source is registered rigidly to the target scan and follows it to the reference: two
    separate affine registrations would leave millimetres between them.
    """

    def source() -> Prepared:
        fixed, inside, to_reference = _aligned(pair.target, modality)
        volume, rigid = read_volume(_file(pair.source, modality)), np.eye(4)
        if not pair.one_grid:
            rigid = register_rigid(volume, None, fixed, inside).world
        mask = transfer_mask(inside, fixed.affine, volume, rigid, to_reference=to_reference)
        return prepare(volume, mask, to_reference @ rigid, grid)

    # Not the name that the scan has where it was prepared by itself, as in another pair's profile.
    name = f"{pair.source}_by_{pair.target.rpartition('/')[2]}"
    return (
        _kept(cache, name, modality, grid, source),
        prepared_alone(pair.target, modality, grid, cache),
    )


def prepared_alone(stem: str, modality: str, grid: ReferenceGrid, cache: Path) -> Prepared:
    """A scan on the reference grid, from the cache where it is there."""

    def alone() -> Prepared:
        return prepare(*_aligned(stem, modality), grid)

    return _kept(cache, stem, modality, grid, alone)


@lru_cache(maxsize=16)
def _aligned(stem: str, modality: str) -> tuple[Volume, BrainMask, Array]:
    """A scan, its brain and its way to the reference, by way of its session's T1w."""
    volume = read_volume(_file(stem, modality))
    if modality == "T1w":
        mask = brain_mask(volume)
        return volume, mask, register_to_reference(volume, mask, modality=modality).world
    anatomy, mask, to_reference = _aligned(stem, "T1w")
    rigid = register_rigid(volume, None, anatomy, mask).world
    own = transfer_mask(mask, anatomy.affine, volume, rigid, to_reference=to_reference)
    return volume, own, to_reference @ rigid


def has_scan(stem: str, modality: str) -> bool:
    """Whether the shared data have a scan."""
    return _file(stem, modality).is_file()


def _file(stem: str, modality: str) -> Path:
    return DATA / f"{stem}_{modality}.nii.gz"


def _kept(
    cache: Path, name: str, modality: str, grid: ReferenceGrid, make: Callable[[], Prepared]
) -> Prepared:
    """A prepared scan from the cache, made first where it is not there."""
    file = cache / f"{name.rpartition('/')[2]}_{modality}_{grid.voxel_mm:g}mm.npz"
    if not file.is_file():
        made, buffer = make(), io.BytesIO()
        np.savez(buffer, data=made.data, mask=made.mask, scale=made.scale, world=made.world)
        write_atomically(file, buffer.getvalue())
    with np.load(file, allow_pickle=False) as stored:
        return Prepared(
            stored["data"], stored["mask"], float(stored["scale"]), stored["world"], grid
        )


def main() -> None:
    """Print the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("build/travelling"))
    parser.add_argument("--voxel", type=float, default=2.0)
    options = parser.parse_args()
    rows = real_pairs(options.work, voxel_mm=options.voxel)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
