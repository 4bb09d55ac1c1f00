"""Sites that a trained model can harmonize to."""

from __future__ import annotations

from bids_harmony.exceptions import MissingInput
from bids_harmony.settings import Settings

__all__ = ["model_sites"]


def model_sites(settings: Settings) -> tuple[str, ...]:
    """Sites with a profile in the model that the run would use; empty while there is no model.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    tuple of str
        Sorted, over all modalities.

    Raises
    ------
    DataError
        When the model's site profiles cannot be read.
    """
    from bids_harmony.sites.profile_files import read_profiles
    from bids_harmony.workflows.models import model_folder

    try:
        profiles, _ = read_profiles(model_folder(settings))
    except MissingInput:
        # Whoever needs the model says so; the plan of a dry run can do without.
        return ()
    return tuple(sorted({site for site, _ in profiles}))
