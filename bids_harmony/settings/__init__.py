"""What a run is asked to do: every setting is written once, with all that is told of it."""

from bids_harmony.settings.files import SHIPPED_CONFIGS, read_settings_file
from bids_harmony.settings.run import (
    DERIVED,
    DWI_MODES,
    LEVELS,
    METHODS,
    MODALITIES,
    REPORT_LEVELS,
    Settings,
)
from bids_harmony.settings.training import TrainingSettings

__all__ = [
    "DERIVED",
    "DWI_MODES",
    "LEVELS",
    "METHODS",
    "MODALITIES",
    "REPORT_LEVELS",
    "SHIPPED_CONFIGS",
    "Settings",
    "TrainingSettings",
    "read_settings_file",
]
