"""The page's sentence on how well two sites are known."""

from bids_harmony.reports.explanations import scan_warnings
from bids_harmony.reports.site_evidence import evidence_drawing, evidence_sentence

KNOWN = {
    "SourcePeople": 1,
    "TargetPeople": 1,
    "ProbabilitySitesDiffer": 1.0,
    "Contrasts": {
        "GreyToWhite": {
            "RawLogDifference": -0.1, "StandardError": 0.02, "AppliedLogDifference": -0.09
        }
    },
}  # fmt: skip


def sentence(**more):
    return evidence_sentence({"SiteEvidence": KNOWN | more})


def test_one_person_at_both_sites_is_said_and_needs_no_further_people():
    assert "one person, who tells" in sentence(SamePerson=True)
    assert "one person, who tells" not in sentence(SamePerson=False)
    assert "one person, who tells" not in sentence()
    few = {"SiteEvidence": KNOWN | {"SamePerson": False}}
    assert len(scan_warnings(few, {})) == 2
    assert not scan_warnings({"SiteEvidence": KNOWN | {"SamePerson": True}}, {})


def test_a_smoother_target_is_said_with_its_variances():
    told = sentence(BlurVarianceDifference=[1.26, 0.0, -0.3])
    assert "+1.3, +0.0, -0.3 mm²" in told
    assert "smoother" not in sentence(BlurVarianceDifference=[0.1, 0.0, -1.5])
    assert "smoother" not in sentence(BlurVarianceDifference=[])
    assert "smoother" not in sentence()


def test_differences_of_logarithms_are_told_in_percent():
    """A ratio of exp(-0.1) is 9.5 % less."""
    told = sentence()
    assert "differs by -9.5 %" in told and "Applied was -8.6 %" in told
    assert "standard error 2.0 %" in told


def test_what_is_applied_is_no_part_of_what_the_scans_show_where_people_differ():
    """Adjusted for age it may be the larger: the people seen hid some of it."""
    more = {"GreyToWhite": KNOWN["Contrasts"]["GreyToWhite"] | {"AppliedLogDifference": -0.12}}
    told = sentence(Contrasts=more, Covariates={"age": 0.8, "sex": 0.0})
    assert "of which" not in told
    assert "Applied was -11.3 %: the difference between people alike in age and sex" in told
    assert "alike" not in sentence(Covariates={})


def test_a_series_that_goes_to_a_mean_names_its_sites_and_the_shells_that_it_lacks():
    evidence = {
        "TargetIsMeanOf": {"A": 2, "B": 1}, "TargetShells": [1000.0],
        "ShellsLeftOut": {"A": [2000.0, 3000.0]},
    }  # fmt: skip
    told = evidence_sentence({"SiteEvidence": evidence})
    assert "the mean of A (2 series), B (1 series), each counting once." in told
    assert "not all sites show it: b=2000, b=3000 of A." in told
    assert evidence_drawing({"SiteEvidence": evidence}) == ""


def test_a_contrast_that_few_people_held_back_is_said():
    def told(supported):
        grey = KNOWN["Contrasts"]["GreyToWhite"] | {"SupportedLogDifference": supported}
        return sentence(Contrasts={"GreyToWhite": grey})

    assert "Of the -25.9 % that a scan of these two would need, the rest was held back" in told(
        -0.3
    )
    assert "held back" not in told(-0.1)
    assert "held back" not in sentence()
