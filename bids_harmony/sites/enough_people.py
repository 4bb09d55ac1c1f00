"""How many people show a site's contrast in full: for reports and plans, without NumPy."""

from __future__ import annotations

__all__ = ["ENOUGH_PEOPLE"]

#: With fewer, contrasts are stretched and squeezed less than their scans tell
#: (`sites.difference.SiteDifference.support`).
ENOUGH_PEOPLE = 5
