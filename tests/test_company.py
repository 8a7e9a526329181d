"""A rule comes to the same, in every column and every setting: alone, in company, killed, resumed.

Only seconds may differ. What a rule is compared with, the watched rule's masks, is given to it.
"""

import gc
import weakref
from collections import Counter
from dataclasses import asdict, fields, replace

import pytest
import torch
from sampling import REST, lot, sampled

from infcop_lite import level, sweep
from infcop_lite.config import Config
from infcop_lite.level import Start
from infcop_lite.loop import State, compare, run
from infcop_lite.rows import SECONDS, Row, from_csv
from infcop_lite.stopping import FixedEpochs, Schedule

BASE = Config(
    subset=120, batch_size=40, levels=2, fraction=0.5, epochs=2, warmup_epochs=1, threads=1
)
RULES = {
    "full": {},
    "k = 0": {"stop": FixedEpochs(0)},
    "k = 1": {"stop": FixedEpochs(1)},
    "late": {"stop": Schedule((1, 2))},
    "information": {"stop": "information", "epsilon": 0.3},
    "trained": {"stop": "gradient", "epsilon": 0.9, "reference": "trained"},
    "mask": {"stop": "mask", "epsilon": 0.1, "patience": 1},
    "loss": {"stop": "loss", "monitor": True},
    "any": {"stop": "information+accuracy", "epsilon": 0.2},
    "sure": {"stop": "information", "epsilon": 0.5, "confidence": 0.8},
    "price": {"stop": "price", "price": 0.5},
}
OF_THE_RULE = {"stop", "epsilon", "absolute", "patience", "reference", "monitor"}
OF_THE_RULE |= {"price", "confidence"}


def halfway(level, snapshot, weights, masks):
    """A start of one's own: between the snapshot and where the level ended."""
    mixed = {
        name: (value + snapshot[name]) / 2 if value.is_floating_point() else value
        for name, value in weights.items()
    }
    return Start(level, masks, mixed)


def noise(batch, generator):
    return batch + 0.1 * torch.randn(batch.shape, generator=generator)


def hinge(output, targets):
    return torch.nn.functional.multi_margin_loss(output, targets)


def spread(model):
    """A number of one's own: how far the outputs of one image lie apart."""
    return {"spread": model(torch.ones(1, 1, 8, 8)).std()}


def adamw(model):
    return torch.optim.AdamW(model.parameters(), 0.01)


def one_cycle(optimizer, num_steps):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=num_steps)


#: Field -> settings in which it is not at its default, for every field that no rule owns.
CHANGES = {
    "data": {},  # digits are the only data that are always there
    "model": {"model": "convnet", "subset": 80, "levels": 1, "epochs": 1},
    "subset": {"subset": 90},
    "score": {"score": "taylor"},
    "dense": {"dense": ("fc1",), "scope": "global"},
    "amount": {"amount": "sap", "gamma": 2.0},
    "fraction": {"fraction": 0.3},
    "p": {"amount": "sap", "p": 0.3},
    "q": {"amount": "sap", "q": 1.5},
    "eta": {"amount": "sap", "eta": 0.1},
    "gamma": {"amount": "sap", "gamma": 3.0, "scope": "global"},
    "beta": {"amount": "sap", "beta": 0.4},
    "scope": {"scope": "global"},
    "levels": {"levels": 3},
    "final_density": {"levels": 9, "final_density": 0.3},
    "epochs": {"epochs": 3},
    "warmup_epochs": {"warmup_epochs": 0},
    "dense_epochs": {"dense_epochs": 2, "schedule": "linear"},
    "final_epochs": {"final_epochs": 1},
    "rewind": {"rewind": "none"},
    "schedule": {"schedule": "cosine"},
    "level_schedule": {"level_schedule": "linear", "rewind": "none"},
    "last_schedule": {"last_schedule": "triangular"},
    "check_steps": {"check_steps": 1},
    "spacing": {"spacing": "doubling", "check_steps": 1},
    "probe_size": {"probe_size": 20},
    "gradient_probe": {"gradient_probe": 30},
    "fresh_probe": {"fresh_probe": True, "probe_size": 60},
    "optimizer": {"optimizer": "adam", "lr": 0.002},
    "loss": {"loss": hinge},
    "evaluate": {"evaluate": spread},
    "scheduler": {"scheduler": one_cycle, "optimizer": adamw},
    "batch_size": {"batch_size": 32},
    "lr": {"lr": 0.1},
    "level_lr": {"level_lr": 0.01, "level_schedule": "triangular"},
    "momentum": {"momentum": 0.0},
    "weight_decay": {"weight_decay": 0.1},
    "label_smoothing": {"label_smoothing": 0.2},
    "augment": {"augment": "flip-shift"},
    "autocast": {"autocast": "bfloat16"},
    "seed": {"seed": 7},
    # where the processors are taken, threads wait long for one another: a few steps, few rules
    "threads": {"threads": 2, "subset": 80, "levels": 1, "epochs": 1},
    "device": {"device": "cpu"},
    "a score of chance": {"score": "random", "rewind": "none"},
    "a fraction for each layer": {"fraction": {"fc1": 0.3, "fc[23]": 0.6}},
    "a start of one's own": {"rewind": halfway, "level_schedule": "cosine"},
    "an augmentation of one's own": {"augment": noise, "dense_epochs": 1, "rewind": "none"},
}


def drawn(setting, rules, most):
    """Some of the rules, by a lot of the setting; the watched one, if it is there, always."""
    return sorted(rules, key=lambda rule: (rule != "full", lot(f"{setting}: {rule}")))[:most]


def each_setting(most, rules=tuple(RULES), most_rules=4):
    """Parameters: so many settings with some of the rules; in `make soak` all with all of them."""
    few = [p.id for p in sampled(CHANGES, most) if not p.marks and p.id != "threads"]
    params = [pytest.param(CHANGES[k], drawn(k, rules, most_rules), id=k) for k in few]
    two, patient = drawn("threads", rules, 2), pytest.mark.timeout(600)
    params.append(pytest.param(CHANGES["threads"], two, id="threads", marks=patient))
    params += [pytest.param(CHANGES[k], rules, id=f"{k}, all rules", marks=REST) for k in CHANGES]
    return pytest.mark.parametrize(("changes", "rules"), params)


def test_a_sample_has_every_rule_in_several_settings():
    counts = Counter(rule for name in CHANGES for rule in drawn(name, RULES, 4))
    assert counts.keys() == RULES.keys()
    assert min(counts.values()) >= 5


def test_every_field_is_tried_at_another_value_than_its_default():
    assert {f.name for f in fields(Config)} - OF_THE_RULE <= CHANGES.keys()
    for name in CHANGES.keys() & {f.name for f in fields(Config)} - {"data"}:
        assert getattr(replace(BASE, **CHANGES[name]), name) != getattr(Config(), name)
    tried = [{f: getattr(Config(**rule), f) for f in OF_THE_RULE} for rule in RULES.values()]
    for name in OF_THE_RULE - {"absolute"}:  # a unit of epsilon
        assert len({str(options[name]) for options in tried}) > 1


def config_of(changes, rule):
    """The config of a rule; a fresh probe knows no trained reference."""
    held = {"reference": "warmup"} if changes.get("fresh_probe") else {}
    return replace(BASE, **changes | RULES[rule] | held)


def configs_of(changes, rules=RULES):
    return {name: config_of(changes, name) for name in rules}


def told(rows, *without):
    """Rows as text, exact to the last bit, without seconds."""
    dropped = {*SECONDS, *without}
    return [repr({k: v for k, v in asdict(row).items() if k not in dropped}) for row in rows]


@each_setting(len(CHANGES))
def test_a_rule_alone_comes_to_what_it_comes_to_in_company(changes, rules):
    configs = configs_of(changes, rules)
    for every_check in (False, True) if "check_steps" in changes else (True,):
        together = {r.rule: r for r in compare(configs, "full", every_check=every_check)}
        assert together.keys() == configs.keys()
        final = together["full"].masks
        for name, config in configs.items():
            options = {"watched": "full"} if name == "full" else {"final_masks": final}
            (alone,) = compare({name: config}, **options, every_check=every_check)
            assert told(alone.stops) == told(together[name].stops)
            same = (torch.equal(mask, alone.masks[k]) for k, mask in together[name].masks.items())
            assert all(same)


@each_setting(20)
def test_a_comparison_and_a_run_keep_the_same_rows(changes, rules):
    """Without what only a comparison knows; and a run that measures less has no other numbers."""
    of_a_comparison = ("rule", "overlap", "to_end")
    configs = configs_of(changes, rules)
    together = {r.rule: r.stops for r in compare(configs, every_check=True)}
    for name, config in configs.items():
        all_of_it = list(run(config, everything=True))
        assert told(all_of_it, *of_a_comparison) == told(together[name], *of_a_comparison)
        for less, more in zip(run(config), all_of_it, strict=True):
            for column, value in asdict(less).items():
                if column not in SECONDS and value == value and value != {}:
                    assert repr(getattr(more, column)) == repr(value), column


@each_setting(20, ("trained", "mask", "sure"), most_rules=1)
def test_a_run_goes_on_from_every_state_as_if_nothing_had_happened(changes, rules):
    for everything in (False, True):
        for config in (config_of(changes, name) for name in rules):
            states: list[State] = []
            whole = list(run(config, keep=states.append, everything=everything))
            assert states[-1].finished
            for state in states:
                due = [] if state.finished else [r for r in whole if r.level >= state.start.level]
                ends: list[State] = []
                rest = list(run(config, state, keep=ends.append, everything=everything))
                assert told(rest) == told(due)
                for name, value in (ends[-1] if ends else state).start.weights.items():
                    assert torch.equal(value, states[-1].start.weights[name])


@pytest.mark.parametrize(
    "name", ["rewind", "dense_epochs", "augment", "a start of one's own", "evaluate", "scheduler"]
)
def test_a_run_in_a_folder_goes_on_where_it_was_killed(name, tmp_path):
    """What the settings of the first release leave out; `test_sweep` kills those at random."""
    config = replace(BASE, **CHANGES[name], **RULES["trained"])
    sweep.run_one(config, tmp_path / "whole")

    class Killed(BaseException):
        pass

    rows = from_csv((tmp_path / "whole" / "rows.csv").read_text())
    for after in (2, len(rows) // 2, len(rows) - 1):
        seen: list[Row] = []

        def report(row, after=after, seen=seen):
            seen.append(row)
            if len(seen) == after:
                raise Killed

        folder = tmp_path / f"killed-{after}"
        with pytest.raises(Killed):
            sweep.run_one(config, folder, report=report)
        sweep.run_one(config, folder)
        again = from_csv((folder / "rows.csv").read_text())
        for row in (*rows, *again):
            row.update(dict.fromkeys(SECONDS, ""))
        assert again == rows
        files = [(f / "network.safetensors").read_bytes() for f in (tmp_path / "whole", folder)]
        assert files[0][-1000:] == files[1][-1000:]  # the weights; the header holds seconds


def test_a_start_is_read_and_never_written_to():
    """Training works on copies, whatever branch comes next."""
    states: list[State] = []
    for config in (BASE, replace(BASE, rewind="none"), replace(BASE, rewind=halfway)):
        states.clear()
        copies = []

        def keep(state, copies=copies):
            states.append(state)
            copies.append({k: v.clone() for k, v in state.start.weights.items()})

        list(run(config, keep=keep))
        for state, before in zip(states, copies, strict=True):
            assert all(torch.equal(state.start.weights[k], v) for k, v in before.items())
    with pytest.raises(AttributeError):
        states[0].start.level = 3


def test_without_rewinding_a_level_goes_on_from_what_it_has_batch_norm_included():
    config = replace(BASE, model="convnet", subset=80, levels=1, epochs=1)
    began = {}
    for how in ("weights", "none"):
        states: list[State] = []
        list(run(replace(config, rewind=how), keep=states.append))
        began[how] = [state.start.weights for state in states[:2]]
    dense, pruned = began["none"]
    running = [name for name in dense if "running_mean" in name]
    assert running
    assert all(not torch.equal(dense[name], pruned[name]) for name in running)
    snapshot, rewound = began["weights"]
    assert all(torch.equal(snapshot[name], value) for name, value in rewound.items())


def test_without_rewinding_no_more_weights_are_held_than_rules_are_left(monkeypatch):
    """A branch that waits holds its own; one that is done, and the path behind, hold none."""
    configs, alive = configs_of({"rewind": "none", "levels": 3, "check_steps": 1}), []
    original = level.Start.__init__

    def counted(self, *arguments):
        original(self, *arguments)
        alive.append(weakref.ref(self))

    monkeypatch.setattr(level.Start, "__init__", counted)
    for number, _ in enumerate(compare(configs, "full")):
        gc.collect()
        # the snapshot's, the one of the present level, and one for each rule that still waits
        assert sum(ref() is not None for ref in alive) <= 2 + len(configs) - number - 1
    assert len(alive) > 2 * len(configs)


def test_a_rewind_that_returns_no_start_is_refused():
    for wrong, message in (
        (lambda *_: None, "rewind must return a Start of level 1, not None"),
        (
            lambda n, snapshot, *_: Start(0, _[1], snapshot),
            "a Start of level 1, not one of level 0",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            list(run(replace(BASE, rewind=wrong)))


def test_what_knows_its_length_shares_no_level_with_what_does_not():
    """A schedule is spread over the length that is known: k = 1 has annealed when it ends."""
    configs = configs_of({"level_schedule": "linear"})
    ends = {r.rule: [s for s in r.stops if s.level == 1][-1] for r in compare(configs)}
    others = {r.rule: [s for s in r.stops if s.level == 1][-1] for r in compare(configs_of({}))}
    assert ends["k = 1"].train_loss != others["k = 1"].train_loss
    (alone,) = compare({"k = 1": configs["k = 1"]})
    assert told([s for s in alone.stops if s.level == 1]) == told(
        [ends["k = 1"]],
    )


def test_the_kind_of_a_rule_is_in_its_rows():
    found = {r.rule: r.stops[0] for r in compare(configs_of({}))}
    assert {name: row.kind for name, row in found.items()} == {
        **{"full": "full", "k = 0": "constant", "k = 1": "constant", "late": "schedule"},
        **{"information": "flow", "trained": "flow", "mask": "mask", "loss": "loss", "any": "any"},
        **{"price": "loss", "sure": "flow"},
    }
    assert (found["k = 1"].epochs_fixed, found["k = 1"].reference) == (1.0, "")
    assert (found["trained"].epsilon, found["trained"].reference) == (0.9, "trained")
