"""
One scan to another site
========================

A person was scanned at one site (here ``GE``). What would the scan look like if it had been
made at another site (here ``COI``)? All you need are a few scans that the other site made of
other people.

Everything in this example is simulated. Research software, not for diagnosis.
"""

# %%
# The scans
# ---------
# :func:`~bids_harmony.simulate` scans a simulated person at a simulated scanner and returns a
# nibabel image. With real data you would write a path wherever this example has an image.

from bids_harmony import SiteProfile, harmonize, simulate

scan = simulate(person=1, scanner="GE", voxel_scale=3)
scans_of_coi = [simulate(person, "COI", voxel_scale=3) for person in (2, 3, 4, 5, 6)]
scans_of_ge = [simulate(person, "GE", voxel_scale=3) for person in (7, 8, 9, 10, 11)]

# %%
# A profile of each site
# ----------------------
# A :class:`~bids_harmony.SiteProfile` holds what scans of one site have in common: average
# intensities of the tissues, the smooth field, the sharpness. Five people are a good start. It
# holds no scan, so it can be shared where scans can't. Save it with
# ``coi.save("COI_T1w.safetensors")``.

coi = SiteProfile.from_images(scans_of_coi, name="COI", voxel_mm=3, sloppy=True)
ge = SiteProfile.from_images(scans_of_ge, name="GE", voxel_mm=3, sloppy=True)
print(coi)
print(ge)

# %%
# Harmonize
# ---------
# The result is a nibabel image with the grid, header and data type of the scan.

result = harmonize(scan, target=coi, source=ge, sloppy=True)
print(result.shape == scan.shape, result.get_data_dtype() == scan.get_data_dtype())

# %%
# Without ``source`` the scan itself has to stand for its site. A difference between one person
# and five others may be due to the person, so less is changed.

careful = harmonize(scan, target=coi, sloppy=True)

# %%
# Compare
# -------
# Since the person is simulated, they can be scanned at COI, too. No method has seen this scan:
# it is the ground truth. The person lies differently in that scanner, so the slices do not
# match exactly.

import matplotlib.pyplot as plt
import numpy as np
from nilearn.plotting import plot_img

truth = simulate(person=1, scanner="COI", voxel_scale=3)
shown = {
    "scan at GE": scan,
    "without source": careful,
    "harmonized to COI": result,
    "ground truth": truth,
}

figure, axes = plt.subplots(1, 4, figsize=(12, 3.6), facecolor="black")
for axis, (title, image) in zip(axes, shown.items(), strict=True):
    brightest = np.percentile(image.get_fdata()[image.get_fdata() > 0], 99.5)
    plot_img(
        image, display_mode="z", cut_coords=[10], axes=axis, cmap="gray", vmin=0, vmax=brightest,
        black_bg=True, annotate=False, draw_cross=False, colorbar=False,
    )  # fmt: skip
    axis.set_title(title, color="white")
plt.show()

# %%
# The contrast between grey and white matter, measured by a profile of the single scan:

for title, image in shown.items():
    grey, white, _ = SiteProfile.from_images([image], voxel_mm=3, sloppy=True).tissue_means
    print(f"{title:18s} grey / white = {grey / white:.2f}")
