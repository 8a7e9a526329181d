"""Data sets as in-memory tensors, split into train, validation and test.

Files are read once, checked by md5 and normalised; nothing is fetched unless `download` is called.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# In this order: training images and labels, test images and labels; training batches, test batch.
_MD5S = {
    "mnist": {
        "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion-mnist": {
        "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    "cifar10": {
        "cifar-10-batches-bin/data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "cifar-10-batches-bin/data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "cifar-10-batches-bin/data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "cifar-10-batches-bin/data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "cifar-10-batches-bin/data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        "cifar-10-batches-bin/test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
}
_CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
# The brightest pixel; mean and deviation of the training images per channel, as fractions of it.
_SCALES = {
    "digits": (16, [0.3053], [0.3760]),
    "mnist": (255, [0.1307], [0.3081]),
    "fashion-mnist": (255, [0.2860], [0.3530]),
    "cifar10": (255, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}
_CLASSES = {
    "digits": "0 1 2 3 4 5 6 7 8 9",
    "mnist": "0 1 2 3 4 5 6 7 8 9",
    "fashion-mnist": "T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot",
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
}
NAMES = tuple(_CLASSES)


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs (sample, channel, height, width) float32, normalised; targets (sample,) int64."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"<{len(self)} of {'×'.join(str(n) for n in self.inputs.shape[1:])}>"

    def to(self, device: torch.device | str) -> "Split":
        return Split(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits and the class names; the test split is for reporting only."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]

    def to(self, device: torch.device | str) -> "Dataset":
        train, validation, test = (s.to(device) for s in (self.train, self.validation, self.test))
        return Dataset(train, validation, test, self.classes)


def as_split(part: Split | tuple[Tensor, Tensor], dtype: torch.dtype = torch.float32) -> Split:
    """Return tensors of your own as a split, after looking at them.

    Source: what a classifier with cross-entropy can be trained on.

    Args:
        part: (inputs, targets), or already a split: (sample, ...) and (sample,) int64 classes.
        dtype: of the network's weights; inputs that are floating-point must have it too.

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
    for x in (inputs, targets):
        if not (isinstance(x, Tensor) and x.layout == torch.strided and x.dim() and not x.is_meta):
            raise ValueError("inputs and targets must be dense tensors, one row per sample")
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise ValueError(f"{len(inputs)} inputs and {len(targets)} targets do not make samples")
    if targets.dtype != torch.int64 or targets.dim() != 1 or targets.min() < 0:
        raise ValueError("targets must be int64 class indices of shape (sample,), 0 or more")
    if inputs.is_floating_point() and inputs.dtype != dtype:
        raise ValueError(f"inputs are {inputs.dtype}, but the weights are {dtype}")
    if not torch.isfinite(inputs).all():
        raise ValueError("inputs hold NaN or infinity")
    return split


def load(
    name: str, root: str | Path | None = None, subset: int | None = None, seed: int = 0
) -> Dataset:
    """Read a data set from disk and split it; equal arguments give equal splits.

    Source: LeCun et al. 1998 (mnist); Xiao et al. 2017, arXiv:1708.07747 (fashion-mnist);
    Krizhevsky 2009 (cifar10); Alpaydin & Kaynak 1998, in scikit-learn's copy (digits).

    Args:
        name: "digits" (needs no files), "mnist", "fashion-mnist" or "cifar10".
        root: folder of the files; $INFCOP_DATA_DIR or ~/.cache/infcop_lite unless given.
        subset: number of training images to keep (10 or more), all unless given.
        seed: draws the subset, and a tenth of it for validation; the test split never changes.

    Raises:
        FileNotFoundError: a file is missing; the message says how to get it.
        ValueError: an unknown name, a bad subset or seed, a file with a wrong checksum.
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
    images, labels, test_images, test_labels = _read(name, _folder(root))
    if subset is not None and subset > len(labels):
        raise ValueError(f"subset is {subset}, but {name} has {len(labels)} training images")
    order = np.random.default_rng(seed).permutation(len(labels))[:subset]
    validation, train = np.split(order, [len(order) // 10])
    return Dataset(
        _split(name, images[train], labels[train]),
        _split(name, images[validation], labels[validation]),
        _split(name, test_images, test_labels),
        tuple(_CLASSES[name].split()),
    )


def available(name: str, root: str | Path | None = None) -> bool:
    """Tell whether the files that `load` needs are there, without reading them.

    >>> "mnist" if available("mnist", root="/nowhere") else "digits"
    'digits'
    """
    _check_name(name)
    return not all(_missing(name, _folder(root)))


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
    if name == "digits":
        raise ValueError("digits needs no download: it comes with scikit-learn")
    folder = _folder(root)
    try:
        _read(name, folder)
    except (FileNotFoundError, ValueError):
        _fetch(name, folder)
    return folder


def _fetch(name: str, folder: Path) -> None:
    from torchvision.datasets import MNIST, FashionMNIST, utils

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as new:
            if name == "cifar10":
                utils.download_and_extract_archive(_CIFAR10_URL, new, md5=_CIFAR10_MD5)
            else:
                (MNIST if name == "mnist" else FashionMNIST)(new, download=True)
            _read(name, Path(new))
            for file in _MD5S[name]:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                Path(new, file).replace(folder / file)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"cannot download {name} to {folder}: {reason}") from error


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; choose from {', '.join(NAMES)}")


def _folder(root: str | Path | None) -> Path:
    root = root or os.environ.get("INFCOP_DATA_DIR") or "~/.cache/infcop_lite"
    try:
        return Path(root).expanduser().absolute()
    except RuntimeError:
        raise FileNotFoundError(
            f"no home directory for {root}; set INFCOP_DATA_DIR to a folder"
        ) from None


def _missing(name: str, folder: Path) -> list[list[str]]:
    """List the files that are not there, for each layout that the data set may have on disk."""
    layouts = [list(_MD5S.get(name, ()))]
    if name == "cifar10":
        batches = [f"cifar-10-batches-py/{Path(file).stem}" for file in layouts[0]]
        layouts.append([*batches, "cifar-10-batches-py/batches.meta"])
    return [[f for f in files if not (folder / f).is_file()] for files in layouts]


def _read(name: str, folder: Path) -> list[Any]:
    """Read training images (sample, channel, height, width) and labels, then the test set's."""
    missing = _missing(name, folder)
    if all(missing):
        where = " and no ".join(str(folder / files[0]) for files in missing)
        raise FileNotFoundError(
            f"{name} not found: no {where}; get it with `python -m infcop_lite download {name}`,"
            " or set INFCOP_DATA_DIR to the folder that holds it"
        )
    if name == "digits":
        return _read_digits()
    if missing[0]:
        return _read_python_cifar10(folder)
    files = [_verified(folder / file, md5) for file, md5 in _MD5S[name].items()]
    if name == "cifar10":  # records of a label, then 3 × 32 × 32 pixels
        train, test = np.concatenate(files[:-1]).reshape(-1, 3073), files[-1].reshape(-1, 3073)
        return [a for r in (train, test) for a in (r[:, 1:].reshape(-1, 3, 32, 32), r[:, 0])]
    images, labels, test_images, test_labels = files  # IDX: a header of 16 or 8 bytes, then pixels
    images, test_images = (a[16:].reshape(-1, 1, 28, 28) for a in (images, test_images))
    return [images, labels[8:], test_images, test_labels[8:]]


def _read_digits() -> list[Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images, labels = digits.images[:, None], digits.target
    parts = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    return [parts[i] for i in (0, 2, 1, 3)]


def _read_python_cifar10(folder: Path) -> list[Any]:
    """Read the pickles through torchvision, which opens none without its official md5."""
    from torchvision.datasets import CIFAR10

    for file, md5 in (
        *CIFAR10.train_list,
        *CIFAR10.test_list,
        ("batches.meta", CIFAR10.meta["md5"]),
    ):
        _verified(folder / CIFAR10.base_folder / file, md5)
    parts = [CIFAR10(folder, train) for train in (True, False)]
    return [a for p in parts for a in (p.data.transpose(0, 3, 1, 2), np.array(p.targets))]


def _verified(path: Path, md5: str) -> np.ndarray[Any, Any]:
    content = path.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{path} is truncated or altered (md5 is not {md5}): fetch it again")
    return np.frombuffer(content, np.uint8)


def _split(name: str, images: Any, labels: Any) -> Split:
    num_classes = len(_CLASSES[name].split())
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"{name} has labels outside 0 to {num_classes - 1}")
    brightest, mean, deviation = _SCALES[name]
    inputs = images.astype(np.float32)
    inputs /= brightest
    inputs -= np.array(mean, np.float32)[:, None, None]
    inputs /= np.array(deviation, np.float32)[:, None, None]
    return Split(torch.from_numpy(inputs), torch.from_numpy(labels.astype(np.int64)))
