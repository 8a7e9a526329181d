"""Which layers hold prunable weights, how their weights lie, and what bars one from being masked.

Masks are for the weights of convolutions and linear layers, which is what this module recognises.
"""

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize, prune

#: What takes the place of a weight, by the class of its hook -> what gives the weight back.
REMEDIES = {
    "WeightNorm": "torch.nn.utils.remove_weight_norm(module)",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm(module)",
}


def is_layer(module: nn.Module) -> bool:
    """Say whether masks are for the weight of a module: Conv, Linear, or Conv1D of transformers.

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


def remedy(module: nn.Module) -> str:
    """Return what makes a computed weight a parameter again, as a line of Python.

    >>> remedy(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    "torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')"
    """
    if parametrize.is_parametrized(module, "weight"):
        return "torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')"
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == "weight":
            return (
                "torch.nn.utils.prune.remove(module, 'weight'), after taking its masks by"
                " handover.from_torch_prune(model)"
            )
        if type(hook).__name__ in REMEDIES and getattr(hook, "name", "weight") == "weight":
            return REMEDIES[type(hook).__name__]
    return "whatever makes it a torch.nn.Parameter again"
