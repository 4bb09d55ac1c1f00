"""The page of the plan: what it counts, names and escapes, and that nothing else is written."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from lxml import html

from bids_harmony.cli.main import main

HOSTILE = "<script>alert(1)</script>"


def words(element) -> str:
    return " ".join(" ".join(element.itertext()).split())


@pytest.fixture
def plan(raw, tmp_path, capsys):
    """Sites GE and COI, ten people each, those of GE younger; two scans that are odd."""
    rows = ["participant_id age sex"]
    for index in range(20):
        site = "COI" if index >= 10 else "GE"
        person = f"{site}{index:02d}"
        rows.append(f"sub-{person} {20 + 3 * index} {'FM'[index % 2]}")
        raw.image(
            f"sub-{person}/anat/sub-{person}_T1w",
            InstitutionName=site, Manufacturer="Siemens", ManufacturersModelName="Prisma",
            MagneticFieldStrength=3, DeviceSerialNumber=site,
        )  # fmt: skip
    raw.table("participants.tsv", *rows)
    raw.image("sub-GE00/anat/sub-GE00_T2w", InstitutionName=HOSTILE, Manufacturer="GE")
    (raw.root / "sub-COI19/anat/sub-COI19_T1w.nii.gz").write_bytes(b"no image")
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub-GE03_decisions.tsv").write_text("scan\tdecision\nsub-GE03_T1w\texclude\n")
    page = tmp_path / "plan.html"
    target = ("--target-site", "COI", "-w", str(tmp_path / "w"))
    code = main(
        [str(raw.root), str(out), "participant", "--dry-run", "--plan-page", str(page), *target]
    )
    assert [p.name for p in out.iterdir()] == ["sub-GE03_decisions.tsv"]
    assert not (tmp_path / "w").exists()
    return code, page.read_text(), capsys.readouterr().out


def test_every_part_says_what_it_is_about(plan):
    code, text, shown = plan
    assert code != 0 and "nothing was written but" in shown
    tree = html.fromstring(text)
    parts = {section.get("id"): words(section) for section in tree.iter("section")}
    assert list(parts) == ["sites", "covariates", "sidecars", "left-out", "scans"]
    rows = {
        words(row[0]): [words(cell) for cell in row[1:]]
        for row in tree.xpath("//table[contains(@class, 'sites')]//tr")
    }
    # People, sessions, T1w, T2w, scanners.
    assert rows["GE"][:4] == ["9", "9", "9", "0"]
    assert rows["COI (target)"][:4] == ["10", "10", "10", "0"]
    assert "Prisma" in rows["GE"][4]
    assert "age" in parts["covariates"]
    assert "cannot be told apart from the site" in parts["covariates"]
    beyond = tree.xpath("//section[@id='covariates']//tr[@class='beyond']/th/text()")
    assert beyond == ["age"]
    assert (
        "sub-GE00_T2w ManufacturersModelName, MagneticFieldStrength, DeviceSerialNumber or"
        in (parts["sidecars"])
    )
    assert (
        "sub-COI19_T1w" in parts["left-out"]
        and "sub-GE03_T1w.nii.gz is passed over" in (parts["left-out"])
    )
    assert "sub-GE00/anat/sub-GE00_desc-harmonizedCOI_T1w.nii.gz" in parts["scans"]
    assert "none: it cannot be used" in parts["scans"]


def test_many_notes_are_folded_and_none_is_lost(plan):
    tree = html.fromstring(plan[1])
    (sites,) = tree.xpath("//section[@id='sites']")
    # Every scan of a GE... is by Siemens, which its label contradicts.
    assert len(sites.xpath("./p[@class='warning']")) == 5
    folded = [words(item) for item in sites.xpath("./details//li")]
    assert len(folded) >= 4 and all("by Siemens" in text for text in folded[:3])


def test_what_a_dataset_says_stays_text(plan):
    _, text, _ = plan
    assert HOSTILE not in text and "&lt;script&gt;" in text
    tree = html.fromstring(text)
    assert not tree.xpath("//script | //@src | //link")


def test_shells_of_each_site(raw, tmp_path):
    for person, site, b in (("01", "COI", 1000), ("02", "GE", 700)):
        stem = f"sub-{person}/dwi/sub-{person}_dwi"
        path = raw.image(stem, InstitutionName=site)
        nib.save(nib.Nifti1Image(np.ones((8, 8, 8, 8), np.int16), np.eye(4)), path)
        values = [0, *[b] * 7]
        path.with_name(f"sub-{person}_dwi.bval").write_text(" ".join(map(str, values)))
        turned = np.random.default_rng(0).normal(size=(3, 8))
        turned /= np.linalg.norm(turned, axis=0)
        np.savetxt(path.with_name(f"sub-{person}_dwi.bvec"), turned)
    page = tmp_path / "plan.html"
    asked = [str(raw.root), str(tmp_path / "out"), "participant", "--target-site", "COI"]
    main([*asked, "-w", str(tmp_path / "w"), "--dry-run", "--plan-page", str(page)])
    (shells,) = html.fromstring(page.read_text()).xpath("//section[@id='shells']")
    assert "COI 1000 (1 series)" in words(shells) and "GE 700 (1 series)" in words(shells)


def test_the_page_is_not_written_into_the_dataset(raw, tmp_path):
    raw.image("sub-01/anat/sub-01_T1w", InstitutionName="COI")
    page = raw.root / "plan.html"
    words = [str(raw.root), str(tmp_path / "out"), "participant", "--target-site", "COI"]
    assert main([*words, "--dry-run", "--plan-page", str(page)]) == 73
    assert not page.exists()


def test_sessions_are_counted_and_whose_share_a_space_is_told(cohort, tmp_path):
    page = tmp_path / "plan.html"
    asked = [str(cohort.root), str(tmp_path / "out"), "participant", "--target-site", "COI"]
    asked += ["-w", str(tmp_path / "w"), "--dry-run", "--plan-page", str(page)]
    # Of sub-03 one scan was made at a scanner of GE in each of two sessions.
    cohort.table("participants.tsv", "participant_id site group", "sub-03 GE a", "sub-01 n/a b")
    assert main([*asked, "--longitudinal", "--profile-filter", "group == 'a'"]) == 65
    (sites,) = html.fromstring(page.read_text()).xpath("//section[@id='sites']")
    head, *rows = [[words(cell) for cell in row] for row in sites.xpath(".//tr")]
    assert head[:4] == ["Site", "People", "Sessions", "T1w"]
    assert {row[0]: row[1:4] for row in rows}["GE"] == ["1", "2", "2"]
    assert "Sessions that share a space: sub-03 (2 T1w)" in words(sites)
    assert "People with group == 'a', who show how sites look: COI 0 of 2, GE 1 of 1" in words(
        sites
    )
    main(asked)
    assert "share a space" not in page.read_text()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "Shown by few people: GE 1 (T1w), COI 2 (T2w), GE 2 (T2w). With fewer than 5"),
        (("--bank-scans", "4"), "COI 4 (T1w), GE 1 (T1w), COI 2 (T2w), GE 2 (T2w)"),
        # Those of the whole dataset show the sites, not these alone.
        (("--participant-label", "1", "2"), None),
    ],
)
def test_sites_that_few_people_show_are_named(raw, tmp_path, capsys, more, told):
    for person in range(8):
        site = "GE" if person in (1, 7) else "COI"
        kinds = ("T2w",) if person == 7 else ("T1w",) if person > 2 else ("T1w", "T2w")
        for kind in kinds:
            raw.image(f"sub-{person}/anat/sub-{person}_{kind}", InstitutionName=site)
    asked = [str(raw.root), str(tmp_path / "out"), "participant", "--target-site", "COI"]
    main([*asked, "-w", str(tmp_path / "w"), "--dry-run", *more])
    shown = capsys.readouterr().out
    assert told in shown if told else "few people" not in shown
