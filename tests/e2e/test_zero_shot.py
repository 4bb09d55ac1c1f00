"""The package as it is installed: no training, no network, a target known from its own scans."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.program import NO_NETWORK, REPOSITORY, TARGET, TRAVELLER, without_network


@pytest.mark.e2e
def test_an_installation_harmonizes_without_training_and_without_network(bids, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "bids_harmony", str(bids), str(out), "participant",
        "--target-site", TARGET, "--participant-label", TRAVELLER, "--modalities", "T1w",
        "-w", str(tmp_path / "work"), "--sloppy", "--device", "cpu", "--nprocs", "2",
        "--omp-nthreads", "1", "--voxel-mm", "6", "--bank-scans", "2",
    ]  # fmt: skip
    path = os.pathsep.join([str(tmp_path / "site"), str(REPOSITORY)])
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()} | {"PYTHONPATH": path}
    command = [*without_network(), *command]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "connection" not in done.stderr and "was asked for" not in done.stderr
    (written,) = out.glob(f"sub-{TRAVELLER}/ses-*/anat/*_desc-harmonized{TARGET}_T1w.nii.gz")
    record = json.loads(written.with_name(written.name.replace(".nii.gz", ".json")).read_text())
    # Two of three people, balanced over age and sex: not simply the first.
    assert record["TargetSiteScans"] == [f"sub-{TARGET}0{i}_T1w" for i in (1, 3)]
    assert not any(TRAVELLER in label for label in record["TargetSiteScans"])
    source = (
        bids
        / written.relative_to(out).parent
        / written.name.replace(f"_desc-harmonized{TARGET}", "")
    )
    before, after = (np.asarray(nib.load(p).dataobj, dtype=float) for p in (source, written))
    assert before.shape == after.shape
    changed = np.abs(after - before).mean() / before[before > 0].mean()
    assert 0.005 < changed < 0.5
    # The next job finds the profiles where this one left them.
    profiles = {p.name for p in (out / "models" / "banks").glob("*.safetensors")}
    assert len(profiles) == 2
