"""What a tolerance, an epoch and a look are worth, in prices, allocations and regret (T7).

A price is in nats per unit of time, or per step or epoch where that is said. The *curve* of a level
is what the final network loses because the level was short; *regret* is what a stop costs beyond
the best one.
"""

import math

import torch
from torch import Tensor

from .schedules import _least_zero, _positive


def _table(name: str, values: Tensor, axes: str, least: int = 1) -> Tensor:
    """Return values in float64 if they have these axes, enough along the first, and no NaN."""
    v = values.detach().double()
    if v.dim() != axes.count(",") + 1 or len(v) < least or v.numel() == 0 or not v.isfinite().all():
        raise ValueError(
            f"{name} must be ({axes}), finite and at least {least}, not {tuple(v.shape)}"
        )
    return v


# --- a price for time ---


def price_regret(price: float, pl: float) -> float:
    """Return by how much the gradient's price rule can miss the best stop, under PL.

    Source: (T7.8); derived here. ``c / (2 mu)``.

    Args:
        price: c, nats per unit of time, > 0.
        pl: mu > 0, the Polyak-Lojasiewicz constant within the mask where the rule fires.

    Raises:
        ValueError: a number that is not positive.

    >>> price_regret(0.2, 0.5)
    0.2
    """
    _positive(price=price, pl=pl)
    return price / (2 * pl)


def worth_stopping(losses: Tensor, price: float) -> int:
    """Return the first step whose successor lowers the loss by no more than a step is worth.

    Source: (T7.9); derived here. It minimises loss plus price times steps if the losses are convex
    in the step, as those of gradient descent with h <= 3 / (2 beta) on a convex loss are.

    Args:
        losses: (step,), at least one, of the training loss.
        price: nats per step, > 0.

    Returns:
        An index; the last one if every step was worth it.

    Raises:
        ValueError: no losses, NaN, or a price that is not positive.

    >>> worth_stopping(torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5]), price=1.5)
    2
    """
    _positive(price=price)
    falls = -_table("losses", losses, "step").diff()
    cheap = (falls <= price).nonzero()
    return int(cheap[0]) if len(cheap) else len(losses) - 1


def price_tolerance(
    price: float,
    lr: float,
    steps_per_epoch: int,
    momentum: float = 0.0,
    trace: float = 0.0,
    batch_size: int | None = None,
) -> float:
    """Return the tolerance on a gradient's norm that stands for a price.

    Source: (T7.7), (T7.10). ``epsilon^2 = c + T / n``, c the price per unit of time; momentum is
    taken to first order, as a step ``1 / (1 - momentum)`` times as long.

    Args:
        price: nats per epoch, > 0.
        lr: step size h, > 0.
        steps_per_epoch: >= 1.
        momentum: of the heavy ball, in [0, 1).
        trace: T, of the covariance of one sample's gradient; what a batch adds.
        batch_size: samples n in the batch that the norm is read on; None is the full gradient.

    Raises:
        ValueError: a number out of its range.

    >>> price_tolerance(0.9, lr=0.1, steps_per_epoch=100, momentum=0.9)
    0.09486...
    >>> price_tolerance(0.9, 0.1, 100, momentum=0.9, trace=2.0, batch_size=20)
    0.33015...
    """
    _positive(price=price, lr=lr, steps_per_epoch=steps_per_epoch)
    _least_zero(trace=trace)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), not {momentum}")
    time = steps_per_epoch * lr / (1 - momentum)
    if batch_size is None:
        return math.sqrt(price / time)
    _positive(batch_size=batch_size)
    return math.sqrt(price / time + trace / batch_size)


def cross_batch_energy(gradient: Tensor, other: Tensor) -> float:
    """Return an estimate of the squared norm of the full gradient that noise does not inflate.

    Source: (T7.10c); independence. The inner product of two batches' gradients.

    Args:
        gradient, other: of two independent batches, of one shape.

    Returns:
        A number, unbiased; it may be negative.

    Raises:
        ValueError: different shapes.

    >>> cross_batch_energy(torch.tensor([3.0, 1.0]), torch.tensor([3.0, -1.0]))
    8.0
    """
    if gradient.shape != other.shape:
        raise ValueError(f"two gradients: {tuple(gradient.shape)} and {tuple(other.shape)}")
    return (gradient.detach().double() * other.detach().double()).sum().item()


def sgd_excess(
    curvatures: Tensor, offsets: Tensor, noise: Tensor, lr: float, num_steps: int
) -> Tensor:
    """Return the expected loss above the least, step by step, of noisy descent on a quadratic.

    Source: (T7.10b); known. ``sum s/2 [(1 - h s)^(2k) (v^2 - r) + r]``, r = h C / (s (2 - h s)).

    Args:
        curvatures: (direction,) eigenvalues s > 0.
        offsets: (direction,) v, from the minimum.
        noise: (direction,) C, variance of one step's gradient in each direction (of a batch).
        lr: h, below 2 over the largest curvature.
        num_steps: >= 0.

    Returns:
        (step + 1,) in float64, with the start.

    Raises:
        ValueError: a step that is too large, or curvatures that are not positive.

    >>> one = torch.ones(1)
    >>> sgd_excess(one, 4 * one, 3 * one, lr=0.5, num_steps=1)
    tensor([8.0000, 2.3750], dtype=torch.float64)
    """
    s, v, c = (t.detach().double() for t in (curvatures, offsets, noise))
    if not ((s > 0) & (lr * s < 2)).all() or lr <= 0:
        raise ValueError(f"needs 0 < lr < 2 / the largest curvature, not {lr} and {s.tolist()}")
    rest = lr * c / (s * (2 - lr * s))
    k = torch.arange(num_steps + 1)[:, None]
    return (s / 2 * ((1 - lr * s) ** (2 * k) * (v.square() - rest) + rest)).sum(1)


def break_even(losses: Tensor, times: Tensor, price: float, floor: float = 0.0) -> int:
    """Return the first check at which the time so far has cost as much as is left to gain.

    Source: (T7.11); ski rental. Loss plus price is at most twice the least
    possible, plus the price of the last gap between checks, whatever the shape of the losses.

    Args:
        losses: (check,), at least the floor and non-increasing; of others, pass the running minimum
            and restore those weights.
        times: (check,) of the checks, ascending.
        price: nats per unit of time, > 0.
        floor: a known lower bound of the losses, which is subtracted.

    Returns:
        An index; the last one if it is never reached, and then the bound holds as well.

    Raises:
        ValueError: losses that rise or lie below the floor, or a price that is not positive.

    >>> break_even(torch.tensor([4.0, 3.0, 2.0, 1.9]), torch.arange(4), price=1.0)
    2
    """
    _positive(price=price)
    left = _table("losses", losses, "check") - floor
    if (left < 0).any() or (left.diff() > 0).any() or times.shape != losses.shape:
        raise ValueError("losses must not rise or lie below the floor: pass the running minimum")
    paid = (price * times.double() >= left).nonzero()
    return int(paid[0]) if len(paid) else len(losses) - 1


# --- how to allocate epochs to levels ---


def allocate(amplitudes: Tensor, rate: float, total: float) -> Tensor:
    """Return the epochs of each level that lose least in all, for curves ``A e^(-b epochs)``.

    Source: (T7.22), (T7.23); derived here. ``tau = [log(A b / nu)]_+ / b``: every level stops when
    one more epoch is worth the same price nu.

    Args:
        amplitudes: (level,) A > 0.
        rate: b > 0, the same at every level.
        total: epochs to give away, >= 0.

    Returns:
        (level,) in float64, >= 0, that sums to the total.

    Raises:
        ValueError: a number out of its range.

    >>> allocate(torch.tensor([1.0, 2.0, 8.0]), rate=math.log(2), total=4.0).round(decimals=4)
    tensor([0., 1., 3.], dtype=torch.float64)
    """
    _positive(rate=rate)
    _least_zero(total=total)
    needs = _amplitudes(amplitudes).flatten().log() / rate
    highest = needs.sort(descending=True).values
    counts = torch.arange(1, len(needs) + 1)
    levels = (highest.cumsum(0) - total) / counts  # water levels if the first k levels train
    return (needs - levels[highest >= levels][-1]).clamp_min(0)


def _amplitudes(amplitudes: Tensor) -> Tensor:
    a = amplitudes.detach().double()
    if a.numel() == 0 or not ((a > 0) & a.isfinite()).all():
        raise ValueError("amplitudes must be positive numbers")
    return a


def allocation_gain(amplitudes: Tensor) -> float:
    """Return the least that any allocation can lose, relative to the same epochs in every level.

    Source: (T7.23); derived here: geometric over arithmetic mean of the amplitudes. Attained if the
    best allocation gives every level some epochs.

    Args:
        amplitudes: (level,) A > 0, of curves ``A e^(-b epochs)`` with one rate.

    Returns:
        A number in (0, 1].

    Raises:
        ValueError: an amplitude that is not positive.

    >>> round(allocation_gain(torch.tensor([1.0, 4.0])), 6)
    0.8
    """
    a = _amplitudes(amplitudes)
    return math.exp(a.log().mean().item() - a.mean().log().item())


def allocation_ceiling(slopes: Tensor, epochs: Tensor) -> float:
    """Return what an allocation can gain at most over the same epochs in every level.

    Source: (T7.22); derived here. ``(m_max - m_min) sum |tau - mean| / 2``, for convex curves.

    Args:
        slopes: (level,) m, what one more epoch is worth at the mean number of epochs.
        epochs: (level,) of the allocation.

    Raises:
        ValueError: different numbers of levels.

    >>> allocation_ceiling(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 4.0]))
    4.0
    """
    m, tau = _table("slopes", slopes, "level"), _table("epochs", epochs, "level")
    if len(m) != len(tau):
        raise ValueError(f"one slope a level, not {len(m)} for {len(tau)}")
    return ((m.max() - m.min()) * (tau - tau.mean()).abs().sum() / 2).item()


# --- what no rule can do ---


def regret_floor(predictions: Tensor) -> float:
    """Return a regret that no rule without labels stays below on every task.

    Source: (T7.24); derived here. Half the largest disagreement of two networks on the path.

    Args:
        predictions: (check, sample) classes, of the networks that the rule chooses from.

    Returns:
        A fraction of the samples, in [0, 1/2].

    Raises:
        ValueError: not (check, sample).

    >>> regret_floor(torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]]))
    0.25
    """
    _table("predictions", predictions, "check, sample")
    return max((predictions != p).double().mean(1).max().item() for p in predictions) / 2


def regret_floor_nats(probabilities: Tensor) -> float:
    """Return a regret in nats that no rule without labels stays below on every task.

    Source: (T7.24); derived here. The largest mean Jensen-Shannon divergence on the path.

    Args:
        probabilities: (check, sample, class).

    Returns:
        Nats, in [0, log 2].

    Raises:
        ValueError: not (check, sample, class).

    >>> sure = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> round(regret_floor_nats(sure), 4)  # log 2
    0.6931
    """
    p = _table("probabilities", probabilities, "check, sample, class")

    def entropy(q: Tensor) -> Tensor:
        return torch.special.entr(q).sum(-1).mean(-1)

    own = entropy(p)
    pairs = (entropy((p + q) / 2) - (own + entropy(q)) / 2 for q in p)
    return max(0.0, *(pair.max().item() for pair in pairs))


def holdout_regret(num_looks: int, num_labels: int, risk: float) -> float:
    """Return the regret that the best of several looks by held-out accuracy stays below.

    Source: (T7.25); Hoeffding's inequality and a union bound.

    Args:
        num_looks: networks that are compared, >= 1.
        num_labels: held-out samples, >= 1, independent of the networks.
        risk: probability that the bound fails, in (0, 1).

    Returns:
        A difference of accuracies.

    Raises:
        ValueError: a number out of its range.

    >>> round(holdout_regret(10, 2000, 0.05), 3)
    0.077
    """
    _positive(num_looks=num_looks, num_labels=num_labels)
    if not 0 < risk < 1:
        raise ValueError(f"risk must be in (0, 1), not {risk}")
    return 2 * math.sqrt(math.log(2 * num_looks / risk) / (2 * num_labels))


# --- what looking is worth ---


def value_of_looking(best_stops: Tensor, curvature: float) -> tuple[float, float]:
    """Return what a timetable gains over a constant, and what looking can gain over a timetable.

    Source: (T7.26); derived here. ``k/2`` times the variance of the best stop between levels, and
    within them. Exact for curves of constant curvature; seeds count as a sample (no bias), drawn
    anew for every level; levels as all there are.

    Args:
        best_stops: (seed, level), the best stop of each; at least two seeds.
        curvature: k > 0, second derivative of the levels' curves; in nats per squared epoch the
            results are nats, divided by the price of an epoch epochs per level.

    Returns:
        Timetable and looking, each in the unit of k times squared epochs. The first can be negative
        by chance.

    Raises:
        ValueError: fewer than two seeds, NaN, or a curvature that is not positive.

    >>> value_of_looking(torch.tensor([[1.0, 5.0], [3.0, 7.0]]), curvature=1.0)
    (1.75, 1.0)
    """
    _positive(curvature=curvature)
    t = _table("best_stops", best_stops, "seed, level", least=2)
    within = t.var(0).mean().item()
    between = t.mean(0).var(correction=0).item()
    # means of so few seeds differ by chance: their share of the variance within is taken out
    levels = t.shape[1]
    between -= within / len(t) * (levels - 1) / levels
    return curvature / 2 * between, curvature / 2 * within


def looking_epochs(amplitudes: Tensor, rate: float) -> Tensor:
    """Return what looking is worth at each level, for curves ``A e^(-b epochs)``.

    Source: (T7.26); derived here. ``(log E A - E log A) / b``, at every price below b times the
    least amplitude. At a higher one some best stop is 0, and this is not what looking is worth.

    Args:
        amplitudes: (seed, level) A > 0.
        rate: b > 0.

    Returns:
        (level,) epochs, >= 0, the seeds taken as all there are.

    Raises:
        ValueError: a number out of its range.

    >>> looking_epochs(torch.tensor([[1.0, 2.0], [4.0, 2.0]]), rate=1.0).round(decimals=4)
    tensor([0.2231, 0.0000], dtype=torch.float64)
    """
    _positive(rate=rate)
    a = _table("amplitudes", _amplitudes(amplitudes), "seed, level")
    return ((a.mean(0).log() - a.log().mean(0)) / rate).clamp_min(0)


def rule_loss(stops: Tensor, best_stops: Tensor, curvature: float) -> float:
    """Return what a rule's stops lose, to be compared with `value_of_looking`.

    Source: (T7.27); derived here. ``k/2`` times the mean squared error as a predictor of the best
    stop: a rule beats a timetable exactly if this is below what looking is worth, looks unpaid.

    Args:
        stops, best_stops: of one shape, such as (seed, level).
        curvature: as for `value_of_looking`.

    Raises:
        ValueError: different shapes, NaN, or a curvature that is not positive.

    >>> rule_loss(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]), curvature=2.0)
    2.5
    """
    _positive(curvature=curvature)
    if stops.shape != best_stops.shape:
        raise ValueError(f"a stop each: {tuple(stops.shape)} and {tuple(best_stops.shape)}")
    error = _table("stops", (stops.double() - best_stops.double()).flatten(), "stop")
    return (curvature / 2 * error.square().mean()).item()
