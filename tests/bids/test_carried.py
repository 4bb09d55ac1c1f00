"""What tells how an image was acquired is carried; whatever else stands in a sidecar is not."""

from __future__ import annotations

import pytest

from bids_harmony.bids.carried import acquisition_fields, may_be_carried

ACQUIRED = {
    "Manufacturer": "Siemens", "ManufacturersModelName": "Prisma", "MagneticFieldStrength": 3,
    "EchoTime": 0.003, "RepetitionTime": 2.3, "FlipAngle": 8, "SliceTiming": [0.0, 0.5],
    "ImageType": ["ORIGINAL", "PRIMARY"], "ParallelReductionFactorInPlane": 2,
    "InstitutionName": "COI",
    "ImageOrientationPatientDICOM": [1, 0, 0, 0, 1, 0], "PhaseEncodingDirection": "j-",
    "ConversionSoftware": "dcm2niix", "SpoilingState": True,
}  # fmt: skip
PRIVATE = (
    "AccessionNumber", "AcquisitionDateTime", "AcquisitionTime", "ConversionComments",
    "ImageComments", "IssuerOfPatientID", "OperatorsName", "OtherPatientIDs", "PatientAge",
    "PatientBirthDate", "PatientComments", "PatientID", "PatientName", "PatientSex",
    "PatientPosition", "PatientWeight",
    "PerformingPhysicianName", "PerformedProcedureStepStartDate", "ProcedureStepDescription",
    "ProtocolName", "ReferringPhysicianName", "RequestingPhysician", "SeriesDescription",
    "SeriesInstanceUID", "StudyDate", "StudyDescription", "StudyID", "StudyInstanceUID",
    "StudyTime", "XNATSubject", "patientname", "PATIENTNAME", "notes", "global", "time", "_x",
)  # fmt: skip


def test_acquisition_is_carried():
    assert acquisition_fields(ACQUIRED) == ACQUIRED


@pytest.mark.parametrize("name", PRIVATE)
def test_what_tells_of_the_person_is_not(name):
    assert acquisition_fields({name: "Doe^Jane", "EchoTime": 0.003}) == {"EchoTime": 0.003}


@pytest.mark.parametrize(
    "value", [{"PatientName": "Doe"}, [{"PatientName": "Doe"}], None, float("nan"), [float("inf")]]
)
def test_values_that_hold_more_are_not(value):
    assert acquisition_fields({"EchoTime": value}) == {}


@pytest.mark.parametrize(
    ("column", "key", "kept"),
    [
        ("filename", "filename", True),
        ("acq_time", "filename", False),
        ("operator", "filename", False),
        ("site", "filename", True),
        ("session_id", "session_id", True),
        ("acq_time", "session_id", False),
        ("age", "session_id", True),
        ("sex", "participant_id", True),
        ("Handedness", "participant_id", True),
        ("Age (years)", "participant_id", True),
        ("DX_GROUP", "participant_id", True),
        ("Diagnosis", "session_id", True),
        ("SEX_ID (1=m, 2=f)", "participant_id", True),
        ("species", "participant_id", True),
        ("species", "session_id", False),
        ("diagnosis_date", "participant_id", False),
        ("agent", "participant_id", False),
        ("handler", "participant_id", False),
        ("group", "filename", False),
        ("birthdate", "participant_id", False),
        ("birth_date", "participant_id", False),
        ("remarks", "participant_id", False),
        ("participant_id", "filename", False),
    ],
)
def test_columns(column, key, kept):
    assert may_be_carried(column, key) == kept
