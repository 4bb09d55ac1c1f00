"""Results that are taken up again change only together with their revision.

``python -m tests.test_revisions`` writes the numbers of algorithms whose revision was raised.
"""

from __future__ import annotations

import ast
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bids_harmony.diffusion.features import prepare_series
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.volume import from_image
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.registry import REGISTRY
from bids_harmony.methods.series import harmonize_series
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.biology import Biology, with_biology
from bids_harmony.phantom.contrast_fit import shown_contrasts
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.revisions import REVISIONS, revisions_of
from bids_harmony.sites.image_profile import ImageProfile, build_profile
from bids_harmony.sites.profile_cache import ProfileCache
from bids_harmony.sites.series_profile import build_series_profiles
from bids_harmony.training.cgan import CGANOptions, fit_cgan
from bids_harmony.training.fitted_scanners import fit_scanners
from bids_harmony.training.pairs import PairedScans
from bids_harmony.training.simix import SiMixOptions, fit_simix
from tests.diffusion.simple_series import make_gradients, make_series
from tests.training.tiny_level import TRAINING
from tests.training.tiny_level import train as train_level

KEPT = Path(__file__).with_name("revisions.json")
GRID = reference_grid(4.0)
LEVELS = (5, 25, 50, 75, 95)
#: Processors round differently; a change of an algorithm is more.
CLOSE = {"rtol": 1e-3, "atol": 1e-4}

Numbers = dict[str, list[float]]


def scan_of(person: Anatomy, site: str, modality: str) -> Prepared:
    data = acquire(person, SITES[site], modality, scan_seed=person.seed)
    scale = robust_scale(data, person.mask)
    return Prepared((data / scale).astype(np.float32), person.mask, scale, np.eye(4), GRID)


def profiles_of(modality: str, cells: int) -> list[ImageProfile]:
    people = [make_anatomy(GRID, 300 + i) for i in range(5)]
    found = []
    for site in ("COI", "GE", "PHILIPS"):
        scans = [scan_of(person, site, modality) for person in people]
        labelled = [(f"sub-{i}", s.data, s.mask, s.scale) for i, s in enumerate(scans)]
        encoder = load_encoder("mri")
        found.append(
            build_profile(site, modality, labelled, encoder, cells=cells, voxel_mm=GRID.voxel_mm)
        )
    return found


def quantiles(data: np.ndarray) -> list[float]:
    return [float(v) for v in np.percentile(data.astype(np.float64), LEVELS)]


def anatomy() -> Numbers:
    person = make_anatomy(GRID, 300)
    data = acquire(person, SITES["COI"], "T1w", scan_seed=1)
    turn = np.deg2rad(8)
    moved = np.eye(4)
    moved[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    moved[:3, 3] = (6, -4, 9)
    volume = from_image(nib.Nifti1Image(data, moved @ GRID.affine))
    found = register_to_reference(
        volume, BrainMask(person.mask, "given"), modality="T1w", sloppy=True
    )
    # Corners of the head, mm: what a transform does, whatever its numbers.
    corners = np.array([[x, y, z, 1] for x in (-60, 60) for y in (-80, 80) for z in (-40, 60)])
    return {"corners": [float(v) for v in (corners @ found.world.T)[:, :3].ravel()]}


def profile() -> Numbers:
    numbers = {}
    for profile in profiles_of("T2w", 4)[:2]:
        looks = profile.scan_measures.measures
        numbers[profile.site] = [
            *quantiles(profile.mean_image[profile.mask]),
            *[float(v) for v in profile.quantiles[[5, 50, 95]]],
            *[float(v) for v in looks.mean(axis=0)[[0, 1, 2, 5, -2, -1]]],
            float(np.abs(profile.codes_at(np.arange(10, 30))).mean()),
        ]
    return numbers


def harmonization() -> Numbers:
    numbers = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = ProfileCache(Path(folder), GRID.voxel_mm)
        ihf = load_harmonizer("ihf", SHIPPED_MODEL, cache)
        for modality in ("T1w", "FLAIR"):
            for profile in profiles_of(modality, ihf.network.config.aan.grid):
                cache.write(profile, {})
        # Far from others: what becomes of a person's own deviation counts.
        person = with_biology(make_anatomy(GRID, 400), Biology(grey_t1=0.1, csf_density=0.2))
        for method, needs in REGISTRY.items():
            if needs.trained and method != "ihf":
                continue
            harmonizer = load_harmonizer(method, SHIPPED_MODEL, cache)
            for modality, site in (("T1w", "GE"), ("FLAIR", "PHILIPS")):
                scan = scan_of(person, site, modality)
                made = harmonizer.apply(
                    scan, modality=modality, source_site=site, target_site="COI"
                ).data
                change = np.abs(made - scan.data)[scan.mask]
                numbers[f"{method} {modality}"] = [*quantiles(made[scan.mask]), *quantiles(change)]
    return numbers


def diffusion() -> Numbers:
    gradients = make_gradients(20, b0=4)
    affine = np.diag([5.0, 5.0, 7.0, 1.0])
    affine[:3, 3] = [-50, -65, -30]

    def scanned(seed: int, **scanner: float):
        series, inside = make_series(gradients, seed=seed, noise=0.02, **scanner)
        image = nib.Nifti1Image(series.raw, affine)
        return replace(series, image=image), BrainMask(inside, "given")

    numbers, looks = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        cache = ProfileCache(Path(folder), 4.0)
        harmonizer = load_harmonizer("ihf", SHIPPED_MODEL, cache)
        for site, scanner in (("GE", {"gain": 3000.0, "b_scale": 1.05}), ("COI", {})):
            own = []
            for seed in (11, 12):
                series, mask = scanned(seed, **scanner)
                grid = reference_grid(4.0)
                own.append(prepare_series(series, gradients, mask, np.eye(4), grid, "rish"))
            looks[site], profiles = build_series_profiles(
                site,
                [(f"{site}{i}", p) for i, p in enumerate(own)],
                load_encoder("mri"),
                cells=harmonizer.network.config.aan.grid,
                voxel_mm=4.0,
            )
            for profile in profiles:
                cache.write(profile, {})
        series, mask = scanned(3, gain=3000.0, b_scale=1.05)
        for mode in ("rish", "attenuation"):
            made = harmonize_series(
                series, gradients, mask, np.eye(4), harmonizer,
                source=looks["GE"], target=looks["COI"], mode=mode,
            )  # fmt: skip
            inside = made.before > 0
            tensor = fit_tensor(made.raw.astype(np.float32), inside, gradients)
            numbers[mode] = [
                *quantiles(made.after[inside] / made.before[inside]),
                *quantiles(tensor.fa[inside]),
                *quantiles(1e3 * tensor.md[inside]),
            ]
    return numbers


def training() -> Numbers:
    """Last losses of few steps: of the flow from twins and from unpaired scans, and of rivals."""
    numbers = {}
    with tempfile.TemporaryDirectory() as place:
        for stage, options in (
            ("twins", {"twin_steps": 2, "twin_people": 2, "twin_scanners": 3, "own_twins": 0.0}),
            ("adaptation", {"adapt_steps": 3}),
        ):
            folder = Path(place) / stage
            train_level(folder, replace(TRAINING, **options))
            log = (folder / f"models/{stage}_log.csv").read_text().splitlines()
            numbers[stage] = [float(cell) for cell in log[-1].split(",")[1:]]
        inside = np.zeros((28, 32, 12), bool)
        inside[4:-4, 4:-4, 1:-1] = True
        noise = gaussian_filter(np.random.default_rng(5).normal(size=inside.shape), 2)
        data = np.where(inside, 0.5 + 0.15 * noise / noise.std(), 0).clip(0, 1).astype(np.float32)
        dark = np.where(inside, 0.9 - 0.6 * data, 0).astype(np.float32)
        pairs = [PairedScans(data, dark, inside, "1", "A", "T1w")]
        cgan = fit_cgan(pairs, CGANOptions("B", max_steps=3, width=4), Path(place))
        options = SiMixOptions("B", max_steps=3, width=4, blocks=1)
        encoder = load_encoder("random", widths=(2, 2, 2, 2))
        simix = fit_simix(pairs, options, Path(place), encoder=encoder)
    site, person = profiles_of("T1w", 4)[1], make_anatomy(GRID, 310)
    (fit,) = fit_scanners(site, 0.04, [person], count=1, voxel_mm=GRID.voxel_mm, seed=1)
    shown = shown_contrasts(fit.scanner, "T1w")
    numbers["fitted scanner"] = [
        fit.scanner.noise,
        *map(float, shown),
        *fit.scanner.mean_field[1:4],
    ]
    for name, made in (("cgan", cgan), ("simix", simix)):
        numbers[name] = [made["networks"][0]["l1"]]
    return numbers


MADE: dict[str, Callable[[], Numbers]] = {
    "anatomy": anatomy,
    "profile": profile,
    "harmonization": harmonization,
    "diffusion": diffusion,
    "training": training,
}


@pytest.mark.parametrize("algorithm", MADE)
def test_results_of_a_revision_come_out_again(algorithm):
    kept = json.loads(KEPT.read_text(encoding="utf-8"))[algorithm]
    assert kept["revision"] == REVISIONS[algorithm], f"python -m {__name__}"
    made = MADE[algorithm]()
    assert made.keys() == kept["numbers"].keys()
    for name, numbers in made.items():
        np.testing.assert_allclose(
            numbers,
            kept["numbers"][name],
            **CLOSE,
            err_msg=f"{name}: other results than of revision {kept['revision']} of {algorithm}. "
            "If they are meant, raise it in bids_harmony/revisions.py and run "
            f"python -m {__name__}",
        )


def test_every_algorithm_has_its_numbers():
    assert set(MADE) == set(REVISIONS) == set(json.loads(KEPT.read_text(encoding="utf-8")))
    assert revisions_of("profile", "anatomy") == {
        "profile": REVISIONS["profile"],
        "anatomy": REVISIONS["anatomy"],
    }
    with pytest.raises(KeyError):
        revisions_of("none")


def test_no_hash_holds_the_version_of_a_release():
    """Versions come from tags: two states of the code may share one, one may have two."""
    root = Path(__file__).resolve().parents[1]
    hashing = []
    for file in (p for top in ("bids_harmony", "workflows") for p in (root / top).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                words = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                hashing += [(file.name, node.name, words)] if "hashlib" in words else []
    assert len(hashing) > 10
    assert not [(file, name) for file, name, words in hashing if "__version__" in words]


def test_a_checkpoint_is_gone_on_with_by_another_version_but_not_another_revision(
    tmp_path, monkeypatch, caplog
):
    import bids_harmony.training.adapt as level

    caplog.set_level("INFO", logger="bids_harmony")

    def resumed() -> bool:
        caplog.clear()
        train_level(tmp_path, replace(TRAINING, adapt_steps=2))
        return "resuming" in caplog.text

    assert not resumed()
    monkeypatch.setattr(level, "__version__", "9.9")
    assert resumed()
    monkeypatch.setattr(level, "revisions_of", lambda name: {name: REVISIONS[name] + 1})
    assert not resumed()


def write() -> None:
    """Numbers of new revisions; those of the others stay what they were."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    for algorithm, make in MADE.items():
        if kept.get(algorithm, {}).get("revision") != REVISIONS[algorithm]:
            numbers = {name: [round(v, 6) for v in own] for name, own in make().items()}
            kept[algorithm] = {"revision": REVISIONS[algorithm], "numbers": numbers}
            print(f"{algorithm}: revision {REVISIONS[algorithm]} written to {KEPT}")
    text = json.dumps(kept, indent=1)
    KEPT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
