"""What an early stop saves, as a calculator for the cost model of T5."""

import itertools
import math
from typing import Any

import pandas as pd

from ..explorer.knobs import WIDEST, Explorer, Knob, explore
from ..theory.schedules import hitting_time, probe_cost, speed_up

ROUNDS, BUDGETS, RATES = (5, 10, 20), (5, 10, 20), (0.5, 0.7, 0.9)
PROBES, RESTS = (1000, 60_000), (0.0, 0.5, 0.9, 1.1)
START = (10, 10, 0.7, PROBES[0], 0.5)


def speed_up_calculator(amplitude: float = 4.0, num_train: int = 60_000) -> Explorer:
    """Return what a run costs and saves, to be turned by rounds, budget, decay, probe and rest.

    Source: (T5.1) and (T5.3b).

    Distances are in units of epsilon. In every round but the last, which trains its budget, they
    fall as ``amplitude rate^t + rest``; a check comes after the prune and after every epoch.

    Args:
        amplitude: how far above its resting distance a level starts, > 0.
        num_train: samples of the training split, >= 1.

    >>> speed_up_calculator().table["speed-up"].round(2).tolist()[:4]
    [1.46, 1.18, 0.99, 0.99]
    """

    def cost(rounds: int, budget: int, rate: float, probe: int, rest: float) -> dict[str, Any]:
        hit = hitting_time(1.0, amplitude, rate, rest)
        price, used = probe_cost(probe, num_train), min(hit, budget)
        levels = [used] * (rounds - 1)
        return {
            "rounds": rounds,
            "budget": budget,
            "decay": rate,
            "probe": probe,
            "rest / ε": rest,
            "first below ε": "never" if math.isinf(hit) else hit,
            "epochs per level": used,
            "epochs in all": sum(levels) + budget,
            "measuring": price * (sum(levels) + len(levels)),
            "speed-up": speed_up(levels, budget, probe=price, first_check=True),
        }

    def draw(rounds: int, budget: int, rate: float, probe: int, rest: float) -> str:
        row = cost(rounds, budget, rate, probe, rest)
        hit, total, measuring = row["first below ε"], row["epochs in all"], row["measuring"]
        full, why = rounds * budget, ""
        settings = f"{rounds} rounds, budget {budget}, decay {rate}, probe {probe}, rest {rest}"
        if hit == "never" or hit > budget:
            late = f"The distance needs {hit} epochs, more than the budget"
            why = "The resting distance lies above ε" if hit == "never" else late
            why += ": <b>the rule never fires</b>.<br>"
        return (
            f"<p>{why}{row['epochs per level']} epochs per level, {total} in all, full retraining "
            f"{full} (the mark). Measuring costs {measuring:.1f} more (the faint part). "
            f"<b>Speed-up {row['speed-up']:.2f}</b></p>" + _bar(total, measuring, full, settings)
        )

    settings = itertools.product(ROUNDS, BUDGETS, RATES, PROBES, RESTS)
    return explore(
        draw,
        Knob("rounds", {str(n): n for n in ROUNDS}, ROUNDS.index(START[0])),
        Knob("budget, epochs", {str(n): n for n in BUDGETS}, BUDGETS.index(START[1])),
        Knob("decay per epoch", {str(rate): rate for rate in RATES}, RATES.index(START[2])),
        Knob("probe size", {f"{n:,}".replace(",", " "): n for n in PROBES}, buttons=True),
        Knob("resting distance / ε", {str(rest): rest for rest in RESTS}, RESTS.index(START[4])),
        table=pd.DataFrame(list(itertools.starmap(cost, settings))),
        title="The same as a table: epochs and speed-up for every setting",
        name="cost",
    )


def _bar(trained: float, measuring: float, full: float, settings: str) -> str:
    """Return a bar of what is spent on an axis of epochs, with a mark at full retraining."""
    a, b = 200 * trained / full, 200 * (trained + measuring) / full
    alt = f"{settings}: {trained} epochs of training, {measuring:.1f} of measuring, mark at {full}"
    return (
        f'<svg role="img" aria-label="{alt}" viewBox="0 0 280 26" fill="currentColor" '
        f'style="width: 100%; max-width: {WIDEST}">'
        f'<path d="M0 3H{a:.1f}v8H0z"/><path opacity=".4" d="M{a:.1f} 3H{b:.1f}v8H{a:.1f}z"/>'
        '<path d="M200 0h1v14h-1z"/><path opacity=".4" d="M0 14h280v.5H0z"/>'
        f"{_tick(0, '0', 'start')}{_tick(100, f'{full / 2:g}')}"
        f"{_tick(200, f'{full:g} epochs, full')}</svg>"
    )


def _tick(x: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="24" style="font-size: 9px; text-anchor: {anchor}">{text}</text>'
