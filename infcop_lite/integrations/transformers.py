"""A callback of Hugging Face's Trainer that prunes what it trains, level by level."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..pruner import Pruner
from .pacing import Pace

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    extra = "pip install infcop-lite[transformers]"
    raise ImportError(f"TrainerPruner needs transformers and accelerate: {extra}") from error

FILE = "pruner.pt"


class TrainerPruner(TrainerCallback):
    """Prunes level by level while `transformers.Trainer` trains, and ends training when it is done.

    Zeros are held after every step of the optimiser, under accumulation, clipping and mixed
    precision alike. A level ends with a check; the next begins with the first batch after it, so
    that what is saved at that epoch's end, also by ``save_pretrained``, has exact zeros.

    Args:
        pruner: of the model that the trainer gets. Give it ``epochs`` or a stop rule, and
            ``levels`` or ``final_density``.
        probe: a batch as the model takes it, with its labels, whose loss the model computes; or
            (inputs, targets), as for `Pruner.snapshot`.
        loss: called with the model's output and the targets; that of the model unless given.
        warmup_epochs: epochs before the snapshot; 0 rewinds to the weights that came in.
        metrics: what a check calls a number -> what the trainer calls it, for instance
            ``{"validation_accuracy": "eval_accuracy", "train_loss": "loss"}``. All else that is
            logged goes by its own name.
        rewind_rates: each level has the learning rate and the scheduler of the snapshot again, as
            long as they go on from there; False leaves them alone. The trainer's own schedule
            spans all levels: hand it one as long as a level, or "constant".
        steps_per_epoch: optimiser steps that count as one epoch; those of the trainer unless given.

    Raises:
        ImportError: transformers is not there.
        ValueError: levels that would never end, or a trained network that is not the pruner's. Or
            a number that the rule or ``metrics`` asks for was not logged. Also
            ``load_best_model_at_end``, which would restore the best level, mostly the dense one.

    Note:
        Its state is a file beside each checkpoint: resumed, the run ends with the same bits. A
        second ``train`` goes on with the level where the first ended; after the last level it
        trains on with the zeros held. Evaluate in every epoch whose metrics a rule reads.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> TrainerPruner(Pruner(net, levels=3, epochs=2), warmup_epochs=1).pruner.density
    1.0
    """

    def __init__(
        self,
        pruner: Pruner,
        probe: Any = None,
        loss: Callable[[Any, Any], Tensor] | None = None,
        warmup_epochs: int = 0,
        metrics: Mapping[str, str] | None = None,
        rewind_rates: bool = True,
        steps_per_epoch: int | None = None,
    ) -> None:
        if isinstance(probe, Mapping):
            probe, loss = (dict(probe), None), loss or (lambda output, _: output.loss)
        self.pruner, self.steps_per_epoch = pruner, steps_per_epoch
        self._pace = Pace(pruner, probe, loss, warmup_epochs, metrics or {}, rewind_rates)
        self._logged: dict[str, Any] = {}
        self._steps, self._last_log, self._is_due = 0, -1, False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the snapshot if there is no warm-up, or resume from the checkpoint.

        Raises:
            ValueError: ``load_best_model_at_end`` is set.
        """
        if args.load_best_model_at_end:
            raise ValueError(
                "load_best_model_at_end would bring back the best of all levels, mostly the dense"
                " one: set it to False"
            )
        if state.global_step and self._pace.held is None:
            self.load(_folder(args, state))
        if self._pace.begin(kwargs["model"], *_moving(kwargs)):
            raise ValueError("the checkpoint is of a run that has ended: nothing is left to train")
        is_between = state.epoch is not None and float(state.epoch).is_integer()
        if self._steps and is_between and not self.steps_per_epoch:
            self._end_epoch(control, kwargs)  # saved by a step that was the last of its epoch

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the next level if the one before is over."""
        if self._is_due:  # evaluated, without a number that somebody asks for
            self._end_epoch(control, kwargs)
        self._pace.begin_level(*_moving(kwargs))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hold the zeros; check after ``steps_per_epoch``, if that is given."""
        self.pruner.step()
        self._steps += 1
        if self.steps_per_epoch and self._steps >= self.steps_per_epoch:
            self._finish(state, control, kwargs)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check at the end of the trainer's epoch, unless an evaluation is still to come."""
        if not self.steps_per_epoch and self._steps:
            self._finish(state, control, kwargs)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember what is logged, and check if that was what the check waited for."""
        self._logged |= kwargs["logs"]
        self._last_log = state.global_step
        if "loss" in kwargs["logs"] and not control.should_evaluate:
            self._end_if_complete(control, kwargs)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check as soon as every number that ``metrics`` names is there."""
        self._logged |= kwargs["metrics"]
        self._end_if_complete(control, kwargs)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write where the pruner stands beside the checkpoint."""
        if state.is_world_process_zero:
            more = {"steps": self._steps, "logged": self._logged}
            held = {"pace": self._pace.state_dict(), **more}
            torch.save(held, _folder(args, state) / FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say so if there were levels to come."""
        self._pace.warn_unfinished("raise num_train_epochs, or train again to go on")

    def load(self, checkpoint: Path | str) -> None:
        """Go on from a checkpoint; only needed where it lies outside of ``args.output_dir``.

        Args:
            checkpoint: the folder given as ``train(resume_from_checkpoint=...)``.

        Raises:
            ValueError: it was written without this callback.
        """
        file = Path(checkpoint) / FILE
        if not file.exists():
            raise ValueError(
                f"{file} is not there: for a checkpoint from elsewhere call load(folder) before"
                " train; one written without this callback cannot be gone on from"
            )
        held = torch.load(file, map_location="cpu", weights_only=True)
        self._pace.load_state_dict(held["pace"])
        self._steps, self._logged = held["steps"], held["logged"]

    def _finish(self, state: TrainerState, control: TrainerControl, kwargs: Any) -> None:
        """Check now, or as soon as the numbers of this epoch are there; no event tells later."""
        self._is_due = True
        to_come = control.should_log and state.global_step > self._last_log
        if not (control.should_evaluate or to_come):
            self._end_epoch(control, kwargs)

    def _end_if_complete(self, control: TrainerControl, kwargs: Any) -> None:
        if self._is_due and set(self._pace.metrics.values()) <= set(self._logged):
            self._end_epoch(control, kwargs)

    def _end_epoch(self, control: TrainerControl, kwargs: Any) -> None:
        self._steps, self._is_due = 0, False
        logged, self._logged = self._logged, {}
        if self._pace.end_epoch(logged, *_moving(kwargs)):
            control.should_training_stop = True


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _moving(kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    scheduler = kwargs["lr_scheduler"]
    return [kwargs["optimizer"]], [] if scheduler is None else [scheduler]
