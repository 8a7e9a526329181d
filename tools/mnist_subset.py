"""The part of MNIST that comes with the package, the data set mnist-small.

python tools/mnist_subset.py    MNIST under INFCOP_DATA_DIR -> infcop_lite/mnist_subset.npz

MNIST is by Y. LeCun, C. Cortes and C. J. C. Burges, CC BY-SA 3.0; so is what is written.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from infcop_lite.datasets import MNIST_SUBSET, read
from infcop_lite.source import where

NUM_TRAIN, NUM_TEST, SEED = 5000, 1000, 0


def draw(root: Path) -> dict[str, Any]:
    """Draw images without replacement from either half of MNIST, classes as they come.

    Args:
        root: folder of the official files.

    Returns:
        images (5000, 1, 28, 28) uint8, labels (5000,) uint8, test_images and test_labels likewise.
    """
    images, labels, test_images, test_labels = read("mnist", root)
    rng = np.random.default_rng(SEED)
    train = rng.permutation(len(labels))[:NUM_TRAIN]
    test = rng.permutation(len(test_labels))[:NUM_TEST]
    return {
        "images": images[train],
        "labels": labels[train],
        "test_images": test_images[test],
        "test_labels": test_labels[test],
    }


def main() -> int:
    np.savez_compressed(MNIST_SUBSET, **draw(where()))
    print(f"{MNIST_SUBSET.name}: {MNIST_SUBSET.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
