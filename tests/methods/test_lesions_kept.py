"""Lesions put into real scans are still there at another real scanner, person by person."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.prepared import prepare
from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.tissues import segment_tissues
from bids_harmony.imaging.volume import read_volume
from bids_harmony.methods import load_harmonizer
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.sites.profile_cache import ProfileCache
from lab.lesion_signal import place_lesions, prepared_with_lesions, signal_kept

#: Dark in T1w, bright else; relative to the white matter round them.
CONTRASTS = {"T1w": -0.25, "T2w": 0.5, "FLAIR": 0.55}
SITES = {"siemens": ("cs07", "cs19"), "philips": ("philips04",)}
STEMS = {
    "cs07": "ms_3t_mni/sub-cs07/anat/sub-cs07_space-MNI152_desc-brain",
    "cs19": "ms_3t_mni/sub-cs19/anat/sub-cs19_space-MNI152_desc-brain",
    "philips04": "multivendor/sub-philips04/anat/sub-philips04",
}
IN_SPACE = ("cs07", "cs19")
LESIONS = 15
VOXEL_MM = 2.0


@pytest.fixture(scope="module")
def heads(shared_data):
    """Scans by person and contrast, and the person's lesions; their files share one grid."""
    grid, found = reference_grid(VOXEL_MM), {}
    for number, (person, stem) in enumerate(STEMS.items()):
        scans = {kind: read_volume(shared_data / f"{stem}_{kind}.nii.gz") for kind in CONTRASTS}
        t1w = scans["T1w"]
        # Skull-stripped at the source, and some in the template's space already.
        mask = BrainMask(t1w.data > 0, "given")
        world = np.eye(4)
        if person not in IN_SPACE:
            world = register_to_reference(t1w, mask, modality="T1w").world
        made = {kind: prepare(scan, mask, world, grid) for kind, scan in scans.items()}
        anatomy = made["T1w"]
        labels = segment_tissues(anatomy.data, anatomy.mask, reference_tissues(grid)).labels
        found[person] = made, place_lesions(labels == 2, VOXEL_MM, LESIONS, seed=100 * number)
    return found


@pytest.fixture(scope="module")
def harmonized(heads, tmp_path_factory):
    """What a contrast of a person becomes at the other site, all scans of the own site with
    lesions or none, in the scan's stored units."""
    encoder, cells = load_encoder("mri"), preset(DEFAULT_PRESET).aan.grid

    @cache
    def profile(site, modality, ill):
        scans = [(name, _scan(heads[name], modality, ill)) for name in SITES[site]]
        made = [(name, scan.data, scan.mask, scan.scale) for name, scan in scans]
        return build_profile(site, modality, made, encoder, cells=cells, voxel_mm=VOXEL_MM)

    def harmonize(person, source, target, modality, ill):
        cache = ProfileCache(tmp_path_factory.mktemp("banks"), VOXEL_MM)
        cache.write(profile(source, modality, ill), {})
        cache.write(profile(target, modality, False), {})
        scan = _scan(heads[person], modality, ill)
        applied = load_harmonizer("ihf", SHIPPED_MODEL, cache).apply(
            scan, modality=modality, source_site=source, target_site=target
        )
        return scan.data * scan.scale, applied.data * scan.scale

    return harmonize


def _scan(head, modality, ill):
    made, lesions = head
    plain = made[modality]
    return prepared_with_lesions(plain, lesions, CONTRASTS[modality]) if ill else plain


@pytest.mark.parametrize("modality", CONTRASTS)
@pytest.mark.parametrize(
    ("person", "source", "target"),
    [
        ("cs07", "siemens", "philips"),
        ("cs19", "siemens", "philips"),
        ("philips04", "philips", "siemens"),
    ],
)
def test_a_person_keeps_the_signal_of_lesions(heads, harmonized, person, source, target, modality):
    before, after = harmonized(person, source, target, modality, False)
    before_with, after_with = harmonized(person, source, target, modality, True)
    made, lesions = heads[person]
    kept = signal_kept(before, before_with, after, after_with, lesions, made[modality].mask)
    assert abs(kept.contrast_before) > 0.15, "the lesions are not there to begin with"
    assert 0.8 <= kept.signal_kept <= 1.25, kept
    assert np.isfinite(after_with).all()
