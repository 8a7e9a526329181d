"""All that decides a run, in values that two processes can compare."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor, nn

from ._moved import ANNEAL
from .batches import named
from .config import Config
from .data import Split
from .feeding import Source
from .layers import copied
from .masks import Masks
from .own import OBJECTS
from .train import to_train

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
    "loss",
    "evaluate",
    "scheduler",
    "price",
    "confidence",
    "fresh_probe",
    "autocast",
)


def identity(config: Config) -> dict[str, Any]:
    """Return all that decides a run as JSON values, which tell the folders of runs apart.

    A function of one's own stands there by its name, another object by its ``repr``, a module, such
    as ``nn.CrossEntropyLoss(ignore_index=0)``, also by its settings and tensors. Settings that
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
        if not isinstance(found[name], str | None):
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
    if isinstance(value, nn.Module):  # whose repr may leave out what it was made with
        plain = (bool, int, float, str)
        settings = {
            f"{path}.{name}".lstrip("."): setting
            for path, module in value.named_modules()
            for name, setting in sorted(vars(module).items())
            if isinstance(setting, plain) and name != "training"
        }
        return f"{value!r} {settings} {fingerprint(value.state_dict())}"
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
        digest.update(array.reshape(-1).view("u1").data)  # its bytes, not a copy of them
    return digest.hexdigest()


def identity_of_own(
    config: Config, model: nn.Module, masks: Masks | None, *parts: Split | Source | None
) -> dict[str, Any]:
    """Return all that decides a run on a network and data of one's own, as JSON values.

    Args:
        config: of the run.
        model: as it came in: its layers and their modes, weights and what of them may be trained.
        masks: what is kept at first; None if that is everything.
        parts: train, validation and test data, or None; data in memory stand there by their hash.

    Raises:
        ValueError: as for `identity` and `fingerprint`, or a source without a ``key``.

    >>> from infcop_lite.data import Split
    >>> import torch; split = Split(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    >>> [*identity_of_own(Config(), nn.Linear(2, 2), None, split, split)][-3:]
    ['initial weights', 'train data', 'validation data']
    """
    about = {"network": hashlib.sha256(str(model).encode()).hexdigest()}  # layers without weights
    # a network in eval mode is put into training mode whole
    parts_in_eval = [name for name, module in model.named_modules() if not module.training]
    if model.training and parts_in_eval:
        about["in eval mode"] = ", ".join(parts_in_eval)
    if any(type(module).train is not nn.Module.train for module in model.modules()):
        about["train()"] = _after_train(model)
    if masks is not None:
        about["initial masks"] = fingerprint(masks)
    about["initial weights"] = fingerprint(model.state_dict(keep_vars=True))
    these = zip(("train", "validation", "test"), parts, strict=False)
    about |= {f"{name} data": _print_of(part) for name, part in these if part is not None}
    return identity(config) | about


def _after_train(model: nn.Module) -> str:
    """Return what a ``train()`` of its own leaves frozen."""
    trained = copied(model)
    to_train(trained)
    frozen = [f"{name} in eval mode" for name, m in trained.named_modules() if not m.training]
    frozen += [name for name, p in trained.named_parameters() if not p.requires_grad]
    return ", ".join(frozen)


def _print_of(part: Split | Source) -> str:
    if isinstance(part, Split):
        tensors = {"inputs": part.inputs, "targets": part.targets}
        return fingerprint({k: v for name, batch in tensors.items() for k, v in named(name, batch)})
    key = getattr(part, "key", None)
    if not isinstance(key, str):
        raise ValueError(
            "a run in a folder needs train data that it can tell from others: give the stream a"
            " key=, a text that changes when what it yields does"
        )
    if callable(repeats := getattr(part, "repeats", None)) and not repeats():
        raise ValueError(
            "a run in a folder needs a stream that draws alike when seeded alike; this one has"
            " random numbers of its own, or workers that live on (persistent_workers=True)"
        )
    return f"key {key}, {part.steps_per_epoch} steps per epoch"
