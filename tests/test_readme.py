"""README: both ways to prune on its first screen work; its findings are those of the book."""

import json
import re
import tomllib

import build
import findings
import pytest
import torch
from torch import nn

from infcop_lite import masks

README = (build.ROOT / "README.md").read_text("utf-8")
ONE_CALL, OWN_LOOP = re.findall(r"(?ms)^```python\n(.+?)^```", README)


def test_the_versions_of_python_are_those_that_the_package_names_and_its_environment_fits():
    """Each was tried with `make quick` and a chapter; every pin has a wheel for it."""
    project = tomllib.loads((build.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    (said,) = re.findall(r"With Python ([\d., or]+) and make", README)
    assert re.findall(r"3\.\d+", said) == named
    assert project["requires-python"] == f">={named[0]}"


@pytest.fixture
def yours():
    """What the examples take for granted, under the names that they use."""
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    data = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    return {
        "model": model,
        "train": data,
        "validation": data,
        "loader": torch.utils.data.DataLoader(data, 16, shuffle=True),
        "optimizer": torch.optim.SGD(model.parameters(), 0.1, momentum=0.9),
        "loss": nn.functional.cross_entropy,
    }


def test_the_one_call_returns_a_copy_with_an_eighth_of_the_weights(yours, capsys):
    exec(ONE_CALL, yours)
    assert "an eighth" in ONE_CALL
    assert masks.density(masks.from_zeros(yours["pruned"].model)) == 1 / 8
    assert masks.density(masks.from_zeros(yours["model"])) == 1
    assert "accuracy" in capsys.readouterr().out


def test_the_own_loop_prunes_the_network_itself_and_holds_its_zeros(yours):
    exec(OWN_LOOP, yours)
    assert yours["pruner"].density == 1 / 8
    levels = [check.level for check in yours["pruner"].checks]
    assert levels == [0, 0, 1, 1, 2, 2, *[3] * 8]
    zeros = {name: weight != 0 for name, weight in masks.prunable(yours["model"]).items()}
    assert all(torch.equal(zeros[name], mask) for name, mask in yours["pruner"].masks.items())


def test_both_stand_on_the_first_screen_and_the_page_is_short():
    lines = README.splitlines()
    assert len(lines) <= 100
    assert "\n".join(lines[:40]).count("```python") == 2
    assert OWN_LOOP.strip().count("\n") + 1 <= 15


def plain(text):
    """The words alone: no mark-up, no links to runs and proofs, no breaks of lines."""
    text = re.sub(r"(?m)^\d\. ", "", text)  # README counts them, cards need no count
    text = re.sub(r"\[Run\]\([^)]+\)[^\n]*", "", text)
    text = re.sub(r"\{term\}`([^`<]+?)(?: <[^`]+>)?`", r"\1", text)
    return " ".join(re.sub(r"[*`]|\{grid[^\n]*|:[\w-]+: [^\n]*", "", text).split())


def test_what_was_found_is_said_in_the_words_of_the_first_page_and_the_numbers_of_the_chapters():
    numbers = json.loads(findings.FILE.read_text("utf-8"))
    cards = findings.section().partition("**So should")[0]
    said = README.partition("\n## What we found\n")[2].partition("\n![")[0]
    assert plain(said) == plain(findings.filled(cards, numbers))
    assert len(re.findall(r"(?m)^\d\. ", said)) == 4
