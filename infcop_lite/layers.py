"""Which layers hold prunable weights, how their weights lie, and what bars one from being masked.

Masks are for the weights of convolutions and linear layers, which is what this module recognises.
"""

import copy

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize, prune

#: What takes the place of a tensor, by the class of its hook -> what gives it back.
REMEDIES = {"WeightNorm": "remove_weight_norm", "SpectralNorm": "remove_spectral_norm"}


def is_layer(module: nn.Module) -> bool:
    """Say whether a module's weight gets a mask, as in Conv, Linear or Conv1D of transformers.

    Source: ``transformers.pytorch_utils.Conv1D``, the linear layer of GPT-2, is known by its name.

    >>> is_layer(nn.Conv2d(1, 1, 1)), is_layer(nn.Embedding(2, 2))
    (True, False)
    """
    return isinstance(module, (nn.Linear, _ConvNd)) or _is_conv1d(module)


def has_inputs_first(module: nn.Module) -> bool:
    """Say whether a weight lies as (input, unit, ...), where others have (unit, input, ...).

    >>> has_inputs_first(nn.ConvTranspose2d(1, 1, 1)), has_inputs_first(nn.Linear(1, 1))
    (True, False)
    """
    return isinstance(module, _ConvTransposeNd) or _is_conv1d(module)


def _is_conv1d(module: nn.Module) -> bool:
    kinds = (kind for kind in type(module).__mro__ if kind.__name__ == "Conv1D")
    return any(kind.__module__.startswith("transformers.") for kind in kinds)


def check_shaped(module: nn.Module, name: str) -> None:
    """See that the parameters of a module have their shapes.

    Raises:
        ValueError: it is a lazy module that no batch has gone through.

    >>> check_shaped(nn.LazyLinear(2), "head")
    Traceback (most recent call last):
    ValueError: head is lazy, still uninitialized: call the model once on a batch, then prune it
    """
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        raise ValueError(
            f"{name or 'the model'} is lazy, still uninitialized: call the model once on a batch,"
            " then prune it"
        )


def remedy(module: nn.Module, tensor: str = "weight") -> str:
    """Return what makes a computed tensor of a module a parameter again, as a line of Python.

    >>> remedy(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    "torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')"
    """
    if parametrize.is_parametrized(module, tensor):
        return f"torch.nn.utils.parametrize.remove_parametrizations(module, {tensor!r})"
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == tensor:
            return (
                f"torch.nn.utils.prune.remove(module, {tensor!r}), after taking its masks by"
                " handover.from_torch_prune(model)"
            )
        if type(hook).__name__ in REMEDIES and getattr(hook, "name", None) == tensor:
            return f"torch.nn.utils.{REMEDIES[type(hook).__name__]}(module, {tensor!r})"
    return "whatever makes it a torch.nn.Parameter, or detaches it"


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of a network.

    Raises:
        ValueError: a module holds a result of a forward pass, which torch cannot copy, as its
            pruning and its old weight_norm do (pytorch#37322); the line says what undoes it.

    >>> copied(nn.Linear(2, 1))
    Linear(in_features=2, out_features=1, bias=True)
    """
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        for owner, module in model.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and not value.is_leaf:
                    full_name = f"{owner}.{name}".lstrip(".")
                    raise ValueError(
                        f"{full_name} is computed in a forward pass and cannot be copied: first"
                        f" call {remedy(module, name)}"
                    ) from error
        raise
