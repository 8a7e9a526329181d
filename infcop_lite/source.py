"""What is known about a data set, and whether its files are the published ones.

The records themselves, and what reads the files of each, stand in `datasets`.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Raw(NamedTuple):
    """The images (sample, channel, row, column) and labels (sample,) that files hold."""

    images: Any
    labels: Any
    test_images: Any
    test_labels: Any


Files = Mapping[str, str | int | None]
Reader = Callable[[Path, Files], Raw]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known about a data set.

    Source: whoever published it; mean and deviation are those of its training images.

    Args:
        title: its name as a reader knows it.
        classes: a name for each label, from label 0 on.
        mean: of each channel, as fraction of the brightest pixel.
        deviation: of each channel, as fraction of the brightest pixel.
        brightest: the largest value of a pixel.
        read: (folder, files) -> `Raw`.
        files: path in the folder -> md5, or bytes where none is published, in the order in which
            `read` wants them; None where it knows the md5 itself.
        comes_with: the package that holds a data set which needs no download.
        fetch: puts these files into an empty folder; None if it comes with a package.
        others: further layouts on disk, files and reader of each, for where `files` are missing.

    >>> Source(title="two", classes=("a", "b"), mean=(0.5,), deviation=(1.0,), read=print).brightest
    255
    """

    title: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    brightest: int = 255
    read: Reader
    files: Files = field(default_factory=dict)
    comes_with: str = ""
    fetch: Callable[[Path], None] | None = None
    others: tuple[tuple[Files, Reader], ...] = ()

    @property
    def layouts(self) -> tuple[tuple[Files, Reader], ...]:
        """Every layout on disk, the published one first."""
        return ((self.files, self.read), *self.others)


def where(root: str | Path | None = None) -> Path:
    """Return the folder of the files, which ``INFCOP_DATA_DIR`` names if it is set.

    Args:
        root: that folder; ``INFCOP_DATA_DIR`` unless given, ``~/.cache/infcop_lite`` if that is
            unset or empty.

    Raises:
        FileNotFoundError: no home directory.

    >>> str(where("/data"))
    '/data'
    """
    root = root or os.environ.get("INFCOP_DATA_DIR") or "~/.cache/infcop_lite"
    try:
        return Path(root).expanduser().absolute()
    except RuntimeError:
        raise FileNotFoundError(
            f"no home directory for {root}; set INFCOP_DATA_DIR to a folder"
        ) from None


def verified(folder: Path, files: Files) -> list[np.ndarray[Any, Any]]:
    """Return the bytes of each file, held to its md5, or to its size where the record has that.

    Args:
        folder: where the paths of the files begin.
        files: path -> md5, or size in bytes.

    Raises:
        ValueError: a file is not the published one.

    >>> verified(Path("/nowhere"), {})
    []
    """
    contents = []
    for file, wanted in files.items():
        content = (folder / file).read_bytes()
        if isinstance(wanted, int):
            is_whole, what = len(content) == wanted, "size in bytes"
        else:
            found = hashlib.md5(content, usedforsecurity=False).hexdigest()
            is_whole, what = found == wanted, "md5"
        if not is_whole:
            raise ValueError(
                f"{folder / file} is truncated or altered ({what} is not {wanted}): fetch it again"
            )
        contents.append(np.frombuffer(content, np.uint8))
    return contents
