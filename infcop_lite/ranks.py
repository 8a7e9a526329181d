"""Processes side by side, where what rank 0 measures and decides holds on every rank."""

from collections.abc import Callable
from typing import Any

import torch
from torch import distributed as dist

from .batches import moved


def agreed(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns on rank 0, on every rank; alone, simply what it returns.

    Source: torch.distributed. Ranks see other data, so that their measurements differ; averages
    would need a rule of their own for each kind of number, one word does not.

    Args:
        work: called on rank 0 only; returns numbers, None and tensors, in dicts, lists and tuples.

    Returns:
        On rank 0 the very object; elsewhere a copy, its tensors on the CPU.

    Raises:
        Exception: what ``work`` raised, on every rank, so that none waits for the others.

    >>> agreed(lambda: 3)
    3
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return work()
    found: Any = None
    failed: Exception | None = None
    sent: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            found = work()
            sent = [moved(found, torch.device("cpu")), None]
        except Exception as error:
            failed, sent = error, [None, error]
    dist.broadcast_object_list(sent, src=0)
    if sent[1] is not None:
        raise failed or sent[1]
    return found if dist.get_rank() == 0 else sent[0]
