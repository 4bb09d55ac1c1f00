"""The options of the command line, group by group; their defaults live in the settings records."""

from __future__ import annotations

import argparse
from pathlib import Path

from bids_harmony import settings
from bids_harmony.cli.option_values import add_flag, named_path, parse_label, shown_default
from bids_harmony.cli.run_options import add_run_options

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every level; those of training are in `training_options`."""
    _add_selection(parser.add_argument_group("Which scans"))
    _add_sites(parser.add_argument_group("Sites"))
    _add_harmonization(parser.add_argument_group("Harmonization and output"))
    add_run_options(parser)


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--participant-label",
        "--participant_label",
        dest="participant_labels",
        nargs="+",
        metavar="LABEL",
        type=lambda text: parse_label(text, "sub"),
        help="subjects, with or without sub- (default: all)",
    )
    group.add_argument(
        "--session-label",
        "--session_label",
        "--session-id",
        "--session_id",
        dest="session_labels",
        nargs="+",
        metavar="LABEL",
        type=lambda text: parse_label(text, "ses"),
        help="sessions, with or without ses- (default: all)",
    )
    group.add_argument(
        "--modalities",
        nargs="+",
        choices=settings.MODALITIES,
        metavar="KIND",
        help=f"of {', '.join(settings.MODALITIES)} (default: all that are found)",
    )
    group.add_argument(
        "--bids-filter-file",
        "--bids_filter_file",
        type=Path,
        metavar="JSON",
        help='PyBIDS filters per modality, such as {"t1w": {"acquisition": null}}; '
        'null: absent, "*": any',
    )
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        type=named_path,
        metavar="NAME=PATH",
        help="earlier derivatives whose brain masks may be used",
    )
    add_flag(
        group,
        "skip_bids_validation",
        "--skip-bids-validation",
        help="also read files whose names BIDS does not allow (alias --skip-bids-validator)",
    )
    for alias in ("--skip_bids_validation", "--skip-bids-validator"):
        group.add_argument(
            alias, dest="skip_bids_validation", action="store_true", help=argparse.SUPPRESS
        )


def _add_sites(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--target-site", metavar="SITE", help="site to which the scans are harmonized"
    )
    group.add_argument(
        "--target-image",
        dest="target_images",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="images that show the target look instead of a site's own scans; each named by its "
        "modality, as in my_T1w.nii.gz (then --target-site is only their name); a my_dwi.nii.gz "
        "has its .bval and .bvec beside it",
    )
    group.add_argument(
        "--bank-scans",
        type=int,
        metavar="N",
        help="at most so many scans show a site which the model does not know "
        f"{shown_default('bank_scans')}",
    )
    group.add_argument(
        "--covariates",
        nargs="*",
        metavar="COLUMN",
        help="columns of participants.tsv and sessions.tsv in which sites may differ without that "
        "being the scanner's doing, as age sex group; none where nothing follows; auto: age and "
        "sex where they are known of everybody; tables of the group have them, too, as age, sex, "
        f"hand, group and diagnosis {shown_default('covariates')}",
    )
    group.add_argument(
        "--source-site",
        metavar="SITE",
        help="site of every selected scan, whatever the dataset says",
    )
    group.add_argument(
        "--site-map",
        type=Path,
        metavar="TSV",
        help="table with participant_id, optionally session_id, and site",
    )
    group.add_argument(
        "--site-means",
        choices=settings.SITE_MEANS,
        help="whether scanners that have one name (of an institution, or in a table) are a site "
        f"each, or one site {shown_default('site_means')}",
    )


def _add_harmonization(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model",
        dest="model_dir",
        type=Path,
        metavar="FOLDER",
        help="model to use (default: OUTPUT_DIR/models, else the one in the package)",
    )
    group.add_argument(
        "--method",
        choices=settings.METHODS,
        metavar="NAME",
        help=f"of {', '.join(settings.METHODS)}; the same at both levels "
        f"{shown_default('method')}",
    )
    group.add_argument(
        "--output-spaces",
        nargs="+",
        choices=settings.OUTPUT_SPACES,
        metavar="SPACE",
        help=f"of {', '.join(settings.OUTPUT_SPACES)} {shown_default('output_spaces')}",
    )
    group.add_argument(
        "--output-layout",
        choices=settings.OUTPUT_LAYOUTS,
        help="raw: write as well a dataset with the names of the sources, which fMRIPrep, QSIPrep "
        f"and FreeSurfer read as raw data {shown_default('output_layout')}",
    )
    group.add_argument(
        "--on-ood",
        choices=settings.ON_OOD,
        help="what to do with a scan beyond the range of training (score above 2) or whose "
        "contrast would be lost: warn; leave it as it is; skip it; error; auto warns of the first "
        f"and leaves a scan as it is for the second {shown_default('on_ood')}",
    )
    add_flag(group, "skull_strip", "--skull-strip", help="write the brain alone, zero outside")
    add_flag(
        group,
        "n4",
        "--n4",
        help="correct the bias field before (takes away part of the site effect)",
    )
    group.add_argument(
        "--dwi-mode",
        choices=settings.DWI_MODES,
        help="diffusion series by rotation-invariant features of each shell, by the attenuation "
        f"of each shell, or volume by volume {shown_default('dwi_mode')}",
    )
    group.add_argument(
        "--dwi-fits",
        nargs="*",
        choices=settings.DWI_FITS,
        help="models fitted to diffusion series before and after; nothing after the option: none "
        f"{shown_default('dwi_fits')}",
    )
    group.add_argument(
        "--tensor-method",
        choices=settings.TENSOR_METHODS,
        help=f"weighted least squares, or robust and slow {shown_default('tensor_method')}",
    )
    group.add_argument(
        "--b0-threshold",
        type=float,
        metavar="B",
        help=f"b-value, s/mm2, up to which a volume counts as b=0 {shown_default('b0_threshold')}",
    )
    group.add_argument(
        "--voxel-mm",
        type=float,
        metavar="MM",
        help=f"spacing of the reference grid, mm {shown_default('voxel_mm')}",
    )
