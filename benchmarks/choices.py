"""What torch offers to make a step faster: each choice against the one the library makes."""

import copy
import os
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from statistics import median

import torch
from report import Row
from timing import interleaved, ratio
from torch import Tensor, nn

from infcop_lite.compute import lay_out
from infcop_lite.config import Config
from infcop_lite.train import shuffled_batches

CONFIG = Config()


def stepper(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    num_steps: int,
    channels_last: bool = True,
    optimiser: str = "fused",
    bf16: bool = False,
    compiled: bool = False,
) -> Callable[[], None]:
    """Return a function that trains a copy of a network for some steps, in one of these ways."""
    model = copy.deepcopy(model).train()
    lay_out(model, torch.channels_last if channels_last else torch.contiguous_format)
    flags = {"fused": optimiser == "fused", "foreach": optimiser == "foreach"}
    c = CONFIG
    sgd = torch.optim.SGD(model.parameters(), c.lr, c.momentum, 0, c.weight_decay, **flags)
    inputs, targets = data
    num_full = len(targets) // c.batch_size * c.batch_size
    batches = shuffled_batches(num_full, c.batch_size, torch.Generator())
    forward = torch.compile(model) if compiled else model

    def steps() -> None:
        for index in islice(batches, num_steps):
            sgd.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = forward(inputs.index_select(0, index))
            nn.functional.cross_entropy(logits.float(), targets[index]).backward()
            sgd.step()

    return steps


def choices(
    name: str, model: nn.Module, data: tuple[Tensor, Tensor], num_steps: int, rounds: int
) -> list[Row]:
    """Time the steps with each choice undone or added, against those of the library."""
    ways: dict[str, Callable[[], None]] = {
        "as chosen": stepper(model, data, num_steps),
        "nothing changed, which shows the noise": stepper(model, data, num_steps),
        "weights not channels last": stepper(model, data, num_steps, channels_last=False),
        "SGD as a loop": stepper(model, data, num_steps, optimiser="loop"),
        "SGD foreach": stepper(model, data, num_steps, optimiser="foreach"),
        "bf16 autocast": stepper(model, data, num_steps, bf16=True),
    }
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()  # empty, as in a first run
    compiled = stepper(model, data, num_steps, compiled=True)
    started = time.perf_counter()
    try:
        compiled()
        compile_s = time.perf_counter() - started
        ways["torch.compile"] = compiled
    except Exception as error:  # no C++ compiler, or a version of Python it does not know
        print(f"torch.compile does not work here: {type(error).__name__}")
    seconds = interleaved(ways, rounds)
    chosen = seconds.pop("as chosen")
    rows: list[Row] = [
        {
            "network": name,
            "what": f"step with {way} / step",
            "ratio": ratio(s, chosen),
            "wanted": "",
        }
        for way, s in seconds.items()
    ]
    if "torch.compile" in seconds:
        saved_s = (median(chosen) - median(seconds["torch.compile"])) / num_steps
        steps = f"{compile_s / saved_s:.0f} steps" if saved_s > 0 else "never"
        rows[-1]["note"] = f"compiles in {compile_s:.0f} s; pays that back after: {steps}"
    return rows
