"""Pruned networks for other people's tools: torch.nn.utils.prune, safetensors, ONNX."""

import importlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from . import records
from .flows import every_module_called
from .layers import copied, is_layer, remedy
from .masks import Masks, apply_masks, check_masks, of_zeros

SUFFIX = ".safetensors"
BITS = ".bfloat16"  # numpy has no such numbers: the file holds their bits, and the name says so


def to_torch_prune(model: nn.Module, masks: Masks) -> nn.Module:
    """Return a copy of the model whose masks torch.nn.utils.prune keeps; the model is not touched.

    Source: torch.nn.utils.prune.custom_from_mask. Removed weights are exactly zero in
    ``weight_orig`` too. A weight that several modules share is pruned in all of them.

    Args:
        model: a module with prunable weights.
        masks: parameter name -> boolean tensor, one for every prunable weight.

    Returns:
        The copy, in which ``weight_orig`` is the parameter and ``weight`` its masked copy, computed
        anew whenever the layer is called. It can be copied at once; later, `refresh` it first.

    Raises:
        ValueError: masks missing, extra, of another shape, or not boolean; or a model that
            torch.nn.utils.prune or a parametrization already works on.

    Note:
        Make the optimiser after this, and do not give it an older optimiser's state: torch puts the
        pruned weights behind the biases, and an optimiser's state goes by position. A layer may be
        read although nothing calls it, as ``out_proj`` of MultiheadAttention is. It keeps the
        weight it had at the last `refresh`: use such a network, but do not train it so.

    >>> masks = {"weight": torch.tensor([[True, False]])}
    >>> pruned = to_torch_prune(nn.Linear(2, 1), masks)
    >>> list(pruned.state_dict()), from_torch_prune(pruned)
    (['bias', 'weight_orig', 'weight_mask'], {'weight': tensor([[ True, False]])})
    """
    check_masks(model, masks)
    twin = copied(model)
    apply_masks(twin, masks)
    kept = {id(weight): masks[name] for name, weight in check_masks(twin, masks).items()}
    for module in twin.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) in kept:
                prune.custom_from_mask(module, name, kept[id(parameter)])
    refresh(twin)
    return twin


def from_torch_prune(model: nn.Module) -> Masks:
    """Return the masks of a model on which torch.nn.utils.prune works; the model is not touched.

    Source: the ``weight_mask`` buffers; `to_torch_prune` backwards.

    Args:
        model: any module with Conv or Linear weights, all of them pruned, some, or none.

    Returns:
        Parameter name -> boolean tensor, for every prunable weight by the name that it has without
        pruning. Where torch prunes nothing, or its pruning has been made permanent, the exact zeros
        of the weight say what is removed, see `masks.found`. They fit the model as soon as
        ``prune.remove(module, "weight")`` has made its pruning permanent.

    Raises:
        ValueError: masks cannot say what torch does here. Something else than a weight of Conv or
            Linear is pruned, or a shared weight in one place only. A mask is not of zeros and ones,
            or a weight is computed in another way. Or there is nothing to prune.

    >>> model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    >>> _ = prune.l1_unstructured(model[0], "weight", amount=1)
    >>> {name: int(mask.sum()) for name, mask in from_torch_prune(model).items()}
    {'0.weight': 1, '1.weight': 1}
    >>> _ = prune.remove(model[0], "weight")
    >>> from_torch_prune(model)["0.weight"].sum().item()
    1
    """
    found: dict[int, tuple[str, Tensor]] = {}
    masks: dict[int, tuple[str, Tensor]] = {}
    plain: dict[str, Tensor] = {}
    for owner, module in model.named_modules():
        pruned = {f"{hook._tensor_name}_orig" for hook in _hooks(module)}
        has_mask = is_layer(module)
        if has_mask and "weight" not in module._parameters and "weight_orig" not in pruned:
            name = f"{owner}.weight".lstrip(".")
            why = f"{name} is computed, and not by torch.nn.utils.prune"
            raise ValueError(f"{why}: first call {remedy(module)}")
        for key, parameter in module.named_parameters(recurse=False):
            tensor = key.removesuffix("_orig") if key in pruned else key
            name = f"{owner}.{tensor}".lstrip(".")
            mask = (
                getattr(module, f"{tensor}_mask") if key in pruned else torch.ones_like(parameter)
            )
            kept = mask != 0
            if not torch.equal(kept, mask == 1):
                raise ValueError(f"the mask of {name} does not consist of zeros and ones")
            other, same = found.setdefault(id(parameter), (name, kept))
            if not torch.equal(same, kept):
                raise ValueError(f"{other} and {name} share a weight, but not a mask")
            if has_mask and tensor == "weight":
                masks.setdefault(id(parameter), (name, kept))
                if key not in pruned:
                    plain[name] = parameter
    for number, (name, kept) in found.items():
        if number not in masks and not kept.all():
            raise ValueError(f"{name} is pruned, but masks are of Conv and Linear weights only")
    if not masks:
        raise ValueError(f"{type(model).__name__} has no Conv or Linear weights to prune")
    zeros = of_zeros(plain)
    return {name: zeros.get(name, kept) for name, kept in masks.values()}


def refresh(model: nn.Module) -> None:
    """Compute the pruned weights of torch.nn.utils.prune anew, in place, so that they are in step.

    What torch keeps as ``weight`` is a result of the last forward pass. It cannot be
    copied after a pass with gradients (pytorch#37322), and is not what a new state or an optimiser
    step have made of ``weight_orig`` since. Call this before ``copy.deepcopy`` and after
    ``load_state_dict``.

    Args:
        model: any module; what torch does not prune stays as it is. Gradients stay, too.

    >>> import copy
    >>> layer = to_torch_prune(nn.Linear(2, 1), {"weight": torch.tensor([[True, False]])})
    >>> layer(torch.ones(1, 2)).sum().backward()
    >>> refresh(layer)
    >>> copy.deepcopy(layer).in_features, layer.weight_orig.grad
    (2, tensor([[1., 0.]]))
    """
    for module in model.modules():
        for hook in _hooks(module):
            setattr(module, hook._tensor_name, hook.apply_mask(module).detach())


def _hooks(module: nn.Module) -> Iterator[Any]:
    hooks = module._forward_pre_hooks.values()
    return (hook for hook in hooks if isinstance(hook, prune.BasePruningMethod))


def save(model: nn.Module, masks: Masks, path: str | os.PathLike[str]) -> None:
    """Write the weights and the masks of a network to one safetensors file, in one step.

    Source: `records.save_tensors`, and laid out as the ``network.safetensors`` of a run:
    ``weights/`` and ``masks/`` before the names. Removed weights are exactly zero in the file.

    Args:
        model: the network; not touched.
        masks: parameter name -> boolean tensor, one for every prunable weight.
        path: must end in ``.safetensors``; a file that is there is replaced.

    Raises:
        ValueError: masks that do not fit, another ending, or a state that is not all tensors.
        OSError: no such folder, a full disk, or one that is read-only; an earlier file is intact.

    Note:
        bfloat16 comes back as it was, but other programs find its bits, as integers under
        ``weights.bfloat16/``. Zeros take as much room as other numbers; see `compacting`.

    >>> import tempfile; path = tempfile.mkdtemp() + "/net.safetensors"
    >>> save(nn.Linear(2, 1), {"weight": torch.tensor([[True, False]])}, path)
    >>> state, masks = load(path)
    >>> state["weight"][0, 1].item(), masks
    (0.0, {'weight': tensor([[ True, False]])})
    """
    records.save_tensors(*folder_and_name(path), as_arrays(model, masks), {})


def as_arrays(model: nn.Module, masks: Masks) -> dict[str, Any]:
    """Return what `save` writes: name -> array.

    Args:
        model, masks: as for `save`.

    Raises:
        ValueError: masks that do not fit, or a state that is not all tensors.

    >>> list(as_arrays(nn.Linear(2, 1, bias=False), {"weight": torch.tensor([[True, False]])}))
    ['masks/weight', 'weights/weight']
    """
    kept = {id(weight): masks[name] for name, weight in check_masks(model, masks).items()}
    arrays = {f"masks/{name}": mask.cpu().numpy() for name, mask in masks.items()}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} of the state is not a tensor")
        value = tensor.detach()
        if id(tensor) in kept:
            value = value.masked_fill(~kept[id(tensor)], 0.0)
        has_bits = value.dtype == torch.bfloat16
        value = value.view(torch.int16) if has_bits else value
        try:
            arrays[f"weights{BITS if has_bits else ''}/{name}"] = value.cpu().numpy()
        except TypeError:
            raise ValueError(f"{name} is of {value.dtype}, which the file cannot hold") from None
    return arrays


def load(
    path: str | os.PathLike[str], config: Mapping[str, Any] | None = None
) -> tuple[dict[str, Tensor], Masks]:
    """Return the state and the masks that `save` wrote, or those of a run's final network.

    Source: `records.read_tensors`; nothing in the file can execute.

    Args:
        path: ends in ``.safetensors``.
        config: of the run, ``records.read(folder)[1]["config"]``; needed for a run's file only.

    Returns:
        What `masks.rewind` takes: ``rewind(model, *load(path))`` makes the model that network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is damaged, or holds something else, or another run's network.
    """
    folder, name = folder_and_name(path)
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "masks": {}}
    try:
        for full_name, array in records.read_tensors(folder, name, config or {})[0].items():
            part, _, key = full_name.partition("/")
            tensor = torch.from_numpy(array)
            if part == f"weights{BITS}":
                part, tensor = "weights", tensor.view(torch.bfloat16)
            if part in parts:
                parts[part][key] = tensor
    except ValueError:
        raise ValueError(
            f"{os.fspath(path)} is damaged, or no network that save or a run of this config wrote"
        ) from None
    if not parts["weights"] or not parts["masks"]:
        raise ValueError(f"{os.fspath(path)} does not hold both weights and masks")
    return parts["weights"], parts["masks"]


def folder_and_name(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return where a file of `save` lies, and its name without the ending.

    >>> folder_and_name("nets/small.safetensors")
    ('nets', 'small')
    """
    folder, file = os.path.split(os.fspath(path))
    if not file.endswith(SUFFIX) or file == SUFFIX:
        raise ValueError(f"a file for weights and masks must end in {SUFFIX}, not be {file!r}")
    return folder, file.removesuffix(SUFFIX)


def to_onnx(model: nn.Module, example: Tensor, tolerance: float = 1e-4) -> bytes:
    """Return the network as ONNX, after making sure that onnxruntime computes the same with it.

    Source: torch.onnx. The comparison is ours: on the example, and on two of it, because a tracer
    may take the number of samples for a constant.

    Args:
        model: in eval mode a function from one tensor to one tensor; best what `compact` returns,
            since ONNX stores and multiplies scattered zeros like other numbers.
        example: (sample, ...), at least one sample of what the network takes.
        tolerance: the largest difference allowed, in units of the largest output; > 0.

    Returns:
        The content of an .onnx file, with an "input" and an "output" of any number of samples.

    Raises:
        ValueError: the packages onnx and onnxruntime are missing (the message says what to
            install), the network cannot be exported, or computes something else afterwards.

    Note:
        This asks torch for its TorchScript exporter, which needs the package onnx only and takes a
        fraction of a second. Its successor needs onnxscript, too.

    >>> to_onnx(nn.Linear(2, 1), torch.zeros(0, 2))
    Traceback (most recent call last):
    ValueError: an export needs an example of at least one sample and a tolerance > 0
    """
    if not (isinstance(example, Tensor) and example.dim() and len(example) and tolerance > 0):
        raise ValueError("an export needs an example of at least one sample and a tolerance > 0")
    try:
        importlib.import_module("onnx")
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        raise ValueError(
            "no packages onnx and onnxruntime: pip install 'infcop-lite[onnx]'"
        ) from None
    twin, kind = copied(model).cpu().eval(), type(model).__name__
    file: Any = io.BytesIO()  # as this exporter takes it, whatever the signature says
    inputs = example.detach().cpu()
    try:
        with warnings.catch_warnings(), torch.no_grad(), every_module_called(twin):
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", "Constant folding")  # left to the reader
            torch.onnx.export(
                twin,
                (inputs,),
                file,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": {0: "sample"}, "output": {0: "sample"}},
                dynamo=False,
            )
        session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
        for batch in (inputs, torch.cat([inputs, inputs])):
            with torch.no_grad():
                expected = twin(batch)
            found = torch.from_numpy(session.run(["output"], {"input": batch.numpy()})[0])
            difference = (found - expected).abs().max() / expected.abs().max().clamp_min(1e-30)
            if not difference <= tolerance:
                raise ValueError(f"its outputs differ by {difference:.1g} of the largest")
    except Exception as error:  # whatever two other packages do not like
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"{kind} cannot be handed over as ONNX: {reason}") from error
    return file.getvalue()
