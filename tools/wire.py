"""Values between a grader and the process of a student: data only, nothing that runs when read.

What a test hands over and what comes back may be numbers, texts, lists, tuples, sets, dicts,
arrays and tensors. Lists, dicts and the memory of tensors stand once in a table, so that the other
side sees who shares what with whom, and a change of an argument is a change here too.
"""

import base64
import json
from collections.abc import Callable, Set
from typing import Any

import numpy as np
import torch

Node = Any  #: what JSON can hold
DTYPES = {str(t).removeprefix("torch."): t for t in vars(torch).values() if type(t) is torch.dtype}


class WireError(Exception):
    """What came is no value; nothing of it was used."""


class Opaque:
    """What is no data: a generator, a module, an object of one's own. It equals nothing else."""

    def __init__(self, shown: str) -> None:
        self.shown = shown

    def __repr__(self) -> str:
        return self.shown


class Table:
    """Lists, dicts, functions and memory that both sides know by their number.

    >>> here, there = Table(), Table()
    >>> weights = torch.tensor([1.0, 2.0])
    >>> there.unpack(here.pack([weights, weights[1:]]))[0].mul_(3)
    tensor([3., 6.])
    >>> here.unpack(there.pack("done"))
    'done'
    >>> weights
    tensor([3., 6.])
    """

    def __init__(self, stub: Callable[[int], Any] | None = None) -> None:
        self._objects: list[Any] = []
        self._stub = stub  # what stands for a function of the other side

    def __getitem__(self, number: int) -> Any:
        return self._objects[number]

    def pack(self, value: Any) -> bytes:
        """Return a value with the present contents of everything that was shared before."""
        root, contents, number = self._node(value, 0), [], 0
        while number < len(self._objects):  # which grows while it is read
            contents.append(self._content(self._objects[number]))
            number += 1
        return json.dumps([root, contents]).encode()

    def _number(self, thing: Any, same: Callable[[Any], bool]) -> int:
        for number, known in enumerate(self._objects):
            if same(known):
                return number
        self._objects.append(thing)
        return len(self._objects) - 1

    def _node(self, value: Any, depth: int) -> Node:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, str):  # numpy's
            return str(value)
        if isinstance(value, tuple) and depth < 50:
            return {"tuple": [self._node(part, depth + 1) for part in value]}
        if isinstance(value, Set) and depth < 50:  # the keys of a dict, too
            return {"set": [self._node(part, depth + 1) for part in value]}
        if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biufc":
            text = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
            return {"array": [value.dtype.str, list(value.shape), text]}
        if isinstance(value, torch.Tensor) and value.layout == torch.strided:
            flat = value.detach().cpu().resolve_conj().resolve_neg()
            memory = flat.untyped_storage()
            at = memory.data_ptr()
            number = self._number(
                memory,
                lambda known: (
                    isinstance(known, torch.UntypedStorage)
                    and known.data_ptr() == at
                    and known.nbytes() == memory.nbytes()
                ),
            )
            kind, place = str(flat.dtype).removeprefix("torch."), flat.storage_offset()
            return {"tensor": [number, kind, place, list(flat.shape), list(flat.stride())]}
        if isinstance(value, list | dict) or (callable(value) and self._stub is None):
            return {"shared": self._number(value, lambda known: known is value)}
        return {"opaque": _shown(value)}

    def _content(self, thing: Any) -> Node:
        if isinstance(thing, list):
            return ["list", [self._node(part, 0) for part in thing]]
        if isinstance(thing, dict):
            pairs = [[self._node(k, 0), self._node(v, 0)] for k, v in list(thing.items())]
            return ["dict", pairs]
        if isinstance(thing, torch.UntypedStorage):
            return ["memory", base64.b64encode(_bytes(thing).numpy().tobytes()).decode()]
        return ["function", None]

    def unpack(self, message: bytes) -> Any:
        """Return the value of a message, and change here what the other side has changed.

        Raises:
            WireError: it is no message of this kind.
        """
        try:
            root, contents = json.loads(message)
            for number, (kind, content) in enumerate(contents):
                if number == len(self._objects):
                    self._objects.append(self._empty(kind, content, number))
            for thing, (kind, content) in zip(self._objects, contents, strict=True):
                self._fill(thing, kind, content)
            return self._value(root)
        except RecursionError:
            raise WireError("the answer is nested too deeply") from None
        except Exception as error:  # from bytes that a stranger may have written
            raise WireError(f"the answer cannot be read: {error}") from None

    def _empty(self, kind: str, content: Node, number: int) -> Any:
        if kind == "memory":
            return torch.UntypedStorage(len(base64.b64decode(content)))
        if kind == "function":
            return self._stub(number) if self._stub else Opaque("a function")
        return {"list": list, "dict": dict}[kind]()

    def _fill(self, thing: Any, kind: str, content: Node) -> None:
        if kind == "list" and isinstance(thing, list):
            thing[:] = [self._value(part) for part in content]
        elif kind == "dict" and isinstance(thing, dict):
            pairs = [(self._value(key), self._value(value)) for key, value in content]
            thing.clear()
            thing.update(pairs)
        elif kind == "memory" and isinstance(thing, torch.UntypedStorage):
            new = bytearray(base64.b64decode(content))
            if len(new) != thing.nbytes():
                raise ValueError("memory of another size")
            if new:
                _bytes(thing).copy_(torch.frombuffer(new, dtype=torch.uint8))
        elif kind != "function":
            raise ValueError(f"{kind} in place of {type(thing).__name__}")

    def _value(self, node: Node) -> Any:
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        if kind == "tuple":
            return tuple(self._value(part) for part in content)
        if kind == "set":
            return {self._value(part) for part in content}
        if kind == "array":
            name, shape, text = content
            if np.dtype(name).kind not in "biufc":
                raise ValueError(f"an array of {name}")
            return np.frombuffer(base64.b64decode(text), name).reshape(shape).copy()[()]
        if kind == "tensor":
            number, name, place, shape, stride = content
            empty, memory = torch.empty(0, dtype=DTYPES[name]), self._objects[number]
            last = place + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
            if min(place, *shape, *stride, 0) < 0 or (last + 1) * empty.itemsize > memory.nbytes():
                raise ValueError("a tensor outside its memory")
            return empty.set_(memory, place, shape, stride)
        if kind == "shared":
            return self._objects[content]
        return Opaque(str(content))


def _bytes(memory: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(memory)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 200 else f"{text[:200]} ..."
