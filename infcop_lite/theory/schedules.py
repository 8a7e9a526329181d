"""The cost model of early stopping, what a run costs, how often to check, when a rule fires."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive number, not {value}")


def _least_zero(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be 0 or more, not {value}")


def probe_cost(num_probe: int, num_train: int, num_passes: int = 1) -> float:
    """Return the cost of measuring a flow once, in training epochs.

    Source: (T5.1); derived here. a = k n / (3 N), a backward pass counted as two forward passes.

    Args:
        num_probe: samples of the probe, n >= 1.
        num_train: samples of the training split, N >= 1.
        num_passes: forward passes over the probe, k >= 1.

    Returns:
        A number > 0; 1 means that a probe costs as much as an epoch of training.

    Raises:
        ValueError: a count that is not positive.

    >>> round(probe_cost(1000, 60_000), 4), round(probe_cost(60_000, 60_000, 2), 4)
    (0.0056, 0.6667)
    """
    _positive(num_probe=num_probe, num_train=num_train, num_passes=num_passes)
    return num_passes * num_probe / (3 * num_train)


def speed_up(
    epochs_used: Sequence[float],
    budget: float,
    final_epochs: float | None = None,
    probe: float = 0.0,
    interval: float = 1.0,
    first_check: bool = False,
    warmup: float = 0.0,
) -> float:
    """Return how many times cheaper a run is than one that spends its budget in every level.

    Source: (T5.1); derived here. S = R T / ((1 + a/s) sum tau_r + T_f), warm-up added to both.

    Args:
        epochs_used: tau_r of every level but the last, each in [0, budget].
        budget: T, epochs per level of the run that is compared with, > 0.
        final_epochs: T_f, epochs of the last level; the budget unless given.
        probe: a, cost of one probe in epochs, >= 0.
        interval: s, epochs between probes, > 0.
        first_check: count one more probe a level, right after the prune.
        warmup: epochs that both runs pay before level 0, >= 0.

    Returns:
        A number > 0; below 1 the rule costs more than it saves.

    Raises:
        ValueError: a number out of its range, or a run that costs nothing.

    >>> speed_up([2, 2, 2], budget=8)
    2.2857142857142856
    >>> speed_up([8, 8], budget=8)
    1.0
    """
    _positive(budget=budget, interval=interval)
    last = budget if final_epochs is None else final_epochs
    _least_zero(final_epochs=last, probe=probe, warmup=warmup)
    if any(not 0 <= tau <= budget for tau in epochs_used):
        raise ValueError(f"epochs used must lie between 0 and the budget {budget}")
    probes = sum(epochs_used) / interval + (len(epochs_used) if first_check else 0)
    cost = warmup + sum(epochs_used) + probe * probes + last
    if cost == 0:
        raise ValueError("a run that costs nothing has no speed-up")
    return (warmup + (len(epochs_used) + 1) * budget) / cost


def interval_cost(epochs: float, interval: int, probe: float) -> float:
    """Return the expected cost of a level that is checked every so many epochs.

    Source: (T5.2); derived here. (tau + (s - 1)/2) (1 + a/s).

    Args:
        epochs: tau, mean of the first epoch at which the rule would fire, >= 1.
        interval: s, epochs between checks, >= 1.
        probe: a, cost of one probe in epochs, >= 0.

    Returns:
        Epochs, those of the probes included; exact if tau modulo s is uniform.

    Raises:
        ValueError: a number out of its range.

    >>> interval_cost(10, 1, 0.0), interval_cost(10, 3, 0.6)
    (10.0, 13.2)
    """
    if not (1 <= epochs < math.inf and interval >= 1):
        raise ValueError(f"epochs and interval must be at least 1, not {epochs} and {interval}")
    _least_zero(probe=probe)
    return (epochs + (interval - 1) / 2) * (1 + probe / interval)


def best_interval(epochs: float, probe: float) -> int:
    """Return the whole number of epochs between checks that costs least, by `interval_cost`.

    Source: (T5.2); derived here. The smallest s with s (s + 1) >= a (2 tau - 1), and at most
    2 tau - 1. Beyond that, no level has a mean of tau and is even over the interval. Of played
    levels it is the best one where they are even over every interval that is compared.

    Args:
        epochs: tau, as for `interval_cost`.
        probe: a, cost of one probe in epochs, >= 0.

    Returns:
        1 to 2 tau - 1, the smaller of two that are equally good. `safe_interval` needs no even law.

    Raises:
        ValueError: a number out of its range.

    >>> best_interval(10, 0.0056), best_interval(10, 2 / 3), best_interval(10, 25)
    (1, 4, 19)
    """
    interval_cost(epochs, 1, probe)
    return min(_smallest(probe * (2 * epochs - 1)), max(1, math.floor(2 * epochs - 1)))


def _smallest(product: float) -> int:
    """Return the smallest s >= 1 with s (s + 1) >= product."""
    start = max(1, math.floor((math.sqrt(1 + 4 * product) - 1) / 2) - 1)
    return next(s for s in range(start, start + 5) if s * (s + 1) >= product)


def worst_interval_cost(epochs: float, interval: int, probe: float) -> float:
    """Return the largest expected cost of a level with such a mean, whatever its law.

    Source: (T5.2); derived here. (tau + s - 1) (1 + a/s), attained by levels that are ready one
    epoch after a check.

    Args:
        epochs, interval, probe: as for `interval_cost`.

    Raises:
        ValueError: a number out of its range.

    >>> worst_interval_cost(10, 2, 0.5)
    13.75
    """
    interval_cost(epochs, interval, probe)
    return (epochs + interval - 1) * (1 + probe / interval)


def safe_interval(epochs: float, probe: float) -> int:
    """Return the whole number of epochs between checks whose worst cost is least.

    Source: (T5.2); derived here. The smallest s with s (s + 1) >= a (tau - 1); no assumption on
    the law of the first epoch at which the rule would fire, but its mean.

    Args:
        epochs, probe: as for `best_interval`.

    Returns:
        At least 1; of two equally good intervals the smaller.

    Raises:
        ValueError: a number out of its range.

    >>> safe_interval(10, 0.0056), safe_interval(10, 2 / 3)
    (1, 2)
    """
    interval_cost(epochs, 1, probe)
    return _smallest(probe * (epochs - 1))


def first_crossing(distances: Tensor, epsilon: float, consecutive: int = 1) -> Tensor:
    """Return the first check at which so many distances in a row lie below the tolerance.

    Source: (T5.3); derived here.

    Args:
        distances: (..., check), oldest first.
        epsilon: the tolerance.
        consecutive: how many checks in a row, >= 1.

    Returns:
        (...,) int64, the index of the last of these checks; the number of checks if none.

    Raises:
        ValueError: fewer checks than must cross.

    >>> path = torch.tensor([3.0, 0.9, 2.0, 0.8, 0.7])
    >>> int(first_crossing(path, 1.0)), int(first_crossing(path, 1.0, 2))
    (1, 4)
    """
    if not 1 <= consecutive <= distances.shape[-1]:
        raise ValueError(f"{consecutive} of {distances.shape[-1]} checks cannot cross")
    below = (distances < epsilon).unfold(-1, consecutive, 1).all(-1)
    first = below.to(torch.int64).argmax(-1) + consecutive - 1
    return torch.where(below.any(-1), first, distances.shape[-1])


def hitting_time(epsilon: float, amplitude: float, rate: float, floor: float = 0.0) -> float:
    """Return the first whole t at which c lambda^t + phi is below the tolerance.

    Source: (T5.3b); derived here.

    Args:
        epsilon: the tolerance, > 0.
        amplitude: c > 0.
        rate: lambda in (0, 1).
        floor: phi >= 0, the resting distance.

    Returns:
        A whole number, or infinity if the tolerance is not above phi.

    Raises:
        ValueError: a number out of its range.

    >>> hitting_time(0.3, 1.0, 0.5, 0.1), hitting_time(0.1, 1.0, 0.5, 0.1)
    (3, inf)
    """
    _model(epsilon, amplitude, rate, floor)
    if epsilon <= floor:
        return math.inf
    if amplitude + floor < epsilon:
        return 0
    log_ratio = math.log(amplitude) - math.log(epsilon - floor)
    t = max(0, math.floor(log_ratio / -math.log(rate)))  # or one more; round-off decides not
    while amplitude * rate**t + floor >= epsilon:
        t += 1
    return t


def hitting_sensitivity(epsilon: float, rate: float, floor: float = 0.0) -> float:
    """Return how fast the continuous hitting time moves with the logarithm of the tolerance.

    Source: (T5.3b); derived here.
    d tau / d log epsilon = -epsilon / ((epsilon - phi) log(1 / lambda)).

    Args:
        epsilon: the tolerance, above phi.
        rate: lambda in (0, 1).
        floor: phi >= 0, the resting distance.

    Returns:
        Checks per unit of log epsilon, < 0.

    Raises:
        ValueError: a number out of its range, or a tolerance that is not above phi.

    >>> round(hitting_sensitivity(0.2, 0.5), 3), round(hitting_sensitivity(0.2, 0.5, 0.19), 3)
    (-1.443, -28.854)
    """
    _model(epsilon, 1.0, rate, floor)
    if epsilon <= floor:
        raise ValueError(f"epsilon must be above the floor {floor}, not {epsilon}")
    return epsilon / ((epsilon - floor) * math.log(rate))


def _model(epsilon: float, amplitude: float, rate: float, floor: float) -> None:
    _positive(epsilon=epsilon, amplitude=amplitude)
    _least_zero(floor=floor)
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), not {rate}")


def stop_probabilities(distances: Tensor, epsilon: float, noise: float) -> Tensor:
    """Return how likely a rule stops at each check, if its distance is read with noise.

    Source: (T5.3c); derived here. q_t prod_{s<t} (1 - q_s) with q_t = P(D_t + noise < epsilon),
    the noise Gaussian and independent from check to check.

    Args:
        distances: (check,) the true distances, oldest first.
        epsilon: the tolerance.
        noise: its standard deviation, > 0.

    Returns:
        (check + 1,) float64 that sums to 1; the last entry is the probability never to stop.

    Raises:
        ValueError: no checks, or a noise that is not positive.

    >>> stop_probabilities(torch.tensor([1.0, 1.0]), 1.0, 0.1)
    tensor([0.5000, 0.2500, 0.2500], dtype=torch.float64)
    """
    _positive(noise=noise)
    if distances.dim() != 1 or len(distances) == 0:
        raise ValueError(f"distances must be (check,), not {tuple(distances.shape)}")
    fires = torch.special.ndtr((epsilon - distances.to(torch.float64)) / noise)
    one = fires.new_ones(1)
    still_on = torch.cat([one, (1 - fires).cumprod(0)])
    return still_on * torch.cat([fires, one])


def fit_geometric(distances: Tensor, num_rates: int = 199) -> tuple[float, float, float]:
    """Return the amplitude, rate and resting distance of the geometric decay that fits a path best.

    Source: (T5.3b) as a hypothesis to be tested; least squares, the rate on an even grid in (0, 1).

    Args:
        distances: (check,), at least 4 of them.
        num_rates: points of the grid.

    Returns:
        (c, lambda, phi); a path that does not decay gives c <= 0, one that heads for zero phi <= 0.

    Raises:
        ValueError: too few distances for three parameters.

    >>> path = 0.8 * 0.5 ** torch.arange(8.0) + 0.1
    >>> [round(x, 4) for x in fit_geometric(path)]
    [0.8, 0.5, 0.1]
    """
    if distances.dim() != 1 or len(distances) < 4:
        raise ValueError("a fit of three parameters needs (check,) distances, at least 4")
    y = distances.to(torch.float64)
    rates = torch.arange(1, num_rates + 1, dtype=torch.float64) / (num_rates + 1)
    powers = rates[:, None] ** torch.arange(len(y))
    x = powers - powers.mean(1, keepdim=True)
    amplitudes = x @ (y - y.mean()) / x.square().sum(1)
    errors = (y - y.mean() - amplitudes[:, None] * x).square().sum(1)
    best = int(errors.argmin())
    amplitude, rate = amplitudes[best].item(), rates[best].item()
    return amplitude, rate, y.mean().item() - amplitude * powers[best].mean().item()
