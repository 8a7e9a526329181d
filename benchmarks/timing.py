"""Ratios on a noisy machine: candidates take turns, each round gives a ratio."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import torch

Seconds = dict[str, list[float]]


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Return each candidate's seconds in some rounds of A, B, C, A, B, C, ...

    A load that comes or goes during the run meets all of them alike. A first round warms up and
    is thrown away, unless the candidates are so long that it does not matter. A clock of the
    processor, `time.process_time`, adds up the seconds of all threads.
    """
    seconds: Seconds = {name: [] for name in candidates}
    for _ in range(rounds + warm_up):
        for name, candidate in candidates.items():
            started = clock()
            candidate()
            seconds[name].append(clock() - started)
    return {name: values[int(warm_up) :] for name, values in seconds.items()}


def ratio(some: list[float], others: list[float]) -> float:
    """Return the median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(some, others, strict=True))


def machine() -> dict[str, str | int | float]:
    """Return what a reader needs to know to read the ratios."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
