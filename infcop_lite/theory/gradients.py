"""The energy of gradient flow, what a norm certifies, the tangent kernel, conservation laws.

A loss is a function without arguments, as `loss_of` makes it, or a lambda that adds a penalty: it
decides the data and reads the model's present parameters. Gradients are a dict from parameter name
to tensor.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..masks import Masks, apply_masks, check_masks, prunable

Loss = Callable[[], Tensor]
Gradients = dict[str, Tensor]

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
_NORMS = nn.modules.batchnorm._BatchNorm


def loss_of(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> Loss:
    """Return the loss of a model on fixed data, as a function of its present parameters.

    Source: the full-batch loss of (T4.1).

    Args:
        model: run in the mode in which it is when the function is called.
        inputs: (sample, ...).
        targets: what the criterion compares the outputs with.
        criterion: from outputs and targets to a scalar; cross-entropy in nats unless given.

    >>> model = nn.Linear(1, 2, bias=False); _ = model.weight.data.zero_()
    >>> loss_of(model, torch.ones(3, 1), torch.tensor([0, 1, 1]))().item()  # log 2
    0.693147...
    """
    return lambda: criterion(model(inputs), targets)


def half_square(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return half the squared error, averaged over the samples and summed over the outputs.

    Source: the squared loss of (T4.4).

    Args:
        outputs, targets: (sample, output).

    Raises:
        ValueError: different shapes.

    >>> half_square(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2))
    tensor(1.2500)
    """
    if outputs.shape != targets.shape:
        raise ValueError(f"{tuple(outputs.shape)} outputs, {tuple(targets.shape)} targets")
    return (outputs - targets).square().sum() / (2 * len(outputs))


def masked_gradients(model: nn.Module, loss: Loss, masks: Masks | None = None) -> Gradients:
    """Return the gradient of the loss in every trained parameter, zero where a weight is removed.

    Source: (T4.1); the direction of masked gradient flow. Biases are included, unlike in
    `flows.gradient_flow`, because the energy identity needs everything that moves.

    Args:
        model: the network; its ``.grad`` are left as found.
        loss: a scalar, computed from the model's present parameters.
        masks: survivors; None keeps every weight.

    Returns:
        Parameter name -> tensor of the parameter's shape.

    Raises:
        ValueError: masks that do not fit the model, or no trained parameter.

    >>> model = nn.Linear(2, 1, bias=False); half = {"weight": torch.tensor([[True, False]])}
    >>> masked_gradients(model, lambda: model(torch.tensor([[3.0, 4.0]])).sum(), half)["weight"]
    tensor([[3., 0.]])
    """
    if masks is not None:
        check_masks(model, masks)
    with torch.enable_grad():
        return _gradients(model, loss(), masks)


def _gradients(model: nn.Module, value: Tensor, masks: Masks | None) -> Gradients:
    trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ValueError("the model has no trained parameter")
    found = torch.autograd.grad(value, list(trained.values()), retain_graph=True, allow_unused=True)
    gradients = {
        k: torch.zeros_like(p) if g is None else g
        for (k, p), g in zip(trained.items(), found, strict=True)
    }
    for name in gradients.keys() & (masks or {}).keys():
        gradients[name] = gradients[name] * masks[name]  # type: ignore[index]
    return gradients


@torch.no_grad()
def follow_gradient(
    model: nn.Module, loss: Loss, step: float, num_steps: int, masks: Masks | None = None
) -> tuple[Tensor, Tensor]:
    """Move the parameters along masked gradient flow with the midpoint rule (RK2), in place.

    Source: (T4.1); error O(step**2) away from kinks. Weight decay is a penalty in the loss.

    Args:
        model: the network, changed in place; masks are applied first.
        loss: a scalar, computed from the model's present parameters.
        step: length of one step in time, > 0.
        num_steps: number of steps, >= 1.
        masks: survivors; None keeps every weight.

    Returns:
        (step + 1,) losses and (step + 1, parameter) energies, the squared norms of the masked
        gradients in the order of ``model.named_parameters()``, both with the starting point.

    Raises:
        ValueError: masks that do not fit, a step or a number of steps that is not positive.

    >>> model = nn.Linear(1, 1, bias=False); _ = model.weight.data.fill_(1.0)
    >>> losses, energies = follow_gradient(model, lambda: model.weight.square().sum() / 2, 0.1, 50)
    >>> (losses[0] - losses[-1]).round(decimals=2), torch.trapezoid(
    ...     energies[:, 0], dx=0.1).round(decimals=2)
    (tensor(0.5000), tensor(0.5000))
    """
    if not (step > 0 and num_steps >= 1):
        raise ValueError(f"{num_steps} steps of length {step} lead nowhere")
    if masks is not None:
        apply_masks(model, masks)
    parameters = dict(model.named_parameters())
    losses, energies = [], []
    for moment in range(num_steps + 1):
        with torch.enable_grad():
            value = loss()
        here = _gradients(model, value, masks)
        losses.append(value.detach())
        energies.append(torch.stack([g.square().sum() for g in here.values()]))
        if moment == num_steps:
            break
        start = {k: parameters[k].clone() for k in here}
        for k, g in here.items():
            parameters[k].sub_(g, alpha=step / 2)
        for k, g in masked_gradients(model, loss, masks).items():
            parameters[k].copy_(start[k] - step * g)
    return torch.stack(losses), torch.stack(energies)


def gap_interval(gradient_norm: Tensor, smoothness: float, pl: float) -> tuple[Tensor, Tensor]:
    """Return the interval in which the loss lies above its infimum within the mask.

    Source: (T4.2); Polyak 1963 for the upper end, one gradient step for the lower.

    Args:
        gradient_norm: of the full-batch masked gradient, >= 0, any shape.
        smoothness: beta of the restricted loss along the step of length 1/beta, > 0.
        pl: the Polyak-Lojasiewicz constant within the mask, in [0, beta].

    Returns:
        Lower and upper end, of the shape of the norm; without PL (``pl=0``) the upper is infinite.

    Raises:
        ValueError: a negative norm, or constants out of order.

    >>> gap_interval(torch.tensor(17.0).sqrt(), smoothness=4, pl=1)
    (tensor(2.1250), tensor(8.5000))
    """
    if not (0 <= pl <= smoothness and smoothness > 0):
        raise ValueError(f"0 <= pl <= smoothness is needed, not {pl} and {smoothness}")
    if (gradient_norm < 0).any():
        raise ValueError("a norm is not negative")
    square = gradient_norm.square()
    upper = square / (2 * pl) if pl > 0 else torch.full_like(square, torch.inf)
    return square / (2 * smoothness), upper


def rate_tolerance(reference_norm: Tensor, epsilon: float) -> Tensor:
    """Return how far the rates of decrease can lie apart, of gradient profiles within epsilon.

    Source: (T4.3); epsilon * (2 * reference_norm + epsilon).

    Args:
        reference_norm: norm of the reference profile, over everything that is trained.
        epsilon: tolerance on the distance of the profiles, >= 0.

    Raises:
        ValueError: a negative norm or tolerance.

    >>> rate_tolerance(torch.tensor(3.0), 0.5)
    tensor(3.2500)
    """
    if epsilon < 0 or (reference_norm < 0).any():
        raise ValueError("a norm and a tolerance are not negative")
    return epsilon * (2 * reference_norm + epsilon)


def consistency_interval(
    reference_norm: Tensor, epsilon: float, smoothness: float, pl: float
) -> tuple[Tensor, Tensor]:
    """Return where the loss lies above its infimum in the mask if gradient profiles are consistent.

    Source: (T4.3); a positive lower end certifies that the loss can still be improved.

    Args:
        reference_norm: norm of the reference profile, over everything that is trained, >= 0.
        epsilon: tolerance on the distance of the profiles, >= 0.
        smoothness, pl: as for `gap_interval`, of the network that is judged.

    Returns:
        Lower and upper end, of the shape of the norm.

    Raises:
        ValueError: a negative norm or tolerance, or constants out of order.

    >>> consistency_interval(torch.tensor(3.0), 1.0, smoothness=2, pl=1)
    (tensor(1.), tensor(8.))
    """
    rate_tolerance(reference_norm, epsilon)  # refuses negative numbers
    lower, _ = gap_interval((reference_norm - epsilon).clamp_min(0), smoothness, pl)
    return lower, gap_interval(reference_norm + epsilon, smoothness, pl)[1]


def batch_square_norm(per_sample: Tensor, batch_size: int, replacement: bool = True) -> Tensor:
    """Return the expected squared norm of a mini-batch gradient.

    Source: (T4.2); the full gradient's squared norm plus trace(Cov) / batch_size, the second term
    times (n - batch_size) / (n - 1) if the batch is drawn without replacement.

    Args:
        per_sample: (sample, weight), one gradient per sample.
        batch_size: samples in a batch, >= 1, and at most all without replacement.
        replacement: whether a sample may come twice.

    Raises:
        ValueError: not a matrix with samples, or a batch size out of range.

    >>> batch_square_norm(torch.tensor([[1.0], [-1.0]]), 1)
    tensor(1.)
    """
    if per_sample.dim() != 2 or len(per_sample) == 0:
        raise ValueError(f"gradients must be (sample, weight), not {tuple(per_sample.shape)}")
    n = len(per_sample)
    if not (batch_size >= 1 and (replacement or batch_size <= n)):
        raise ValueError(f"no batch of {batch_size} from {n} samples")
    mean = per_sample.mean(0)
    trace = (per_sample - mean).square().sum() / n
    share = 1.0 if replacement or n == 1 else (n - batch_size) / (n - 1)
    return mean.square().sum() + share * trace / batch_size


def tangent_kernel(model: nn.Module, inputs: Tensor, masks: Masks | None = None) -> Tensor:
    """Return the masked tangent kernel J M J^T of the network's outputs.

    Source: (T4.4); its least eigenvalue over the number of samples is a PL constant of the squared
    loss (half the squared error, averaged over the samples) with infimum 0.

    Args:
        model: the network, in the mode that counts; it should satisfy its masks.
        inputs: (sample, ...); few, since the kernel is dense.
        masks: survivors; None keeps every weight.

    Returns:
        (sample * output, sample * output), symmetric.

    Raises:
        ValueError: masks that do not fit the model, or no trained parameter.

    >>> tangent_kernel(nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
    tensor([[5., 2.],
            [2., 1.]])
    """
    if masks is not None:
        check_masks(model, masks)
    with torch.enable_grad():
        outputs = model(inputs).flatten()
    rows = []
    for output in outputs:
        row = _gradients(model, output, masks)
        rows.append(torch.cat([g.flatten() for g in row.values()]))
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


def published_distance(
    gradients: Sequence[Tensor], reference: Sequence[Tensor], num_batches: int
) -> Tensor:
    """Return the distance that the published gradient rule compares with its tolerance.

    Source: (T4.5), the reference code; norms of the last mini-batch's gradient now, against means
    of absolute values at the reference, both times num_batches / (num_batches - 1).

    Args:
        gradients: one tensor per layer, of the last mini-batch, removed weights zero.
        reference: likewise, when the reference was taken.
        num_batches: batches in the loader, >= 1; one batch makes the distance infinite.

    Raises:
        ValueError: no layers, different numbers of layers, or no batch.

    >>> g = [torch.tensor([3.0, 4.0])]
    >>> published_distance(g, g, num_batches=3)  # 1.5 * (5 - 3.5), though nothing has changed
    tensor(2.2500)
    """
    if not gradients or len(gradients) != len(reference) or num_batches < 1:
        raise ValueError("one gradient per layer, now and at the reference, and a batch are needed")
    if num_batches == 1:
        return torch.tensor(torch.inf)
    norms = torch.stack([g.norm() for g in gradients])
    means = torch.stack([g.abs().mean() for g in reference])
    return (norms - means).norm() * (torch.tensor(num_batches) / (num_batches - 1.0))


def balance_matrix(incoming: Tensor, outgoing: Tensor) -> Tensor:
    """Return W_l W_l^T - W_{l+1}^T W_{l+1}, which a dense bias-free linear network conserves.

    Source: (T4.6c); Arora, Cohen & Hazan 2018, Du, Hu & Lee 2018.

    Args:
        incoming: (unit, input), the weights into a hidden layer.
        outgoing: (next unit, unit), the weights out of it.

    Raises:
        ValueError: not two matrices that follow one another.

    >>> balance_matrix(torch.tensor([[2.0], [1.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([[3., 2.],
            [2., 1.]])
    """
    if incoming.dim() != 2 or outgoing.dim() != 2 or len(incoming) != outgoing.shape[1]:
        raise ValueError(f"{tuple(outgoing.shape)} does not follow {tuple(incoming.shape)}")
    return incoming @ incoming.T - outgoing.T @ outgoing


def unit_balance(incoming: Tensor, bias: Tensor | None, outgoing: Tensor) -> Tensor:
    """Return, for each hidden unit, the squared norm of what comes in minus that of what goes out.

    Source: (T4.6a); Du, Hu & Lee 2018. For BatchNorm, incoming = gamma and bias = beta.

    Args:
        incoming: (unit, ...), one row or filter per neuron or channel.
        bias: (unit,) or None.
        outgoing: (next unit, unit, ...), or (next unit, unit * position) after flattening.

    Returns:
        (unit,), what masked gradient flow conserves on a plain ReLU chain.

    Raises:
        ValueError: tensors that do not belong to the same units.

    >>> unit_balance(torch.tensor([[1.0, 2.0]]), torch.tensor([1.0]), torch.tensor([[2.0], [0.0]]))
    tensor([2.])
    """
    num_units = len(incoming)
    if outgoing.dim() < 2 or outgoing.shape[1] % num_units or outgoing.shape[1] == 0:
        raise ValueError(f"{tuple(outgoing.shape)} does not follow {num_units} units")
    into = incoming.reshape(num_units, -1).square().sum(1)
    if bias is not None:
        into = into + bias.square()
    return into - outgoing.reshape(len(outgoing), num_units, -1).square().sum((0, 2))


def balances(model: nn.Module) -> dict[str, Tensor]:
    """Return the balance of every hidden unit of a plain chain of layers.

    Source: (T4.6a). Where a BatchNorm follows a layer, its scale and shift are what comes in.

    Args:
        model: Conv and Linear modules that run in the order in which they are defined, each read
            by the next alone; ReLU, pooling and flattening in between. Skip connections break the
            law, and nothing here notices them.

    Returns:
        Name of each hidden layer's weight -> (unit,), detached.

    Raises:
        ValueError: fewer than two layers, a grouped or transposed convolution, or a BatchNorm
            without scale and shift.

    >>> model = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    >>> for p in model.parameters(): _ = p.data.fill_(2.0)
    >>> balances(model)
    {'0.weight': tensor([8.])}
    """
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, (*_LAYERS, _NORMS))]
    if sum(isinstance(m, _LAYERS) for _, m in layers) < 2:
        raise ValueError("a balance needs a layer and the next")
    found: dict[str, Tensor] = {}
    name = ""
    into: tuple[Tensor, Tensor | None] = torch.empty(0), None
    for module_name, module in layers:
        if isinstance(module, _NORMS):
            if module.weight is None or module.bias is None:
                raise ValueError(f"{module_name} has no scale and shift")
        else:
            if getattr(module, "groups", 1) != 1 or getattr(module, "transposed", False):
                raise ValueError(f"{module_name} is not a plain convolution")
            if name:
                found[name] = unit_balance(*into, module.weight).detach()
            name = f"{module_name}.weight".lstrip(".")
        into = (module.weight, module.bias)
    return found


def layer_saliencies(model: nn.Module, gradients: Gradients, biases: bool = True) -> Tensor:
    """Return the layer saliencies, ⟨gradient, weight⟩ plus those of the biases from layer l on.

    Source: (T4.6b); Tanaka et al. 2020, arXiv:2006.05467, for the bias-free case. On a plain ReLU
    chain all entries are equal, to the mean of ⟨slope at the outputs, outputs⟩.

    Args:
        model: a plain chain; layers in the order in which they run.
        gradients: parameter name -> gradient, as from `masked_gradients`.
        biases: False leaves the biases out, and then the entries differ wherever biases are.

    Returns:
        (layer,), in the order of `masks.prunable`.

    Raises:
        ValueError: a gradient is missing.

    >>> model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)); x = torch.ones(1, 1)
    >>> for p in model.parameters(): _ = p.data.fill_(2.0)
    >>> layer_saliencies(model, masked_gradients(model, lambda: model(x).sum()))
    tensor([10., 10.])
    """
    values = dict(model.named_parameters())
    if missing := [k for k in prunable(model) if k not in gradients]:
        raise ValueError(f"no gradient of {missing[0]}")
    saliency = {k: (g * values[k].detach()).sum() for k, g in gradients.items()}
    names = list(prunable(model))
    own = torch.stack([saliency[k] for k in names])
    shifts = [saliency.get(k.removesuffix("weight") + "bias", own.new_zeros(())) for k in names]
    if not biases:
        return own
    return own + torch.stack(shifts).flip(0).cumsum(0).flip(0)
