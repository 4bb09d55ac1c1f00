"""
Compare methods
===============

Which method brings scans of one site closest to another? This example compares several methods
on people who were scanned at both sites. :doc:`/evidence` has the full comparison; here you see
how to make one of your own.

Everything in this example is simulated. Research software, not for diagnosis.
"""

# %%
# Scans on the template
# ---------------------
# Three people are scanned at PHILIPS and at COI. To compare two scans voxel by voxel they must
# lie on each other, so all are brought to the template first. A second scan at COI shows how
# close one could come.

import numpy as np

from bids_harmony import SiteProfile, harmonize, simulate

VOXEL_MM = 3


def scan_on_template(person: int, site: str, scan: int = 0) -> np.ndarray:
    """Simulate a scan and register it to the template."""
    image = simulate(person, site, scan=scan, voxel_scale=VOXEL_MM)
    profile = SiteProfile.from_images([image], voxel_mm=VOXEL_MM, sloppy=True)
    return np.asarray(profile.mean_image.dataobj)


people = (1, 2, 3)
sources = [scan_on_template(person, "PHILIPS") for person in people]
truths = [scan_on_template(person, "COI") for person in people]
second = [scan_on_template(person, "COI", scan=1) for person in people]

# %%
# The sites are known from four other people each.

profiles = {
    site: SiteProfile.from_images(
        [simulate(person, site, voxel_scale=VOXEL_MM) for person in range(first, first + 4)],
        name=site, voxel_mm=VOXEL_MM, sloppy=True,
    )
    for site, first in (("COI", 20), ("PHILIPS", 30))
}  # fmt: skip

# %%
# Methods
# -------
# These methods need nothing but scans of both sites. Those with a training of their own (SSIMH,
# cGAN, SiMix) are available on the command line.

METHODS = ("none", "histogram", "histogram-cdf", "histogram-fit", "histogram-relative", "ihf")
results = {
    method: [
        harmonize(
            scan, profiles["COI"], source=profiles["PHILIPS"], method=method, voxel_mm=VOXEL_MM
        )
        for scan in sources
    ]
    for method in METHODS
}
results["second scan at COI"] = second

# %%
# The score
# ---------
# Peak signal-to-noise ratio (PSNR) between the result and the person's own scan at COI, inside
# the brain, with each image divided by its own 99.5th percentile. More is better.


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB."""
    brain = (image > 0) & (truth > 0)
    pair = [data[brain] / np.percentile(data[brain], 99.5) for data in (image, truth)]
    return float(-10 * np.log10(np.mean((pair[0] - pair[1]) ** 2)))


scores = {
    name: [psnr(image, truth) for image, truth in zip(images, truths, strict=True)]
    for name, images in results.items()
}
for name, values in scores.items():
    print(f"{name:20s} {np.mean(values):.1f} dB")

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(8, 3.6))
rows = np.arange(len(scores))
axes.barh(rows, [np.mean(values) for values in scores.values()], color="lightsteelblue")
for row, values in zip(rows, scores.values(), strict=True):
    axes.plot(values, [row] * len(values), "o", color="black", markersize=4)
axes.set_yticks(rows, list(scores))
axes.invert_yaxis()
axes.set(xlabel="PSNR to the person's own scan at COI, dB", title="bars: means; points: people")
figure.tight_layout()
plt.show()

# %%
# The images
# ----------

figure, axes = plt.subplots(1, 5, figsize=(12, 3))
shown = {
    "scan at PHILIPS": sources[0], "histogram": results["histogram"][0],
    "histogram-relative": results["histogram-relative"][0], "ihf": results["ihf"][0],
    "own scan at COI": truths[0],
}  # fmt: skip
for axis, (title, data) in zip(axes, shown.items(), strict=True):
    axis.imshow(
        data[:, :, data.shape[2] // 2].T, origin="lower", cmap="gray",
        vmin=0, vmax=np.percentile(data[data > 0], 99.5),
    )  # fmt: skip
    axis.set_title(title, fontsize=10)
    axis.axis("off")
figure.tight_layout()
plt.show()

# %%
# Three people and one pair of sites do not rank methods. The bars include the error of a coarse
# registration, which is why even a second scan at the same site is not perfect.
