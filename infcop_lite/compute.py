"""The device, its threads, and the layout of weights in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .limits import check

#: The devices by name, and what to do where another one is asked for.
DEVICE: dict[str, Any] = {
    "choices": ("auto", "cpu", "cuda"),
    "instead": {
        "mps": "choose cpu, for flows are in double precision, which mps has not",
        "cuda:": "choose cuda, and one of several by the environment's CUDA_VISIBLE_DEVICES",
    },
}


def choose_device(name: str) -> str:
    """Return the device to compute on.

    Args:
        name: "cpu", "cuda", or "auto": cuda where there is one.

    Raises:
        ValueError: cuda is asked for and there is none, or a device of another name.

    >>> choose_device("cpu")
    'cpu'
    """
    check("device", name, str, DEVICE)
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and auto == "cpu":
        raise ValueError("device is cuda, but there is none here; choose cpu or auto")
    return auto if name == "auto" else name


def accelerator(device: str) -> str | None:
    """Return the name of the GPU that a device stands for; None on a CPU.

    Args:
        device: as for `choose_device`.

    Raises:
        ValueError: cuda is asked for and there is none.

    >>> accelerator("cpu") is None
    True
    """
    return torch.cuda.get_device_name() if choose_device(device) == "cuda" else None


def resources(device: str, threads: int | None) -> dict[str, str | int]:
    """Return what is computed with, as rows and records say it.

    Args:
        device: as for `choose_device`.
        threads: CPU threads; torch's choice if None.

    Returns:
        ``device``, "cpu" or the name of the GPU, and ``threads``.

    >>> resources("cpu", 1)
    {'device': 'cpu', 'threads': 1}
    """
    number = threads or torch.get_num_threads()
    return {"device": accelerator(device) or "cpu", "threads": number}


def lay_out(model: nn.Module, memory_format: torch.memory_format = torch.channels_last) -> None:
    """Store the weights of 2-d convolutions channels last, which is faster on most CPUs.

    Source: torch's memory formats; names, shapes, indices and the state dict do not change.

    Args:
        model: the network, changed in place; its activations follow the layout of its weights.
        memory_format: torch.contiguous_format takes it back.

    >>> conv = nn.Conv2d(2, 2, 3); lay_out(conv)
    >>> conv.weight.is_contiguous(memory_format=torch.channels_last)
    True
    """
    for weight in model.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=memory_format)


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute on so many CPU threads, and afterwards on as many as before.

    Args:
        number: of threads; as many as before if None.

    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
