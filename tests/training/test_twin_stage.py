"""Which weights the first stage keeps."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from torch import nn

from bids_harmony.settings import TrainingSettings
from bids_harmony.training import twin_stage
from bids_harmony.training.own_sites import OwnTwins
from bids_harmony.training.pretrain import TwinScore
from bids_harmony.training.trainer import TrainingResult
from bids_harmony.training.twin_pool import TwinPlan, TwinPool

POOL = TwinPool(TwinPlan(), None, (), (), (), {})
OWN = OwnTwins(TwinPlan(), None, (), (), (), {})
RUN = SimpleNamespace(
    use_closed_form=True, folder=None, fingerprint="", ranks=None,
    settings=SimpleNamespace(training=TrainingSettings(), random_seed=0),
)  # fmt: skip


def score(network):
    return TwinScore(0.3, 0.2, network, 8)


@pytest.fixture
def stage(monkeypatch):
    """Train a network of one number from 1 to 2, with made-up scores before and after."""

    def trained(pool, started, any_scanners, own=None):
        network = nn.Linear(1, 1, bias=False)
        nn.init.ones_(network.weight)

        def pretrain(network, *_, **__):
            nn.init.constant_(network.weight, 2.0)
            return TrainingResult(5, 5, float("nan"), None)

        def scored(network, of, **_):
            return score((own if of is OWN else any_scanners)[int(network.weight) - 1])

        monkeypatch.setattr(twin_stage, "pretrain", pretrain)
        monkeypatch.setattr(twin_stage, "score_twins", scored)
        return twin_stage.train_on_twins(network, pool, RUN, started), float(
            network.weight.detach()
        )

    return trained


@pytest.mark.parametrize(
    ("any_scanners", "own", "kept"),
    [
        ((0.10, 0.101), (0.10, 0.09), True),
        # Better between the own sites, but what is known of any scanners is forgotten.
        ((0.10, 0.103), (0.10, 0.09), False),
        ((0.10, 0.09), (0.10, 0.10), False),
    ],
)
def test_weights_must_gain_between_own_sites_and_forget_nothing(stage, any_scanners, own, kept):
    found, weight = stage(OWN, True, any_scanners, own)
    assert found.kept == kept and weight == (2 if kept else 1)
    assert found.trained["weight"].item() == 2
    assert found.own_before == score(own[0]) and found.own_after == score(own[1])
    assert found.kept_score == score(any_scanners[1 if kept else 0])


def test_without_own_sites_shipped_weights_must_not_get_worse(stage):
    assert stage(POOL, True, (0.10, 0.10))[1] == 2
    found, weight = stage(POOL, True, (0.10, 0.11))
    assert not found.kept and weight == 1 and found.own_after is None


def test_what_started_from_nothing_is_kept(stage):
    found, weight = stage(OWN, False, (None, 0.2), (None, 0.3))
    assert found.kept and weight == 2 and found.before is None and found.own_before is None
    told = replace(found, pool=POOL).about()
    assert told["before"] is None and told["unseen"]["network"] == 0.2
    assert told["own_unseen"]["network"] == 0.3 and told["fits"] == []


def test_a_training_without_twins_tells_as_much():
    about = twin_stage.TwinStage(POOL, POOL, TrainingResult(0, 0, 0.0, None), None, score(0.1),
                                 None, None, {}, True).about()  # fmt: skip
    assert twin_stage.NO_TWINS.keys() == about.keys()
    assert twin_stage.NO_TWINS["plan"] is None
