"""What participants.tsv says of people: numbers as people write them, and what is told."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.group.covariates import read_covariates


def read(folder, text, *, sessions=(None,)):
    (folder / "participants.tsv").write_text(text)
    labels = dict.fromkeys(
        line.split("\t")[0].removeprefix("sub-") for line in text.splitlines()[1:]
    )
    outputs = [
        SimpleNamespace(participant=label, session=session)
        for label in labels
        for session in sessions
    ]
    return read_covariates(folder, outputs)


def column(folder, cells, name="age"):
    rows = [f"sub-{n:02d}\t{cell}\n" for n, cell in enumerate(cells)]
    return read(folder, f"participant_id\t{name}\n" + "".join(rows)).get(name)


AGES = [str(n) for n in range(60, 70)]


@pytest.mark.parametrize(
    ("cell", "number"),
    [("89+", 89), (">89", 89), (">=90", 90), ("90 +", 90), ("≥90", 90), ("34,5", 34.5),
     ("034Y", 34), ("34 years", 34), ("34.5 yrs", 34.5)],
)  # fmt: skip
def test_numbers_as_people_write_them(tmp_path, caplog, cell, number):
    assert column(tmp_path, [*AGES, cell]) == [*map(float, AGES), number]
    (record,) = caplog.records
    assert f"{cell!r} of sub-10 as {number:g}" in record.message and "age" in record.message


def test_plain_numbers_are_read_without_a_word(tmp_path, caplog):
    assert column(tmp_path, [*AGES, "7e1", "n/a", "-"])[-3] == 70
    assert not caplog.records


@pytest.mark.parametrize("cell", ["young", "6 months", "1,234", "2,000"])
def test_a_word_among_numbers_is_missing_and_told(tmp_path, caplog, cell):
    ages = column(tmp_path, [*AGES, cell])
    assert ages[:-1] == [*map(float, AGES)] and math.isnan(ages[-1])
    assert f"{cell!r} of sub-10 not" in caplog.text


def test_commas_of_a_column_mean_one_thing(tmp_path):
    assert column(tmp_path, ["1,5", "2,125", "3"], "age_weeks") == [1.5, 2.125, 3]


def test_words_stay_words(tmp_path, caplog):
    assert column(tmp_path, ["F", "M", "F"], "sex") == ["F", "M", "F"]
    assert column(tmp_path, ["1", "2", "x", "1"], "group") == ["1", "2", "x", "1"]
    assert column(tmp_path, [f"remark {n}" for n in range(9)], "diagnosis") is None
    assert not caplog.records


def test_columns_of_sites_are_none_of_people(tmp_path):
    text = "participant_id\tSite ID\tsex\nsub-1\tA\tF\nsub-2\tB\tM\n"
    assert list(read(tmp_path, text)) == ["sex"]


def test_a_row_per_session(tmp_path):
    text = "participant_id\tsession_id\tage\nsub-1\tses-a\t60\nsub-1\tses-b\t62\nsub-2\tn/a\t70\n"
    found = read(tmp_path, text, sessions=("a", "b"))
    assert found["age"] == [60, 62, 70, 70]


def test_a_table_that_cannot_be_read_as_one(tmp_path):
    with pytest.raises(DataError, match="commas"):
        read(tmp_path, "participant_id,age\nsub-1,60\n")
