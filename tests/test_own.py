"""Networks and data of one's own: other architectures, loaders, folders, a bar, a summary."""

import copy
import math
import re
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import build
import gather
import matplotlib.pyplot as plt
import nbformat
import own_models
import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
)
from torchvision import models as zoo

import infcop_lite
from infcop_lite import evidence, stopping
from infcop_lite.config import STOPS, Config
from infcop_lite.flows import collect_activations
from infcop_lite.identity import fingerprint
from infcop_lite.loaders import in_memory
from infcop_lite.masks import check_masks, density, prunable
from infcop_lite.pruning import prune
from infcop_lite.rows import SECONDS
from infcop_lite.stopping import Patience

# most of a text classifier is its embedding, most of an attention its bare parameter
pytestmark = pytest.mark.filterwarnings("ignore:only .* have masks:UserWarning")

SMALL = {"levels": 2, "fraction": 0.5, "epochs": 2, "warmup_epochs": 1, "batch_size": 10}
SMALL |= {"device": "cpu", "threads": 1}


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def cloud(num_samples=40, seed=0):
    inputs = torch.randn(num_samples, 6, generator=generator(seed))
    return inputs, inputs[:, :3].argmax(1)


def mlp():
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
        )
    )


def told(rows):
    """The rows as text (NaN equals NaN there), but for the seconds."""
    return [str(replace(row, **dict.fromkeys(SECONDS, 0.0))) for row in rows]


def assert_same(result, expected):
    assert told(result.rows) == told(expected.rows)
    states = result.model.state_dict(), expected.model.state_dict()
    assert fingerprint(states[0]) == fingerprint(states[1])
    assert list(result.masks) == list(expected.masks)
    assert fingerprint(result.masks) == fingerprint(expected.masks)


# --- any architecture --------------------------------------------------------------------------


class Words(nn.Module):
    """A text classifier: the mean of the tokens' vectors, then two layers."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(50, 12)
        self.hidden, self.head = nn.Linear(12, 16), nn.Linear(16, 3)

    def forward(self, tokens):
        return self.head(self.hidden(self.vectors(tokens).mean(1)).relu())


class Attention(nn.Module):
    """A block of a vision transformer over patches that are linear functions of pixels."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.batch_first, self.patch = batch_first, nn.Linear(12, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
        self.head = nn.Linear(16, 3)

    def forward(self, patches):
        tokens = self.patch(patches)
        if self.batch_first:
            return self.head(self.block(tokens).mean(1))
        return self.head(self.block(tokens.transpose(0, 1)).mean(0))


def vgg():
    model = zoo.vgg16(num_classes=3, init_weights=False)
    model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 3)
    return model


def vit():
    return zoo.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=3,
    )


def images(number=8):
    return torch.randn(number, 3, 32, 32, generator=generator())


def tokens(number=8):
    return torch.randint(50, (number, 7), generator=generator())


NETWORKS = {
    "resnet18": (lambda: zoo.resnet18(num_classes=3), images),
    "vgg16": (vgg, images),
    "mobilenet_v3_small": (lambda: zoo.mobilenet_v3_small(num_classes=3), images),
    "vit": (vit, images),
    "transformer block": (Attention, lambda: torch.randn(8, 5, 12, generator=generator())),
    "text": (Words, tokens),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_the_usual_kinds_is_pruned_to_the_density_asked_for(name):
    make, inputs = NETWORKS[name]
    model, (x, y) = seeded(make), (inputs(), torch.arange(8) % 3)
    before = fingerprint(model.state_dict())
    options = {**SMALL, "levels": 1, "epochs": 1, "warmup_epochs": 0, "batch_size": 8}
    options |= {"lr": 0.001, "monitor": True}
    result, masks, rows = infcop_lite.prune(model, (x, y), (x, y), **options)
    weights = check_masks(result, masks)
    for key, mask in masks.items():
        assert int(mask.sum()) == mask.numel() - round(0.5 * mask.numel())
        assert (weights[key][~mask] == 0).all()
        assert (weights[key][mask] != 0).any()
    assert rows[-1].density == density(masks) == pytest.approx(0.5, abs=0.01)
    assert math.isfinite(rows[-1].flow_distance)
    assert fingerprint(model.state_dict()) == before
    assert result(x).shape == (8, 3)


@pytest.mark.parametrize("name", ["vit", "transformer block"])
def test_what_layers_say_about_tokens_is_averaged_per_sample(name):
    make, inputs = NETWORKS[name]
    activations = collect_activations(seeded(make), inputs(), batch_size=3)
    assert {activation.shape[0] for activation in activations.values()} == {8}
    assert {activation.shape[1] for activation in activations.values()} == {16, 32, 3}


def test_attention_keeps_its_bare_parameter_dense_and_prunes_its_projection():
    model, x = seeded(Attention), torch.randn(8, 5, 12, generator=generator())
    result = prune(model, (x, torch.arange(8) % 3), (x, torch.arange(8) % 3), **SMALL)
    attention = result.model.block.self_attn
    assert (attention.in_proj_weight != 0).all()
    assert (attention.out_proj.weight == 0).float().mean() == 0.75
    assert "block.self_attn.out_proj.weight" in result.masks
    assert list(collect_activations(model, x)) == [
        "patch",
        "block.linear1",
        "block.linear2",
        "head",
    ]


def test_tokens_before_samples_are_refused_where_the_flow_is_needed_and_else_not_measured():
    model, x = seeded(lambda: Attention(batch_first=False)), torch.randn(8, 5, 12)
    part = x, torch.arange(8) % 3
    with pytest.raises(ValueError, match=r"5 outputs for 8 samples.*batch_first=True"):
        prune(model, part, part, stop="information", **SMALL)
    rows = prune(model, part, part, monitor=True, **SMALL).rows
    assert all(math.isnan(row.flow_distance) for row in rows)


def test_a_network_whose_only_called_layer_is_its_head_can_be_pruned():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(6, 1), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=False)[0])

    rows = prune(seeded(Bare), cloud(), cloud(20, seed=1), monitor=True, **SMALL).rows
    assert rows[-1].density == pytest.approx(0.25, abs=0.01)
    assert math.isnan(rows[-1].flow_distance)


class Viewing(nn.Module):
    """As in many a tutorial: a view of what a convolution gives."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8 * 16, 3)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).relu().view(-1, 8 * 16))


def test_a_view_of_what_a_convolution_gives_is_no_obstacle():
    part = torch.randn(30, 3, 8, 8, generator=generator()), torch.arange(30) % 3
    assert prune(seeded(Viewing), part, part, **SMALL).rows[-1].density == pytest.approx(0.25, 0.01)


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="torch 2.6")
@pytest.mark.parametrize("part", ["all", "a block"])
def test_a_compiled_network_has_the_flow_of_its_layers(part):
    plain = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    model = copy.deepcopy(plain)
    if part == "all":
        model = torch.compile(model, backend="eager")
    else:
        model[0] = torch.compile(model[0], backend="eager")
    inputs = cloud()[0]
    model(inputs)  # compiled before anything is hooked
    seen = list(collect_activations(model, inputs).values())
    expected = list(collect_activations(plain, inputs).values())
    assert len(seen) == len(expected) == 2
    for found, layer in zip(seen, expected, strict=True):
        torch.testing.assert_close(found, layer)


def test_a_frozen_batch_norm_stays_frozen():
    model = mlp()
    model[1].eval().requires_grad_(False)
    pruned = prune(model, cloud(), cloud(20, seed=1), **SMALL).model
    assert torch.equal(pruned[1].running_mean, torch.zeros(8))
    assert not pruned[1].training
    assert pruned[0].training


class Auxiliary(nn.Module):
    """A second head while it trains, as GoogLeNet has."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.first(x).relu()
        return (self.head(h), h) if self.training else self.head(h)


def test_a_second_output_in_training_is_refused_in_one_line():
    with pytest.raises(ValueError, match="in training mode the model returns tuple, not one tens"):
        prune(seeded(Auxiliary), cloud(), cloud(), **SMALL)


class Choosy(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error, self.layer = error, nn.Linear(6, 3)

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize("error", [AssertionError("height!"), KeyError("x"), IndexError("x")])
def test_inputs_that_a_network_rejects_are_one_clear_line(error):
    with pytest.raises(ValueError, match="the model cannot take inputs of shape"):
        prune(Choosy(error), cloud(), cloud(), **SMALL)


@pytest.mark.parametrize("tokens", [2, 3])
def test_tokens_before_samples_have_no_flow_whatever_their_number(tokens):
    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0)
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.block(x.transpose(0, 1)).mean(0))

    part = torch.randn(40, tokens, 6, generator=generator()), torch.arange(40) % 3
    rows = prune(seeded(First), part, part, monitor=True, **SMALL).rows
    assert all(math.isnan(row.flow_distance) for row in rows)


# --- any data ----------------------------------------------------------------------------------


class Samples(Dataset):
    """Hugging Face style: a sample is a dict."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return {"pixel_values": self.inputs[index], "labels": int(self.targets[index])}


def from_dict(batch):
    return batch["pixel_values"], batch["labels"]


WAYS = {
    "a loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7),
    "a loader that shuffles and drops": lambda x, y: DataLoader(
        TensorDataset(x, y), batch_size=8, shuffle=True, drop_last=True
    ),
    "a loader with batches of its own": lambda x, y: DataLoader(
        TensorDataset(x, y), batch_sampler=[range(30), range(30, len(y))]
    ),
    "a loader of a shuffled part": lambda x, y: DataLoader(
        TensorDataset(torch.cat([x, -x]), torch.cat([y, y])),
        batch_size=7,
        sampler=SubsetRandomSampler(range(len(y))),
    ),
    "a data set": TensorDataset,
    "a list of samples": lambda x, y: list(zip(x, y.tolist(), strict=True)),
    "a list of two tensors": lambda x, y: [x, y],
}


@pytest.mark.parametrize("way", WAYS)
def test_data_are_the_same_whoever_brings_them(way):
    x, y = cloud()
    state = torch.get_rng_state()
    split = in_memory(WAYS[way](x, y))
    assert torch.equal(split.inputs, x)
    assert torch.equal(split.targets, y)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loader_and_dicts_give_the_rows_that_tensors_give():
    train, validation = cloud(), cloud(20, seed=1)
    expected = prune(mlp(), train, validation, **SMALL)
    loader = DataLoader(TensorDataset(*train), batch_size=8, shuffle=True)
    assert_same(prune(mlp(), loader, TensorDataset(*validation), **SMALL), expected)
    dicts = DataLoader(Samples(*train), batch_size=16), Samples(*validation)
    assert_same(prune(mlp(), *dicts, adapter=from_dict, **SMALL), expected)


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(*cloud(), strict=True)


def ragged(samples):
    inputs, targets = zip(*samples, strict=True)
    return torch.stack(inputs)[:, : int(targets[0]) + 1], torch.stack(targets)


DATA = TensorDataset(*cloud())
BAD = {
    "no pair": (TensorDataset(cloud()[0]), None, r"not a list of Tensor; give an adapter"),
    "a dict": (Samples(*cloud()), None, "a dict with the keys pixel_values, labels; give an adap"),
    "a failing adapter": (Samples(*cloud()), lambda b: (b["image"], 0), "KeyError: 'image'"),
    "an adapter without a pair": (Samples(*cloud()), lambda b: b["labels"], "not a Tensor$"),
    "unequal lengths": (DATA, lambda b: (b[0][1:], b[1]), "39 inputs and 40 targets do not make"),
    "ragged": (DataLoader(DATA, batch_size=5, collate_fn=ragged), None, "must have one shape"),
    "samples of other sizes": ([(torch.ones(i), 0) for i in (2, 3)], None, "do not make batches"),
    "samples of other kinds": ([(object(), 0)], None, "do not make batches"),
    "samples of other keys": (
        [{"x": 1}, {"y": 1}],
        from_dict,
        "do not make batches: KeyError: 'x'",
    ),
    "a dict of columns": (
        {"x": 1, "y": 2},
        None,
        "a map-style Dataset, not a dict with the keys x, y",
    ),
    "nothing": (TensorDataset(*cloud(0)), None, "gives no batches"),
    "a stream": (Stream(), None, "a map-style Dataset, not a Stream"),
    "text": (None, None, "a map-style Dataset, not a NoneType"),
    "a triple": ((1, 2, 3), None, r"data must be a pair"),
    "float targets": (DATA, lambda b: (b[0], b[1].float()), "targets must be int64"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_get_one_clear_line(name):
    part, adapter, complaint = BAD[name]
    with pytest.raises(ValueError, match=complaint) as caught:
        in_memory(part, adapter)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_what_is_wrong_names_the_data_that_it_is_about(name):
    parts = dict.fromkeys(("train", "validation", "test"), cloud()) | {name: cloud(0)}
    with pytest.raises(ValueError, match=f"^{name}: 0 inputs and 0 targets"):
        prune(nn.Linear(3, 2), **parts)


# --- in a folder -------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL inside one process: nothing may catch it."""


@dataclass(frozen=True)
class Mortal(Patience):
    """A rule that dies at its n-th question, and with it the run."""

    left: ClassVar[int] = 1000

    def stop(self, checks):
        Mortal.left -= 1
        if Mortal.left < 0:
            raise Killed
        return super().stop(checks)


@pytest.fixture
def mortal(monkeypatch):
    """What sets how many questions are left."""
    return lambda left: monkeypatch.setattr(Mortal, "left", left)


def run(folder=None, model=None, train=None, **options):
    parts = cloud() if train is None else train, cloud(20, seed=1), cloud(20, seed=2)
    settings = SMALL | {"levels": 3, "stop": Mortal(1), "optimizer": "adam", "lr": 0.01} | options
    return prune(mlp() if model is None else model, *parts, folder=folder, **settings)


@pytest.mark.parametrize("left", [0, 3, 5])
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(left, mortal, tmp_path):
    mortal(1000)
    expected = run()
    mortal(left)
    with pytest.raises(Killed):
        run(tmp_path)
    mortal(1000)
    assert_same(run(tmp_path), expected)
    mortal(0)  # whoever trains now dies
    again = run(tmp_path)
    assert_same(again, expected)
    assert again.rows[-1].elapsed_s > 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"rows.csv", "run.json", "network.safetensors", "provenance.jsonl", ".lock"}


def test_a_run_that_reaches_its_final_density_early_comes_back_from_its_folder(tmp_path):
    options = {"levels": 30, "final_density": 0.25, "stop": "budget"}
    first, again = run(tmp_path, **options), run(tmp_path, **options)
    assert_same(again, first)
    assert first.rows[-1].level == 2


def frozen():
    model = mlp()
    model[0].weight.requires_grad_(False)
    return model


OTHERS = {
    "train data": {"train": cloud(seed=5)},
    "initial weights": {"model": seeded(lambda: nn.Linear(6, 3), seed=1)},
    "batch_size": {"batch_size": 20},
    "stop": {"stop": Patience(1)},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_folder_with_another_run_is_refused_in_one_line(what, tmp_path):
    run(tmp_path, levels=0, epochs=0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=f"already holds another run; it differs in .*{what}"):
        run(tmp_path, **{"levels": 0, "epochs": 0} | OTHERS[what])
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_frozen_layer_makes_another_run(tmp_path):
    run(tmp_path, levels=0, epochs=0)
    with pytest.raises(ValueError, match="differs in initial weights"):
        run(tmp_path, levels=0, epochs=0, model=frozen())


def test_a_train_of_its_own_that_freezes_a_part_makes_another_run(tmp_path):
    def named(frozen):
        class Net(nn.Sequential):
            def train(self, mode=True):
                super().train(mode)
                if frozen:
                    self[1].eval()
                return self

        torch.manual_seed(0)
        return Net(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))

    run(tmp_path, levels=0, epochs=0, model=named(frozen=False))
    with pytest.raises(ValueError, match=r"differs in train\(\)"):
        run(tmp_path, levels=0, epochs=0, model=named(frozen=True))


def test_another_layer_without_weights_makes_another_run(tmp_path):
    run(tmp_path, levels=0, epochs=0)
    other = mlp()
    other[2] = nn.Tanh()
    with pytest.raises(ValueError, match="differs in network"):
        run(tmp_path, levels=0, epochs=0, model=other)


class Nameless:
    reads = frozenset({"accuracy"})

    def stop(self, checks):
        return True


def test_a_rule_that_cannot_be_told_from_another_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs a stop rule that repr tells apart"):
        run(tmp_path / "new", stop=Nameless())
    assert not (tmp_path / "new").exists()


def test_weights_that_no_file_can_hold_are_refused_before_training(tmp_path):
    part = cloud()[0].bfloat16(), cloud()[1]
    with pytest.raises(ValueError, match=r"is of torch\.bfloat16, which a folder cannot hold"):
        prune(mlp().bfloat16(), part, part, folder=tmp_path / "new", **SMALL)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_finished_run_whose_network_is_damaged_or_gone_says_so(damage, tmp_path):
    run(tmp_path, levels=0, epochs=0)
    file = tmp_path / "network.safetensors"
    file.unlink() if damage == "gone" else file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"without its network|is damaged"):
        run(tmp_path, levels=0, epochs=0)


# --- what one sees -----------------------------------------------------------------------------


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_drawn_on_stderr_where_it_is_asked_for(progress, capsys):
    run(progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert (" 4/4 " in err) is progress
    assert bool(err) is progress


def test_the_summary_says_what_came_out_and_what_it_cost():
    options = {"levels": 2, "epochs": 3, "final_epochs": 1, "stop": Patience(1)}
    result = run(**options)
    model, masks, rows = result
    ends = [row for row in rows if row.stopped]
    kept = sum(int(mask.sum()) for mask in masks.values())
    weights, accuracies, training = result.summary().splitlines()
    num_others = sum(p.numel() for p in model.parameters()) - 72
    assert weights.startswith(f"weights: {kept} of 72 kept, density {kept / 72:.4f}; {num_others} ")
    dense, pruned = ends[0].test_accuracy, ends[-1].test_accuracy
    assert accuracies == f"test accuracy: {dense:.4f} dense, {pruned:.4f} pruned"
    spent = 1 + sum(row.epoch for row in ends)
    assert training.startswith(f"training: {spent:g} of at most {1 + 2 * 3 + 1} epochs")


def test_the_summary_of_a_run_without_a_test_split_says_which_split_it_means():
    result = prune(mlp(), cloud(), cloud(20, seed=1), **SMALL)
    assert "\nvalidation accuracy: " in result.summary()
    assert f"{result.rows[-1].validation_accuracy:.4f} pruned" in result.summary()


def test_what_comes_back_unpacks_as_three_and_can_be_copied():
    result = run(levels=0, epochs=0)
    model, masks, rows = result
    assert (model, masks, rows) == (result.model, result.masks, result.rows)
    assert len(result) == 3
    assert replace(result, rows=rows[-1:]).summary().startswith("weights: ")
    assert copy.deepcopy(result).summary() == result.summary()
    assert list(prunable(result[0])) == list(result[1])


@pytest.mark.parametrize("name", own_models.NETWORKS)
def test_the_runs_of_the_chapter_are_those_that_its_script_would_make(name):
    rows, record = evidence.read("own").query("family == @name"), evidence.provenance("own")[name]
    assert record["config"] == own_models.settings_of(name)
    assert record["finished"]
    assert rows["density"].iloc[-1] == pytest.approx(0.5**3, rel=0.01)
    assert 0 < rows["compact_flops"].iloc[-1] <= 1


# --- which rule when: the guide of the chapter --------------------------------------------------


def cells_of(name):
    (path,) = (build.ROOT / "notebooks").glob(f"??-{name}.ipynb")
    return nbformat.read(path, as_version=4).cells


def section(cells, heading):
    """The cells from the one that opens with this heading to the one that has the next."""
    starts = [i for i, cell in enumerate(cells) if re.search(r"(?m)^## ", cell.source)]
    (first,) = [i for i in starts if cells[i].source.startswith(f"## {heading}")]
    return cells[first : next(i for i in starts if i > first) + 1]


def guide(monkeypatch, results):
    """What the cells of the guide compute from a folder of results, by name.

    Those that give the prose its numbers assert what the committed tables hold, and are left out.
    """
    monkeypatch.setenv("INFCOP_RESULTS_DIR", str(results))
    monkeypatch.setattr(plt, "show", plt.close)
    cells = cells_of("prune-your-own-model")
    parts = [cell for cell in section(cells, "Which rule when?") if cell.cell_type == "code"]
    code = [cell.source for cell in parts if not cell.id.endswith("-said")]
    (imports,) = [cell.source for cell in cells if "import matplotlib" in cell.source]
    names = {}
    for source in [imports, *code]:
        exec(source, names)
    return names


def assert_sound(names):
    """A network in the guide has several seeds; a rule in it passes, and does save epochs."""
    passing = names["passing"]
    assert passing["non_inferior"].all()
    assert (passing["saving"] > 1).all()
    assert set(passing["table"]) <= set(names["decided"])
    for (table, kind), row in names["guide"].iterrows():
        rivals = passing[(passing["table"] == table) & (passing["kind"] == kind)]
        assert row["saving"] == rivals["saving"].max()


def test_the_guide_names_the_cheapest_rule_that_passes_and_prices_what_it_advises(monkeypatch):
    names = guide(monkeypatch, gather.RESULTS)
    assert_sound(names)
    assert len(names["guide"]) > 0
    assert set(names["ready"]) <= set(names["verdicts"]["rule"])


def test_the_guide_says_less_where_there_are_fewer_results(monkeypatch, tmp_path, capsys):
    few = {"mlp/fixed-0", "mlp/fixed-1", "convnet/fixed-0"}
    others = ("neighbours/", "airnet/")  # what the guide says of them has its own seeds
    there = gather.restore(lambda name: name in few or name.startswith(others), tmp_path)
    assert {name for name in there if not name.startswith(others)} == few
    names = guide(monkeypatch, tmp_path)
    assert_sound(names)
    assert set(names["decided"]) == {"mlp"}
    assert re.search(r"convnet: \d+ rules, 1 seed", capsys.readouterr().out)


def test_the_guide_advises_what_prune_takes():
    prose = "\n".join(
        cell.source for cell in section(cells_of("prune-your-own-model"), "Which rule when?")
    )
    stops, options = re.findall(r'`stop="([\w-]+)"`', prose), re.findall(r"`(\w+)=", prose)
    assert {"patience", "twice-loss"} <= set(stops) <= set(STOPS)
    assert set(options) <= {field.name for field in fields(Config)}
    assert f"`patience={Config().patience}`, the default" in prose
    for name in re.findall(r"`stop=(\w+)\(", prose):
        assert hasattr(stopping, name)


@pytest.mark.parametrize(
    "name", ["mnist", "cifar10", "fair-comparisons", "neighbours", "prune-your-own-model"]
)
def test_margins_stand_in_one_place(name):
    code = [cell.source for cell in cells_of(name) if cell.cell_type == "code"]
    assert any("evidence.MARGINS" in source for source in code)
    assert not any(re.search(r"margins? = (\{|0)", source) for source in code)
