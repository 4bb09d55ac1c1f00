"""What is carried from the source into outputs: how it was acquired, by name, and nothing else.

A list of what may go, not of what may not: converters, exports of databases and people write
names, dates, identifiers and remarks into fields and columns that nobody can foresee.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from bids_harmony.bids.site import SITE_COLUMNS

__all__ = ["acquisition_fields", "holds_in_json", "is_of_people", "may_be_carried"]

# BIDS 1.11: hardware, sequence, encoding, timing, contrast, institution. SeriesDescription and
# ProtocolName are what somebody typed.
_BIDS = """
AcquisitionDuration AcquisitionVoxelSize B0ShimmingTechnique B1ShimmingTechnique BigDelta BodyPart
BodyPartDetails BodyPartDetailsOntology CoilCombinationMethod ContrastBolusIngredient
DeidentificationMethod Density DeviceSerialNumber DwellTime EchoTime EchoTime1 EchoTime2
EffectiveEchoSpacing FlipAngle GradientSetType HardcopyDeviceSoftwareVersion InstitutionAddress
InstitutionName InstitutionalDepartmentName InversionTime LookLocker MRAcquisitionType
MRTransmitCoilSequence MTNumberOfPulses MTOffsetFrequency MTPulseBandwidth MTPulseDuration
MTPulseShape MTState MagneticFieldStrength Manufacturer ManufacturersModelName MatrixCoilMode
MixingTime MultibandAccelerationFactor MultipartID NegativeContrast NonlinearGradientCorrection
NumberReceiveCoilActiveElements NumberShots NumberTransmitCoilActiveElements
ParallelAcquisitionTechnique ParallelReductionFactorInPlane ParallelReductionFactorOutOfPlane
PartialFourier PartialFourierDirection PhaseEncodingDirection PulseSequenceDetails
PulseSequenceType ReceiveCoilActiveElements ReceiveCoilName RepetitionTime
RepetitionTimeExcitation RepetitionTimePreparation Resolution ScanOptions ScanningSequence
SequenceName SequenceVariant SliceEncodingDirection SliceThickness SliceTiming SkullStripped
SmallDelta SoftwareVersions SpoilingGradientDuration SpoilingGradientMoment
SpoilingRFPhaseIncrement SpoilingState SpoilingType StationName TablePosition TotalReadoutTime
Units WaterSuppression WaterSuppressionTechnique
"""
# dcm2niix up to 1.0.20260724, of all vendors: numbers and codes of the sequence.
_CONVERTERS = """
AccelFactPE AccelFactSlice AcquisitionMatrixPE BandwidthPerPixelPhaseEncode BaseResolution
CoilString CompressedSensingFactor ConversionSoftware ConversionSoftwareVersion
DerivedVendorReportedEchoSpacing DiffusionScheme EchoNumber EchoTrainLength
EstimatedEffectiveEchoSpacing EstimatedTotalReadoutTime
FrequencyEncodingSteps ImageOrientationPatientDICOM ImageOrientationText ImageType ImageTypeText
ImagingFrequency InPlanePhaseEncodingDirectionDICOM InternalPulseSequenceName
MatrixSize Modality NumberOfAverages PartialFourierEnabled
PercentPhaseFOV PercentSampling PhaseEncodingAxis PhaseEncodingLines PhaseEncodingPolarityGE
PhaseEncodingSteps PhaseEncodingStepsNoPartialFourier PhaseEncodingStepsOutOfPlane
PhaseOversampling PhaseResolution PhilipsRWVIntercept PhilipsRWVSlope PhilipsRescaleIntercept
PhilipsRescaleSlope PhilipsScaleSlope PixDim PixelBandwidth PrescanReuseString PulseSequenceName
RFSpoilingPhaseIncrement RawImage ReceiveCoilActiveElements RecommendedPhaseCorrection
ReconMatrixPE RefLinesPE SAR ShimSetting SliceOversampling SpacingBetweenSlices TxRefAmp
UsePhilipsFloatNotDisplayScaling VariableFlipAngleFlag VendorReportedEchoSpacing WaterFatShift
"""
_FIELDS = frozenset((_BIDS + _CONVERTERS).split())

# Of people, as studies spell them once case, signs and what stands in brackets are taken away:
# "Age (years)", DX_GROUP, AGE_AT_SCAN, PTGENDER. Dates, names, numbers of records and scores of
# tests have no place here.
_OF_PEOPLE = """
age ageyears ageyrs ageyr ageinyears agemonths ageinmonths ageweeks ageinweeks agedays ageatscan
ageatscanning agescan scanage ageatmri agemri agemriyears ageatvisit agevisit ageatsession
ageatbaseline agebaseline baselineage agegroup agebin agerange agecategory birthage gestationalage
postmenstrualage
sex sexatbirth biologicalsex birthsex gender ptgender sexid mf
hand handedness handed handness dominanthand handednesscategory handednessscore
group grp groups cohort arm studyarm studygroup researchgroup subjectgroup participantgroup
patientgroup casecontrol population
diagnosis diagnoses diag dx dxgroup dxbl diagnosisgroup diagnosticgroup clinicaldiagnosis
primarydiagnosis disease
"""
_SITE = frozenset(SITE_COLUMNS)
_PEOPLE = frozenset(_OF_PEOPLE.split())
_BRACKETS = re.compile(r"\([^)]*\)|\[[^]]*\]")
_SIGNS = re.compile(r"[^a-z0-9]")


def is_of_people(column: str) -> bool:
    """Whether a column holds age, sex, hand, group or diagnosis, by its name."""
    return _SIGNS.sub("", _BRACKETS.sub("", column.casefold())) in _PEOPLE


def acquisition_fields(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields of a sidecar that tell how an image was acquired.

    Parameters
    ----------
    metadata : mapping

    Returns
    -------
    dict
        Numbers, texts and lists of them, under names of BIDS and of converters; without what JSON
        cannot hold (NaN).
    """
    return {
        name: value
        for name, value in metadata.items()
        if name in _FIELDS and _is_plain(value) and holds_in_json(value)
    }


def may_be_carried(column: str, key: str) -> bool:
    """Whether a column of the table with this key column may go into an output."""
    plain = column.casefold()
    if column == key or plain in _SITE:
        return True
    if key == "filename":
        return plain == "age"
    return is_of_people(column) or (key == "participant_id" and plain in ("species", "strain"))


def holds_in_json(value: Any) -> bool:
    """Whether JSON can hold a value; many programs write NaN and Infinity all the same."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(v) for v in value)
    return isinstance(value, str | int | float)
