"""Nipype's settings for a run: quick polls, no telemetry, crash files in the logs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["POLL_SECONDS", "configure_nipype"]

# Nipype's default of 2 s is waited once per hop of the graph: ten trivial nodes took 22 s, and 1.6
# s at 0.05 s.
POLL_SECONDS = 0.05


def configure_nipype(
    log_dir: Path,
    *,
    stop_on_first_crash: bool = False,
    verbose: bool = False,
) -> None:
    """Set Nipype up for this process and its workers.

    Parameters
    ----------
    log_dir : Path
        Folder of the run's logs; crash files go here, as text.
    stop_on_first_crash : bool
        Give up at the first node that fails instead of finishing the others.
    verbose : bool
        Let Nipype report every node.
    """
    os.environ["NIPYPE_NO_ET"] = "1"  # no telemetry, in workers either
    from nipype import config, logging

    config.update_config(
        {
            "execution": {
                "check_version": "false",
                "crashdump_dir": str(log_dir),
                "crashfile_format": "txt",
                "create_report": "false",  # its report dumps the whole environment
                "hash_method": "timestamp",
                "poll_sleep_duration": str(POLL_SECONDS),
                "remove_unnecessary_outputs": "false",
                "stop_on_first_crash": str(stop_on_first_crash).lower(),
            },
            "logging": {
                "workflow_level": "INFO" if verbose else "CRITICAL",
                "interface_level": "INFO" if verbose else "CRITICAL",
                "utils_level": "ERROR",
            },
        }
    )
    logging.update_logging(config)
