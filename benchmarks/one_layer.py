"""What one layer takes, dense and sparse, in seconds relative to the dense layer.

python benchmarks/one_layer.py    # writes experiments/one_layer.csv, which chapter 1 reads
"""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import torch
from timing import interleaved, machine, ratio
from torch import Tensor, nn

TABLE = Path(__file__).parent.parent / "experiments" / "one_layer.csv"
DENSITIES = (1, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
REPEATS, ROUNDS = 10, 40
Product = Callable[[], Tensor]


def products(weight: Tensor, x: Tensor, density: float) -> dict[str, Product]:
    """Return the ways to compute one layer, the largest magnitudes kept, each as a function.

    Args:
        weight: (outputs, inputs).
        x: (images, inputs).
        density: kept of the weights; of the units in "fewer units".
    """
    ranked = weight.abs().flatten().sort(descending=True).values
    threshold = ranked[round(density * weight.numel()) - 1]
    mask = weight.abs() >= threshold
    sparse, xt = (weight * mask).to_sparse_csr(), x.T.contiguous()
    fewer = weight[: max(1, round(density * len(weight)))].contiguous()
    return {
        "dense": lambda: x @ weight.T,
        "mask applied": lambda: x @ (weight * mask).T,
        "CSR": lambda: sparse @ xt,
        "CSR, as a layer asks": lambda: nn.functional.linear(x, sparse),
        "fewer units": lambda: x @ fewer.T,
    }


def often(product: Product) -> Callable[[], None]:
    """Return a function that computes a product several times."""

    def run() -> None:
        for _ in range(REPEATS):
            product()

    return run


def rows(layer: tuple[int, int] = (300, 784), num_images: int = 64) -> list[dict[str, str | float]]:
    """Time each way at each density: processor seconds, in turns, over those of the dense layer."""
    torch.manual_seed(0)
    weight, x = nn.Linear(layer[1], layer[0]).weight.detach(), torch.randn(num_images, layer[1])
    found: list[dict[str, str | float]] = []
    for density in DENSITIES:
        computed = products(weight, x, density)
        wanted = computed["mask applied"]()
        assert torch.allclose(computed["CSR"]().T, wanted, atol=1e-4)
        assert torch.allclose(computed["CSR, as a layer asks"](), wanted, atol=1e-4)
        ways = {way: often(product) for way, product in computed.items()}
        seconds = interleaved(ways, ROUNDS, clock=time.process_time)
        for way in list(ways)[1:]:
            value = round(ratio(seconds[way], seconds["dense"]), 3)
            found.append({"way": way, "density": density, "ratio": value})
    return found


def main() -> None:
    """Write the table."""
    torch.set_num_threads(1)
    about = machine()
    said = f"{about['cpu']}, one thread, torch {about['torch']}"
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["way", "density", "ratio", "machine"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "machine": said} for row in rows())


if __name__ == "__main__":
    main()
