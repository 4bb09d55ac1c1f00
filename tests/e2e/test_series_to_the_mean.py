"""Diffusion series to the mean of all sites, with their change as data, by the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.program import TARGET, Finished, assert_whole, digests, run, validator_errors

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).resolve().parents[2] / "docs" / "change.md"
#: One person at both sites, two others at each; nobody else's scans are asked for.
WORDS = (
    "--target-site", "mean", "--participant-label", "T01", "--bank-scans", "2", "--covariates",
    "--dwi-fits", "tensor", "--write-change",
)  # fmt: skip
SITES = (TARGET, "GE")


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Two shells of ten directions; GE shows b = 3000 s/mm2 as well, where ours has none."""
    from bids_harmony.phantom.cohort import CohortPlan
    from lab.diffusion_cohort import write_diffusion_cohort

    folder = tmp_path_factory.mktemp("series")
    plan = CohortPlan(
        sites=SITES, target=TARGET, training_per_site=2, travelling=1, voxel_scale=4.0
    )
    write_diffusion_cohort(folder, plan, direction_share=0.34)
    # What the target would have seen of the traveller is a session there, on the same grid.
    own = folder / f"bids/sub-T01/ses-{TARGET}/dwi"
    own.mkdir(parents=True)
    seen = folder / "twins/sub-T01/ses-GE/dwi/sub-T01_ses-GE_desc-ceiling_dwi"
    for kind in (".nii.gz", ".bval", ".bvec"):
        shutil.copy(f"{seen}{kind}", own / f"sub-T01_ses-{TARGET}_dwi{kind}")
    sidecar = folder / f"bids/sub-{TARGET}01/dwi/sub-{TARGET}01_dwi.json"
    shutil.copy(sidecar, own / f"sub-T01_ses-{TARGET}_dwi.json")
    for path in (folder / "bids").glob("sub-GE*/dwi/*.bval"):
        b = np.loadtxt(path)
        # Four of the ten directions are called a shell of their own; the series' is not.
        b[np.flatnonzero(b > 1500)[:4]] = 3000
        np.savetxt(path, b[None], fmt="%d")
    return folder / "bids"


@pytest.fixture(scope="module")
def finished(raw, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("to_the_mean")
    # In a process of its own, where libraries of linear algebra have as many threads as asked for.
    return run(raw, folder / "out", *WORDS, work=folder / "work", before=("env",))


def files(out: Path, site: str) -> Path:
    return out / f"sub-T01/ses-{site}/dwi/sub-T01_ses-{site}"


def image(path) -> np.ndarray:
    return nib.load(f"{path}.nii.gz").get_fdata()


def test_both_sessions_go_to_the_mean_and_say_whose_it_is(finished, raw):
    assert finished.code == 0, finished.told
    assert set(finished.states.values()) == {"done"} and len(finished.states) == 2
    assert_whole(finished.out)
    assert validator_errors(finished.out) == []
    assert f"Mean of all sites, dwi: {TARGET} (2 series), GE (2 series)" in finished.told
    assert "not in the mean, because not all sites show it: b=3000 of GE" in finished.told
    for site in SITES:
        stem = files(finished.out, site)
        sidecar = json.loads(Path(f"{stem}_desc-harmonizedmean_dwi.json").read_text())
        assert sidecar["HarmonizationTarget"] == "mean"
        assert sidecar["SiteEvidence"] == {
            "TargetIsMeanOf": {TARGET: 2, "GE": 2},
            "TargetShells": [1000.0, 2000.0],
            "ShellsLeftOut": {"GE": [3000.0]},
        }
        assert not np.array_equal(
            image(f"{stem}_desc-harmonizedmean_dwi"), image(f"{files(raw, site)}_dwi")
        )
    page = (finished.out / "sub-T01_ses-GE.html").read_text()
    assert f"the mean of {TARGET} (2 series), GE (2 series), each counting once" in page
    assert f"The target is no site, but the mean of the sites {TARGET}, GE" in page


def test_one_person_is_more_alike_at_both_sites_than_before(finished):
    inside = np.logical_and(
        *(image(f"{files(finished.out, s)}_desc-brain_mask") > 0 for s in SITES)
    )

    def medians(name, state):
        maps = [
            image(f"{files(finished.out, s)}_model-tensor_param-{name}_desc-{state}_dwimap")
            for s in SITES
        ]
        return np.array([np.mean(own[white]) for own in maps])

    fa = [
        image(f"{files(finished.out, s)}_model-tensor_param-fa_desc-source_dwimap") for s in SITES
    ]
    white = inside & (fa[0] > 0.4) & (fa[1] > 0.4)
    before, after = medians("fa", "source"), medians("fa", "harmonizedmean")
    assert white.sum() > 150 and before[1] - before[0] > 0.015
    # What noise adds to the one is taken, the other gets it: neither is the target.
    assert abs(after[1] - after[0]) < 0.7 * (before[1] - before[0]), (before, after)
    assert after[0] > before[0] and after[1] < before[1]
    # Voxels of 8 mm hold no free water: the strength of gradients is not known, and left.
    assert medians("md", "harmonizedmean") == pytest.approx(medians("md", "source"), rel=0.005)


def test_the_change_is_undone_and_redone_by_the_example_of_the_page(
    finished, raw, monkeypatch, tmp_path
):
    text = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[-1]
    for site in SITES:
        folder = tmp_path / site
        folder.mkdir()
        for place in (files(raw, site), files(finished.out, site)):
            for path in place.parent.glob("sub-T01*"):
                name = path.name.replace(f"sub-T01_ses-{site}", "sub-01")
                shutil.copy(path, folder / name.replace("mean_", "COI_"))
        monkeypatch.chdir(folder)
        told: dict = {}
        exec(compile(text, str(PAGE), "exec"), told)
        source, harmonized = told["source"], told["harmonized"]
        brain = image(folder / "sub-01_desc-brain_mask") > 0
        scale = np.percentile(source[..., told["shell_of"] == 0].mean(-1)[brain], 99.5)
        for b in (0, 1000, 2000):
            own = told["shell_of"] == b
            changed = np.abs(harmonized - source)[brain][:, own] / scale
            for one, other in ((told["redone"], harmonized), (told["undone"], source)):
                error = np.abs(one - other)[brain][:, own] / scale
                assert error.mean() < 2e-4 and np.quantile(error, 0.99) < 2e-3
                assert error.mean() < 0.02 * changed.mean()
                assert np.abs(one - other)[~brain].max() / scale < 2e-3
        table = (folder / "sub-01_desc-ordersCOI_dwi.tsv").read_text().splitlines()
        assert [row.split("\t")[:2] for row in table[1:]] == [
            ["0", "0"], ["1000", "0"], ["1000", "2"], ["2000", "0"], ["2000", "2"]
        ]  # fmt: skip


def test_any_number_of_workers_gives_the_same_bits(finished, raw, tmp_path):
    again = run(raw, tmp_path / "out", *WORDS, work=tmp_path / "work", nprocs=2)
    assert again.code == 0, again.told
    for folder in ("sub-T01", "models"):
        first, second = (digests(out / folder) for out in (finished.out, again.out))
        assert len(first) > 4 and first == second
