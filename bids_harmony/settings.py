"""Everything that the user asked for in one frozen record, and its round trip to TOML.

The record holds wishes only: no run identifier, no log folder, no resolved layout, so that the
file of one run can be handed to the next with ``--config-file``.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bids_harmony import resources
from bids_harmony.exceptions import DataError, MissingInput, UsageError
from bids_harmony.io.reading import read_text
from bids_harmony.methods.registry import METHOD_NEEDS, check_training_target
from bids_harmony.settings_checks import check_choice, check_not_negative, check_positive
from bids_harmony.settings_toml import plain_dict, toml_value, typed_fields
from bids_harmony.settings_training import TrainingSettings

__all__ = [
    "DEVICES",
    "DWI_FITS",
    "DWI_MODES",
    "KEEP_WORKDIR",
    "LEVELS",
    "METHODS",
    "MODALITIES",
    "ON_OOD",
    "OUTPUT_LAYOUTS",
    "OUTPUT_SPACES",
    "PRECISIONS",
    "REPORT_LEVELS",
    "SHIPPED_CONFIGS",
    "SITE_MEANS",
    "TENSOR_METHODS",
    "Settings",
    "TrainingSettings",
    "read_settings_file",
]

LEVELS = ("participant", "train", "group")
MODALITIES = ("T1w", "T2w", "FLAIR", "dwi")
METHODS = tuple(METHOD_NEEDS)
# Those of diffusion.features, whose libraries are not loaded for --help; a test compares them.
DWI_MODES = ("rish", "attenuation", "volume")
DWI_FITS = ("tensor", "noddi")
TENSOR_METHODS = ("WLS", "RESTORE")
DEVICES = ("auto", "cpu", "cuda", "cuda:N")
PRECISIONS = ("float32",)
# Settings that the package ships: the paper's training, and that of `make demo`.
SHIPPED_CONFIGS = ("demo", "paper")
_CONFIG_FOLDER = Path(__file__).resolve().parent / "data" / "configs"
ON_OOD = ("auto", "warn", "leave", "skip", "error")
KEEP_WORKDIR = ("always", "on-failure", "never")
OUTPUT_SPACES = ("native", "MNI152NLin2009aSym")
OUTPUT_LAYOUTS = ("derivative", "raw")
SITE_MEANS = ("scanner", "institution")
REPORT_LEVELS = ("root", "subject", "session")

# More threads than this inside one task bring nothing in slices of 200 x 200 pixels; more tasks
# do.
_MAX_THREADS_PER_TASK = 8
_LEAST_MB = 256


@dataclass(frozen=True)
class Settings:
    """What one run was asked to do.

    Every field is a user's choice; the comment beside it gives unit and reason.

    Raises
    ------
    UsageError
        When a value is out of its range.
    """

    bids_dir: Path
    output_dir: Path
    analysis_level: str

    # --- selection. Labels without their "sub-" and "ses-"; empty means all.
    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    # Empty means every kind in MODALITIES that is found.
    modalities: tuple[str, ...] = ()
    # Of each modality PyBIDS filters: None = absent, "*" = any.
    bids_filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # Folders of earlier derivatives by name.
    derivatives: Mapping[str, Path] = field(default_factory=dict)
    # False: only names that BIDS allows are read.
    skip_bids_validation: bool = False

    # --- sites
    target_site: str | None = None
    # Images that stand for the target site, whatever the dataset has; their names tell the
    # modality.
    target_images: tuple[Path, ...] = ()
    # At most so many scans show a site which the model does not know: its contrast is
    # then known within half a percent, and each takes seconds.
    bank_scans: int = 20
    # Columns of participants.tsv and sessions.tsv in which sites may differ without that being the
    # scanner's doing; "auto" takes age and sex where they are known of everybody.
    covariates: tuple[str, ...] = ("auto",)
    # Overrides the site of every selected scan.
    source_site: str | None = None
    # Table with participant_id[, session_id] and site.
    site_map: Path | None = None
    # Whether a name that holds several scanners is a site for each, or one; of `SITE_MEANS`.
    site_means: str = "scanner"

    # --- harmonization
    # None: OUT/models (in it, the method's own folder), else the model shipped in the package.
    model_dir: Path | None = None
    method: str = "ihf"
    # N4 is off: it takes away the very site effect that the network is conditioned on.
    n4: bool = False
    # What to do with a scan beyond the training's range (score above 2), or whose contrast would
    # be lost. "auto" warns of the first and leaves a scan as it is for the second.
    on_ood: str = "auto"
    # True: the brain alone is written, the head outside is zero.
    skull_strip: bool = False
    # What of a diffusion series is harmonized, one of `DWI_MODES`.
    dwi_mode: str = DWI_MODES[0]
    # Models that are fitted before and after; NODDI where scheme and installation allow it.
    dwi_fits: tuple[str, ...] = DWI_FITS
    # Weighted least squares; RESTORE leaves outliers out and takes some hundred times as long.
    tensor_method: str = "WLS"
    # s/mm2; up to here a volume of a diffusion series counts as b=0.
    b0_threshold: float = 50.0
    # mm; spacing of the reference grid, that of the template.
    voxel_mm: float = 1.0
    output_spaces: tuple[str, ...] = ("native",)
    # "raw": beside the derivative a dataset with the sources' names, for apps that read raw ones.
    output_layout: str = OUTPUT_LAYOUTS[0]

    # --- running
    work_dir: Path = field(default_factory=lambda: Path.cwd() / "work", metadata={"machine": True})
    clean_workdir: bool = False
    # The work folder of a failed run is evidence; that of a good one is only gigabytes.
    keep_workdir: str = "on-failure"
    # Processors, threads per task, MiB; 0 asks for what this job may use and is replaced by it.
    nprocs: int = field(default=0, metadata={"machine": True})
    omp_nthreads: int = field(default=0, metadata={"machine": True})
    memory_mb: int = field(default=0, metadata={"machine": True})
    device: str = "auto"
    # 2.5-D slices per network call; 0 for what suits the device, `devices.slices_per_pass`.
    batch_size: int = 0
    # Half precision in the convolutions loses 1e-3 of the range (benchmarks/precision.py).
    precision: str = "float32"
    random_seed: int = 0
    stop_on_first_crash: bool = False
    plugin_file: Path | None = None
    # Coarse registration for quick tests, never for results.
    sloppy: bool = False
    # "no", "yes" (tracebacks on the screen) or "pdb" (debugger at the first crash).
    debug: str = "no"
    dry_run: bool = False
    # Folder for scripts of a SLURM cluster: they are written, and nothing is harmonized.
    write_slurm: Path | None = None

    # --- reports
    # Make the pages again from what is on disk, and harmonize nothing.
    reports_only: bool = False
    # Write the methods text of such a run, and harmonize nothing.
    boilerplate_only: bool = False
    # Folder of the pages.
    report_output_level: str = "root"
    # Folder of the viewer NiiVue: also write a page that turns images in three dimensions.
    report_3d: Path | None = None

    # --- log
    # Number of -v on the command line.
    verbosity: int = 0
    # True: logs/<run> names no folder of this machine.
    anonymize_provenance: bool = False
    # True: harmonized images keep extensions and texts of the source's header.
    keep_header_extensions: bool = False

    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        check_choice("analysis_level", self.analysis_level, LEVELS)
        for name in self.modalities:
            check_choice("modalities", name, MODALITIES)
        for name in self.bids_filters:
            check_choice("bids_filters", name, MODALITIES)
        for name in self.output_spaces:
            check_choice("output_spaces", name, OUTPUT_SPACES)
        check_choice("site_means", self.site_means, SITE_MEANS)
        check_choice("output_layout", self.output_layout, OUTPUT_LAYOUTS)
        check_choice("method", self.method, METHODS)
        if self.analysis_level == "train":
            check_training_target(self.method, self.target_site)
        check_choice("dwi_mode", self.dwi_mode, DWI_MODES)
        for name in self.dwi_fits:
            check_choice("dwi_fits", name, DWI_FITS)
        if self.dwi_fits and "tensor" not in self.dwi_fits:
            raise UsageError(
                "NODDI is fitted beside the tensor only",
                where="--dwi-fits",
                expected="tensor, tensor noddi, or nothing",
                got=" ".join(self.dwi_fits),
            )
        check_choice("tensor_method", self.tensor_method, TENSOR_METHODS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("keep_workdir", self.keep_workdir, KEEP_WORKDIR)
        check_choice("on_ood", self.on_ood, ON_OOD)
        check_choice("report_output_level", self.report_output_level, REPORT_LEVELS)
        check_choice("debug", self.debug, ("no", "yes", "pdb"))
        kind, colon, index = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (
            colon and not (kind == "cuda" and index.isdigit())
        ):
            check_choice("device", self.device, DEVICES)
        check_positive(self, ("voxel_mm", "bank_scans"))
        check_not_negative(
            self,
            ("nprocs", "omp_nthreads", "memory_mb", "batch_size", "random_seed", "b0_threshold"),
        )
        if 0 < self.memory_mb < _LEAST_MB:
            # "--mem 8" is 8 MB, in which Nipype would wait for ever to begin its first step.
            raise UsageError(
                "Less memory than the program itself takes",
                where="--mem",
                expected=f"at least {_LEAST_MB} MB",
                got=f"{self.memory_mb} MB",
                hint=f"A bare number is MB; gigabytes are written --mem {self.memory_mb}G.",
            )
        for name, value in self._machine_defaults().items():
            if getattr(self, name) == 0:
                object.__setattr__(self, name, value)
        if self.omp_nthreads > self.nprocs:
            raise UsageError(
                "More threads per task than processors",
                where="--omp-nthreads",
                expected=f"at most --nprocs ({self.nprocs})",
                got=str(self.omp_nthreads),
            )
        object.__setattr__(self, "bids_filters", MappingProxyType(dict(self.bids_filters)))
        object.__setattr__(self, "derivatives", MappingProxyType(dict(self.derivatives)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to worker processes although read-only mappings cannot be pickled."""
        return _from_fields, ({f.name: plain_dict(getattr(self, f.name)) for f in fields(self)},)

    def _machine_defaults(self) -> dict[str, int]:
        nprocs = self.nprocs or resources.available_cpus()
        return {
            "nprocs": resources.available_cpus(),
            "omp_nthreads": min(nprocs, _MAX_THREADS_PER_TASK),
            "memory_mb": resources.available_memory_mb(),
        }

    def to_dict(self) -> dict[str, Any]:
        """The record as TOML can hold it: no None, paths as text.

        Values that this machine would choose by itself (processors, threads, memory, work folder)
        are left out, so that the file can be used on another machine.
        """
        machine = {**self._machine_defaults(), "work_dir": Path.cwd() / "work"}
        record: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.metadata.get("machine") and value == machine[item.name]:
                continue
            if item.name == "training":
                value = {f.name: toml_value(getattr(value, f.name)) for f in fields(value)}
                record["training"] = {name: v for name, v in value.items() if v is not None}
            elif item.name == "bids_filters":
                # TOML has no null, and null means "absent" here: the filters travel as JSON text.
                if value:
                    record["bids_filters"] = json.dumps(plain_dict(value), sort_keys=True)
            elif value is not None and value != {}:
                record[item.name] = toml_value(value)
        return record

    def to_toml(self) -> str:
        """The record as the text of a TOML file; `read_settings_file` reads it back."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], *, where: str = "settings") -> Settings:
        """Build a record from what `to_dict` or `read_settings_file` gives.

        Parameters
        ----------
        record : mapping
            Field names and values; ``training`` is a table of its own.
        where : str
            Name of the source for messages.

        Raises
        ------
        UsageError
            On an unknown name, a wrong type or a value out of range.
        """
        values = typed_fields(cls, record, where)
        if "training" in values:
            values["training"] = TrainingSettings(
                **typed_fields(TrainingSettings, values["training"], where)
            )
        return cls(**values)


def read_settings_file(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings, to be overridden by the command line.

    Parameters
    ----------
    path : Path
        A file that a user wrote, or ``logs/<run>/settings.toml`` of an earlier run. Its table
        ``provenance`` (what that run was) is left behind. A bare name is one of `SHIPPED_CONFIGS`.

    Returns
    -------
    dict
        Field names and values for `Settings.from_dict`.

    Raises
    ------
    MissingInput, InputOutputError, UsageError
        When the file is not there, cannot be read, is not TOML, or names something that is no
        setting.
    """
    if str(path) in SHIPPED_CONFIGS and not path.exists():
        path = _CONFIG_FOLDER / f"{path}.toml"
    if not os.path.lexists(path):
        raise MissingInput(
            "The settings file does not exist",
            where=str(path),
            expected=f"a TOML file, or one of {', '.join(SHIPPED_CONFIGS)}",
        )
    try:
        record = tomllib.loads(read_text(path, holds="settings file"))
    except (tomllib.TOMLDecodeError, DataError) as error:
        raise UsageError(
            "The settings file is not TOML", where=str(path), got=str(error)
        ) from error
    except (ValueError, RecursionError) as error:
        # Numbers of too many digits; lists in lists in lists.
        raise UsageError(
            "The settings file cannot be read", where=str(path), got=str(error)
        ) from error
    record.pop("provenance", None)
    values = typed_fields(Settings, record, str(path))
    if "training" in values:
        values["training"] = typed_fields(TrainingSettings, values["training"], str(path))
    return values


def _from_fields(values: dict[str, Any]) -> Settings:
    return Settings(**values)
