"""One record per data set: its files, who reads and who fetches them, its scale and its classes.

A data set whose files lie as another's do is one more record in `SOURCES`, and nothing else.

Files are held to their md5. For CIFAR-100 the publisher names the md5 of the archive alone, which a
download is held to. The files inside are held to their exact size, and their fine labels are used.

`mnist_subset.npz`, the data set mnist-small, lies in this package: 5000 training and 1000 test
images of MNIST (Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0, as is the subset), drawn by
`tools/mnist_subset.py` from a fixed seed, classes as they come.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .source import Files, Raw, Source, verified

MNIST_SUBSET = Path(__file__).with_name("mnist_subset.npz")


def missing(name: str, folder: Path) -> list[list[str]]:
    """List the files that are not in the folder, for each layout of a data set.

    Args:
        name: a key of `SOURCES`.
        folder: where the paths of the files begin.

    >>> missing("digits", Path("/nowhere"))
    [[]]
    """
    layouts = SOURCES[name].layouts
    return [[file for file in files if not (folder / file).is_file()] for files, _ in layouts]


def read(name: str, folder: Path) -> Raw:
    """Read the first layout of a data set that is there whole.

    Args:
        name: a key of `SOURCES`.
        folder: where the paths of the files begin.

    Raises:
        FileNotFoundError: a file is missing in every layout; the message says how to get it.
        ValueError: a file is not the published one.

    >>> raw = read("digits", Path("/nowhere"))
    >>> raw.images.shape, raw.test_labels.shape
    ((1437, 1, 8, 8), (360,))
    """
    gone = missing(name, folder)
    if all(gone):
        where = " and no ".join(str(folder / files[0]) for files in gone)
        raise FileNotFoundError(
            f"{name} not found: no {where}; get it with `python -m infcop_lite download {name}`,"
            " or set INFCOP_DATA_DIR to the folder that holds it"
        )
    files, reader = SOURCES[name].layouts[gone.index([])]
    return reader(folder, files)


def _idx(folder: Path, files: Files) -> Raw:
    """Read images, labels, test images, test labels: a header of 16 or 8 bytes, then pixels."""
    images, labels, test_images, test_labels = verified(folder, files)
    shape = (-1, 1, 28, 28)
    return Raw(
        images[16:].reshape(shape), labels[8:], test_images[16:].reshape(shape), test_labels[8:]
    )


def _cifar(folder: Path, files: Files, num_labels: int = 1) -> Raw:
    """Read batches of samples, the last for testing: labels, coarse to fine, then pixels."""

    def parts(content: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        samples = content.reshape(-1, num_labels + 3 * 32 * 32)
        return samples[:, num_labels:].reshape(-1, 3, 32, 32), samples[:, num_labels - 1]

    *train, test = verified(folder, files)
    return Raw(*parts(np.concatenate(train)), *parts(test))


def _cifar10_pickles(folder: Path, _: Files) -> Raw:
    """Read the pickles through torchvision, which opens none without its official md5."""
    from torchvision.datasets import CIFAR10

    def parts(split: CIFAR10) -> tuple[Any, Any]:
        return split.data.transpose(0, 3, 1, 2), np.array(split.targets)

    md5s = dict([*CIFAR10.train_list, *CIFAR10.test_list, ("batches.meta", CIFAR10.meta["md5"])])
    verified(folder / CIFAR10.base_folder, md5s)
    return Raw(*parts(CIFAR10(folder, train=True)), *parts(CIFAR10(folder, train=False)))


def _digits(*_: object) -> Raw:
    """Hold out 360 images, every class alike."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images, test_images, labels, test_labels = train_test_split(
        images.reshape(-1, 1, 8, 8), labels, test_size=360, stratify=labels, random_state=0
    )
    return Raw(images, labels, test_images, test_labels)


def _mnist_subset(*_: object) -> Raw:
    with np.load(MNIST_SUBSET) as arrays:
        return Raw(**arrays)


def _torchvision(folder: Path, name: str) -> None:
    from torchvision import datasets

    getattr(datasets, name)(folder, download=True)


def _archive(folder: Path, url: str, md5: str) -> None:
    from torchvision.datasets import utils

    utils.download_and_extract_archive(url, folder, md5=md5)


_PICKLES = [
    f"cifar-10-batches-py/{file}"
    for file in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
]
_CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain
    plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
    television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
SOURCES = {
    "digits": Source(
        title="scikit-learn's digits",
        read=_digits,
        comes_with="scikit-learn",
        brightest=16,
        mean=(0.3053,),
        deviation=(0.3760,),
        classes=tuple("0123456789"),
    ),
    "mnist": Source(
        title="MNIST",
        files={
            "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
        read=_idx,
        fetch=partial(_torchvision, name="MNIST"),
        mean=(0.1307,),
        deviation=(0.3081,),
        classes=tuple("0123456789"),
    ),
    "fashion-mnist": Source(
        title="Fashion-MNIST",
        files={
            "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
        read=_idx,
        fetch=partial(_torchvision, name="FashionMNIST"),
        mean=(0.2860,),
        deviation=(0.3530,),
        classes=(*"T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot".split(),),
    ),
    "cifar10": Source(
        title="CIFAR-10",
        files={
            "cifar-10-batches-bin/data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
            "cifar-10-batches-bin/data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
            "cifar-10-batches-bin/data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
            "cifar-10-batches-bin/data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
            "cifar-10-batches-bin/data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
            "cifar-10-batches-bin/test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
        },
        read=_cifar,
        fetch=partial(
            _archive,
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
        ),
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2470, 0.2435, 0.2616),
        classes=(*"airplane automobile bird cat deer dog frog horse ship truck".split(),),
        others=((dict.fromkeys(_PICKLES), _cifar10_pickles),),
    ),
    "cifar100": Source(
        title="CIFAR-100",
        files={
            "cifar-100-binary/train.bin": 50_000 * (2 + 3 * 32 * 32),
            "cifar-100-binary/test.bin": 10_000 * (2 + 3 * 32 * 32),
        },
        read=partial(_cifar, num_labels=2),
        fetch=partial(
            _archive,
            url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            md5="03b5dce01913d631647c71ecec9e9cb8",
        ),
        mean=(0.5071, 0.4865, 0.4409),
        deviation=(0.2673, 0.2564, 0.2762),
        classes=(*_CIFAR100_CLASSES.split(),),
    ),
    "mnist-small": Source(
        title="a subset of MNIST",
        read=_mnist_subset,
        comes_with="infcop_lite",
        mean=(0.1307,),
        deviation=(0.3081,),
        classes=tuple("0123456789"),
    ),
}
