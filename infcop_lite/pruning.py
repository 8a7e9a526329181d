"""Prune a network of your own in one call; what comes back is three things, and their story."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from . import data
from .amounts import spared
from .compute import lay_out, threads
from .config import Config
from .identity import fingerprint, identity
from .layers import copied
from .level import Trainer
from .loaders import Adapter, in_memory
from .loop import run
from .masks import Masks, prunable
from .monitor import check_fit
from .planning import check_plan, what_is_left
from .resuming import finished, resume
from .rows import Row


@dataclass(frozen=True)
class Pruned:
    """A pruned network, its masks and the rows of its run; unpacks as these three.

    Args:
        model: the pruned network; removed weights are exactly zero.
        masks: parameter name -> boolean tensor, True = kept.
        rows: one per check; the last is the final network.
        config: what was run.
    """

    model: nn.Module
    masks: Masks
    rows: list[Row]
    config: Config

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.masks, self.rows))

    def __getitem__(self, index: int) -> Any:
        return (self.model, self.masks, self.rows)[index]

    def __len__(self) -> int:
        return 3

    def summary(self) -> str:
        """Return what came out and what it cost, one line each.

        The dense network is that of level 0, where its training ended. Accuracies
        are on the test split; on the validation split, which rules may have read, if there is none.

        >>> row = dict.fromkeys(Row.__annotations__, 0.5) | {"stopped": True, "elapsed_s": 1.0}
        >>> weights = {"weight": nn.Linear(2, 1).weight > 9}
        >>> print(Pruned(nn.Linear(2, 1), weights, [Row(**row)] * 2, Config()).summary())
        weights: 0 of 2 kept, density 0.0000; 1 other parameters, never pruned; 0.3333 of all 3 left
        layers without weights: the model
        test accuracy: 0.5000 dense, 0.5000 pruned
        training: 3 of at most 18 epochs in 1 s, 2 of them warm-up
        """
        c, ends = self.config, [row for row in self.rows if row.stopped]
        split = "validation" if math.isnan(ends[-1].test_accuracy) else "test"
        dense, pruned = (getattr(row, f"{split}_accuracy") for row in (ends[0], ends[-1]))
        num_weights = sum(mask.numel() for mask in self.masks.values())
        num_kept = sum(int(mask.sum()) for mask in self.masks.values())
        num_others = sum(p.numel() for p in self.model.parameters()) - num_weights
        spent = c.warmup_epochs + sum(row.epoch for row in ends)
        levels = [c.epochs] * (len(ends) - 1) + [c.last_epochs]
        budget = c.warmup_epochs + sum([c.dense_epochs, *levels[1:]] if c.dense_epochs else levels)
        return (
            f"weights: {num_kept:,} of {num_weights:,} kept, density {num_kept / num_weights:.4f};"
            f" {num_others:,} other parameters, never pruned; "
            f"{what_is_left(self.model, self.masks)}{self._spared()}"
            f"{split} accuracy: {dense:.4f} dense, {pruned:.4f} pruned\n"
            f"training: {spent:.4g} of at most {budget:.4g} epochs in {ends[-1].elapsed_s:.0f} s,"
            f" {c.warmup_epochs:.4g} of them warm-up"
        )

    def _spared(self) -> str:
        found = spared(self.model, self.config.dense)
        layers = (f"{name.removesuffix('.weight')} ({why})" for name, why in found.items())
        return f"not pruned: {', '.join(layers)}\n" if found else ""


def prune(
    model: nn.Module,
    train: Any,
    validation: Any,
    test: Any = None,
    *,
    adapter: Adapter | None = None,
    folder: Path | str | None = None,
    progress: bool = False,
    **config: Any,
) -> Pruned:
    """Prune a network of your own; the one you pass in is left untouched.

    Source: `loop.run` on any module with Conv or Linear weights.

    Args:
        model: a classifier; its present weights are where the warm-up starts.
        train: (inputs, targets): (sample, ...) and (sample,) int64; or a DataLoader or a map-style
            Dataset of such pairs, read once into memory: see `loaders.in_memory`.
        validation: likewise; all that stop rules may read besides the training data.
        test: likewise, for reporting only.
        adapter: makes a pair (inputs, targets) of a batch that is something else, such as a dict.
        folder: where the run keeps rows.csv, run.json and network.safetensors, so that it may be
            killed. Called again with the same arguments it goes on after its last finished level
            and ends with the same bits; what is finished comes back at once. Other weights, layers
            or data are another run; another code of a forward pass nobody can tell.
        progress: draw a bar on stderr.
        **config: fields of `Config`; ``stop`` may also be a rule object.

    Returns:
        The pruned model, its masks, and the rows, to be unpacked; and a ``summary()`` of them.

    Raises:
        ValueError: data that do not fit, no prunable weights, a bad field, or a folder that holds
            a run with another config, other data or other initial weights.
        TypeError: a keyword that is no field.
        OSError: a folder that cannot be written to.
        FloatingPointError: training diverged.

    Note:
        nn.MultiheadAttention keeps the weights of queries, keys and values in one bare parameter,
        which no mask is for: it stays dense. Its output projection is pruned, but never called, so
        that the information flow passes it over.

    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> net, masks, rows = prune(nn.Linear(4, 2), (x, y), (x, y), levels=2, fraction=0.5, epochs=2)
    >>> rows[-1].density
    0.25

    Training that goes on brings removed weights back, unless each step is followed by `hold`:

    >>> from infcop_lite.masks import Masked
    >>> hold, adam = Masked(net, masks), torch.optim.Adam(net.parameters())
    >>> for step in range(3):
    ...     adam.zero_grad(); nn.functional.cross_entropy(net(x), y).backward()
    ...     adam.step(); hold()
    >>> int((net.weight != 0).sum()), net.weight.numel()
    (2, 8)
    """
    chosen = Config(**{"data": "custom", "model": type(model).__name__, **config})
    dtype = next(iter(prunable(model).values())).dtype
    check_plan(model, chosen)

    def read(name: str, part: Any) -> data.Split:
        try:
            return in_memory(part, adapter, dtype)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    splits = [read("train", train), read("validation", validation)]
    held_out = None if test is None else read("test", test)
    with (
        threads(chosen.threads),
        tqdm(total=chosen.levels + 1, unit="level", disable=not progress) as bar,
    ):
        trainer = Trainer(copied(model), splits[0], splits[1], held_out, chosen)
        check_fit(trainer.model, trainer.train, trainer.validation, trainer.test)
        rows = list[Row]()

        def report(row: Row) -> None:
            rows.append(row)
            longest = max(chosen.epochs, chosen.last_epochs, chosen.dense_epochs)
            bar.n = round(row.level + (row.stopped or row.epoch / longest), 2)
            bar.refresh()

        if folder is None:
            for row in run(chosen, trainer=trainer):
                report(row)
        else:
            about = _identity(chosen, model, *splits, held_out)
            resume(partial(run, chosen, trainer=trainer), about, folder, report=report)
            state, rows = finished(about, folder)
            trainer.begin(state.start)
    lay_out(trainer.model, torch.contiguous_format)
    for module, original in zip(trainer.model.modules(), model.modules(), strict=True):
        module.training = original.training
    return Pruned(trainer.model, trainer.masks, rows, chosen)


def _identity(config: Config, model: nn.Module, *splits: data.Split | None) -> dict[str, Any]:
    """Return all that decides a run in JSON values: the config, the weights and data as hashes."""
    parts = zip(("train", "validation", "test"), splits, strict=True)
    prints = {
        f"{name} data": fingerprint({"inputs": part.inputs, "targets": part.targets})
        for name, part in parts
        if part is not None
    }
    network = hashlib.sha256(str(model).encode()).hexdigest()  # layers without weights, too
    weights = fingerprint(model.state_dict(keep_vars=True))
    return identity(config) | {"network": network, "initial weights": weights} | prints
