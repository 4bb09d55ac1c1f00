"""Covariates of sessions as columns of numbers."""

from __future__ import annotations

import math

import pytest

from bids_harmony.bids.covariates import covariate_columns, session_rows
from bids_harmony.exceptions import UsageError

AUTO = ("auto",)


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsex\tgroup\tcode\n"
        "sub-01\t30\tF\tcontrol\ta\nsub-02\t40\tM\tpatient\tb\nsub-03\tn/a\tM\tcontrol\tc\n"
    )
    folder = tmp_path / "sub-01"
    folder.mkdir()
    (folder / "sub-01_sessions.tsv").write_text("session_id\tage\nses-2\t35\n")
    return tmp_path


def test_a_session_s_word_counts_more_than_the_person_s(dataset):
    rows = session_rows(dataset, [("01", None), ("01", "1"), ("01", "2"), ("09", None)])
    assert [row.get("age") for row in rows] == ["30", "30", "35", None]
    assert rows[2]["sex"] == "F"


def test_age_and_sex_are_taken_where_they_are_known_of_everybody(dataset):
    known = covariate_columns(dataset, [("01", "2"), ("02", None)], AUTO)
    assert known == {"age": [35, 40], "sex=M": [0, 1]}
    # Nobody knows the age of 03: sex alone.
    assert list(covariate_columns(dataset, [("01", None), ("03", None)], AUTO)) == ["sex=M"]
    assert covariate_columns(dataset, [("02", None), ("03", None)], AUTO) == {}


def test_columns_that_were_asked_for_may_have_holes(dataset):
    units = [("01", None), ("02", None), ("03", None)]
    found = covariate_columns(dataset, units, ("age", "group"))
    assert found["age"][:2] == [30, 40] and math.isnan(found["age"][2])
    assert found["group=patient"] == [0, 1, 0]
    assert covariate_columns(dataset, units, ()) == {}
    assert covariate_columns(dataset, [], AUTO) == {}


def test_a_column_that_is_not_there_is_told_with_those_that_are(dataset):
    with pytest.raises(UsageError, match="age, code, group, sex"):
        covariate_columns(dataset, [("01", None)], ("iq",))


def test_remarks_are_no_covariate(tmp_path):
    rows = "".join(f"sub-{i:02d}\tword{i}\n" for i in range(9))
    (tmp_path / "participants.tsv").write_text("participant_id\tcode\n" + rows)
    with pytest.raises(UsageError, match="too many different words"):
        covariate_columns(tmp_path, [(f"{i:02d}", None) for i in range(9)], ("code",))


def test_a_value_that_is_missing_for_one_person_stops_nobody(dataset):
    assert covariate_columns(dataset, [("03", None)], ("age",)) == {}
    assert covariate_columns(dataset, [("unknown", None)], ("age", "group")) == {}
