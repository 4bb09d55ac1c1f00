"""Two real people, each scanned twice with another protocol, as before and after an upgrade."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from lxml import html

from bids_harmony.cli.main import main
from bids_harmony.imaging.transforms import read_transform
from bids_harmony.quality.summary import load_summary
from tests.e2e.program import validator_errors

pytestmark = pytest.mark.e2e

PEOPLE = ("ms01", "ms12")
SITES = {"1": "old", "2": "new"}


def run(bids, out, *words) -> None:
    code = main(
        [
            str(bids), str(out), "participant", "--target-site", "new", "-w", str(out) + "_work",
            "--modalities", "T1w", "--voxel-mm", "2", "--nprocs", "1", "--device", "cpu", *words,
        ]
    )  # fmt: skip
    assert code == 0


@pytest.fixture(scope="module")
def outputs(shared_data, tmp_path_factory):
    """With ``--longitudinal``, and without."""
    folder = tmp_path_factory.mktemp("longitudinal")
    bids = folder / "bids"
    bids.mkdir()
    (bids / "dataset_description.json").write_text('{"Name": "n", "BIDSVersion": "1.10.0"}')
    for person in PEOPLE:
        for session in SITES:
            anat = bids / f"sub-{person}/ses-{session}/anat"
            anat.mkdir(parents=True)
            source = shared_data / f"ms_longitudinal/sub-{person}/ses-{session}/anat"
            for path in source.glob("*_T1w.*"):
                shutil.copy(path, anat)
        rows = "".join(f"ses-{session}\t{site}\n" for session, site in SITES.items())
        table = bids / f"sub-{person}/sub-{person}_sessions.tsv"
        table.write_text("session_id\tsite\n" + rows)
    run(bids, folder / "with", "--longitudinal")
    run(bids, folder / "without")
    return folder / "with", folder / "without"


def worlds(out, person):
    stem = "from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.txt"
    return [
        read_transform(out / f"sub-{person}/ses-{s}/anat/sub-{person}_ses-{s}_{stem}")
        for s in SITES
    ]


def summaries(out, person):
    paths = sorted((out / f"sub-{person}/summaries").glob("*_T1w.npz"))
    return [load_summary(path) for path in paths]


def test_sessions_are_of_the_site_of_their_table(outputs):
    for session, site in SITES.items():
        stem = f"sub-ms01/ses-{session}/anat/sub-ms01_ses-{session}"
        sidecar = json.loads((outputs[0] / f"{stem}_desc-harmonizednew_T1w.json").read_text())
        assert sidecar["HarmonizationSource"]["Site"] == site


def test_the_derivative_is_valid(outputs):
    assert (outputs[0] / "sub-ms01/anat").is_dir()
    assert validator_errors(outputs[0]) == []


def test_a_person_keeps_one_size(outputs):
    for person in PEOPLE:
        spread = []
        for out in outputs:
            first, second = worlds(out, person)
            turned = (np.linalg.inv(second) @ first)[:3, :3]
            spread.append(np.abs(turned @ turned.T - np.eye(3)).max())
        # Rigid with the flag; without, each session meets the template in a way of its own.
        assert spread[0] < 1e-5 < 100 * spread[0] + 1e-3 < spread[1]


def test_tissues_scatter_less_within_the_person(outputs):
    def scatter(out) -> float:
        """Mean of |log ratio| of tissue volumes of the two sessions, before and after."""
        found = []
        for person in PEOPLE:
            volumes = [of_session.volumes for of_session in summaries(out, person)]
            assert len(volumes) == 2
            found.append(np.abs(np.log(volumes[1] / volumes[0])).mean())
        return float(np.mean(found))

    together, apart = map(scatter, outputs)
    assert together <= apart, (together, apart)


def test_the_person_over_time_is_on_one_page(outputs):
    tree = html.fromstring((outputs[0] / "sub-ms01_sessions.html").read_text())
    text = " ".join(tree.xpath("//section[@id='courses']//text()"))
    assert "Site 1 is old: 1. Site 2 is new: 2. The site changes between sessions." in text
    names = [svg.get("aria-label") for svg in tree.xpath("//section[@id='courses']//svg")]
    assert "T1w to new: white matter, ml" in names
    rows = {
        row.findtext("th"): [float(cell.text) for cell in row.findall("td")]
        for row in tree.xpath("//section[@id='courses']//tr[td]")
    }
    volumes = np.array([of_session.volumes for of_session in summaries(outputs[0], "ms01")])
    spread = 100 * volumes.std(axis=0, ddof=1) / volumes.mean(axis=0)
    for i, tissue in enumerate(("grey matter", "white matter", "CSF")):
        np.testing.assert_allclose(rows[f"{tissue}, ml"], spread[:, i], atol=0.006)
