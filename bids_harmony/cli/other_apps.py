"""Flags of other BIDS Apps: which are accepted, and what to use instead of the rest.

A flag is accepted where ignoring it changes no result: it asks for less of what is never done, or
how to run. It is refused where somebody would wait for what never comes. ``docs/flags.md`` lists
all; a test runs the parser on each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_harmony.exceptions import UsageError

__all__ = ["ACCEPTED", "REFUSED", "Nothing", "add_accepted", "check_flags", "explained", "spelt"]


class Nothing(argparse.Action):
    """An option that is accepted and does nothing."""

    def __call__(self, *_: Any) -> None:
        """Accept the flag and forget it."""


_FOLDER: dict[str, Any] = {"type": Path, "metavar": "FOLDER"}
_FILE: dict[str, Any] = {"type": Path, "metavar": "FILE"}
_SWITCH: dict[str, Any] = {"nargs": 0}
_NO_FREESURFER = "FreeSurfer is not run"

#: Flag: what argparse must know of it, and why nothing comes of it.
ACCEPTED: dict[str, tuple[dict[str, Any], str]] = {
    # Launchers of other BIDS Apps pass it; there is no telemetry to switch off.
    "--notrack": (_SWITCH, "nothing is ever tracked"),
    "--low-mem": (_SWITCH, "no more is held in memory than a step needs; --mem bounds it"),
    "--resource-monitor": (
        _SWITCH,
        "nothing is monitored; docs/performance.md has time and memory of each step, and on a "
        "cluster sacct tells those of a job",
    ),
    "--write-graph": (_SWITCH, "no graph is drawn; docs/method.md has the steps"),
    "--bids-database-dir": (_FOLDER, "no index is kept; reading the dataset takes seconds"),
    "--bids-database-wipe": (_SWITCH, "no index is kept"),
    "--level": (
        {"choices": ("minimal", "resampling", "full")},
        "all outputs are always written; --dwi-fits and --output-spaces choose among them",
    ),
    "--fs-license-file": (_FILE, _NO_FREESURFER),
    "--fs-no-reconall": (_SWITCH, _NO_FREESURFER),
    "--fs-no-resume": (_SWITCH, _NO_FREESURFER),
    "--no-submm-recon": (_SWITCH, _NO_FREESURFER),
    "--no-msm": (_SWITCH, _NO_FREESURFER),
    "--skull-strip-t1w": (
        {"choices": ("auto", "skip", "force")},
        "the scan shows whether its skull is gone; --skull-strip writes the brain alone",
    ),
    "--skull-strip-fixed-seed": (_SWITCH, "the same input always gives the same mask"),
    "--no-sub": (_SWITCH, "nothing is ever sent anywhere"),
    "--no-datalad-get": (_SWITCH, "nothing is ever fetched; what is missing is named"),
    "--float32": (_SWITCH, "the network computes in float32"),
    "--md-only-boilerplate": (_SWITCH, "the methods text is Markdown"),
    "--skip-odf-reports": (_SWITCH, "there are none"),
}
# Of one meaning.
ACCEPTED |= {
    flag: ACCEPTED["--skull-strip-t1w"] for flag in ("--skull-strip-mode", "--skull-strip-anat")
}

_NO_FUNC = "functional and perfusion scans are not harmonized; link them beside the result, see "
_NO_FUNC += "docs/pipelines.md"
_NOT_PREPROCESSED = (
    "series are not preprocessed here: run QSIPrep, and give its output as bids_dir"
)
_NO_SURFACES = "no surfaces are made: run FreeSurfer or fMRIPrep on the result of "
_NO_SURFACES += "--output-layout raw, see docs/pipelines.md"
_NOTHING_SENT = "nothing is ever sent anywhere; leave the flag out"
_AFTER = "nothing is computed from harmonized scans but --dwi-fits; run the other program on the "
_AFTER += "result, see docs/pipelines.md"
_ONE_TEMPLATE = "scans go to the template by one affine, made by ANTs with fixed settings"

_REFUSED: dict[str, str] = {
    # Which scans
    "-s": "use --session-label",
    "-n-cpus": "use --nprocs",
    "--anat-only": "use --modalities T1w T2w FLAIR",
    "--dwi-only": "use --modalities dwi",
    "--ignore": "use --modalities for the kinds of scans, --bids-filter-file for the rest",
    "--run-id": 'use --bids-filter-file with {"t1w": {"run": 1}}',
    "--task-id --echo-idx -t --dummy-scans --min-bold-length --fd-thres --fd-thresh -f "
    "--start-idx --stop-idx --slice-time-ref --hmc-bold-frame --bold-coreg-level --bold2anat-dof "
    "--bold2anat-init --force-bbr --force-no-bbr --me-output-echos --me-t2s-fit-method "
    "--return-all-components --fd-spike-threshold --dvars-spike-threshold --fd-radius --despike "
    "--fft-spikes-detector --fallback-total-readout-time --asl2anat-dof --asl2anat-init "
    "--m0-scale --basil --scorescrub --smooth-kernel --force-ge --force-no-ge --disable-n4 "
    "--project-goodvoxels --medial-surface-nan --melodic-dimensionality --melodic-seed "
    "--denoising-method": _NO_FUNC,
    "--min-dwi-length": 'use --bids-filter-file with {"dwi": {...}} to leave series out',
    "--input-type": "what has written the input is seen in its dataset_description.json",
    "--datasets": "use -d NAME=PATH",
    "--fs-subjects-dir --fast-track": "results of FreeSurfer are not read; masks and transforms "
    "of fMRIPrep and sMRIPrep are: -d fmriprep=PATH",
    "--segmentation-atlases-dir --atlases --recon-spec --recon-spec-aux-files": _AFTER,
    "--species": "brains of adults only: those of other animals are not known to the model",
    "--age-months --infant --reference-anat --reference-anatomical --norm-csf --multi-step-reg": (
        "the template and the model are of adults; brains of infants are refused where they do "
        "not fit"
    ),
    # What is done to them
    "--force": "no step is forced; --on-ood says what is done with unusual scans",
    "--anat-modality": "use --modalities",
    "--anatomical-template": "use --output-spaces",
    "--output-resolution": "images keep the scan's grid; for a template's use --output-spaces "
    "MNI152NLin2009cAsym:res-2",
    "--skull-strip-template --skip-anat-based-spatial-normalization --ants-float --ants-settings "
    "--deoblique": _ONE_TEMPLATE,
    "--ants-nthreads": "use --omp-nthreads",
    "--anat-biascorrect": "use --n4, which is off by default: it takes away part of the site "
    "effect",
    "--gpu": "use --device cuda",
    "--b0-motion-corr-to --b0-to-anat-transform --b0-to-t1w-transform --b1-biascorrect-stage "
    "--denoise-after-combining --denoise-method --diffprep-config --distortion-group-merge "
    "--dwi-denoise-window --dwi-no-biascorr --eddy-config --hmc-model --hmc-transform "
    "--intramodal-template-iters --intramodal-template-transform --no-b0-harmonization "
    "--pepolar-method --prefer-dedicated-fmaps --separate-all-dwis --shoreline-iters "
    "--tortoise-gpu-cpu-ratio --unringing-method --topup-config": _NOT_PREPROCESSED,
    "--fmap-bspline --fmap-no-demean --force-syn --use-syn-sdc": "distortion is not corrected "
    "here: for diffusion run QSIPrep, and give its output as bids_dir",
    "--cifti-output --msm --submm-recon --surface-recon-method --warp-surfaces-native2std "
    "--file-format": _NO_SURFACES,
    "--abcc-qc --linc-qc --band-stop-max --band-stop-min --bpf-order --lower-bpf --upper-bpf "
    "--combine-runs --create-matrices --disable-bandpass-filter --head-radius -r --min-coverage "
    "--min-time --mode --motion-filter-order --motion-filter-type --nuisance-regressors -p "
    "--output-run-wise-correlations --output-type --skip --skip-parcellation --smoothing": _AFTER,
    # How it runs
    "--boilerplate": "use --boilerplate-only",
    "--pdb": "use --debug pdb",
    "--profile": "nothing is profiled; docs/performance.md has time and memory of each step",
    "--testing": "use --sloppy",
    "--crashfile-format": "crash files are text",
    "--run-uuid": "a run is named by its time, see OUT/logs; --reports-only makes its pages again",
    "--error-on-warnings": "the log has all warnings; --on-ood error refuses unusual scans",
    "--aggregate-session-reports": "use --report-output-level subject or session",
    "--compress-svgs --verbose-reports": "pages hold all that they show, as they are",
    "--dsname": "the derivative names its source in dataset_description.json",
    "--track-carbon --country-code --email --upload-strict --webapi-port --webapi-url": (
        _NOTHING_SENT
    ),
    "--track-sessions": "every session that is selected is harmonized; leave the flag out",
}
#: Flag: what to use instead.
REFUSED = {flag: word for flags, word in _REFUSED.items() for flag in flags.split()}


def add_accepted(parser: argparse.ArgumentParser) -> None:
    """Add the accepted flags under a heading of their own."""
    heading = parser.add_argument_group("Accepted from other BIDS Apps, without effect")
    for flag, (words, why) in ACCEPTED.items():
        heading.add_argument(flag, action=Nothing, help=why, **words)


def spelt(words: Sequence[str], known: Sequence[str]) -> list[str]:
    """Words with ``--some_flag`` written as the known ``--some-flag``.

    Parameters
    ----------
    words : sequence of str
        Of the command line.
    known : sequence of str
        Flags of the parser.
    """
    return [_spelt(word, known) for word in words]


def _spelt(word: str, known: Sequence[str]) -> str:
    flag, equals, value = word.partition("=")
    dashed = flag.replace("_", "-")
    same = flag in known or not flag.startswith("--") or dashed not in known
    return word if same else dashed + equals + value


def check_flags(words: Sequence[str]) -> None:
    """Refuse flags of other BIDS Apps with a word on what to use.

    Raises
    ------
    UsageError
    """
    for word in words:
        flag = word.partition("=")[0]
        name = flag.replace("_", "-") if flag.startswith("--") else flag
        if name in REFUSED:
            raise UsageError(
                f"bids_harmony has no option {flag}",
                where="command line",
                got=f"{flag}, of another BIDS App",
                hint=f"{REFUSED[name][0].upper()}{REFUSED[name][1:]}.",
            )


def explained(words: Sequence[str]) -> list[str]:
    """One sentence for each accepted flag among the words."""
    flags = dict.fromkeys(word.partition("=")[0].replace("_", "-") for word in words)
    return [f"{flag} changes nothing: {ACCEPTED[flag][1]}" for flag in flags if flag in ACCEPTED]
