"""What consistent flows guarantee for convolutions, by the patch form of the bounds (T3.8).

A convolution applies one matrix to every patch that it reads, so patches take the place of inputs.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .consistency import LayerGap, _norm, _same_shape, _smallest_eigenvalue, rms_distance


def patches(conv: nn.Conv2d, maps: Tensor) -> Tensor:
    """Return the patches that a convolution reads, each with a 1 appended for the bias.

    Source: (T3.8 C2).

    Args:
        conv: one group, dilation 1, padding "zeros" or "circular".
        maps: (sample, channel, height, width).

    Returns:
        (sample, position, channel * kernel + 1) in float64.

    Raises:
        ValueError: a convolution with groups, dilation or another padding mode.

    >>> patches(nn.Conv2d(1, 1, 1), torch.zeros(5, 1, 2, 2)).shape
    torch.Size([5, 4, 2])
    """
    if conv.groups != 1 or conv.dilation != (1, 1) or isinstance(conv.padding, str):
        raise ValueError("patches need one group, dilation 1 and padding given as numbers")
    if conv.padding_mode not in ("zeros", "circular"):
        raise ValueError(f"padding must be zeros or circular, not {conv.padding_mode}")
    height, width = conv.padding
    mode = "constant" if conv.padding_mode == "zeros" else "circular"
    padded = functional.pad(maps.double(), (width, width, height, height), mode=mode)
    size = (conv.kernel_size[0], conv.kernel_size[1])
    columns = functional.unfold(padded, size, stride=conv.stride).transpose(1, 2)
    return torch.cat([columns, torch.ones_like(columns[..., :1])], -1)


def kernel_matrix(conv: nn.Conv2d) -> Tensor:
    """Return the matrix that a convolution applies to each patch, bias column last.

    Source: (T3.8 C2).

    Args:
        conv: as for `patches`.

    Returns:
        (channel_next, channel * kernel + 1) in float64.

    >>> kernel_matrix(nn.Conv2d(2, 3, 3)).shape
    torch.Size([3, 19])
    """
    bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
    return torch.cat([conv.weight.detach().flatten(1), bias.detach()[:, None]], 1).double()


def kernel_gap(conv: nn.Conv2d, other: nn.Conv2d, maps: Tensor, maps_other: Tensor) -> LayerGap:
    """Return what the patch moments of a convolution say about its local error.

    Source: (T3.8 C2); derived here. Moments are not centred, so nu is 0.

    Args:
        conv, other: the layer in the two networks, as for `patches`.
        maps, maps_other: (sample, channel, height, width), its inputs in the two networks.

    Returns:
        As `layer_gap`; ``norm`` is the bound of `conv_norm_bound`.

    Raises:
        ValueError: layers of different shapes, or as for `patches`.

    >>> conv = nn.Conv2d(1, 2, 3)
    >>> kernel_gap(conv, conv, torch.ones(4, 1, 5, 5), torch.ones(4, 1, 5, 5)).bound
    0.0
    """
    _same_shape(conv.weight, other.weight)
    _same_shape(maps, maps_other)
    k, k_other = kernel_matrix(conv), kernel_matrix(other)
    p, p_other = patches(conv, maps), patches(other, maps_other)
    s, s_other = [torch.einsum("nsi,nsj->ij", q, q) / len(q) for q in (p, p_other)]
    delta = (k @ s - k_other @ s_other).norm() + _norm(k) * (s - s_other).norm()
    smallest = _smallest_eigenvalue(s_other)
    local, bound = rms_distance(p_other @ k.T, p_other @ k_other.T), delta * (k - k_other).norm()
    strong = delta.item() / math.sqrt(smallest) if smallest else math.inf
    return LayerGap(delta.item(), 0.0, local, bound.sqrt().item(), strong, conv_norm_bound(conv))


def conv_norm_bound(conv: nn.Conv2d) -> float:
    """Return a bound on the operator norm of a convolution, from its kernel matrix.

    Source: (T3.8 C2): sqrt(patches that share a pixel) times the norm of the kernel matrix.

    Args:
        conv: one group, dilation 1; padding "zeros", or "circular" with stride 1 and maps that
            keep their size.

    Returns:
        A number >= the largest ratio of the norms of output and input maps, without the bias.

    Raises:
        ValueError: any other convolution; with another circular padding, a pixel can lie in more
            patches than the count below allows for.

    >>> conv = nn.Conv2d(1, 1, 3, bias=False); _ = conv.weight.data.fill_(1)
    >>> round(conv_norm_bound(conv), 4)
    9.0
    """
    if conv.groups != 1 or conv.dilation != (1, 1):
        raise ValueError("the bound needs one group and dilation 1")
    half = tuple((k - 1) / 2 for k in conv.kernel_size)
    same = conv.stride == (1, 1) and conv.padding == half
    if conv.padding_mode != "zeros" and not (conv.padding_mode == "circular" and same):
        raise ValueError(
            "the bound needs zeros as padding, or circular padding that keeps the size"
        )
    shared = math.prod(-(-k // s) for k, s in zip(conv.kernel_size, conv.stride, strict=True))
    return math.sqrt(shared) * _norm(kernel_matrix(conv)[:, :-1])


def pool_lipschitz(kind: str, size: int, stride: int) -> float:
    """Return a Lipschitz constant of a square pooling layer, in the Euclidean norm of the maps.

    Source: (T3.8 C3); derived here.

    Args:
        kind: "max" or "average" (of size^2 values, padding counted).
        size, stride: of the window, >= 1.

    Raises:
        ValueError: another kind, or sizes below 1.

    >>> pool_lipschitz("max", 2, 2), pool_lipschitz("max", 3, 2), pool_lipschitz("average", 2, 2)
    (1.0, 2.0, 0.5)
    """
    if kind not in ("max", "average") or size < 1 or stride < 1:
        raise ValueError(f"pooling is max or average, with sizes >= 1, not {kind} {size} {stride}")
    return -(-size // stride) / (size if kind == "average" else 1.0)
