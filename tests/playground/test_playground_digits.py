"""The digits that the playground ships are the library's, and its runs on them repeat."""

import json
import re
import zlib
from base64 import b64decode

import playground_digits as tool
import torch

from infcop_lite import data

from .node import ENGINE, node


def test_the_committed_text_is_what_the_tool_writes():
    """By content: another version of zlib may deflate the same bytes otherwise."""
    texts = [tool.TARGET.read_text("utf-8"), tool.module(tool.raw())]
    packed = [b64decode(re.search('"(.+)"', text)[1]) for text in texts]
    assert zlib.decompress(packed[0], -15) == zlib.decompress(packed[1], -15) == tool.raw()


def test_nothing_of_the_digits_is_lost_on_the_way_into_the_page():
    found, digits = json.loads(node("unpack.mjs", ENGINE)), data.load("digits", seed=0)
    for name in ("train", "validation", "test"):
        split = getattr(digits, name)
        assert found[name]["targets"] == split.targets.tolist()
        inputs = torch.tensor(found[name]["inputs"], dtype=torch.float64)
        assert torch.equal(inputs, split.inputs.double().flatten())
    assert found["probe"]["inputs"] == found["train"]["inputs"][: 64 * 500]


def test_a_seed_decides_a_run_and_the_network_learns():
    first, again, other = json.loads(node("whole.mjs", ENGINE))
    assert first == again
    assert first != other
    for run in (first, other):
        assert run["accuracy"] >= 0.85
        assert 0.1 < run["density"] <= 0.2
        assert run["epochs"] == sum(run["stops"])
