"""How much SAP prunes of one vector of weights, for the two norm orders p and q."""

import itertools
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import special
from torch import Tensor

from ..amounts import pq_index, sap_fraction
from ..explorer.knobs import BLUE, INK, ORANGE, Explorer, Knob, as_svg, explore, style
from ..theory.amounts import discarded_share

ORDERS, LARGER = (0.25, 0.5, 1, 2), (0.5, 1, 2, 3, 4)  # p, and q, which has to lie above it
CAP = 0.9  # the largest fraction that SAP removes
EDGES = np.linspace(0, 5, 21)


def laws(num_weights: int) -> dict[str, Tensor]:
    """Return the magnitudes of weights of several laws, sorted, with mean 1.

    They are the evenly spaced quantiles of each law, so nothing is left to chance.

    Args:
        num_weights: how many, even.

    Returns:
        name -> (weight,) in float64. The heavy tail is Student's t with 3 degrees of freedom; in
        two scales, half of the Gaussian weights are a tenth as large.

    >>> [round(w.max().item(), 2) for w in laws(1000).values()]
    [4.36, 2.0, 7.6, 14.85, 7.92]
    """
    v = (torch.arange(num_weights, dtype=torch.float64) + 0.5) / num_weights
    gaussian = torch.special.ndtri((1 + v) / 2)
    magnitudes = {
        "Gaussian": gaussian,
        "uniform": v,
        "Laplace": -torch.log1p(-v),
        "heavy tail": torch.from_numpy(special.stdtrit(3, (1 + v.numpy()) / 2)),
        "two scales": torch.cat([gaussian[::2] / 10, gaussian[1::2]]),
    }
    return {law: w.sort().values / w.mean() for law, w in magnitudes.items()}


def how_much_to_prune(num_weights: int = 1000) -> Explorer:
    """Return a histogram of weights and what SAP removes, to be turned by p, q and their law.

    Source: Diao et al. 2023, arXiv:2302.05601; (T1.7) and (T1.8).

    Args:
        num_weights: as for `laws`.
    """
    weights = laws(num_weights)
    rows: dict[tuple[float, float, str], dict[str, Any]] = {}
    for law, p, q in itertools.product(weights, ORDERS, LARGER):
        if p < q:
            fraction = sap_fraction(weights[law], p, q, beta=CAP)
            removed = round(fraction * num_weights)
            rows[p, q, law] = {
                "weights": law,
                "p": p,
                "q": q,
                "PQ index": pq_index(weights[law], p, q),
                "SAP fraction": fraction,
                "kept": num_weights - removed,
                "threshold": weights[law][removed].item(),
                "mass lost": discarded_share(weights[law], num_weights - removed, q),
            }

    def draw(p: float, q: float, law: str) -> str:
        if p >= q:
            told = (
                f"q = {q:g} does not lie above p = {p:g}: there is no index, and SAP has no count"
            )
            alt = f"Histogram of |w|, {law}. Nothing is removed: {told}."
            return f"<p>{told}.</p>" + _histogram(weights[law], 0.0, alt)
        row = rows[p, q, law]
        kept, threshold = row["kept"], row["threshold"]
        beyond = int((weights[law] > EDGES[-1]).sum())
        cap = ", its cap," if row["SAP fraction"] == CAP else ""
        told = (
            f"<p>PQ index <b>{row['PQ index']:.3f}</b>. SAP removes the fraction "
            f"<b>{row['SAP fraction']:.3f}</b>{cap} and keeps <b>{kept}</b> of {num_weights} "
            f"weights, those from {threshold:.2f} up. What goes holds {row['mass lost']:.3f} of "
            f"the sum of |w|<sup>{q:g}</sup>."
            f"{f' Beyond the axis: {beyond}.' if beyond else ''}</p>"
        )
        alt = (
            f"Histogram of |w|, {law}. With p = {p:g} and q = {q:g} the hatched part below the "
            f"threshold {threshold:.2f} goes, {num_weights - kept} of {num_weights} weights."
        )
        return told + _histogram(weights[law], threshold, alt)

    return explore(
        draw,
        Knob("p", {f"{p:g}": p for p in ORDERS}, list(ORDERS).index(1)),
        Knob("q", {f"{q:g}": q for q in LARGER}, LARGER.index(2)),
        Knob("weights", {law: law for law in weights}, buttons=True),
        table=pd.DataFrame(rows.values()),
        title="The same as a table: index, fraction and count for every setting",
        name="amount",
    )


def _histogram(weights: Tensor, threshold: float, alt: str) -> str:
    heights = np.histogram(weights.numpy(), EDGES)[0] / len(weights)
    cut = int(np.searchsorted(EDGES, threshold))  # the threshold lies within the bin before
    with style():
        figure, ax = plt.subplots(figsize=(5.2, 3.2))
        if threshold:
            removed, kept = np.r_[EDGES[:cut], threshold], np.r_[threshold, EDGES[cut:]]
            ax.stairs(heights[:cut], removed, fill=True, fc="none", ec=ORANGE, hatch="//", lw=1.2)
            ax.stairs(heights[cut - 1 :], kept, fill=True, color=BLUE)
            ax.axvline(threshold, color=INK, lw=1.4)
            ax.text(threshold + 0.06, 0.44, "threshold", va="top")
            ax.text(3.1, 0.34, "hatched: removed\nfilled: kept", va="top")
        else:
            ax.stairs(heights, EDGES, fill=True, color=BLUE)
        ax.set(xlim=(0, EDGES[-1]), ylim=(0, 0.44), yticks=(0, 0.2, 0.4))
        ax.set(xlabel="|w|, in units of its mean", ylabel="share of the weights")
        return as_svg(figure, alt)
