"""What a run is: all that decides it, in values that two processes can compare."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from .config import ANNEAL, OBJECTS, Config

#: Fields that the first release did not have, and whose default is what it did.
NEW = (
    "score",
    "dense",
    "dense_epochs",
    "rewind",
    "schedule",
    "level_lr",
    "label_smoothing",
    "augment",
)


def identity(config: Config) -> dict[str, Any]:
    """Return all that decides a run as JSON values: what tells the folder of one run from another.

    A function of one's own stands there by its name, another object by its ``repr``. Settings that
    the first release did not have are left out where they say what it did, so that its folders are
    still the same runs.

    Args:
        config: of the run.

    Raises:
        ValueError: an object whose ``repr`` holds an address in memory, so cannot be told apart.

    >>> identity(Config(rewind="none"))["rewind"]
    'none'
    """
    found = {f.name: getattr(config, f.name) for f in fields(config)}
    for name in OBJECTS:
        if not isinstance(found[name], str):
            found[name] = _called(found[name])
            if " at 0x" in found[name]:
                what = "stop rule" if name == "stop" else name
                raise ValueError(
                    f"a run in a folder needs a {what} that repr tells apart, not {found[name]}"
                )
    for name, schedules in ANNEAL.items():
        if schedules.items() <= found.items():
            found = {k: v for k, v in found.items() if k not in schedules} | {"anneal": name}
    old = {name for name in NEW if found[name] == getattr(Config, name)}
    if config.gradient_probe >= config.probe_size:  # the whole probe, as it was
        old.add("gradient_probe")
    new = {k: v for k, v in found.items() if k not in old}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in new.items()}


def _called(value: Any) -> str:
    name = getattr(value, "__qualname__", "<")
    return repr(value) if "<" in name else f"{value.__module__}.{name}"


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return a number that other tensors, names, types or shapes do not have, as hexadecimal text.

    Source: SHA-256, FIPS 180-4.

    Args:
        tensors: name -> tensor; what may be trained and what may not differ, too.

    Raises:
        ValueError: a value that is no tensor, or of a type that no file of a run can hold.

    >>> import torch
    >>> fingerprint({"a": torch.zeros(2)}) == fingerprint({"a": torch.zeros(3)})
    False
    """
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} is not a tensor; a run in a folder keeps tensors only")
        try:
            array = tensor.detach().cpu().contiguous().numpy()
        except TypeError:
            raise ValueError(f"{name} is of {tensor.dtype}, which a folder cannot hold") from None
        about = f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad};"
        digest.update(about.encode("utf-8"))
        digest.update(array.tobytes())
    return digest.hexdigest()
