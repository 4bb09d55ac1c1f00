"""The same bytes again, whatever the machine; nothing twice; what is lost or stale anew."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.program import TRAVELLER, assert_whole, copy_fits, digests, run

pytestmark = pytest.mark.e2e

PERSON = ("--participant-label", TRAVELLER)
#: Floor for what may depend on threads and batches, of an image's intensity scale.
FLOOR = 1e-5


def niftis(out: Path) -> dict[str, str]:
    return digests(out / f"sub-{TRAVELLER}", "*.nii.gz")


@pytest.fixture(scope="session")
def alone(bids, model, tmp_path_factory):
    """The traveller from raw scans to outputs, in one process with one thread. Read only."""
    folder = tmp_path_factory.mktemp("alone")
    finished = run(bids, folder / "out", *PERSON, *model, work=folder / "work")
    assert finished.code == 0, finished.told
    return finished


def test_same_bytes_on_repeat_and_for_any_number_of_processes(alone, harmonized):
    # Two outputs, two work folders; one process there, two here.
    first, second = niftis(alone.out), niftis(harmonized.out)
    assert len(first) == 4
    assert first == second
    transforms = [digests(f.out / f"sub-{TRAVELLER}", "*_xfm.txt") for f in (alone, harmonized)]
    assert len(transforms[0]) == 2 and transforms[0] == transforms[1]


@pytest.mark.parametrize(
    ("nprocs", "omp_nthreads", "batch_size"),
    [(2, 2, 8), (1, 1, 1), (1, 1, 16)],
    ids=["two-threads", "slice-by-slice", "sixteen-slices"],
)
def test_threads_and_batches_do_not_show(
    alone, bids, model, tmp_path, nprocs, omp_nthreads, batch_size
):
    out = tmp_path / "out"
    if nprocs == 1:
        # The batch is met in the network only: masks and transforms can stay.
        shutil.copytree(
            alone.out, out, ignore=shutil.ignore_patterns("*harmonized*", "logs", "*.tsv")
        )
    words = (*PERSON, *model, "--batch-size", str(batch_size))
    processors = {"nprocs": nprocs, "omp_nthreads": omp_nthreads}
    finished = run(bids, out, *words, work=tmp_path / "work", **processors)
    assert finished.code == 0, finished.told
    assert set(finished.states.values()) == {"done"}
    first, second = niftis(alone.out), niftis(out)
    assert set(first) == set(second)
    for name in (n for n in first if first[n] != second[n]):
        one, other = (
            nib.load(folder / f"sub-{TRAVELLER}" / name).get_fdata() for folder in (alone.out, out)
        )
        apart = np.abs(one - other)
        # Whole numbers on disk: what lies on the edge of rounding may fall to the other side.
        assert "harmonized" in name
        assert apart.max() <= max(1.0, FLOOR * one.max())
        assert np.count_nonzero(apart) <= 1e-3 * one.size


@pytest.fixture
def again(bids, harmonized, model, tmp_path):
    """Run the traveller once more in a copy of the output, with an empty work folder."""
    out = tmp_path / "out"
    shutil.copytree(harmonized.out, out)

    def rerun(*words):
        return run(bids, out, *PERSON, *(words or model), work=tmp_path / "work")

    return rerun


def test_what_is_there_is_not_made_again(again, harmonized):
    finished = again()
    assert finished.code == 0
    assert set(finished.states.values()) == {"skipped"} and len(finished.states) == 2
    for folder in ("anat", "figures"):
        for path in harmonized.out.rglob(f"{folder}/*"):
            copy = finished.out / path.relative_to(harmonized.out)
            assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns, copy
    for old in harmonized.out.rglob("*.tsv"):
        assert (finished.out / old.relative_to(harmonized.out)).read_text() == old.read_text()


@pytest.mark.parametrize("ending", [".nii.gz", ".json"])
def test_a_lost_output_comes_back_alone(again, harmonized, ending, tmp_path):
    anat = Path(f"sub-{TRAVELLER}", "ses-SIEMENS", "anat")
    name = anat / f"sub-{TRAVELLER}_ses-SIEMENS_desc-harmonizedCOI_T2w{ending}"
    out = tmp_path / "out"
    before = digests(out / f"sub-{TRAVELLER}")
    (out / name).unlink()
    finished = again()
    stem = f"sub-{TRAVELLER}_ses-SIEMENS"
    assert finished.states == {f"{stem}_T1w": "skipped", f"{stem}_T2w": "done"}
    assert set(finished.scans[f"{stem}_T2w"]["seconds"]) == {
        "harmonize", "draw_change", "summarize", "write_harmonized",
    }  # fmt: skip
    after = digests(out / f"sub-{TRAVELLER}")
    # The T1w is the same file; the T2w has the same bytes again.
    assert {n: d for n, d in after.items() if n.endswith((".nii.gz", ".json", ".txt"))} == {
        n: d for n, d in before.items() if n.endswith((".nii.gz", ".json", ".txt"))
    }


def test_other_settings_make_it_anew(again, model, harmonized):
    finished = again(*model, "--skull-strip")
    assert finished.code == 0 and set(finished.states.values()) == {"done"}
    assert set(again(*model, "--skull-strip").states.values()) == {"skipped"}


def test_another_model_makes_it_anew(again, trained, tmp_path, harmonized):
    from bids_harmony.sites.profile_files import read_profiles, write_profiles

    models = tmp_path / "models"
    shutil.copytree(trained / "models", models, ignore=shutil.ignore_patterns("*checkpoint*"))
    assert set(again("--model", str(models)).states.values()) == {"skipped"}  # a mere copy
    profiles, voxel_mm = read_profiles(models)
    brighter = [
        replace(b, single=None, tissue_means=b.tissue_means**0.7) for b in profiles.values()
    ]
    write_profiles(models, brighter, voxel_mm)
    finished = again("--model", str(models))
    assert finished.code == 0 and set(finished.states.values()) == {"done"}
    assert niftis(finished.out) != niftis(harmonized.out)


def test_a_run_that_was_killed_goes_on(alone, bids, model, trained, tmp_path):
    """The work folder of a killed run, and an output that lacks its sidecar, are no obstacle."""
    out = tmp_path / "out"
    shutil.copytree(alone.out, out)
    anat = out / f"sub-{TRAVELLER}" / "ses-SIEMENS" / "anat"
    for image in anat.glob("*harmonized*.nii.gz"):
        image.write_bytes(image.read_bytes()[:500])
        Path(str(image).replace(".nii.gz", ".json")).unlink()
    finished = run(bids, out, *PERSON, *model, work=tmp_path / "work")
    assert finished.code == 0
    assert niftis(out) == niftis(alone.out)
    assert_whole(out)


def test_people_of_another_run_stay(harmonized, bids, model, trained, tmp_path):
    """Jobs share one output folder: the second leaves the first's files and table rows alone."""
    out = tmp_path / "out"
    shutil.copytree(harmonized.out, out)
    copy_fits(trained, out, "SIEMENS03")
    before = digests(out / f"sub-{TRAVELLER}") | digests(out / "sub-COI01")
    words = ("--participant-label", "SIEMENS03", "--modalities", "T1w")
    assert run(bids, out, *words, *model, work=tmp_path / "work").code == 0
    assert digests(out / f"sub-{TRAVELLER}") | digests(out / "sub-COI01") == before
    table = (out / "descriptions.tsv").read_text()
    assert table == (harmonized.out / "descriptions.tsv").read_text()
