"""What a pruned network costs before and after `compact`: parameters, FLOPs, file size, latency."""

import copy
from dataclasses import dataclass
from functools import partial
from statistics import median

import safetensors.torch
import torch
from timing import interleaved, ratio
from torch import Tensor, nn

from infcop_lite.compacting import compact
from infcop_lite.cost import cost
from infcop_lite.masks import Masks, apply_masks, density, full_masks, magnitude_masks

DENSITIES = (0.1, 0.02)


@dataclass
class Size:
    """One pruned network, as it is and compacted; ratios are compacted / as it is."""

    network: str
    scope: str
    density: float
    parameters: tuple[int, int]
    flops: tuple[int, int]
    file_bytes: tuple[int, int]
    latency: float
    latency_ms: float
    largest_difference: float


def sizes(name: str, model: nn.Module, inputs: Tensor, rounds: int) -> list[Size]:
    """Prune a trained network at once, by magnitude, layerwise and globally, and compact it."""
    found = []
    for scope in ("layerwise", "global"):
        for kept in DENSITIES:
            pruned = copy.deepcopy(model).eval()
            masks = magnitude_masks(pruned, full_masks(pruned), 1 - kept, scope)
            apply_masks(pruned, masks)
            found.append(measure(name, scope, pruned, masks, inputs, rounds))
    return found


@torch.inference_mode()
def measure(
    name: str, scope: str, pruned: nn.Module, masks: Masks, inputs: Tensor, rounds: int
) -> Size:
    """Compare a pruned network with its compact form, one image at a time for the latency."""
    small = compact(pruned, masks)
    before, after = cost(pruned, inputs[:1]), cost(small, inputs[:1])
    repeats = 20
    seconds = interleaved(
        {
            key: partial(repeat, net, inputs[:1], repeats)
            for key, net in (("a", small), ("b", pruned))
        },
        rounds,
    )
    return Size(
        name,
        scope,
        density(masks),
        (before["num_parameters"], after["num_parameters"]),
        (before["num_flops"], after["num_flops"]),
        (file_bytes(pruned), file_bytes(small)),
        ratio(seconds["a"], seconds["b"]),
        median(seconds["a"]) / repeats * 1e3,
        (pruned(inputs) - small(inputs)).abs().max().item(),
    )


def repeat(model: nn.Module, inputs: Tensor, times: int) -> None:
    for _ in range(times):
        model(inputs)


def file_bytes(model: nn.Module) -> int:
    """Return the bytes of the network's safetensors file."""
    return len(safetensors.torch.save({k: v.contiguous() for k, v in model.state_dict().items()}))


def as_table(found: list[Size]) -> list[str]:
    """Return the lines of a Markdown table."""

    def kept(pair: tuple[int, int]) -> str:
        return f"{pair[0]:,} → {pair[1]:,} ({pair[1] / pair[0]:.0%})"

    heads = "network, scope, density, parameters, FLOPs of an image, bytes of the file, latency"
    lines = [[*heads.split(", "), "outputs differ by"], ["---"] * 8]
    for s in found:
        sizes = [kept(pair) for pair in (s.parameters, s.flops, s.file_bytes)]
        latency = f"{s.latency:.0%} ({s.latency_ms:.2f} ms)"
        name = [s.network, s.scope, f"{s.density:.3f}"]
        lines.append([*name, *sizes, latency, f"{s.largest_difference:.0e}"])
    return ["| " + " | ".join(line) + " |" for line in lines]
