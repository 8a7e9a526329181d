"""The playground's engine, in node, comes to what the library comes to: number by number."""

import functools
import json
import math

import numpy as np
import pytest
import torch

from infcop_lite import data, models
from infcop_lite.config import Config
from infcop_lite.level import Trainer
from infcop_lite.loop import run
from infcop_lite.stopping import AnyOf, FixedEpochs, FlowConsistency
from infcop_lite.train import shuffled_batches

from .node import ENGINE, node

SHARED = {"levels": 3, "epochs": 2.5, "warmup_epochs": 1.5, "check_steps": 2, "batch_size": 30}
MORE = {"probe_size": 70, "gradient_probe": 40, "fraction": 0.31, "lr": 0.1}
RULES = {
    "information": {"stop": "information", "epsilon": 0.6},
    "information as published": {"stop": "information", "epsilon": 0.03, "absolute": True},
    "gradient": {"stop": "gradient", "epsilon": 0.45},
    "mask": {"stop": "mask", "epsilon": 0.12, "patience": 2},
    "loss": {"stop": "loss"},
    "fixed": {"stop": FixedEpochs(1.2)},
    "full": {"stop": "budget"},
    "full without rewinding": {"stop": "budget", "rewind": "none"},
}
#: What a reader writes, and the same in Python; x is 0.6.
TEXTS = {
    "own, either of two": "epoch >= 1.2 or information < x",
    "own, both of two": "accuracy >= ref_accuracy and gradient < x / (1 + 4 * level)",
    "own, of the loss": "loss <= ref_loss",
}


class Both:
    """The second of these texts. Its first check is that of the network after the warm-up."""

    reads = frozenset({"accuracy", "gradient"})

    def __init__(self):
        self.wanted = math.nan

    def stop(self, checks):
        last = checks[-1]
        if last.level == 0:
            self.wanted = checks[0].validation_accuracy
        unit = last.reference_norms["gradient"]
        is_near = last.distances["gradient"] < 0.6 / (1 + 4 * last.level) * unit
        return last.epoch > 0 and last.validation_accuracy >= self.wanted and is_near


OWN = (AnyOf(FixedEpochs(1.2), FlowConsistency("information", 0.6)), Both(), "loss")
RULES |= {name: {"stop": stop} for name, stop in zip(TEXTS, OWN, strict=True)}
CONFIGS = {name: Config(**SHARED, **MORE, **own) for name, own in RULES.items()}
IN_THE_PAGE = {"budget": "full", "FixedEpochs(n=1.2)": "fixed"}


class Noted:
    """A source in float64 that notes the samples of every batch it gives."""

    def __init__(self, split, batch_size):
        self.split, self.batch_size, self.orders = split, batch_size, []
        self.steps_per_epoch = math.ceil(len(split) / batch_size)

    def batches(self, seed):
        order = []
        self.orders.append(order)
        generator = torch.Generator().manual_seed(seed)
        for index in shuffled_batches(len(self.split), self.batch_size, generator):
            order.append(index.tolist())
            yield self.split.inputs[index], self.split.targets[index]

    def head(self, num):
        return self.split.inputs[:num], self.split.targets[:num]


@functools.cache
def in_the_library(rule):
    """The rows, flows and masks of a run in float64, and all that the engine needs to repeat it."""
    config = CONFIGS[rule]
    found = data.load("digits", subset=200, seed=config.seed)
    splits = (found.train, found.validation, found.test)
    train, validation, test = (data.Split(s.inputs.double(), s.targets) for s in splits)
    torch.manual_seed(config.seed)
    network = models.build("mlp", found, widths=[7, 6]).double()
    layers = [layer for layer in network if hasattr(layer, "weight")]
    given = {
        "sizes": [layers[0].in_features, *(layer.out_features for layer in layers)],
        "weights": [layer.weight.flatten().tolist() for layer in layers],
        "biases": [layer.bias.tolist() for layer in layers],
    }
    source = Noted(train, config.batch_size)
    trainer = Trainer(network, source, validation, test, config)
    checks = []

    def look(row, measured):
        flows = [x for flow in ("information", "gradient") for x in measured.flows[flow].tolist()]
        masks = [mask.flatten().int().tolist() for mask in trainer.masks.values()]
        weights = [w for layer in layers for w in layer.weight.flatten().tolist()]
        checks.append((row, flows, masks, weights))

    list(run(config, look=look, trainer=trainer, everything=True))
    probes = {"probe": config.probe_size, "gradientProbe": config.gradient_probe}
    parts = {"train": train, "validation": validation, "test": test}
    parts |= {name: data.Split(*source.head(num)) for name, num in probes.items()}
    plain = {
        name: {"inputs": part.inputs.flatten().tolist(), "targets": part.targets.tolist()}
        for name, part in parts.items()
    }
    return checks, {"network": given, "data": plain, "orders": source.orders}


def settings(rule):
    config = CONFIGS[rule]
    same = ("epsilon", "absolute", "patience", "fraction", "levels", "epochs", "lr", "momentum")
    own = {"rule": "own", "text": TEXTS[rule], "epsilon": 0.6} if rule in TEXTS else {}
    plain = {name: getattr(config, name) for name in same} | {
        "rule": IN_THE_PAGE.get(str(config.stop), str(config.stop)),
        "fixed": 1.2,
        "warmupEpochs": config.warmup_epochs,
        "checkSteps": config.check_steps,
        "rewind": config.rewind == "weights",
        "batchSize": config.batch_size,
        "weightDecay": config.weight_decay,
    }
    return plain | own


def number(value):
    return math.nan if value is None else value


def given(rule):
    """What the engine needs to repeat the library's run."""
    return {**in_the_library(rule)[1], "settings": settings(rule)}


def assert_same(rule, found):
    """The engine's checks are those of the library."""
    config, (checks, _) = CONFIGS[rule], in_the_library(rule)
    assert len(found) == len(checks)
    close = {"rel": 1e-9, "abs": 1e-9, "nan_ok": True}
    for (row, flows, masks, weights), check in zip(checks, found, strict=True):
        assert (check["level"], check["stopped"]) == (row.level, row.stopped)
        assert check["epoch"] == row.epoch
        assert check["masks"] == masks
        assert check["density"] == row.density
        assert check["flows"] == pytest.approx(flows, **close)
        np.testing.assert_allclose(check["weights"], weights, rtol=1e-9, atol=1e-9)
        # the library adds losses up in float32, whatever the network's precision
        assert number(check["trainLoss"]) == pytest.approx(row.train_loss, rel=1e-6, nan_ok=True)
        assert number(check["maskDistance"]) == pytest.approx(row.mask_distance, **close)
        assert check["accuracy"] == row.validation_accuracy
        if config.stop in ("information", "gradient"):
            assert check["distance"] == pytest.approx(row.flow_distance, **close)
            assert check["unit"] == pytest.approx(row.reference_norm, **close)
        if row.stopped:
            assert check["testAccuracy"] == row.test_accuracy


@pytest.mark.parametrize("rule", RULES)
def test_a_whole_run_has_the_flows_masks_decisions_and_stops_of_the_library(rule):
    assert_same(rule, json.loads(node("replay.mjs", ENGINE, **given(rule))))


def test_the_rules_of_these_runs_do_not_all_stop_at_the_same_checks():
    """Or equal decisions would say nothing."""
    stops = {}
    for rule in RULES:
        rows = [check[0] for check in in_the_library(rule)[0]]
        stops[rule] = [row.epoch for row in rows if row.stopped]
    early = [rule for rule, epochs in stops.items() if min(epochs) < SHARED["epochs"]]
    assert len(early) >= 9
    assert len({tuple(epochs) for epochs in stops.values()}) >= 8
