"""The published networks at their published settings: chapter 5 has them, one step runs here."""

import ast
from dataclasses import replace

import build
import nbformat
import pytest
import torch
from torch import nn

from infcop_lite import models
from infcop_lite.config import Config
from infcop_lite.pruning import prune

CHAPTER = build.ROOT / "notebooks" / "05-cifar10.ipynb"


def cell(name):
    cells = nbformat.read(CHAPTER, as_version=4).cells
    (found,) = [cell.source for cell in cells if cell.id == name]
    return found


def chapter_settings():
    """What the chapter passes to `prune`: published, and what each variant changes."""
    statements = ast.parse(cell("published")).body
    return {statement.targets[0].id: ast.literal_eval(statement.value) for statement in statements}


VARIANTS = chapter_settings()["variants"]


def untrained(name):
    """The network with random weights; VGG16's two widest layers narrowed, 90 % of its weights."""
    with torch.device("meta"):
        network = models.build(name)
        if name == "vgg16":
            for index, sizes in {0: (25_088, 32), 3: (32, 32), 6: (32, 10)}.items():
                network.classifier[index] = nn.Linear(*sizes)
    network.to_empty(device="cpu")
    torch.manual_seed(0)
    for module in network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return network


def test_the_settings_are_those_of_the_published_long_runs():
    settings = chapter_settings()
    config = Config(data="cifar10", model="vgg16", **settings["published"])
    # twenty epochs of warm-up, forty for each of fifteen rounds, of which the first prunes nothing
    assert (config.warmup_epochs, config.epochs, config.levels) == (20, 40, 14)
    assert (config.lr, config.weight_decay, config.batch_size) == (0.01, 5e-4, 64)
    assert (config.amount, config.scope, config.eta, config.gamma) == ("sap", "global", 0, 1)
    assert (config.beta, config.p, config.q) == (0.9, 1, 2)
    assert config.absolute
    tolerances = {name: replace(config, **own).epsilon for name, own in VARIANTS.items()}
    assert tolerances == {"information": 0.11, "gradient": 0.5}


def test_only_the_paper_profile_fetches_anything():
    _, branch, _ = ast.parse(cell("paper-runs")).body
    assert ast.unparse(branch.test) == "profile == 'paper'"
    assert not branch.orelse
    cells = nbformat.read(CHAPTER, as_version=4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    fetching = [source for source in sources if "weights=" in source or "download(" in source]
    assert fetching == [cell("paper-runs")]


@pytest.mark.parametrize(("name", "variant"), [("vgg16", "information"), ("resnet18", "gradient")])
def test_a_published_network_trains_one_step_and_is_pruned(name, variant):
    settings = chapter_settings()["published"] | VARIANTS[variant]
    settings |= {"levels": 1, "warmup_epochs": 0, "epochs": 0, "final_epochs": 1, "threads": 1}
    generator = torch.Generator().manual_seed(0)
    images, classes = torch.randn(4, 3, 32, 32, generator=generator), torch.arange(4)
    network = nn.Sequential(nn.Upsample(size=40, mode="bilinear"), untrained(name))
    before = network.state_dict()
    trained, masks, rows = prune(network, (images, classes), (images, classes), **settings)
    assert [(row.level, row.epoch) for row in rows] == [(0, 0), (1, 0), (1, 1)]
    assert rows[0].density == 1 > rows[-1].density > 0
    for key, mask in masks.items():
        assert not trained.state_dict()[key][~mask].any()
    first = next(iter(masks))
    assert not torch.equal(trained.state_dict()[first], before[first] * masks[first])
    assert rows[-1].reference_norm > 0
