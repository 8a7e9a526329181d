"""Data sets as in-memory tensors, split into train, validation and test.

Files are read once, checked and normalised; nothing is fetched unless `download` is called.
"""

import tempfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .batches import leaves, num_samples, on, shapes
from .datasets import SOURCES, missing, read
from .source import where

NAMES = tuple(SOURCES)
CHECKED = 2**20  # numbers looked at together: a look costs more memory than what it looks at


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs (sample, channel, height, width) float32, normalised; targets (sample,) int64.

    Of your own, inputs may be a dict or a tuple of tensors, and with a loss of your own targets
    whatever that takes.
    """

    inputs: Any
    targets: Any

    def __len__(self) -> int:
        return num_samples(self.targets)

    def __repr__(self) -> str:
        shape = shapes(self.inputs)
        known = isinstance(shape, tuple) and isinstance(self.inputs, Tensor)
        return f"<{len(self)} of {'×'.join(map(str, shape[1:])) if known else shape}>"

    def to(self, device: torch.device | str) -> "Split":
        """Return the split on a device, where both tensors then lie."""
        return Split(on(self.inputs, device), on(self.targets, device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits and the class names; the test split is for reporting only."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]

    def to(self, device: torch.device | str) -> "Dataset":
        """Return the data set on a device, with all its splits."""
        test = self.test.to(device)
        return Dataset(self.train.to(device), self.validation.to(device), test, self.classes)


def as_split(
    part: Split | tuple[Any, Any], dtype: torch.dtype = torch.float32, classes: bool = True
) -> Split:
    """Return tensors of your own as a split, after checking them.

    Source: what a classifier with cross-entropy, or a network with a loss of one's own, can be
    trained on.

    Args:
        part: (inputs, targets), or already a split: (sample, ...) and (sample,) int64 classes;
            inputs of several tensors are a dict or a tuple of them.
        dtype: of the network's weights; inputs that are floating-point must have it too.
        classes: whether targets must be classes; otherwise they are tensors with a row per sample.

    Raises:
        ValueError: no pair of dense tensors, no samples, lengths that differ, another dtype, a
            negative class, NaN.

    >>> len(as_split((torch.zeros(3, 2), torch.tensor([0, 1, 0]))))
    3
    """
    try:
        split = part if isinstance(part, Split) else Split(*part)
    except TypeError:
        raise ValueError("data must be a pair: (inputs, targets)") from None
    inputs, targets = split.inputs, split.targets
    for x in (*leaves(inputs), *leaves(targets)):
        if not (isinstance(x, Tensor) and x.layout == torch.strided and x.dim() and not x.is_meta):
            kind = f"{x.layout} on {x.device}" if isinstance(x, Tensor) else type(x).__name__
            rows = "dense tensors or arrays, one row per sample"
            raise ValueError(f"inputs and targets must be {rows}, not {kind}")
    size, paired = num_samples(inputs), num_samples(targets)
    if size == 0 or size != paired:
        apart = isinstance(inputs, list) and len(inputs) == paired
        hint = "; torch.stack(inputs) makes one tensor of a list" if apart else ""
        raise ValueError(f"{size} inputs and {paired} targets do not make samples{hint}")
    if classes and not _are_classes(targets):
        other = isinstance(targets, Tensor) and targets.dtype not in (torch.int64, torch.float32)
        hint = "convert them, targets.to(torch.int64), or" if other else "for others"
        raise ValueError(
            "targets must be int64 class indices of shape (sample,), 0 or more;"
            f" {hint} give a loss= of your own"
        )
    for x in leaves(inputs):
        if x.is_floating_point() and x.dtype != dtype:
            raise ValueError(
                f"inputs are {x.dtype}, but the weights are {dtype}; convert one of the two, such"
                f" as inputs.to({dtype}), or astype for an array"
            )
        rows = max(1, CHECKED // max(1, x[0].numel()))
        if not all(torch.isfinite(several).all() for several in x.split(rows)):
            raise ValueError("inputs hold NaN or infinity")
    return split


def _are_classes(targets: Any) -> bool:
    is_tensor = isinstance(targets, Tensor) and targets.dtype == torch.int64 and targets.dim() == 1
    return is_tensor and int(targets.min()) >= 0


def load(
    name: str, root: str | Path | None = None, subset: int | None = None, seed: int = 0
) -> Dataset:
    """Read a data set from disk and split it; equal arguments give equal splits.

    Source: LeCun et al. 1998 (mnist, mnist-small); Xiao et al. 2017, arXiv:1708.07747
    (fashion-mnist); Krizhevsky 2009 (cifar10, cifar100); Alpaydin & Kaynak 1998, in scikit-learn's
    copy (digits).

    Args:
        name: one of `NAMES`; "digits" and "mnist-small" need no files.
        root: folder of the files; $INFCOP_DATA_DIR or ~/.cache/infcop_lite unless given.
        subset: number of training images to keep (10 or more), all unless given.
        seed: draws the subset, and a tenth of it for validation; the test split never changes.

    Raises:
        FileNotFoundError: a file is missing; the message says how to get it.
        ValueError: an unknown name, a bad subset or seed, a file that is not the published one.
        OSError: a file cannot be read.

    Note:
        The reference code stops by the test set; here a validation split is held out for that.

    >>> digits = load("digits")
    >>> digits.train, digits.validation, digits.test
    (<1294 of 1×8×8>, <143 of 1×8×8>, <360 of 1×8×8>)
    """
    _check_name(name)
    if type(seed) is not int or seed < 0:
        raise ValueError(f"seed must be a whole number, 0 or more, not {seed!r}")
    if subset is not None and (type(subset) is not int or subset < 10):
        raise ValueError(f"subset must be a whole number, 10 or more, not {subset!r}")
    raw = read(name, where(root))
    if subset is not None and subset > len(raw.labels):
        raise ValueError(f"subset is {subset}, but {name} has {len(raw.labels)} training images")
    order = np.random.default_rng(seed).permutation(len(raw.labels))[:subset]
    validation, train = np.split(order, [len(order) // 10])
    return Dataset(
        _split(name, raw.images[train], raw.labels[train]),
        _split(name, raw.images[validation], raw.labels[validation]),
        _split(name, raw.test_images, raw.test_labels),
        SOURCES[name].classes,
    )


def available(name: str, root: str | Path | None = None) -> bool:
    """Tell whether the files that `load` needs are there, without reading them.

    >>> "mnist" if available("mnist", root="/nowhere") else "digits"
    'digits'
    """
    _check_name(name)
    return not all(missing(name, where(root)))


def download(name: str, root: str | Path | None = None) -> Path:
    """Fetch a data set through torchvision, checked by md5, and return the folder it is in.

    Files move into place only when all are whole: an interrupted download leaves none behind.

    Raises:
        ValueError: an unknown name, or "digits", which needs no download.
        OSError: the network or the disk failed.

    >>> download("digits")
    Traceback (most recent call last):
    ValueError: digits needs no download: it comes with scikit-learn
    """
    _check_name(name)
    if owner := SOURCES[name].comes_with:
        raise ValueError(f"{name} needs no download: it comes with {owner}")
    folder = where(root)
    try:
        read(name, folder)
    except (FileNotFoundError, ValueError):
        _fetch(name, folder)
    return folder


def _fetch(name: str, folder: Path) -> None:
    record = SOURCES[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as new:
            if record.fetch:
                record.fetch(Path(new))
            read(name, Path(new))
            for file in record.files:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                Path(new, file).replace(folder / file)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"cannot download {name} to {folder}: {reason}") from error


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; choose from {', '.join(NAMES)}")


def _split(name: str, images: Any, labels: Any) -> Split:
    record = SOURCES[name]
    num_classes = len(record.classes)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"{name} has labels outside 0 to {num_classes - 1}")
    inputs = images.astype(np.float32)
    inputs /= record.brightest
    inputs -= np.array(record.mean, np.float32)[:, None, None]
    inputs /= np.array(record.deviation, np.float32)[:, None, None]
    return Split(torch.from_numpy(inputs), torch.from_numpy(labels.astype(np.int64)))
