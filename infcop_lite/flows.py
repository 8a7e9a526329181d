"""Information flow and gradient flow of a network, and the distance between two flows.

Equation functions take activations; adapters (`collect_activations`, `gradient_flow`) take a model
and leave it exactly as they found it.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .batches import call, num_samples, pieces, take
from .classes import check_classes, class_range
from .layers import is_layer
from .limits import check, shown
from .masks import Masks, check_masks, prunable
from .train import evaluating

FLOWS = ("information", "gradient")
SHORTCUTS = ("downsample", "shortcut")
HINT = "; an attention needs batch_first=True, and windows or patches one dimension of their own"


@torch.no_grad()
def collect_activations(model: nn.Module, inputs: Any, batch_size: int = 250) -> dict[str, Tensor]:
    """Return the pre-activation outputs of consecutive Conv and Linear modules.

    Source: the reference code's hooks (activation.py): outputs before batch norm and activation,
    convolutions averaged over space, shortcut convolutions left out.

    Args:
        model: any module; run in eval mode, and left with the modes it had.
        inputs: (sample, ...) on the model's device; for a model of several inputs a dict (by name)
            or a tuple (one by one) of such.
        batch_size: samples per forward pass; the result does not depend on it beyond round-off.

    Returns:
        Module name -> (sample, unit), in execution order. A unit is a neuron or a channel; other
        dimensions (space, tokens) are averaged out. A module that runs twice in one pass appears
        twice, the second time as "name:2".

    Raises:
        ValueError: no inputs, a batch size below 1, no Conv or Linear module ran, or the outputs
            of one are not (sample, ...).

    Note:
        nn.MultiheadAttention reads the weight of its ``out_proj`` without calling it, and has no
        module for queries, keys and values: neither is here.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> [(k, tuple(v.shape)) for k, v in collect_activations(model, torch.zeros(5, 2)).items()]
    [('0', (5, 3)), ('2', (5, 1))]
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model must be a torch module, not {type(model).__name__}")
    total = num_samples(inputs)
    if total == 0:
        raise ValueError("a flow needs at least one input sample")
    _check_batch_size(batch_size)
    size = min(batch_size, total)
    seen: list[tuple[str, Tensor]] = []  # in one pass

    def keep(name: str, averaged: Callable[[Tensor], Tensor]) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            if len(output) != size:
                raise ValueError(f"{name} gives {len(output)} outputs for {size} samples{HINT}")
            seen.append((name, averaged(output)))

        return hook

    batches: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in model.named_modules():
        if any(part in SHORTCUTS for part in name.split(".")):
            continue
        if isinstance(module, nn.modules.conv._ConvNd):
            handles.append(module.register_forward_hook(keep(name, _mean_over_space)))
        elif is_layer(module):
            handles.append(module.register_forward_hook(keep(name, _mean_over_tokens)))
    try:
        with evaluating(model), every_module_called(model):
            # Every pass has the same shape (the last one overlaps the one before): a different
            # shape may round differently, and a constant unit would then pass for a signal.
            for start in range(0, total, size):
                fresh = min(size, total - start)
                seen.clear()
                call(model, take(inputs, start + fresh - size, start + fresh))
                calls = Counter[str]()
                for name, output in seen:
                    calls[name] += 1
                    key = name if calls[name] == 1 else f"{name}:{calls[name]}"
                    batches.setdefault(key, []).append(output[-fresh:])
    finally:
        for handle in handles:
            handle.remove()
    if not batches:
        raise ValueError(f"{type(model).__name__} ran no Conv or Linear module")
    return {name: torch.cat(parts) for name, parts in batches.items()}


@contextmanager
def every_module_called(model: nn.Module) -> Iterator[None]:
    """Have a model call its modules one by one, so that a hook or an exporter sees each.

    Source: torch.backends.mha: transformer layers have a fast path that passes their modules by.
    torch.compiler: what was compiled before a hook was added does not call it.

    Args:
        model: any module.

    Raises:
        ValueError: compiled modules, with a torch older than 2.6.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        if any(hasattr(module, "_orig_mod") for module in model.modules()):
            if not hasattr(torch.compiler, "set_stance"):
                raise ValueError("a compiled module needs torch 2.6; pass its _orig_mod")
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        yield


def _check_batch_size(batch_size: int) -> None:
    check("batch_size", batch_size, int, {"least": 1})


def _mean_over_space(output: Tensor) -> Tensor:
    return output.flatten(2).mean(2)


def _mean_over_tokens(output: Tensor) -> Tensor:
    return output.flatten(1, -2).mean(1) if output.dim() > 2 else output.clone()


def _standardise(activation: Tensor) -> Tensor:
    """Return z (sample, unit) in float64: columns of mean 0 and variance 1; dead units are 0.

    Two passes: the mean, then the variance of the centred values. A unit is dead when what is left
    is round-off of its dtype, so a constant unit with a large offset cannot pass for a signal.
    """
    if activation.dim() != 2 or activation.numel() == 0:
        raise ValueError(f"activations must be (sample, unit), not {tuple(activation.shape)}")
    if not activation.is_floating_point():
        raise ValueError(f"activations must be floating-point, not {activation.dtype}")
    # (unit, sample) in memory: sums along contiguous rows are several times faster; and written
    # over in place, for fresh memory costs more than the arithmetic
    f = torch.empty(activation.T.shape, dtype=torch.float64, device=activation.device)
    f.copy_(activation.detach().T)
    if activation.dtype == torch.float64:  # whose squares may leave the range of float64
        largest = f.abs().amax(1, keepdim=True)
        f /= torch.where((largest > 1e100) | ((largest < 1e-100) & (largest > 0)), largest, 1.0)
    mean = f.mean(1, keepdim=True)
    if not torch.isfinite(mean).all():  # one bad sample is enough
        raise ValueError("activations are NaN or infinite: the network has diverged")
    f -= mean
    sd = torch.linalg.vector_norm(f, dim=1, keepdim=True) / math.sqrt(len(activation))
    round_off = 4 * torch.finfo(activation.dtype).eps * torch.hypot(mean, sd)
    f *= torch.where(sd > round_off, 1 / sd.clamp_min(torch.finfo(f.dtype).tiny), 0.0)
    return f.T


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation matrix between the units of two layers.

    Source: Pearson; the paper's information flow is built on it.

    Args:
        a: (sample, unit_a), finite.
        b: (sample, unit_b), the same samples.

    Returns:
        (unit_a, unit_b) in float64, entries in [-1, 1]. A dead (constant) unit correlates 0 with
        everything; the result is never NaN.

    Raises:
        ValueError: different numbers of samples, a wrong shape, NaN or infinity.

    Note:
        The reference code's one-pass float32 variance gives NaN for dead units, and one NaN
        switches its criterion off.

    >>> a = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    >>> correlation(a, -a[:, :1]).round(decimals=6)
    tensor([[-1.],
            [ 0.]], dtype=torch.float64)
    """
    _check_samples(a, b)
    return (_standardise(a).T @ _standardise(b) / len(a)).clamp(-1.0, 1.0)


def _check_samples(a: Tensor, b: Tensor) -> None:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or not a.dim() or not b.dim():
        raise ValueError("activations must be tensors, (sample, unit)")
    if len(a) != len(b):
        raise ValueError(f"two layers need the same samples, not {len(a)} and {len(b)}")


def _mean(z: Tensor, z_next: Tensor) -> Tensor:
    # T2.3: the mean correlation is the covariance of two population averages; no matrix is formed.
    a_bar, b_bar = z.mean(1), z_next.mean(1)
    return (a_bar * b_bar).mean()


def _mean_abs(z: Tensor, z_next: Tensor) -> Tensor:
    return (z.T @ z_next / len(z)).abs().mean()


def _mean_square(z: Tensor, z_next: Tensor) -> Tensor:
    return (z.T @ z_next / len(z)).square().mean()


def _mutual_information(z: Tensor, z_next: Tensor) -> Tensor:
    # T2.1: -1/2 sum log(1 - kappa_i^2), kappa the canonical correlations of the whitened layers.
    if len(z) <= z.shape[1] + z_next.shape[1]:
        raise ValueError(
            f"mutual-information needs more samples than units, not {len(z)} samples "
            f"for {z.shape[1]} + {z_next.shape[1]} units"
        )
    kappa = torch.linalg.svdvals(_orthonormal(z).T @ _orthonormal(z_next))
    return -0.5 * torch.log1p(-kappa.square().clamp(max=1 - 1e-6)).sum()


def _orthonormal(z: Tensor) -> Tensor:
    """Return an orthonormal basis (sample, rank) of the units' span; dead units drop out."""
    u, s, _ = torch.linalg.svd(z, full_matrices=False)
    return u[:, s > 1e-6 * s.max()] if s.max() > 0 else u[:, :0]


SUMMARIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": _mean,
    "abs": _mean_abs,
    "square": _mean_square,
    "mutual-information": _mutual_information,
}


def information_flow(activations: Mapping[str, Tensor], summary: str = "mean") -> Tensor:
    """Return, per pair of consecutive layers, one number for how strongly their units correlate.

    Source: Gharatappeh & Yasaei Sekeh 2025, arXiv:2501.15592 (as coded); T2.1-T2.4.

    Args:
        activations: name -> (sample, unit), in execution order, at least two layers.
        summary: "mean" (the paper's connectivity, signs cancel), "abs", "square", or
            "mutual-information" (Gaussian, whitened, in nats; each canonical correlation is capped
            at 1 - kappa^2 >= 1e-6).

    Returns:
        (layer - 1,) in float64.

    Raises:
        ValueError: fewer than two layers, an unknown summary, NaN or infinity, or, for
            "mutual-information", no more samples than units.

    >>> f = torch.tensor([[1.0], [2.0], [3.0]])
    >>> information_flow({"a": f, "b": torch.cat([f, f], 1), "c": -f}).round(decimals=6)
    tensor([ 1., -1.], dtype=torch.float64)
    """
    if not isinstance(summary, str) or summary not in SUMMARIES:
        raise ValueError(f"unknown summary {shown(summary)}; choose from {', '.join(SUMMARIES)}")
    summarise = SUMMARIES[summary]
    return torch.stack([summarise(*pair) for pair in pairwise(_standardised_layers(activations))])


def _standardised_layers(activations: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the standardised units of each layer, after making sure that there is a flow."""
    if not isinstance(activations, Mapping) or len(activations) < 2:
        raise ValueError("an information flow needs at least two layers")
    for a, b in pairwise(activations.values()):
        _check_samples(a, b)
    return [_standardise(activation) for activation in activations.values()]


def gradient_flow(
    model: nn.Module,
    inputs: Any,
    targets: Any,
    masks: Masks | None = None,
    batch_size: int = 250,
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> Tensor:
    """Return the norm of the loss gradient in each prunable tensor, surviving weights only.

    Source: the paper's gradient flow, computed as it is defined; T4.1, T4.3.

    Args:
        model: the network; run in eval mode; its modes and every ``.grad`` are left as found.
        inputs: (sample, ...) on the model's device; for a model of several inputs a dict (by name)
            or a tuple (one by one) of such.
        targets: (sample,) int64 class indices; with a loss of your own, whatever it takes.
        masks: survivors; None counts every weight.
        batch_size: samples per backward pass; the gradient is that of the mean over all samples.
        loss: (output, targets) -> a mean over samples; cross-entropy in nats unless given.

    Returns:
        (layer,) in float64, in the order of `masks.prunable`.

    Raises:
        ValueError: no samples, different numbers of inputs and targets, or a batch size below 1.
            A target that is no class of the network, masks that do not fit, NaN or infinity.

    Note:
        The reference code never calls backward here: it re-reads the last mini-batch's gradient and
        compares a norm with a mean, which makes the rule a small-gradient test (T4.5).

    >>> model = nn.Linear(1, 2, bias=False); _ = model.weight.data.zero_()
    >>> gradient_flow(model, torch.ones(4, 1), torch.zeros(4, dtype=torch.long)).round(decimals=4)
    tensor([0.7071], dtype=torch.float64)
    """
    total = num_samples(inputs)
    paired = total if targets is None else num_samples(targets)
    if total == 0 or total != paired:
        raise ValueError(f"{total} inputs and {paired} targets do not make samples")
    _check_batch_size(batch_size)
    weights = prunable(model) if masks is None else check_masks(model, masks)
    totals = [torch.zeros_like(w) for w in weights.values()]
    requires_grad = {w: w.requires_grad for w in weights.values()}
    share = _cross_entropy(targets, total) if loss is None else _share(loss, total)
    try:
        for w in weights.values():
            w.requires_grad_(True)
        with evaluating(model), torch.enable_grad():
            for x, y in pieces((inputs, targets), batch_size):
                part = share(call(model, x), y, num_samples(x))
                grads = torch.autograd.grad(part, list(weights.values()), allow_unused=True)
                for summed, grad in zip(totals, grads, strict=True):
                    if grad is not None:
                        summed += grad
    finally:
        for w, needed in requires_grad.items():
            w.requires_grad_(needed)
    if masks is not None:
        totals = [summed * masks[name] for name, summed in zip(weights, totals, strict=True)]
    flow = torch.stack([summed.to(torch.float64).norm() for summed in totals])
    if not torch.isfinite(flow).all():
        raise ValueError("gradients are NaN or infinite: the network has diverged")
    return flow


def _cross_entropy(targets: Any, total: int) -> Callable[[Any, Any, int], Tensor]:
    """Return what a batch adds to the mean cross-entropy, for targets that are classes."""
    limits = class_range(targets)

    def share(logits: Any, y: Tensor, size: int) -> Tensor:
        check_classes(logits, limits)
        return nn.functional.cross_entropy(logits, y, reduction="sum") / total

    return share


def _share(loss: Callable[[Any, Any], Tensor], total: int) -> Callable[[Any, Any, int], Tensor]:
    return lambda output, y, size: loss(output, y) * (size / total)


def flow_distance(flow: Tensor, reference: Tensor) -> float:
    """Return the Euclidean distance between two flows of the same network.

    Source: the reference code's consistency check.

    Args:
        flow, reference: tensors of the same shape, one entry per layer or pair of layers.

    Raises:
        ValueError: different shapes, or no tensors. The distance to a flow that is NaN is NaN, and
            no rule takes it for small.

    >>> flow_distance(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
    5.0
    """
    if not isinstance(flow, Tensor) or not isinstance(reference, Tensor):
        raise ValueError("a flow must be a tensor, one entry per layer or pair of layers")
    if flow.shape != reference.shape:
        raise ValueError(
            f"flows of different networks: {tuple(flow.shape)} and {tuple(reference.shape)} entries"
        )
    difference = flow - reference
    return (difference if difference.is_floating_point() else difference.double()).norm().item()


def sampling_floor(activations: Mapping[str, Tensor]) -> float:
    """Return the distance that sampling alone puts between two information flows (summary "mean").

    Source: T2.5 (influence function) and T2.6: sqrt(2 S / n), S the summed variance of psi. Of two
    independent probes; for one probe see `theory.certainty.distance_error`.

    Args:
        activations: name -> (sample, unit), in execution order, at least two layers.

    Returns:
        Root mean square distance between one network's flows on two independent probes this large.
        A tolerance below twice this is not meaningful for independent probes; on one fixed probe
        the noise is smaller, the closer the two networks are to each other.

    Raises:
        ValueError: as for `information_flow`.

    >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    >>> round(sampling_floor({"a": x, "b": x}), 4)  # correlation 1 is estimated without error
    0.0
    """
    layers = _standardised_layers(activations)
    variances = [_influence(*pair).var(correction=0).item() for pair in pairwise(layers)]
    return math.sqrt(2 * sum(variances) / len(layers[0]))


def _influence(z: Tensor, z_next: Tensor) -> Tensor:
    """Return psi of T2.5 (sample,): each sample's share in the error of the mean connectivity."""
    a_bar, b_bar = z.mean(1), z_next.mean(1)
    r = z.T @ b_bar / (len(z) * z.shape[1])
    c = z_next.T @ a_bar / (len(z) * z_next.shape[1])
    return a_bar * b_bar - 0.5 * (z.square() @ r + z_next.square() @ c)
