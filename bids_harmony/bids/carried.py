"""What is carried from the source into outputs: how it was acquired, by name, and nothing else.

A list of what may go, not of what may not: converters, exports of databases and people write
names, dates, identifiers and remarks into fields and columns that nobody can foresee.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bids_harmony.bids.site import SITE_COLUMNS

__all__ = ["COLUMNS", "acquisition_fields", "holds_in_json", "may_be_carried"]

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

_SITE = frozenset(SITE_COLUMNS)
#: Columns that may be carried, by the key column of the table they stand in.
COLUMNS: Mapping[str, frozenset[str]] = {
    "participant_id": _SITE
    | {"age", "cohort", "diagnosis", "gender", "group", "handedness", "sex", "species", "strain"},
    "session_id": _SITE | {"age", "cohort", "diagnosis", "group"},
    "filename": _SITE | {"age"},
}


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
    return column == key or column.casefold() in COLUMNS[key]


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
