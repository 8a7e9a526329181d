"""A new probe at each check, with the snapshot measured on the same one; off, nothing changes."""

import math
from dataclasses import replace

import pytest
import torch

from infcop_lite.config import Config
from infcop_lite.flows import collect_activations, flow_distance, information_flow
from infcop_lite.identity import identity
from infcop_lite.level import Trainer
from infcop_lite.loop import State, compare, run
from infcop_lite.measured import Measured
from infcop_lite.rows import SECONDS
from infcop_lite.stopping import FixedEpochs, FlowConsistency

FIXED = Config(
    **{"subset": 300, "levels": 2, "fraction": 0.6, "epochs": 3, "warmup_epochs": 1},
    **{"probe_size": 60, "gradient_probe": 30, "threads": 1, "device": "cpu"},
    stop=FlowConsistency("information", 0.3, confidence=0.9),
)
FRESH = replace(FIXED, fresh_probe=True)


def told(rows):
    return [tuple(str(v) for k, v in vars(row).items() if k not in SECONDS) for row in rows]


def test_each_check_has_its_own_probe_and_the_same_one_whenever_it_is_asked():
    trainer, drawn = Trainer.of(FRESH), {}
    trainer.begin(trainer.warm_up())
    for level, step in ((0, 0), (0, 6), (1, 0), (1, 6)):
        trainer.level = level
        probe = trainer._fresh_monitor(step).probe[0]
        assert torch.equal(probe, trainer._fresh_monitor(step).probe[0])
        drawn[level, step] = probe
    assert all(len(probe) == 60 for probe in drawn.values())
    probes = [*drawn.values(), trainer.monitor.probe[0]]
    assert len({probe.double().sum().item() for probe in probes}) == 5


def test_the_snapshot_is_measured_on_the_probe_of_the_check():
    """Two probes would put the sampling floor between a network and itself."""
    trainer = Trainer.of(FRESH)
    start = trainer.warm_up()
    trainer.begin(start)
    reference, now = Measured(), Measured()
    for step, found in ((0, reference), (6, now)):
        trainer.measure({"information", "gradient", "information-error"}, found, step)
    assert reference.flows["information"].tolist() != now.flows["information"].tolist()
    check = now.check(reference)
    assert check.distances == {"information": 0.0, "gradient": 0.0}
    assert check.relative_errors == {"information": 0.0}
    trainer.model.get_parameter(next(iter(trainer.masks))).data.mul_(-1)
    later = Measured()
    trainer.measure({"information"}, later, 6)
    inputs = trainer._fresh_monitor(6).probe[0]
    own = information_flow(collect_activations(trainer.model, inputs))
    trainer.begin(start)
    then = information_flow(collect_activations(trainer.model, inputs))
    assert later.check(reference).distances["information"] == flow_distance(own, then) > 0


def test_a_fresh_probe_changes_what_is_read_and_nothing_that_is_trained():
    rule = {"stop": FixedEpochs(2), "monitor": True}
    fresh, fixed = (list(run(replace(c, **rule))) for c in (FRESH, FIXED))
    for name in ("train_loss", "validation_accuracy", "density", "epoch", "test_accuracy"):
        assert [str(getattr(a, name)) for a in fresh] == [str(getattr(b, name)) for b in fixed]
    later = [(a, b) for a, b in zip(fresh, fixed, strict=True) if a.epoch > 0]
    assert all(a.flow_distance != b.flow_distance for a, b in later)
    norms = {row.reference_norm for row in fresh}
    assert len(norms) == len(fresh)
    assert len({row.reference_norm for row in fixed}) == 1


def test_alone_beside_others_and_resumed_the_probes_are_the_same():
    states: list[State] = []
    alone = list(run(FRESH, keep=states.append))
    state = next(state for state in states if state.start.level == 1)
    assert told(run(FRESH, state)) == told(row for row in alone if row.level > 0)
    configs = {"full": replace(FRESH, stop="budget"), "sure": FRESH}
    ends = {result.rule: result.stops for result in compare(configs, "full")}
    for name in ("flow_distance", "reference_norm", "distance_error", "epoch"):
        values = [
            [str(getattr(row, name)) for row in rows if row.stopped and row.level < 2]
            for rows in (ends["sure"], alone)
        ]
        assert values[0] == values[1]
    assert all(math.isnan(row.information_trained) for row in ends["full"])
    assert not all(math.isnan(row.information_warmup) for row in ends["full"])


def test_off_it_is_no_part_of_a_runs_identity_and_on_it_is():
    assert not {"fresh_probe", "price", "confidence"} & set(identity(Config()))
    assert identity(FRESH)["fresh_probe"] is True
    assert identity(Config(price=0.2, stop="price"))["price"] == 0.2
    assert identity(Config(confidence=0.9, stop="information"))["confidence"] == 0.9


def test_a_trained_reference_is_refused_since_its_weights_are_not_kept():
    with pytest.raises(ValueError, match=r"it needs reference='warmup'$"):
        Config(fresh_probe=True, reference="trained")
    with pytest.raises(ValueError, match="a fresh probe needs a snapshot: call warm_up"):
        Trainer.of(FRESH).measure({"information"}, Measured())
