"""Neighbours of the method on the same networks, data, seeds and snapshots: a row for each run.

python experiments/neighbours.py mlp convnet    runs that experiments/results holds are skipped

Every method gets the settings of tables.py and, unless it prescribes otherwise, the last level's
training there. Most spend as many epochs in all as iterative pruning with one epoch per level
(k = 1). What each takes over from its source, and what not, its docstring says.
"""

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import gather
import torch
from tables import ALONE, SHARED, add_resources, run_jobs, settings_of, short
from torch import Tensor, nn
from torch.func import functional_call

from infcop_lite import ledger, records
from infcop_lite.amounts import is_sparse_enough, next_masks
from infcop_lite.compacting import compact
from infcop_lite.compute import accelerator, threads
from infcop_lite.config import Config
from infcop_lite.cost import cost
from infcop_lite.level import Start, Trainer
from infcop_lite.masks import Masks, density, full_masks, magnitude_masks, mask_distance, prunable
from infcop_lite.resuming import about_start

SEEDS = {"mlp": range(5), "convnet": range(3)}


class Quantised(nn.Module):
    """A network that rounds its weights, but not what else it holds, once ``bits`` is below 32.

    The gradient passes straight through; training moves, and pruning ranks, the weights behind.
    The step is that of LSQ, arXiv:1902.08153, times the one of ``factors`` that errs least.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.bits, self.factors = net, 32, [1.0]

    def forward(self, inputs: Tensor) -> Any:
        weights = {} if self.bits == 32 else self.rounded()
        return functional_call(self.net, weights, (inputs,))

    def rounded(self) -> dict[str, Tensor]:
        """Return name -> weight as it is used."""
        most, rounded = 2 ** (self.bits - 1) - 1, {}
        for name, weight in prunable(self.net).items():
            mean = weight.detach().abs().sum() / weight.count_nonzero().clamp_min(1)
            step = (2 * mean / most**0.5).clamp_min(1e-12)
            zero = torch.zeros((), dtype=torch.int32, device=step.device)
            tries = [
                torch.fake_quantize_per_tensor_affine(weight, step * factor, zero, -most, most)
                for factor in self.factors
            ]
            rounded[name] = min(tries, key=lambda t: float((t - weight).detach().norm()))
        return rounded


class Trial:
    """A warmed-up network, some of its settings changed; it counts epochs and seconds."""

    def __init__(self, config: Config, **changes: Any) -> None:
        c = replace(config, **{"spacing": "even", "final_epochs": config.last_epochs, **changes})
        self.trainer = Trainer.of(c, Quantised)
        assert isinstance(self.trainer.model, Quantised)
        self.model = self.trainer.model
        self.start = self.trainer.warm_up()
        self.seconds, self.structured = 0.0, False
        self.steps = round(c.warmup_epochs * self.trainer.steps_per_epoch)

    def train(self, level: int, is_last: bool = False) -> Iterator[float]:
        """Train from where the network is, and yield the progress at each check, from 0 to 1."""
        before, started = 0, time.perf_counter()
        for step, _ in self.trainer.train_level(level, is_last):
            self.seconds += time.perf_counter() - started
            self.steps, before = self.steps + step - before, step
            yield step / max(1, self.trainer.budget(level, is_last))
            started = time.perf_counter()

    def rewind(self, masks: Masks) -> None:
        """Go back to the snapshot, with other masks."""
        self.trainer.begin(Start(0, masks, self.start.weights))

    def finish(self) -> "Trial":
        """Train the final network; its data come in the order of the last level everywhere else."""
        for _ in self.train(num_levels(self.trainer.config), is_last=True):
            pass
        return self

    def row(self) -> dict[str, Any]:
        """Return what the trial came to; accuracies in [0, 1], fractions of the dense network."""
        trainer, masks = self.trainer, self.trainer.masks
        bits, kept, example = self.model.bits, density(masks), trainer.train.inputs[:1]
        units = [mask.flatten(1).any(1) for mask in [*masks.values()][:-1]]
        bare = {name.removeprefix("net."): mask for name, mask in masks.items()}
        net, compacted = self.model.net, compact(self.model.net, bare)
        return {
            "epochs": self.steps / trainer.steps_per_epoch,
            "seconds": self.seconds,
            "density": kept,
            "filters": sum(int(u.sum()) for u in units) / sum(len(u) for u in units),
            "flops": cost(compacted, example)["num_flops"] / cost(net, example)["num_flops"],
            "bits": bits,
            "size": (kept * bits + (0 if self.structured else 1)) / 32,
            "test_accuracy": trainer.test_accuracy(),
            "validation_accuracy": trainer.monitor.accuracy(),
        }


def num_levels(config: Config) -> int:
    """Return how many levels the loop trains before the last: its epochs with k = 1."""
    assert config.final_density is not None
    assert isinstance(config.fraction, float)
    return math.ceil(math.log(config.final_density) / math.log1p(-config.fraction))


def last_masks(trainer: Trainer) -> Masks:
    """Return the masks of the last level if all levels pruned the present weights (T5.4)."""
    masks = full_masks(trainer.model)
    while not is_sparse_enough(masks, trainer.config):
        masks = next_masks(trainer.model, masks, trainer.config)
    return masks


def gradual(config: Config, cycles: int) -> Trial:
    """Prune while training, along a cubic schedule, from dense again in every cycle.

    Source: Srinivas et al. 2022, arXiv:2202.01290: what a cycle pruned may grow back in the next.
    The schedules are ours, also of the learning rate. One cycle is gradual pruning, the control.
    """
    trial = Trial(config, epochs=num_levels(config) / cycles, level_schedule="linear")
    trainer, final = trial.trainer, config.final_density
    assert final is not None
    for cycle in range(cycles):
        trainer.masks = full_masks(trainer.model)
        for progress in trial.train(cycle):
            target = final + (1 - final) * (1 - progress) ** 3
            fraction = max(0.0, 1 - target / density(trainer.masks))
            trainer.masks = magnitude_masks(trainer.model, trainer.masks, fraction)
    return trial.finish()


def filter_masks(trainer: Trainer, share: float) -> Masks:
    """Keep that share of each layer's filters (units), the largest in L1 norm, and their inputs.

    A weight stays if its filter stays and the input channel that it reads stays, too. The outputs
    of the last layer, the classes, all stay.

    >>> from types import SimpleNamespace
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Linear(2, 1))
    >>> _ = model[0].weight.data.copy_(torch.tensor([[3.0], [-5.0]]))  # the second is larger
    >>> masks = {name: torch.ones_like(w).bool() for name, w in prunable(model).items()}
    >>> filter_masks(SimpleNamespace(model=model, masks=masks), 0.5)
    {'0.weight': tensor([[False], [ True]]), '1.weight': tensor([[False,  True]])}
    """
    weights, masks = prunable(trainer.model), Masks()
    first = next(iter(weights.values()))
    inputs = torch.ones(first.shape[1], dtype=torch.bool, device=first.device)
    for name, weight in weights.items():
        is_last = len(masks) == len(weights) - 1
        number = len(weight) if is_last else round(share * len(weight))
        norms = (weight.detach() * trainer.masks[name]).abs().flatten(1).sum(1)
        kept = torch.zeros_like(norms, dtype=torch.bool)
        kept[norms.argsort(descending=True, stable=True)[: max(1, number)]] = True
        # a map that is flattened feeds as many inputs as it has pixels
        inputs = inputs.repeat_interleave(weight.shape[1] // len(inputs))
        both = kept[:, None] & inputs
        masks[name] = both.reshape(*both.shape, *[1] * (weight.dim() - 2)).expand_as(weight).clone()
        inputs = kept
    return masks


def filters(config: Config, share: float | None = None) -> Trial:
    """Prune filters while training, by an equal factor every epoch; nothing is rewound.

    Source: Roy, Panda, Srinivasan & Raghunathan 2020, arXiv:2003.02800, with their L1 norm. The
    share to keep, of every layer; as many as fit in the final density unless given.
    """
    trial = Trial(config, epochs=num_levels(config), check_steps=None)
    trainer, trial.structured = trial.trainer, True
    if share is None:
        final, tries = config.final_density or 1.0, (n / 200 for n in range(200, -1, -1))
        share = next(s for s in tries if density(filter_masks(trainer, s)) <= final)
    for progress in trial.train(0):
        trainer.masks = filter_masks(trainer, share**progress)
    return trial.finish()


def quantised(config: Config, bits: int, jointly: bool) -> Trial:
    """Prune level by level with k = 1, and round the weights: in all levels, or only at the end.

    Source: the joint training of Yu, Wu, Klopp, Chen & Chien 2020, arXiv:2010.01892, in our loop:
    magnitudes in place of their Taylor score, and no separate stage for quantisation.
    """
    trial, level = Trial(config, epochs=1), 0
    trainer, trial.model.bits = trial.trainer, bits if jointly else 32
    while not is_sparse_enough(trainer.masks, trainer.config):
        for _ in trial.train(level):
            pass
        level += 1
        trainer.begin(trainer.next_start(level, trial.start.weights))
    trial.finish()
    trial.model.bits = bits
    if not jointly:
        trial.model.factors = [n / 20 for n in range(2, 41)]
    return trial


def early_bird(config: Config, of_kept: bool, epsilon: float = 0.1, queue: int = 5) -> Trial:
    """Train densely until the final mask rests, prune once, train on.

    Source: You et al. 2020, arXiv:1909.11957: all of the last five distances between masks of
    consecutive epochs are below 0.1. Theirs counts all weights, which at a final density below
    0.05 no pair of masks can violate; ``of_kept`` counts in units of the most that can differ.
    """
    trial = Trial(config, epochs=num_levels(config), check_steps=None)
    drawn: list[Masks] = []
    for _ in trial.train(0):
        drawn = [*drawn[-queue:], last_masks(trial.trainer)]
        most = 2 * density(drawn[-1]) if of_kept else 1.0
        distances = [mask_distance(a, b) / most for a, b in pairwise(drawn)]
        if len(distances) == queue and max(distances) < epsilon:
            break
    trial.trainer.masks = drawn[-1]
    return trial.finish()


def one_shot(config: Config, like: float, before: float = 0.0) -> Trial:
    """Prune once and rewind; spend the epochs of all levels with k = ``like`` on one network.

    Source: the control. The fraction ``before`` is spent on the dense network, the rest after.
    """
    levels = num_levels(config) * like
    after = config.last_epochs + (1 - before) * levels
    trial = Trial(config, epochs=before * levels, final_epochs=after)
    for _ in trial.train(0):
        pass
    trial.rewind(last_masks(trial.trainer))
    return trial.finish()


METHODS: dict[str, tuple[Callable[..., Trial], dict[str, Any]]] = {
    "cyclical": (gradual, {"cycles": 3}),
    "gradual": (gradual, {"cycles": 1}),
    "filters": (filters, {}),
    "filters-0.2": (filters, {"share": 0.2}),
    "quantised-4": (quantised, {"bits": 4, "jointly": True}),
    "quantised-2": (quantised, {"bits": 2, "jointly": True}),
    "rounded-4": (quantised, {"bits": 4, "jointly": False}),
    "rounded-2": (quantised, {"bits": 2, "jointly": False}),
    "early-bird": (early_bird, {"of_kept": False}),
    "early-bird-kept": (early_bird, {"of_kept": True}),
    "one-shot-0.25": (one_shot, {"like": 0.25}),
    "one-shot-1": (one_shot, {"like": 1}),
    "one-shot-1-trained": (one_shot, {"like": 1, "before": 0.5}),
    "one-shot-full": (one_shot, {"like": 8}),
}


def run_method(name: str, config: Config) -> dict[str, Any]:
    """Return the row of one method under one config."""
    method, options = METHODS[name]
    with threads(config.threads):
        row = {"method": name, "seed": config.seed, **method(config, **options).row()}
    return {k: short(v) for k, v in row.items()}


def run_folder(device: str, table: str, name: str, seed: int) -> float:
    """Run one method on one seed, unless it is there; return the seconds that took."""
    folder = gather.RUNS / "neighbours" / f"{table}-{name}-{seed}"
    config = Config(**SHARED[table], **ALONE, seed=seed, device=device)
    settings = settings_of(folder, config) | {"method": name, **METHODS[name][1]}
    if records.begin(folder, settings):
        return 0.0
    with ledger.lock(folder):
        started, command = time.perf_counter(), f"python experiments/neighbours.py {table}"
        start = about_start(config.device, config.threads)
        rows = [run_method(name, config)]
        seconds, gpu = time.perf_counter() - started, accelerator(config.device)
        records.save(folder, settings, rows, command, True, seconds, gpu)
        ledger.note_start(folder, [start | {"seconds": round(seconds, 3)}])
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the runs missing in this table.")
    parser.add_argument("tables", nargs="+", choices=SEEDS)
    add_resources(parser)
    options = parser.parse_args()
    gather.restore(lambda name: name.startswith("neighbours/"))
    jobs = [(t, name, seed) for t in options.tables for seed in SEEDS[t] for name in METHODS]
    return run_jobs(functools.partial(run_folder, options.device), jobs, options.processes)


if __name__ == "__main__":
    sys.exit(main())
