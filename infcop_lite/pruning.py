"""Prune a network of your own in one call, which returns the network, its masks and its rows."""

import inspect
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from tqdm import tqdm

from . import data
from .amounts import first_masks, spared
from .compute import lay_out, threads
from .config import Config
from .feeding import Source
from .identity import identity_of_own
from .layers import copied
from .level import Start, Trainer
from .limits import expect, switch
from .loaders import Adapter, Stream, in_memory
from .loop import run
from .masks import Masks, check_masks, density, prunable
from .monitor import check_fit
from .own import refuse_unknown
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
        """Return the size, accuracy and cost of the pruned network, one line each.

        The dense network is that of level 0 at the end of its training. A network that came in
        sparse is named by its density. Accuracies are on the test split or, without one, on the
        validation split, which stop rules may have read. Numbers of `Config.evaluate` have a line
        each.

        >>> row = dict.fromkeys(Row.__annotations__, 0.5) | {"stopped": True, "elapsed_s": 1.0}
        >>> row |= {"density": 1.0, "metrics": {"f1": 0.25}}
        >>> weights = {"weight": nn.Linear(2, 1).weight > 9}
        >>> print(Pruned(nn.Linear(2, 1), weights, [Row(**row)] * 2, Config()).summary())
        weights: 0 of 2 kept, density 0.0000; 1 other parameters, never pruned; 0.3333 of all 3 left
        layers without weights: the model
        test accuracy: 0.5000 dense, 0.5000 pruned
        f1: 0.2500 dense, 0.2500 pruned
        training: 3 of at most 18 epochs in 1 s, 2 of them warm-up
        """
        c, ends = self.config, [row for row in self.rows if row.stopped]
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
            f"{self._compared(ends[0], ends[-1])}"
            f"training: {spent:.4g} of at most {budget:.4g} epochs in {ends[-1].elapsed_s:.0f} s,"
            f" {c.warmup_epochs:.4g} of them warm-up"
        )

    def _compared(self, first: Row, last: Row) -> str:
        split = "validation" if math.isnan(last.test_accuracy) else "test"
        both = {f"{split} accuracy": [getattr(row, f"{split}_accuracy") for row in (first, last)]}
        both |= {
            name: [first.metrics.get(name, math.nan), last.metrics[name]] for name in last.metrics
        }
        before = "dense" if first.density == 1 else f"at density {first.density:.4f}"
        return "".join(
            f"{name}: {dense:.4f} {before}, {pruned:.4f} pruned\n"
            for name, (dense, pruned) in both.items()
            if not math.isnan(pruned)  # where targets are not classes
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
    masks: Masks | None = None,
    adapter: Adapter | None = None,
    folder: Path | str | None = None,
    progress: bool = False,
    **config: Any,
) -> Pruned:
    """Prune a network of your own; the one you pass in is left untouched.

    Source: `loop.run` on any module with Conv or Linear weights.

    Args:
        model: a classifier, or with ``loss=`` any network. The warm-up starts from its present
            weights. With ``warmup_epochs=0`` levels are also rewound to these weights.
        train: a pair (inputs, targets), of shapes (sample, ...) and (sample,) int64. A DataLoader
            or a map-style Dataset of such pairs is read once into memory, see `loaders.in_memory`.
            A `loaders.Stream` of a loader is read anew each epoch, and keeps random augmentation,
            samplers, ``drop_last`` and batch size. Any `feeding.Source` will do, too. Inputs of
            several tensors are a dict (by name) or a tuple (one by one). With ``loss=``, targets
            are whatever that function takes.
        validation: likewise, in memory. Besides training data, stop rules read only this.
        test: likewise, for reporting only.
        masks: what is kept at first. Unless given, pruning of an already sparse network, such as
            the result of an earlier call, continues from its exact zeros.
            ``masks.full_masks(model)`` starts dense.
        adapter: called with a batch that is no pair, such as a dict; returns (inputs, targets).
        folder: where the run keeps rows.csv, run.json and network.safetensors, so that it can
            resume after it was killed. A second call with the same arguments resumes after the last
            finished level, and ends with the same bits. A finished run is returned at once. A call
            with other weights, layers, data, masks or modes (``eval()`` of a part) is another run,
            and is refused. Changed code of a forward pass or of your functions is not noticed.
        progress: whether to draw a progress bar on stderr.
        **config: fields of `Config`, some of which take an object of your own.

            - ``stop``: a rule object.
            - ``loss``: (output, targets) -> mean over samples.
            - ``evaluate``: (model) -> name -> number, for the summary and for rules such as
              ``Patience(2, of="f1")``.
            - ``optimizer``: (model) -> Optimizer.
            - ``scheduler``: (optimizer, num_steps) -> LRScheduler.
            - ``dense``: names of layers that are not pruned.
            - ``rewind="none"``: each level starts from the weights that the level before ended
              with, which fine-tunes a pretrained network.

    Returns:
        A `Pruned`, which unpacks as the pruned model, its masks and the rows, and which has a
        ``summary()``. To train further, call `prune` again or use `Pruner`, which keep removed
        weights at zero. A plain optimiser would change them.

    Raises:
        ValueError: data that do not fit, no prunable weights, a bad field, several processes, or a
            folder that holds a run with another config, other data or other initial weights.
        TypeError: a keyword that is no field; the message names the nearest one.
        OSError: a folder that cannot be written to.
        FloatingPointError: training diverged.
        KeyboardInterrupt: Ctrl-C was pressed. Without a folder, its ``pruned`` is a `Pruned` with
            the levels that were finished, or None.

    Note:
        nn.MultiheadAttention keeps the weights of queries, keys and values in one bare parameter.
        There is no mask for it, so that it stays dense. The output projection is pruned but never
        called as a layer, so that the information flow leaves it out.

    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> net, masks, rows = prune(nn.Linear(4, 2), (x, y), (x, y), levels=2, fraction=0.5, epochs=2)
    >>> rows[-1].density
    0.25

    Further training with a plain optimiser needs a call of `hold` after each step:

    >>> from infcop_lite.masks import Masked
    >>> hold, adam = Masked(net, masks), torch.optim.Adam(net.parameters())
    >>> for step in range(3):
    ...     adam.zero_grad(); nn.functional.cross_entropy(net(x), y).backward()
    ...     adam.step(); hold()
    >>> int((net.weight != 0).sum()), net.weight.numel()
    (2, 8)

    A regression, with a loss and an optimiser of your own:

    >>> z = x[:, :1].sin()
    >>> own = {"loss": nn.functional.mse_loss, "fraction": 0.25}
    >>> own["optimizer"] = lambda model: torch.optim.AdamW(model.parameters(), 3e-3)
    >>> found = prune(nn.Linear(4, 1), (x, z), (x, z), levels=1, epochs=1, **own)
    >>> found.rows[-1].density, found.rows[-1].validation_accuracy
    (0.75, nan)
    """
    _refuse_processes()
    switch("progress", progress)
    expect("folder", folder, (str, PathLike, type(None)), "a path")
    arguments = [name for name in inspect.signature(prune).parameters if name != "config"]
    refuse_unknown(config, [*(f.name for f in fields(Config)), "anneal", *arguments])
    chosen = Config(**{"data": "custom", "model": type(model).__name__, **config})
    dtype = next(iter(prunable(model).values())).dtype
    check_plan(model, chosen)

    def read(name: str, part: Any) -> data.Split:
        size = chosen.batch_size if name == "train" and "batch_size" not in config else None
        try:
            return in_memory(part, adapter, dtype, chosen.loss is None, size)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    if isinstance(train, Stream):
        if "batch_size" in config:
            raise ValueError("the batches of a Stream are its loader's: leave batch_size out")
        train = train.adapted(adapter)
    feed = train if isinstance(train, Source) else read("train", train)
    held_back = read("validation", validation)
    held_out = None if test is None else read("test", test)
    kept = _start_masks(model, masks, chosen)
    rows = list[Row]()
    with (
        threads(chosen.threads),
        tqdm(total=chosen.levels + 1, unit="level", disable=not (progress and sys.stderr)) as bar,
    ):
        trainer = Trainer(copied(model), feed, held_back, held_out, chosen, kept)
        probe = data.Split(*trainer.monitor.probe)
        seen = trainer.train if isinstance(feed, data.Split) else probe
        check_fit(trainer.model, seen, trainer.validation, trainer.test, loss=chosen.loss)

        def report(row: Row) -> None:
            rows.append(row)
            longest = max(chosen.epochs, chosen.last_epochs, chosen.dense_epochs)
            bar.n = round(row.level + (row.stopped or row.epoch / longest), 2)
            bar.refresh()

        if folder is None:
            _run_here(trainer, model, rows, report)
        else:
            about = identity_of_own(chosen, model, kept, feed, held_back, held_out)
            resume(partial(run, chosen, trainer=trainer), about, folder, report=report)
            state, rows = finished(about, folder)
            trainer.begin(state.start)
    return _handed_back(trainer, model, rows)


def _run_here(
    trainer: Trainer, model: nn.Module, rows: list[Row], report: Callable[[Row], None]
) -> None:
    """Run without a folder; an interruption carries the levels that are finished."""
    ended: Start | None = None
    try:
        for row in run(trainer.config, trainer=trainer):
            report(row)
            if row.stopped:
                ended = Start(row.level, trainer.masks, trainer.weights())
    except KeyboardInterrupt as interruption:
        pruned = None
        if ended is not None:
            trainer.begin(ended)
            pruned = _handed_back(trainer, model, [r for r in rows if r.level <= ended.level])
            print(
                f"interrupted; the KeyboardInterrupt has what was finished, up to level"
                f" {ended.level}, as .pruned",
                file=sys.stderr,
            )
        interruption.pruned = pruned  # type: ignore[attr-defined]
        raise


def _handed_back(trainer: Trainer, model: nn.Module, rows: list[Row]) -> Pruned:
    """Return what a trainer came to, in the layout and the modes of the model that came in."""
    lay_out(trainer.model, torch.contiguous_format)
    trainer.model.train(model.training)
    for module, original in zip(trainer.model.modules(), model.modules(), strict=True):
        module.training = original.training
    return Pruned(trainer.model, trainer.masks, rows, trainer.config)


def _start_masks(model: nn.Module, masks: Masks | None, config: Config) -> Masks | None:
    """Return what is kept at first, None if that is everything."""
    if masks is None:
        kept = first_masks(model, config.dense, stacklevel=4)
    else:
        kept = {name: masks[name] for name in check_masks(model, masks)}
    return kept if density(kept) < 1 else None


def _refuse_processes() -> None:
    """See that this is not one of several processes, each of which would do all the work."""
    is_there = distributed.is_available() and distributed.is_initialized()
    number = distributed.get_world_size() if is_there else 1
    if number > 1:
        raise ValueError(
            f"prune would do the whole work in each of {number} processes: use Pruner in the"
            " training loop that they share, or call prune without torch.distributed"
        )
