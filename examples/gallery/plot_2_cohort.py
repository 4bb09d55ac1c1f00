"""
A cohort of several sites
=========================

Three sites have scanned different people. All scans are to look as if ``COI`` had made them, so
that they can be analysed together. :class:`~bids_harmony.Harmonizer` does this with the methods
of scikit-learn: ``fit`` and ``transform``.

Everything in this example is simulated. Research software, not for diagnosis.
"""

# %%
# The cohort
# ----------
# Four people at each site; nobody is at two sites.

from bids_harmony import Harmonizer, simulate

sites = [site for site in ("COI", "GE", "PHILIPS") for _ in range(4)]
scans = [simulate(person, site, voxel_scale=3) for person, site in enumerate(sites, start=1)]

# %%
# Fit and transform
# -----------------
# ``fit`` makes a profile of each site from all of its scans. ``transform`` harmonizes. It knows
# which site made a scan that ``fit`` has seen.

harmonizer = Harmonizer(target="COI", voxel_mm=3, sloppy=True)
harmonizer.fit(scans, sites)
results = harmonizer.transform(scans)
print(harmonizer.profiles_)

# %%
# A scan of the target site comes back unchanged.

import numpy as np

print(np.array_equal(results[0].get_fdata(), scans[0].get_fdata()))

# %%
# How well are the sites known?
# -----------------------------
# Four people are few. The difference between two sites is applied only as far as the scans
# support it. ``evidence`` says how far that is; the command line writes the same numbers into
# every sidecar.

for site in ("GE", "PHILIPS"):
    evidence = harmonizer.evidence(site)
    print(
        f"{site}: {evidence['SourcePeople']} people, probability that the site differs from COI "
        f"{evidence['ProbabilitySitesDiffer']:.2f}"
    )

# %%
# Before and after
# ----------------
# Each curve is the distribution of intensities in one brain. The unit of an MR image is
# arbitrary, so each scan is divided by its own 99.5th percentile.

import matplotlib.pyplot as plt

COLOURS = {"COI": "black", "GE": "tab:orange", "PHILIPS": "tab:blue"}
edges = np.linspace(0, 1.1, 45)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
for axis, title, images in zip(axes, ("before", "after"), (scans, results), strict=True):
    for image, site in zip(images, sites, strict=True):
        voxels = image.get_fdata()
        brain = voxels[voxels > 0]
        density, _ = np.histogram(brain / np.percentile(brain, 99.5), edges, density=True)
        axis.plot(edges[:-1] + np.diff(edges) / 2, density, color=COLOURS[site], linewidth=1)
    axis.set(title=title, xlabel="intensity / 99.5th percentile")
axes[0].set_ylabel("density")
for site, colour in COLOURS.items():
    axes[1].plot([], [], color=colour, label=site)
axes[1].legend()
plt.show()

# %%
# A new scan
# ----------
# Scans that come later need no new fit. Say which site made them.

new = simulate(person=50, scanner="GE", voxel_scale=3)
print(harmonizer.transform(new, "GE").shape)

# %%
# For your statistics, site stays a covariate of the model: harmonization does not make it
# superfluous.
