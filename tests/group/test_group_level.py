"""The level group from an output folder: tables, one page, and what is said to be missing."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from bids_harmony.cli.main import main
from bids_harmony.quality.summary import load_summary, save_summary
from bids_harmony.reports.group_figures import STATE_STYLES
from tests.group.conftest import add_output, tissue_quantiles, write


class _Page(HTMLParser):
    """Pictures, words of sections, and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag == "img":
            self.pictures.append(named["src"])
        if tag == "script":
            self.scripts += 1
        for key in ("src", "href"):
            if named.get(key):
                self.addresses.append(named[key])


def run(folders, *options):
    work = folders.out.parent / "work"
    return main([str(folders.bids), str(folders.out), "group", "-w", str(work), *options])


def test_page_tables_and_record(make_cohort):
    folders = make_cohort()
    assert run(folders) == 0
    text = (folders.out / "group.html").read_text()
    page = _Page(text)
    drawn = list((folders.out / "figures").glob("group_T1w_COI_*.png"))
    assert len(page.pictures) == len(drawn) >= 4
    assert all(p.startswith("data:image/") for p in page.pictures)
    assert page.scripts == 0
    for kind in ("densities", "site_effects", "probe", "changes"):
        assert (folders.out / "figures" / f"group_T1w_COI_{kind}.png").is_file()
        assert f"figures/group_T1w_COI_{kind}.png" in page.addresses
    # Headings with nothing below them would be empty sections.
    assert not re.search(r"</h3>\s*<h[23]", text)
    with open(folders.out / "group_T1w.tsv", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len(rows) == 36
    described = json.loads((folders.out / "group_T1w.json").read_text())
    assert set(described) == set(rows[0])
    record = json.loads((folders.out / "group.json").read_text())
    assert record["missing"] == []


def test_numbers_are_those_of_the_table(make_cohort):
    """Computed once more from the table, by a sum of squares that is written out."""
    folders = make_cohort()
    (folders.bids / "participants.tsv").unlink()
    assert run(folders) == 0
    table = pd.read_csv(folders.out / "group_T1w.tsv", sep="\t")
    record = json.loads((folders.out / "group.json").read_text())["chapters"][0]
    found = {(r["measure"], r["state"]): r for r in record["site_effects"]}
    for state in ("source", "harmonized"):
        values = table[f"gm_{state}"]
        means = values.groupby(table["site"]).transform("mean")
        between, within = ((means - values.mean()) ** 2).sum(), ((values - means) ** 2).sum()
        n, k = len(values), table["site"].nunique()
        error = within / (n - k)
        # Olejnik and Algina 2003, Table 1: one factor.
        omega = (between - (k - 1) * error) / (between + (n - k + 1) * error)
        assert found["gm", state]["share"] == pytest.approx(max(omega, 0), abs=1e-4)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("suffix", ["T1w", "dwi"])
@pytest.mark.parametrize("per_site", [1, 2])
def test_sites_of_one_and_two_people_are_told_as_such(make_cohort, per_site, suffix):
    folders = make_cohort(per_site=per_site, suffix=suffix)
    assert run(folders) == 0
    chapter = json.loads((folders.out / "group.json").read_text())["chapters"][0]
    said = " ".join(chapter["statements"].values())
    if per_site == 1:
        assert "two scans or more each" in said and "COI: 1, GE: 1, PHILIPS: 1" in said
        assert not chapter["site_effects"] and not chapter["probe"]
    else:
        # The diagnosis is a remark, another one of everybody: no reason to say nothing.
        assert chapter["site_effects"] and "combat" not in chapter["statements"]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_measures_that_are_the_same_in_all_scans_of_a_site(make_cohort):
    folders = make_cohort(per_site=3)
    first = {}
    for path in sorted(folders.out.glob("sub-*/summaries/*.npz")):
        summary = load_summary(path)
        site = (int(path.parts[-3].removeprefix("sub-")) - 1) // 3
        save_summary(path, first.setdefault(site, summary))
    assert run(folders) == 0
    chapter = json.loads((folders.out / "group.json").read_text())["chapters"][0]
    shares = [e["share"] for e in chapter["site_effects"] if e["measure"] == "gm"]
    assert shares[0] == 1 and all(0 <= share <= 1 for share in shares)


def test_same_folder_twice_gives_the_same_bytes(make_cohort):
    folders = make_cohort(per_site=4)
    names = ("group.html", "group.json", "group_T1w.tsv")
    assert run(folders) == 0
    first = [(folders.out / name).read_bytes() for name in names]
    assert run(folders) == 0
    assert [(folders.out / name).read_bytes() for name in names] == first


def test_what_is_missing_is_said(make_cohort):
    folders = make_cohort(per_site=4)
    write(folders.bids / "sub-late" / "anat" / "sub-late_T1w.nii.gz", "")
    add_output(folders, "old", "", "GE")
    next(folders.out.glob("sub-001/summaries/*.npz")).write_bytes(b"half a file")
    assert run(folders) == 0
    record = json.loads((folders.out / "group.json").read_text())
    missing = {row["label"]: row["reason"] for row in record["missing"]}
    assert set(missing) == {"sub-late", "sub-old_T1w", "sub-001_T1w"}
    assert "not been run" in missing["sub-late"]
    assert "sub-late" in (folders.out / "group.html").read_text()


def test_site_named_like_a_script_stays_text(make_cohort):
    folders = make_cohort(per_site=3)
    sidecar = next(folders.out.glob("sub-005/anat/*.json"))
    record = json.loads(sidecar.read_text())
    record["HarmonizationSource"]["Site"] = "<script>alert(1)</script>"
    sidecar.write_text(json.dumps(record))
    assert run(folders) == 0
    assert _Page((folders.out / "group.html").read_text()).scripts == 0


def test_confounding_is_loud(make_cohort):
    folders = make_cohort(older_by=40)
    assert run(folders) == 0
    assert "age and site are confounded" in (folders.out / "group.html").read_text()


def test_one_site_has_no_empty_table_of_confounding(make_cohort):
    folders = make_cohort(per_site=6)
    labels = [f"{number:03d}" for number in range(7, 13)]
    assert run(folders, "--participant-label", *labels) == 0
    page = (folders.out / "group.html").read_text()
    assert "With one site, no covariate can go with it." in page
    assert "How closely covariates go with the site" not in page


def test_empty_output_folder_selects_nothing(folders):
    assert run(folders) == 18
    assert not (folders.out / "group.html").exists()


def test_dry_run_writes_nothing(make_cohort, capsys):
    folders = make_cohort(per_site=2)
    before = sorted(folders.out.rglob("*"))
    assert run(folders, "--dry-run") == 0
    assert sorted(folders.out.rglob("*")) == before
    assert "T1w to COI: 6 scans of COI, GE, PHILIPS" in capsys.readouterr().out


def test_diffusion_page_shows_variation(make_cohort):
    folders = make_cohort(suffix="dwi", travelling=True, per_site=5)
    assert run(folders) == 0
    record = json.loads((folders.out / "group.json").read_text())["chapters"][0]
    assert {row["parameter"] for row in record["regions"]} == {"fa", "md"}
    assert np.isfinite(record["regions"][0]["source"])


def test_travellers_who_do_not_differ_spoil_nothing(make_cohort):
    """CSF is one number in all images, fine detail in all harmonized ones."""
    folders = make_cohort(travelling=True, per_site=5)
    for path in folders.out.rglob("*.npz"):
        summary = load_summary(path)
        summary.quantiles[:, 3] = tissue_quantiles(0.3, 0.2)
        summary.detail[1] = -3
        save_summary(path, summary)
    assert run(folders) == 0
    record = json.loads((folders.out / "group.json").read_text())["chapters"][0]
    agreement = {(row["measure"], row["state"]) for row in record["reliability"]}
    assert {state for measure, state in agreement if measure == "gm"} == set(STATE_STYLES)
    assert ("detail", "source") in agreement and ("detail", "harmonized") not in agreement
    assert not [measure for measure, _ in agreement if measure == "csf"]
    shares = {(r["measure"], r["state"]): r["share"] for r in record["site_effects"]}
    assert shares["csf", "source"] == shares["csf", "harmonized"] == 0
    table = (folders.out / "group.html").read_text().partition('<table class="reliability ')[2]
    rows = table.partition("</table>")[0].split("<tr>")[2:]
    assert {row.count("<td") for row in rows} == {len(STATE_STYLES)}
    assert ["cannot be measured" in row for row in rows if "fine detail" in row] == [True]


def test_scan_on_another_grid_leaves_the_page(make_cohort):
    folders = make_cohort(per_site=3)
    path = next(folders.out.glob("sub-005/summaries/*.npz"))
    summary = load_summary(path)
    other = {"features": summary.features[:, :5], "change": summary.change[:4], "voxel_mm": 3.0}
    save_summary(path, replace(summary, **other))
    assert run(folders) == 0
    assert (folders.out / "figures" / "group_T1w_COI_changes.png").is_file()


PRIVATE = {
    "operator": ("Doe^Jane", "Roe^Rick"),
    "mrn": ("4711001", "4711002"),
    "acq_date": ("2019-03-07", "2019-03-08"),
    "phone": ("0555-1234", "0555-9876"),
    "address": ("Elm Street 9", "Oak Lane 3"),
    "hosp_score": ("17.25", "19.75"),
}


def add_columns(folders, columns):
    """Add columns of two values, one after the other, to the participants."""
    head, *rows = (folders.bids / "participants.tsv").read_text().splitlines()
    lines = [f"{head}\t" + "\t".join(columns)]
    lines += [
        f"{row}\t" + "\t".join(pair[n % 2] for pair in columns.values())
        for n, row in enumerate(rows)
    ]
    write(folders.bids / "participants.tsv", "\n".join(lines) + "\n")


def everything_of(folders) -> str:
    files = [path for path in folders.out.rglob("*") if path.is_file()]
    return "".join(path.read_text(errors="ignore") for path in files if path.suffix != ".npz")


def test_columns_that_nobody_named_do_not_travel(make_cohort):
    folders = make_cohort(per_site=3)
    add_columns(folders, PRIVATE | {"DX_GROUP": ("AD", "HC")})
    assert run(folders) == 0
    text = everything_of(folders)
    assert [cell for pair in PRIVATE.values() for cell in pair if cell in text] == []
    table = pd.read_csv(folders.out / "group_T1w.tsv", sep="\t")
    assert set(table["DX_GROUP"]) == {"AD", "HC"} and "age" in table
    assert not set(PRIVATE) & set(table)
    assert "operator, mrn, acq_date, phone, address, hosp_score" in text


def test_a_column_that_the_user_names_does(make_cohort):
    folders = make_cohort(per_site=3)
    add_columns(folders, PRIVATE)
    assert run(folders, "--covariates", "hosp_score", "operator") == 0
    table = pd.read_csv(folders.out / "group_T1w.tsv", sep="\t")
    assert table["hosp_score"].tolist() == [17.25, 19.75] * 4 + [17.25]
    assert set(table["operator"]) == set(PRIVATE["operator"]) and "mrn" not in table
    record = json.loads((folders.out / "group.json").read_text())["chapters"][0]
    assert {"age", "sex", "hosp_score", "operator"} <= set(record["confounding"])


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_column_that_is_not_there_is_told(make_cohort, capsys, dry):
    folders = make_cohort(per_site=2)
    assert run(folders, "--covariates", "iq", *dry) == 64
    assert "--covariates iq" in capsys.readouterr().err
    assert not (folders.out / "group.html").exists()


def test_scans_that_were_excluded_are_in_no_number(make_cohort):
    folders = make_cohort()
    (folders.out / "sub-001_decisions.tsv").write_text(
        "scan\tdecision\tremark\nsub-001_T1w\texclude\tghosts <i>\nsub-002_T1w\tlook again\t\n"
        "sub-003_T1w\tkeep\t\n"
    )
    assert run(folders) == 0
    table = pd.read_csv(folders.out / "group_T1w.tsv", sep="\t")
    assert len(table) == 35 and "sub-001_T1w" not in set(table["scan"])
    record = json.loads((folders.out / "group.json").read_text())
    told = {row["scan"]: row["decision"] for row in record["decisions"]}
    assert told == {"sub-001_T1w": "exclude", "sub-002_T1w": "look again"}
    text = (folders.out / "group.html").read_text()
    assert "ghosts &lt;i&gt;" in text and "What was decided" in text


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_decision_about_no_scan_of_the_dataset_is_told(make_cohort, capsys, dry):
    folders = make_cohort(per_site=2)
    (folders.out / "sub-999_decisions.tsv").write_text("scan\tdecision\nsub-999_T1w\texclude\n")
    assert run(folders, *dry) == 0
    told = capsys.readouterr().err
    assert told.count("The decision about sub-999_T1w") == 1


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), "T1w to COI: 35 scans"),
        (("--modalities", "T2w"), ""),
        (("--target-site", "nowhere"), ""),
    ],
    ids=["decisions", "modality", "target"],
)
def test_the_plan_counts_what_the_page_is_made_of(make_cohort, capsys, words, shown):
    folders = make_cohort()
    table = folders.out / "sub-001_decisions.tsv"
    table.write_text("scan\tdecision\tremark\nsub-001_T1w\texclude\tghosts\n")
    codes = [run(folders, *words, "--dry-run"), run(folders, *words)]
    told = capsys.readouterr().out
    assert codes == ([0, 0] if shown else [18, 18]) and shown in told
    assert ("sub-001_T1w, as was decided: exclude: ghosts" in told) == bool(shown)


def test_dots_open_pages_that_are_there(make_cohort):
    folders = make_cohort()
    (folders.out / "sub-002.html").write_text("")
    assert run(folders) == 0
    addresses = _Page((folders.out / "group.html").read_text()).addresses
    assert "sub-002.html#sub-002_desc-harmonizedCOI_T1w" in addresses
    assert not [a for a in addresses if a.startswith("sub-003")]
