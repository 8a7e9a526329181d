"""Values between a grader and a stranger's process: shared memory is shared, nonsense refused."""

import json

import numpy as np
import pytest
import torch
from wire import Opaque, Table, WireError


def there_and_back(value, change):
    """Hand a value over, let the other side change it, and return what it answers."""
    ours, theirs = Table(), Table(stub=lambda number: number)
    received = theirs.unpack(ours.pack(value))
    return ours.unpack(theirs.pack(change(received)))


def test_what_comes_back_is_what_was_sent():
    value = [True, None, 3, 0.1, "ä", (1, 2), {"a": [float("inf")]}, {1: ()}]
    assert there_and_back(value, lambda v: v) == value
    scalars = [np.float64(0.5), np.bool_(False), np.arange(3)]
    answer = there_and_back(0, lambda _: scalars)
    assert [type(part) for part in answer] == [np.float64, np.bool_, np.ndarray]
    for tensor in (torch.eye(2).bool(), torch.rand(3, 4).T, torch.zeros(0), torch.tensor(1.5)):
        back = there_and_back(tensor, lambda v: v)
        torch.testing.assert_close(back, tensor)


def test_a_set_is_a_set_and_a_text_a_text_whoever_made_it():
    """A right answer that was a set earned nothing: it came back as something unknown."""
    pairs = [({"b", "a"}, {"a", "b"}), (frozenset({(1, 2)}), {(1, 2)}), (set(), set())]
    for value, expected in [*pairs, ({"a": 1}.keys(), {"a"}), ({np.int64(3)}, {3})]:
        assert there_and_back(0, lambda _, value=value: value) == expected
        assert there_and_back(value, lambda v: v) == expected
    assert there_and_back(0, lambda _: [{"a"}, np.str_("b")]) == [{"a"}, "b"]
    with pytest.raises(WireError):
        Table().unpack(json.dumps([{"set": [{"shared": 0}]}, [["list", []]]]).encode())


def test_a_change_of_an_argument_is_a_change_here():
    weights, names = torch.tensor([1.0, 2.0]), {"a": [1]}

    def change(given):
        given[0].add_(1)
        given[1]["a"].append(2)
        return given[0][:1]

    part = there_and_back([weights, names], change)
    assert weights.tolist() == [2.0, 3.0]
    assert names == {"a": [1, 2]}
    part += 10
    assert weights.tolist() == [12.0, 3.0]  # an answer that shares memory shares it here


def test_what_is_no_data_equals_nothing():
    class Equal:
        def __eq__(self, _):
            return True

    (answer,) = there_and_back(0, lambda _: [Equal()])
    assert type(answer) is Opaque
    assert answer != 5.0
    assert there_and_back(0, lambda _: (n for n in [1])) != [1]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[",
        b"{}",
        b"[" * 100_000,
        json.dumps([{"shared": 9}, []]).encode(),
        json.dumps([{"tensor": [0, "float32", 0, [9], [1]]}, [["memory", "AAAA"]]]).encode(),
        json.dumps([{"tensor": [0, "float32", -1, [1], [1]]}, [["memory", "AAAA"]]]).encode(),
        json.dumps([{"array": ["O", [1], "AAAAAAAA"]}, []]).encode(),
        json.dumps([0, [["module", None]]]).encode(),
    ],
)
def test_nonsense_is_refused(message):
    with pytest.raises(WireError):
        Table().unpack(message)


def test_an_argument_stays_of_its_kind():
    ours = Table()
    ours.pack([1])
    with pytest.raises(WireError):
        ours.unpack(json.dumps([0, [["dict", []]]]).encode())
