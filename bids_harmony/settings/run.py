"""Everything that the user asked for in one frozen record.

The record holds wishes only: no run identifier, no log folder, no resolved layout, so that the
file of one run can be handed to the next with ``--config-file``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bids_harmony import resources
from bids_harmony.exceptions import UsageError
from bids_harmony.io.names import MODALITIES
from bids_harmony.methods.registry import REGISTRY, check_training_target
from bids_harmony.settings.metadata import Group, Option, check_values, setting, settings_of
from bids_harmony.settings.spaces import (
    NATIVE,
    SPACES,
    SPELLINGS,
    TEMPLATES,
    check_spaces,
    read_space,
)
from bids_harmony.settings.toml import plain_dict, toml_table, typed_fields
from bids_harmony.settings.training import TrainingSettings
from bids_harmony.settings.values import (
    DWI_FITS,
    check_choice,
    check_choices,
    check_device,
    check_fits,
    check_memory,
    check_positive,
    named_path,
    parse_label,
    parse_memory_mb,
    parse_reference,
)
from bids_harmony.sites.names import MEAN_SITE, clean_name

__all__ = ["DWI_MODES", "LEVELS", "METHODS", "MODALITIES", "REPORT_LEVELS", "Settings"]

LEVELS = ("participant", "train", "group")
METHODS = tuple(REGISTRY)
# Those of diffusion.features, whose libraries are not loaded for --help; a test compares them.
DWI_MODES = ("rish", "attenuation", "volume")
#: What is taken from derivatives.
DERIVED = ("mask", "transform", "tissues")
REPORT_LEVELS = ("root", "subject", "session")

# More threads than this inside one task bring nothing in slices of 200 x 200 pixels; more tasks
# do.
_MAX_THREADS_PER_TASK = 8

_scans = partial(setting, group=Group.SCANS)
_sites = partial(setting, group=Group.SITES)
_output = partial(setting, group=Group.OUTPUT)
_resources = partial(setting, group=Group.RESOURCES)
_running = partial(setting, group=Group.RUNNING)
_reports = partial(setting, group=Group.REPORTS)


@dataclass(frozen=True)
class Settings:
    """What one run was asked to do.

    Every field is a user's choice; its help tells what it means, the comment above it why.

    Raises
    ------
    UsageError
        When a value is out of its range.
    """

    # The formatter would give every argument a line, and nobody would see the settings for it.
    # fmt: off
    bids_dir: Path = setting(help="BIDS dataset to read (never written)")
    output_dir: Path = setting(help="folder of the derivative dataset", made=True)
    analysis_level: str = setting(help="participant: harmonize scans; train: fit or adapt the "
        "model to this dataset's sites; group: what harmonization did across sites, from what "
        "participants left", choices=LEVELS)

    # --- selection. Labels without their "sub-" and "ses-"; empty means all.
    participant_labels: tuple[str, ...] = _scans((),
        "subjects, with or without sub- (default: all)",
        usage="--participant-label --participant_label --participant-labels LABEL",
        read=lambda text: parse_label(text, "sub"))
    session_labels: tuple[str, ...] = _scans((), "sessions, with or without ses- (default: all)",
        usage="--session-label --session_label --session-id --session_id LABEL",
        read=lambda text: parse_label(text, "ses"))
    modalities: tuple[str, ...] = _scans((), "of {choices} (default: all that are found)",
        usage="-m --modalities KIND", choices=MODALITIES)
    # The command line names a file; the record has what is in it.
    bids_filters: Mapping[str, Mapping[str, Any]] = _scans(factory=dict,
        help='PyBIDS filters per modality, such as {"t1w": {"acquisition": null}}; null: absent, '
        '"*": any', usage="--bids-filter-file --bids_filter_file JSON", read=Path,
        check=partial(check_choices, choices=MODALITIES))
    derivatives: Mapping[str, Path] = _scans(factory=dict,
        help="earlier derivatives, of fMRIPrep, sMRIPrep, QSIPrep or this program, whose brain "
        "masks, transforms and tissue maps of T1w scans are used", usage="-d --derivatives "
        "NAME=PATH", read=named_path)
    # The command line names a file; the record has what is in it.
    derivative_filters: Mapping[str, Mapping[str, Any]] = _scans(factory=dict,
        help="which files of the derivatives may be used: PyBIDS filters under mask, transform "
        "and tissues, as in --bids-filter-file", usage="--deriv-filter-file JSON", read=Path,
        check=partial(check_choices, choices=DERIVED))
    copy_derivatives: bool = _scans(False,
        "copy the transforms and tissue maps that are used into the output folder")
    # For other BIDS Apps' command lines also by the name that it has there.
    longitudinal: bool = _scans(False,
        "sessions of one person share one template space, between all of them, and one brain "
        "mask; the site is that of each session", also=(Option(help="unbiased: as --longitudinal; "
        "sessionwise: as --no-longitudinal", usage="--subject-anatomical-reference "
        "{unbiased,sessionwise}", read=parse_reference),))
    skip_bids_validation: bool = _scans(False,
        "also read files whose names BIDS does not allow (alias --skip-bids-validator)",
        also=(Option(usage="--skip_bids_validation", switch="on"),
              Option(usage="--skip-bids-validator", switch="on")))

    # --- sites
    target_site: str | None = _sites(None, "site to which the scans are harmonized; mean: "
        "the average of all sites of the dataset, each of which counts once", usage="SITE")
    target_images: tuple[Path, ...] = _sites((), "images that show the target site instead of its "
        "own scans; each named by its modality, as in my_T1w.nii.gz (then --target-site is "
        "only their name); a my_dwi.nii.gz has its .bval and .bvec beside it",
        usage="--target-image FILE")
    # With 20 its contrast is known within half a percent, and each takes seconds.
    bank_scans: int = _sites(20,
        "at most so many scans show a site which the model does not know {default}",
        check=check_positive)
    covariates: tuple[str, ...] = _sites(("auto",), "columns of participants.tsv and sessions.tsv "
        "in which sites may differ without that being the scanner's doing, as age sex group; none "
        "where nothing follows; auto: age and sex where they are known of everybody; tables of "
        "the group have them, too, as age, sex, hand, group and diagnosis {default}",
        usage="COLUMN", empty=True)
    profile_filter: str | None = _sites(None, "who shows how the sites look: a query on the "
        "columns of participants.tsv and sessions.tsv, as \"group == 'control'\"; scans of all "
        "people are harmonized", usage="QUERY")
    source_site: str | None = _sites(None,
        "site of every selected scan, whatever the dataset says", usage="SITE")
    site_map: Path | None = _sites(None,
        "table with participant_id, optionally session_id, and site", usage="TSV")
    site_columns: tuple[str, ...] = _sites((), "columns of participants.tsv, sessions.tsv or "
        "scans.tsv that name the site together, as study site (default: the first of site, "
        "site_id, center, centre, scanner)", usage="--site-column COLUMN")
    site_means: str = _sites("scanner", "whether scanners that have one name (of an institution, "
        "or in a table) are a site each, or one site {default}",
        choices=("scanner", "institution"))

    # --- harmonization
    # In OUTPUT_DIR/models, every method has a folder of its own.
    model_dir: Path | None = _output(None,
        "model to use (default: OUTPUT_DIR/models, else the one in the package)", usage="--model")
    method: str = _output(METHODS[0], "of {choices}; the same at both levels {default}",
        usage="NAME", choices=METHODS)
    # Off: it takes away the very site effect that the network is conditioned on.
    n4: bool = _output(False, "correct the bias field before (takes away part of the site effect)",
        after="skull_strip")
    on_ood: str = _output("auto", "what to do with a scan beyond the range of training (score "
        "above 2) or whose contrast would be lost: warn; leave it as it is; skip it; error; auto "
        "warns of the first and leaves a scan as it is for the second {default}",
        choices=("auto", "warn", "leave", "skip", "error"))
    write_change: bool = _output(False, "also write the change of each image: a map on its grid, "
        "the fields that went out and came in, curves of the tissues, and the scan's code; of a "
        "diffusion series factors by shell and order of harmonics")
    skull_strip: bool = _output(False, "write the brain alone, zero outside")
    # deepbet was made for T1w, and is better here than the template (benchmarks/masks.py).
    mask_without_t1w: str = _output("deepbet", "brain of a T2w or FLAIR scan of a person without "
        "a T1w: found in the scan by deepbet, or the template's {default}",
        choices=("deepbet", "template"), after="skull_strip")
    dwi_mode: str = _output(DWI_MODES[0], "diffusion series by rotation-invariant features of "
        "each shell, by the attenuation of each shell, or volume by volume {default}",
        choices=DWI_MODES)
    strict_shells: bool = _output(False, "refuse a diffusion series with a shell that the target "
        "site lacks; else such a shell gets what needs no equal one: mean b=0, strength of the "
        "gradients, noise")
    # NODDI and FORCE where scheme and installation allow it.
    dwi_fits: tuple[str, ...] = _output(("tensor", "noddi"), "models fitted to diffusion series "
        "before and after, of {choices}; nothing after the option: none {default}",
        choices=DWI_FITS, check=check_fits, empty=True)
    # RESTORE leaves outliers out and takes some hundred times as long.
    tensor_method: str = _output("WLS", "weighted least squares, or robust and slow {default}",
        choices=("WLS", "RESTORE"))
    b0_threshold: float = _output(50.0,
        "b-value, s/mm2, up to which a volume counts as b=0 {default}", usage="B")
    # That of the template.
    voxel_mm: float = _output(1.0, "spacing of the reference grid, mm {default}", usage="MM",
        check=check_positive)
    output_spaces: tuple[str, ...] = _output((NATIVE,), "structural scans are written as they "
        f"lie and, as well, in the spaces that are named: of {', '.join(SPACES)}; "
        f"{' and '.join(TEMPLATES)} also with :res-1 or :res-2 {{default}}",
        usage="SPACE", choices=SPELLINGS, read=read_space, check=check_spaces, after="method")
    template_dir: Path | None = _output(None, "folder of templates, as TemplateFlow lays them out "
        "(default: TEMPLATEFLOW_HOME, else ~/.cache/templateflow); nothing is fetched",
        after="output_spaces")
    output_layout: str = _output("derivative", "raw: write as well a dataset with the names of "
        "the sources, which fMRIPrep, QSIPrep and FreeSurfer read as raw data; bids is another "
        "word for derivative {default}", choices=("derivative", "raw"), after="template_dir",
        read=lambda text: "derivative" if text == "bids" else text)

    # --- running
    work_dir: Path = _running(factory=lambda: Path.cwd() / "work",
        help="folder of intermediate files (default: ./work)", usage="-w --work-dir --work_dir",
        machine=lambda _: Path.cwd() / "work", made=True)
    clean_workdir: bool = _running(False, "empty the work folder first")
    # The work folder of a failed run is evidence; that of a good one is only gigabytes.
    keep_workdir: str = _running("on-failure", "keep intermediate files afterwards {default}",
        choices=("always", "on-failure", "never"))
    # Of these three, 0 asks for what this job may use and is replaced by it.
    nprocs: int = _resources(0,
        "processors to use (default: what this job may use: affinity, control group, SLURM)",
        usage="--nprocs --nthreads --n-cpus --n_cpus --ncpus --n_procs",
        machine=lambda _: resources.available_cpus())
    omp_nthreads: int = _resources(0,
        f"threads per task (default: nprocs, at most {_MAX_THREADS_PER_TASK})",
        usage="--omp-nthreads --omp_nthreads",
        machine=lambda asked: min(asked.nprocs, _MAX_THREADS_PER_TASK))
    memory_mb: int = _resources(0, "memory to use, with unit K, M, G or T; a bare number is MB "
        "(default: what this job may use)", usage="--mem --mem-mb --mem_mb SIZE",
        read=parse_memory_mb, check=check_memory,
        machine=lambda _: resources.available_memory_mb(),
        also=(Option(help="the same; a bare number is GB", usage="--mem-gb --mem_gb SIZE",
                     read=partial(parse_memory_mb, bare="G")),))
    device: str = _resources("auto", "where the network runs {default}",
        usage="{auto,cpu,cuda[:N]}", check=check_device)
    # 0 for what suits the device, `devices.slices_per_pass`.
    batch_size: int = _resources(0,
        "slices per network call (default: 4 on a processor, 32 on a graphics card)")
    # Half precision in the convolutions loses 1e-3 of the range (benchmarks/precision.py).
    precision: str = _resources("float32", "{default}", choices=("float32",))
    random_seed: int = _running(0, "seed of everything random {default}",
        usage="--random-seed --random_seed")
    stop_on_first_crash: bool = _running(False, "do not go on with the other scans")
    plugin_file: Path | None = _resources(None, "Nipype plugin and its arguments",
        usage="--use-plugin --nipype-plugin-file YAML")
    sloppy: bool = _running(False, "coarse registration and few simulations for quick tests; "
        "never for results")
    debug: str = _running("no",
        "tracebacks on the screen, also with all; with pdb, a debugger at the first crash",
        usage="{pdb,all}", choices=("yes", "no", "pdb"),
        read=lambda text: "yes" if text == "all" else text,
        check=partial(check_choice, choices=("no", "yes", "pdb")), alone="yes")
    dry_run: bool = _running(False,
        "show the plan (each scan, its site and why, outputs) and stop", switch="on",
        after="keep_workdir")
    plan_page: Path | None = _running(None, "write the plan as a page, too: sites, covariates, "
        "shells, gaps in sidecars, what is left out and why; with --dry-run nothing else is "
        "written", usage="HTML", after="dry_run", made=True)
    write_slurm: Path | None = _running(None, "write scripts that run this on a SLURM cluster, "
        "one job per participant or session, and stop; the level train means training once before",
        after="plan_page", made=True)

    # --- reports
    reports_only: bool = _reports(False,
        "make the pages of participants again from the output folder; harmonize nothing",
        switch="on")
    boilerplate_only: bool = _reports(False,
        "write the methods text with its citations into logs/; harmonize nothing",
        usage="--boilerplate-only --boilerplate_only", switch="on")
    report_output_level: str = _reports("root", "folder of the pages {default}",
        choices=REPORT_LEVELS)
    report_3d: Path | None = _reports(None, "also write sub-<label>[_ses-<label>]_view.html, "
        "where before and after turn side by side in three dimensions; FOLDER has the viewer "
        "NiiVue, see `make niivue`")

    # --- log
    verbosity: int = _running(0, "say more (-vv: Nipype as well)", usage="-v --verbose",
        switch="count")
    anonymize_provenance: bool = _running(False,
        "no folder of this machine in logs/: <bids_dir>, <output_dir>, <work_dir>, or <path>/name")
    keep_header_extensions: bool = _running(False, "harmonized images keep extensions and texts "
        "of the source's header, which may tell of a person")

    training: TrainingSettings = setting(factory=TrainingSettings,
        help="what the level train is asked to do", group=None)
    # fmt: on

    def __post_init__(self) -> None:
        check_values(self)
        if self.analysis_level == "train":
            check_training_target(self.method, self.target_site)
            if self.profile_filter:
                raise UsageError(
                    "The level train learns from all scans that are selected",
                    where="--profile-filter",
                    got=self.profile_filter,
                    hint="Select people with --participant-label; the option is for the level "
                    "participant.",
                )
        for name, item in settings_of(Settings).items():
            if (machine := item.option.machine) and getattr(self, name) == 0:
                object.__setattr__(self, name, machine(self))
        # Launchers give both from two places; the command line tells of it.
        object.__setattr__(self, "omp_nthreads", min(self.omp_nthreads, self.nprocs))
        object.__setattr__(self, "bids_filters", MappingProxyType(dict(self.bids_filters)))
        object.__setattr__(
            self, "derivative_filters", MappingProxyType(dict(self.derivative_filters))
        )
        object.__setattr__(self, "derivatives", MappingProxyType(dict(self.derivatives)))

    @property
    def selects_people(self) -> bool:
        """Whether only some people or sessions were asked for."""
        return bool(self.participant_labels or self.session_labels)

    @property
    def to_mean(self) -> bool:
        """Whether the target is the mean of all sites, and no site or image."""
        return clean_name(self.target_site) == MEAN_SITE and not self.target_images

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to worker processes although read-only mappings cannot be pickled."""
        return _from_fields, ({f.name: plain_dict(getattr(self, f.name)) for f in fields(self)},)

    def to_dict(self) -> dict[str, Any]:
        """The record as TOML can hold it, without what this machine would choose by itself."""
        return toml_table(self)

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
            values["training"] = TrainingSettings(**values["training"])
        return cls(**values)


def _from_fields(values: dict[str, Any]) -> Settings:
    return Settings(**values)
