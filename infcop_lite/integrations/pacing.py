"""When a callback takes the snapshot, checks and prunes inside somebody else's trainer."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..placement import check_whole, inner
from ..pruner import Pruner

STATE = ("epochs", "is_over", "is_done", "rates")


class Pace:
    """Counts the epochs of a level, and calls a pruner when it is time.

    Args:
        pruner: of the network that is trained, or of a part of it; with a rule or ``epochs``, else
            no level would ever end.
        probe, loss: as for `Pruner.snapshot`.
        warmup_epochs: epochs before the snapshot; 0 rewinds to the weights that came in.
        metrics: what a check calls a number -> what the trainer calls it; all other numbers that
            the trainer logs are handed to checks under the names they have.
        rewind_rates: whether learning rates and schedulers, too, go back to the snapshot at each
            level; otherwise they go on.

    Raises:
        ValueError: a pruner whose levels never end, or ``warmup_epochs`` below 0.

    >>> Pace(Pruner(nn.Linear(2, 2)), None, None, 1, {}, True)
    Traceback (most recent call last):
    ValueError: no level would ever end: give Pruner(..., epochs=) or a stop rule
    """

    def __init__(
        self,
        pruner: Pruner,
        probe: Any,
        loss: Callable[[Any, Any], Tensor] | None,
        warmup_epochs: int,
        metrics: Mapping[str, str],
        rewind_rates: bool,
    ) -> None:
        if pruner.stop == "budget" and pruner.epochs is None:
            raise ValueError("no level would ever end: give Pruner(..., epochs=) or a stop rule")
        if type(warmup_epochs) is not int or warmup_epochs < 0:
            raise ValueError(f"warmup_epochs must be a whole number, not {warmup_epochs!r}")
        self.pruner, self.probe, self.loss = pruner, probe, loss
        self.warmup_epochs, self.metrics, self.rewind_rates = warmup_epochs, metrics, rewind_rates
        self.epochs, self.is_over, self.is_done = 0, False, False
        self.rates: Any = None
        self.held: Mapping[str, Any] | None = None

    def begin(self, model: nn.Module, optimizers: Sequence[Optimizer], schedulers: Any) -> bool:
        """Begin or resume training, from the start or from where a checkpoint was written.

        It says whether that checkpoint was of a run that has ended: nothing is left to train.

        Args:
            model: what is trained, where it is trained.
            optimizers, schedulers: of this training.

        Raises:
            ValueError: the pruner's network is no part of the model, or has been sharded.
        """
        if not any(part is self.pruner.model for part in inner(model).modules()):
            raise ValueError(
                "the pruner holds another network than the one that is trained: make"
                " Pruner(model) of the model that you hand to the trainer"
            )
        check_whole(self.pruner.model)
        held, self.held = self.held, None
        if held is not None:
            self.epochs, self.is_over, self.is_done, self.rates = (held[k] for k in STATE)
        # also moves masks and probe to where the network is by now
        self.pruner.load_state_dict(held["pruner"] if held else self.pruner.state_dict(), self.loss)
        if not self.pruner.has_snapshot and not self.warmup_epochs:
            self._snapshot({}, optimizers, schedulers)
        elif held is None and self.pruner.has_snapshot:
            self.rates = _rates(optimizers, schedulers)  # of another training, or taken by hand
        return held is not None and self.is_done

    def end_epoch(
        self, logged: Mapping[str, Any], optimizers: Sequence[Optimizer], schedulers: Any
    ) -> bool:
        """Count an epoch, take the snapshot or a check, and say whether training is done.

        Args:
            logged: numbers that the trainer has logged since the epoch before.
            optimizers, schedulers: of this training.

        Raises:
            ValueError: a number of ``metrics`` was not logged, or is needed and nowhere given.
        """
        self.epochs += 1
        if self.is_done or self.is_over:
            return False
        if self.pruner.has_snapshot:
            if self.pruner.check(self.epochs, **self._given(logged)):
                self.is_done = self.pruner.is_last
                self.is_over = not self.is_done
            return self.is_done
        if self.epochs >= self.warmup_epochs:
            self._snapshot(self._given(logged), optimizers, schedulers)
        return False

    def begin_level(self, optimizers: Sequence[Optimizer], schedulers: Any) -> bool:
        """Prune and begin the next level if a check has ended the one before; ask at every step.

        Only now: what is saved or validated at the end of an epoch is the trained network. It says
        whether that has been done.
        """
        if not self.is_over:
            return False
        self.pruner.next_level()
        self.epochs, self.is_over = 0, False
        for optimizer in optimizers:
            optimizer.state.clear()
        if self.rewind_rates:
            groups = [group for optimizer in optimizers for group in optimizer.param_groups]
            held, states = copy.deepcopy(self.rates)
            for group, before in zip(groups, held, strict=True):
                group.update(before)
            for scheduler, state in zip(schedulers, states, strict=True):
                scheduler.load_state_dict(state)
        return True

    def warn_unfinished(self, way_out: str) -> None:
        """Say that training has ended before the last level, if it has.

        Args:
            way_out: what to do, in the words of the trainer.
        """
        pruner, levels = self.pruner, self.pruner.levels
        if not self.is_done and (levels or pruner.config.final_density):
            of = f" of {levels}" if levels else ""
            warnings.warn(
                f"training has ended in level {pruner.level}{of}, with density"
                f" {pruner.density:.4f}: {way_out}",
                stacklevel=3,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands, the pruner's state within."""
        return {"pruner": self.pruner.state_dict(), **{name: getattr(self, name) for name in STATE}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep a state until training begins, when the network has its weights and its device.

        Raises:
            ValueError: something that this callback has not saved.
        """
        if not isinstance(state, Mapping) or set(state) != {"pruner", *STATE}:
            raise ValueError("this is no state of this callback: give what it has saved")
        self.held = state

    def _snapshot(self, given: Mapping[str, float], optimizers: Any, schedulers: Any) -> None:
        self.pruner.snapshot(self.probe, self.loss, **given)
        self.rates, self.epochs = _rates(optimizers, schedulers), 0

    def _given(self, logged: Mapping[str, Any]) -> dict[str, float]:
        """Return the numbers of a check; clocks are left out, for no two runs agree on them."""
        clocks = ("_runtime", "_per_second", "_time", "epoch")
        numbers = {
            name: float(value)
            for name, value in logged.items()
            if isinstance(value, int | float | Tensor) and not name.endswith(clocks)
        }
        for name, theirs in self.metrics.items():
            if theirs not in numbers:
                known = ", ".join(sorted(numbers)) or "nothing"
                raise ValueError(f"no {theirs!r} was logged in this epoch for {name}, but {known}")
            numbers[name] = numbers.pop(theirs)
        return numbers


def _rates(optimizers: Sequence[Optimizer], schedulers: Any) -> Any:
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    options = [{k: v for k, v in group.items() if k != "params"} for group in groups]
    return copy.deepcopy((options, [scheduler.state_dict() for scheduler in schedulers]))
