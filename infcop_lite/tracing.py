"""A network -> its graph: what runs in eval mode, with every option at its default."""

import inspect

from torch import fx, nn


def trace(model: nn.Module) -> fx.GraphModule:
    """Return the graph of a network, whose optional inputs are left out for good.

    Source: torch.fx. A stand-in for an input is never None or False, so a forward pass that asks
    would take the other branch. A default that is plain is therefore given and not stood for.

    Args:
        model: in eval mode; the graph shares its modules.

    Raises:
        ValueError: a model that torch.fx cannot trace, that has hooks of its own (its parts may
            have some), or that is compiled.

    >>> trace(nn.Sequential(nn.Linear(2, 1), nn.ReLU())).code.count("self")
    3
    """
    kind = type(model).__name__
    if hasattr(model, "_orig_mod"):
        raise ValueError(f"{kind} is compiled; pass its _orig_mod, the network before compilation")
    if is_altered(model):
        raise ValueError(f"{kind} has hooks or a patched forward, which torch.fx skips")
    taken = inspect.signature(type(model).forward).parameters
    plain = (bool, int, float, str, type(None))
    defaults = {name: p.default for name, p in taken.items() if isinstance(p.default, plain)}
    try:
        graph = fx.Tracer().trace(model, concrete_args=defaults or None)
    except Exception as error:  # whatever the forward pass does not do with a stand-in
        reason = " ".join(str(error).split())
        raise ValueError(
            f"torch.fx cannot trace {kind}, whose forward pass does more than call its parts;"
            f" units.shrink takes whole units out of such a network, too (torch.fx: {reason})"
        ) from error
    for node in list(graph.nodes):
        if node.op == "placeholder" and node.args and node.target not in taken:
            _erase(node)  # torch.fx asserts that the default is what it was
    return fx.GraphModule(model, graph, kind).eval()


def is_altered(module: nn.Module) -> bool:
    """Say whether a module does something else than its class says.

    >>> is_altered(nn.Linear(2, 1))
    False
    """
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _erase(node: fx.Node) -> None:
    for user in list(node.users):
        _erase(user)
    node.graph.erase_node(node)
