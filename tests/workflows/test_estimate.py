"""What jobs ask a cluster for: enough, and more for more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.workflows.anat import HEAD_GIB
from bids_harmony.workflows.dwi import SERIES_GIB
from bids_harmony.workflows.estimate import Resources, participant_needs, train_needs


@pytest.fixture
def scan(tmp_path):
    """An image with a header of that shape and no voxels that anybody will read."""

    def make(*shape: int, modality: str = "T1w") -> Scan:
        path = tmp_path / f"{'x'.join(map(str, shape))}_{modality}.nii"
        header = nib.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape(shape)
        path.write_bytes(header.binaryblock + bytes(4))
        entities = {"subject": "01", "suffix": modality}
        return Scan(path, entities, modality, {}, SiteEvidence("A", "test"))

    return make


@pytest.fixture
def settings() -> Settings:
    return Settings(Path("/bids"), Path("/out"), "participant", target_site="A", bank_scans=5)


def test_one_usual_head(scan, settings):
    needs = participant_needs([[scan(256, 256, 192)]], settings, unknown=0)
    # 1.25 times the largest step and the program itself.
    assert needs == Resources(2, 4 * 1024, 30)
    assert needs.memory_mb / 1024 >= 1.25 * (HEAD_GIB + 1)
    # What was measured: 50 s and 1.9 GB on two processors.
    assert needs.minutes * 60 > 4 * 50 and needs.memory_mb > 1.5 * 1900


def test_small_images_need_no_less_and_large_ones_more(scan, settings):
    usual = participant_needs([[scan(256, 256, 192)]], settings, unknown=0)
    assert participant_needs([[scan(64, 64, 40)]], settings, unknown=0) == usual
    fine = participant_needs([[scan(512, 512, 384)] * 2], settings, unknown=0)
    assert fine.memory_mb >= 1.25 * 16 * HEAD_GIB * 1024 and fine.minutes > usual.minutes


def test_the_largest_unit_counts(scan, settings):
    head, series = scan(256, 256, 192), scan(140, 140, 90, 150, modality="dwi")
    both = participant_needs([[head], [head, series], [head]], settings, unknown=0)
    assert both.memory_mb >= 1.25 * (HEAD_GIB + SERIES_GIB + 1) * 1024
    assert both == participant_needs([[series, head]], settings, unknown=0)


def test_memory_follows_the_steps_that_run_at_once(scan, settings):
    head = scan(256, 256, 192)
    one, four = (
        participant_needs([[head] * 6], settings, unknown=0, cpus=cpus) for cpus in (1, 4)
    )
    assert four.memory_mb > 2 * one.memory_mb and one.minutes > four.minutes
    assert participant_needs([[head] * 20], settings, unknown=0).cpus == 8
    asked = participant_needs([[head]], settings, unknown=0, cpus=3, memory_mb=999)
    assert (asked.cpus, asked.memory_mb) == (3, 999)


def test_time_to_wait_for_profiles_of_sites(scan, settings):
    units = [[scan(256, 256, 192)]]
    few, many = (participant_needs(units, settings, unknown=n).minutes for n in (2, 40))
    # 40 x 5 scans of 80 s on two processors, four times over.
    assert many >= 40 * 5 * 80 / 2 * 4 / 60 and few < many / 10


def test_a_header_that_cannot_be_read_is_counted_as_usual(tmp_path, scan, settings, caplog):
    head = scan(256, 256, 192)
    broken = replace(head, path=tmp_path / "no_T1w.nii.gz")
    broken.path.write_bytes(b"")
    usual = participant_needs([[head]], settings, unknown=0)
    assert participant_needs([[broken]], settings, unknown=0) == usual
    assert "no_T1w" in caplog.text


def test_training_grows_with_scans_and_steps(scan, settings):
    head = scan(256, 256, 192)
    few, many = (train_needs([head] * n, settings, cpus=4) for n in (4, 400))
    assert many.memory_mb > few.memory_mb and many.minutes > few.minutes
    paper = replace(settings, training=TrainingSettings(epochs=300, batch=32))
    # Never more than a week, whatever was asked for: no queue would take it.
    assert train_needs([head] * 400, paper, cpus=4).minutes == 7 * 24 * 60


def test_training_takes_time_for_every_site_that_scanners_are_fitted_to(scan, settings):
    head = scan(256, 256, 192)
    sites = [replace(head, site=SiteEvidence(f"site {n}", "test")) for n in range(40)]

    def minutes(scans: list[Scan], **training: float) -> int:
        chosen = replace(settings, training=TrainingSettings(**training))
        return train_needs(scans, chosen, cpus=4).minutes

    assert minutes(sites) > minutes([head] * 40)
    assert minutes(sites, own_twins=0.0) == minutes([head] * 40, own_twins=0.0)
    assert minutes(sites, twin_steps=0) < minutes(sites, own_twins=0.0)


def test_time_as_slurm_reads_it():
    assert Resources(1, 1, 30).time == "0-00:30:00"
    assert Resources(1, 1, 26 * 60 + 10).time == "1-02:10:00"
