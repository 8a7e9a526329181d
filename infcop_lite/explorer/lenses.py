"""The correlation of two units, and of a layer with its signs, under a lens."""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from torch import Tensor

from ..explorer.knobs import BLUE, INK, ORANGE, Explorer, Knob, as_svg, explore, style
from ..flows import correlation, information_flow
from ..theory.information import gaussian_mutual_information, standard_error

RHOS = (-0.95, -0.8, -0.6, -0.3, 0.0, 0.3, 0.6, 0.8, 0.95)
COUNTS = (10, 30, 100, 1000)
THEORY = "(1 − ρ²)/√n"  # the standard error of ρ, as a column of the table
NUM_DRAWN = 150  # points of a scatter; more say no more, and weigh on the page


def correlation_lens(seed: int = 5) -> Explorer:
    """Return two Gaussian units, to be turned by their correlation and the number of samples.

    Source: (T2.1) and (T2.5).

    The random numbers are the same in every setting: y = rho x + sqrt(1 - rho^2) z, and n samples
    are the first n of 1000. So what changes with rho is due to rho alone.

    Args:
        seed: of x and z; the default gives an ordinary sample, about one standard error off.
    """
    generator = torch.Generator().manual_seed(seed)
    x, z = torch.randn(2, 1000, 1, dtype=torch.float64, generator=generator)
    units, rows = {}, {}
    for rho, n in itertools.product(RHOS, COUNTS):
        pair = units[rho, n] = {"x": x[:n], "y": (rho * x + math.sqrt(1 - rho**2) * z)[:n]}
        rows[rho, n] = {
            "ρ": rho,
            "n": n,
            "measured ρ": information_flow(pair).item(),
            "standard error": standard_error(pair).item(),
            THEORY: (1 - rho**2) / math.sqrt(n),
            "information": gaussian_mutual_information(rho),
            "plug-in information": information_flow(pair, "mutual-information").item(),
        }

    def draw(rho: float, n: int) -> str:
        row = rows[rho, n]
        measured = row["measured ρ"]
        told = (
            f"<p>ρ = {_signed(rho)}. Measured on {n} samples: <b>{_signed(measured, 3)} ± "
            f"{row['standard error']:.3f}</b>, one standard error; in theory {row[THEORY]:.3f}.<br>"
            f"Mutual information <b>{row['information']:.3f} nats</b>, from the measured ρ "
            f"{row['plug-in information']:.3f} nats.</p>"
        )
        alt = (
            f"Scatter of {min(n, NUM_DRAWN)} of {n} samples of two units with correlation "
            f"{_signed(rho)}. The slope of the solid line is the measured correlation "
            f"{_signed(measured, 3)}, that of the dashed line the true one."
        )
        x_and_y = torch.cat(list(units[rho, n].values()), 1)
        return told + _scatter(x_and_y, rho, measured, alt)

    return explore(
        draw,
        Knob("correlation ρ", {_signed(rho): rho for rho in RHOS}, RHOS.index(0.6)),
        Knob("samples n", {str(n): n for n in COUNTS}, COUNTS.index(30)),
        table=pd.DataFrame(rows.values()),
        title="The same as a table: two Gaussian units, information in nats",
        name="correlation",
    )


def _signed(number: float, digits: int = 2) -> str:
    return f"{number:z.{digits}f}".replace("-", "−")


def _scatter(points: Tensor, rho: float, measured: float, alt: str) -> str:
    drawn, ends = points[:NUM_DRAWN].numpy(), np.array([-3.5, 3.5])
    with style():
        figure, ax = plt.subplots(figsize=(5.2, 3.6))
        figure.subplots_adjust(right=0.714)  # a square, and room for the legend
        dots = Outline(
            drawn.repeat(2, 0), [Outline.MOVETO, Outline.LINETO] * len(drawn)
        )  # caps alone
        dots.should_simplify = False
        ax.add_patch(PathPatch(dots, fill=False, ec=BLUE, lw=4, capstyle="round", alpha=0.9))
        ax.plot(ends, measured * ends, color=ORANGE, lw=2.2, label="measured")
        ax.plot(ends, rho * ends, "--", color=INK, lw=1.4, label="true")
        ax.set(xlim=ends, ylim=ends, xticks=(-3, 0, 3), yticks=(-3, 0, 3))
        ax.set(xlabel="unit x", ylabel="unit y")
        ax.legend(title="slope", bbox_to_anchor=(1, 1), loc="upper left", handlelength=1.4)
        return as_svg(figure, alt)


def sign_cancellation(num_units: int = 12, seed: int = 0) -> Explorer:
    """Return a layer's correlations with one unit, to be turned by how many signs are flipped.

    Source: (T2.3) and (T2.4): the mean of correlations sees signs, the information does not.

    Args:
        num_units: units of the layer, >= 2; all carry one signal, each with a noise of its own.
        seed: of the 400 samples.

    >>> len(sign_cancellation().table)
    13
    """
    generator = torch.Generator().manual_seed(seed)
    signal, own, *others = torch.randn(num_units + 2, 400, dtype=torch.float64, generator=generator)
    louder = torch.linspace(0.5, 2.5, num_units)[torch.randperm(num_units, generator=generator)]
    layer = signal[:, None] + louder * torch.stack(others, 1)
    unit = (signal + 0.5 * own)[:, None]
    bars, rows = {}, {}
    for flipped in range(num_units + 1):
        signs = torch.where(torch.arange(num_units) < flipped, -1.0, 1.0)
        flow = {"layer": layer * signs, "unit": unit}
        bars[flipped] = correlation(*flow.values()).flatten().numpy()
        rows[flipped] = {
            "flipped": flipped,
            "share": flipped / num_units,
            "mean ρ": information_flow(flow).item(),
            "mean |ρ|": information_flow(flow, "abs").item(),
            "root mean square": information_flow(flow, "square").sqrt().item(),
            "information": information_flow(flow, "mutual-information").item(),
        }

    def draw(flipped: int) -> str:
        row = rows[flipped]
        mean, rms = row["mean ρ"], row["root mean square"]
        told = (
            f"<p>{flipped} of {num_units} signs are flipped. Mean ρ <b>{_signed(mean)}</b>; mean "
            f"|ρ| {row['mean |ρ|']:.2f}, root mean square <b>{rms:.2f}</b>, information "
            f"<b>{row['information']:.2f} nats</b>.</p>"
        )
        alt = (
            f"Bars: correlations of {num_units} units with one unit; the first {flipped} point "
            f"down, the others up. A solid line marks their mean {_signed(mean)}, a dashed line "
            f"their root mean square {rms:.2f}."
        )
        return told + _bars(bars[flipped], mean, rms, alt)

    return explore(
        draw,
        Knob("share flipped", {f"{row['share']:.2f}": flipped for flipped, row in rows.items()}),
        table=pd.DataFrame(rows.values()),
        title="The same as a table: four summaries of one layer, information in nats",
        name="signs",
    )


def _bars(rhos: np.ndarray, mean: float, rms: float, alt: str) -> str:
    units, span = np.arange(1, len(rhos) + 1), (0.4, len(rhos) + 0.6)
    with style():
        figure, ax = plt.subplots(figsize=(5.2, 3.2))
        figure.subplots_adjust(right=0.77)
        ax.bar(units, rhos, color=np.where(rhos < 0, ORANGE, BLUE), width=0.7)
        ax.hlines((0, mean), *span, color=INK, lw=(0.6, 2.4))
        ax.hlines(rms, *span, color=INK, lw=1.4, ls="--")
        ax.text(span[1], rms, " root mean\n square", va="bottom")
        ax.text(span[1], mean, " mean", va="top", weight="bold")
        ax.set(xlim=span, ylim=(-1, 1), xticks=(1, len(rhos)), yticks=(-1, -0.5, 0, 0.5, 1))
        ax.set(xlabel="unit of the layer", ylabel="correlation with one unit")
        return as_svg(figure, alt)
