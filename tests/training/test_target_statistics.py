"""Statistics of targets: encoded once, equal to those of the features, bounded in memory."""

import torch

from bids_harmony.imaging.slices import cut_stack
from bids_harmony.training.losses import channel_statistics
from bids_harmony.training.target_statistics import TargetStatistics
from tests.training.unpaired_scans import encoder, scan


class Counting:
    """An encoder that counts the slices it is shown."""

    def __init__(self):
        self.made, self.slices = encoder(), 0

    def parameters(self):
        return self.made.parameters()

    def features(self, stack):
        self.slices += len(stack)
        return self.made.features(stack)


def test_looks_are_the_statistics_of_the_features():
    made, person = encoder(), scan("A0", "A")
    look = TargetStatistics(made).of_slices(person, [5, 3, 5])
    features = made.features(torch.from_numpy(cut_stack(person.data, [5, 3, 5])).clamp(0, 1))
    for (mean, std), tap in zip(look, features, strict=True):
        expected = channel_statistics(tap)
        assert torch.allclose(mean, expected[0], atol=1e-5)
        assert torch.allclose(std, expected[1], atol=1e-5)


def test_a_slice_is_encoded_once():
    counting = Counting()
    statistics = TargetStatistics(counting)
    for _ in range(3):
        statistics.of_slices(scan("A0", "A"), [2, 3, 3])
        statistics.of_site([scan("A0", "A"), scan("A1", "A")], [3])
    assert counting.slices == 3


def test_what_is_kept_is_bounded():
    statistics = TargetStatistics(encoder(), kept=4)
    look = statistics.of_slices(scan("A0", "A"), range(1, 9))
    assert len(look[0][0]) == 8 and len(statistics.slices) == 4


def test_the_look_of_a_site_is_the_mean_of_its_scans():
    statistics, people = TargetStatistics(encoder()), [scan("A0", "A"), scan("A1", "A")]
    site = statistics.of_site(people, [4, 6])
    singles = [statistics.of_slices(person, [4, 6]) for person in people]
    assert torch.allclose(site[2][0], (singles[0][2][0] + singles[1][2][0]) / 2)
    # Above the brain, the nearest slice with brain stands in.
    assert torch.equal(
        statistics.of_site(people, [22])[0][0], statistics.of_site(people, [21])[0][0]
    )
