"""A callback of Lightning that prunes what its Trainer trains, level by level."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ..pruner import Pruner
from .pacing import Pace

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError(
        "LightningPruner needs Lightning: pip install infcop-lite[lightning]"
    ) from error


class LightningPruner(Callback):
    """Prunes level by level while `lightning.Trainer` trains, and ends training when it is done.

    Zeros are held after every step of every optimiser, under accumulation, clipping and mixed
    precision alike. A level ends with a check, and the next begins with the first batch after it.
    A checkpoint of that epoch, best or last, thus holds the trained network with exact zeros.

    Args:
        pruner: of the LightningModule that is trained, or of the network within it. Give it
            ``epochs`` or a stop rule, and ``levels`` or ``final_density``.
        probe, loss: as for `Pruner.snapshot`; the probe is (inputs, targets).
        warmup_epochs: epochs before the snapshot; 0 rewinds to the weights that came in.
        metrics: what a check calls a number -> what your module logs it as, for instance
            ``{"validation_accuracy": "val_acc"}``. All else that is logged goes by its own name.
        rewind_rates: each level has the learning rates and schedulers of the snapshot again, as
            long as they go on from there; False leaves them alone.
        steps_per_epoch: optimiser steps that count as one epoch; those of the trainer unless given.

    Raises:
        ImportError: Lightning is not there.
        ValueError: levels that would never end; another network is trained than the pruner's; a
            number that the rule or ``metrics`` asks for was not logged.

    Note:
        Its state is in the checkpoints of the trainer: resumed with ``ckpt_path``, the run ends
        with the same bits if the batches are the same. A second ``fit`` goes on with the level
        where the first ended; after the last level it trains on with the zeros held. Validation
        has to run in every epoch whose metrics a rule reads. A moving average that a callback
        keeps, as `EMAWeightAveraging` does, begins again with each level, and has the same zeros.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> LightningPruner(Pruner(net, levels=3, epochs=2), warmup_epochs=1).pruner.density
    1.0
    """

    def __init__(
        self,
        pruner: Pruner,
        probe: tuple[Any, Any] | None = None,
        loss: Callable[[Any, Any], Tensor] | None = None,
        warmup_epochs: int = 0,
        metrics: Mapping[str, str] | None = None,
        rewind_rates: bool = True,
        steps_per_epoch: int | None = None,
    ) -> None:
        self.pruner, self.steps_per_epoch, self._steps = pruner, steps_per_epoch, 0
        self._pace = Pace(pruner, probe, loss, warmup_epochs, metrics or {}, rewind_rates)
        self._hooks: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the snapshot if there is no warm-up; from now on every step holds the zeros."""
        self._pace.probe = trainer.precision_plugin.convert_input(self._pace.probe)
        trainer.should_stop |= self._pace.begin(pl_module, *_moving(trainer))
        if self._steps and trainer.is_last_batch and not self.steps_per_epoch:
            self._end_epoch(trainer)  # saved after the last batch of an epoch, before its end
        self._unhook()
        self._hooks = [o.register_step_post_hook(self._stepped) for o in trainer.optimizers]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin the next level if the one before is over."""
        if self._pace.begin_level(*_moving(trainer)):
            for average in _averages(trainer):
                average.module.load_state_dict(pl_module.state_dict())
                average.n_averaged.zero_()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check after ``steps_per_epoch``, if that is given."""
        if self.steps_per_epoch and self._steps >= self.steps_per_epoch:
            self._end_epoch(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check at the end of the trainer's epoch, after its validation."""
        if not self.steps_per_epoch and self._steps:  # none: resumed at the end of an epoch
            self._end_epoch(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let go of the optimisers, and say so if there were levels to come."""
        self._unhook()
        self._pace.warn_unfinished("raise max_epochs, or fit again to go on")

    def state_dict(self) -> dict[str, Any]:
        """Return where the pruner stands, for the trainer's checkpoint."""
        return {"pace": self._pace.state_dict(), "steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the trainer's checkpoint."""
        self._pace.load_state_dict(state_dict["pace"])
        self._steps = state_dict["steps"]

    def _stepped(self, *_: Any) -> None:
        self.pruner.step()
        self._steps += 1

    def _end_epoch(self, trainer: Trainer) -> None:
        self._steps = 0
        if self._pace.end_epoch(trainer.callback_metrics, *_moving(trainer)):
            trainer.should_stop = True

    def _unhook(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def _averages(trainer: Any) -> list[AveragedModel]:
    held = [value for callback in trainer.callbacks for value in vars(callback).values()]
    return [value for value in held if isinstance(value, AveragedModel)]


def _moving(trainer: Trainer) -> tuple[Any, Any]:
    return trainer.optimizers, [config.scheduler for config in trainer.lr_scheduler_configs]
