"""What weights are ranked by, and what stays dense: by hand, as an oracle, through the loop."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from infcop_lite import Config, compare, prune, run
from infcop_lite.amounts import next_masks, spared
from infcop_lite.level import Trainer
from infcop_lite.masks import apply_masks, density, full_masks, keep_best, magnitude_masks, prunable
from infcop_lite.scores import SCORES, at_random, magnitude, taylor, weight_times_input

FAST = {"subset": 200, "batch_size": 60, "levels": 2, "epochs": 1, "warmup_epochs": 1, "threads": 1}
FAST |= {"fraction": 0.5, "device": "cpu"}


def network(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(27, 4))


def batch(num_samples=300, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 2, 7, 7, generator=generator)
    return inputs, torch.randint(0, 4, (num_samples,), generator=generator)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_a_number_for_each_weight_and_leaves_the_network_as_it_was(name):
    net = network().train()
    net[1].eval()
    before, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    scores = SCORES[name](net, full_masks(net), batch(), cross_entropy)
    assert {k: s.shape for k, s in scores.items()} == {k: w.shape for k, w in prunable(net).items()}
    assert all((score >= 0).all() and score.isfinite().all() for score in scores.values())
    assert not any(score.requires_grad for score in scores.values())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_magnitude_is_what_magnitude_pruning_ranks_by():
    net = network()
    for scope in ("layerwise", "global"):
        scores = magnitude(net, {}, None, cross_entropy)
        masks = keep_best(scores, full_masks(net), 0.3, scope)
        expected = magnitude_masks(net, full_masks(net), 0.3, scope)
        assert all(torch.equal(masks[k], expected[k]) for k in expected)


def test_weight_times_input_is_exact_for_one_unit_of_each_kind():
    """|w| times the norm of what it is multiplied with, by a sum over all places and samples."""
    net, (x, y) = network(), batch()
    scores = weight_times_input(net, full_masks(net), (x, y), cross_entropy)
    first, hidden = net[0].weight.detach(), net[:2](x).detach()
    # unit 2 of the grouped convolution hears channel 1, the only one of its group
    norm = x[:, 1].square().sum().sqrt()
    assert torch.allclose(scores["0.weight"][2], first[2].abs() * norm, rtol=1e-5)
    norms = hidden.square().sum((0, 2, 3)).sqrt()
    by_hand = net[2].weight.detach().abs() * norms[None, :, None, None]
    assert torch.allclose(scores["2.weight"], by_hand, rtol=1e-4)
    flat = net[:4](x).detach().square().sum(0).sqrt()
    assert torch.allclose(scores["4.weight"], net[4].weight.detach().abs() * flat, rtol=1e-4)


def test_taylor_is_how_far_the_loss_moves_when_one_weight_goes():
    """To first order: a weight is shrunk a little, and the loss followed."""
    net, (x, y) = network().double(), batch()
    x = x.double()
    scores = taylor(net, full_masks(net), (x, y), cross_entropy)
    with torch.no_grad():
        loss = cross_entropy(net(x), y)
        for name, place in (("0.weight", (1, 0, 0, 2)), ("4.weight", (3, 7))):
            weight = dict(net.named_parameters())[name]
            old = weight[place].clone()
            weight[place] = old * (1 - 1e-5)
            moved = (cross_entropy(net(x), y) - loss).abs() / 1e-5
            weight[place] = old
            assert scores[name][place].item() == pytest.approx(moved.item(), rel=1e-3)


def test_the_batch_may_be_larger_than_what_passes_at_once():
    net, (x, y) = network(), batch(600)
    for score in (taylor, weight_times_input):
        whole = score(net, {}, (x, y), cross_entropy)
        halves = [score(net, {}, (part, y[:300]), cross_entropy) for part in x.split(300)]
        assert all(torch.isfinite(v).all() for v in (*whole.values(), *halves[0].values()))
    squares = [{k: v.square() for k, v in half.items()} for half in halves]
    for name, value in whole.items():
        together = (squares[0][name] + squares[1][name]).sqrt()
        assert torch.allclose(value, together, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("score", [taylor, weight_times_input])
def test_a_score_that_reads_a_batch_asks_for_one(score):
    with pytest.raises(ValueError, match="this score reads a batch"):
        score(network(), {}, None, cross_entropy)


def test_scores_of_chance_are_those_of_the_generator():
    net = network()
    torch.manual_seed(5)
    one = at_random(net, {}, None, cross_entropy)
    torch.manual_seed(5)
    two = at_random(net, {}, None, cross_entropy)
    assert all(torch.equal(one[k], two[k]) for k in one)


# --- in the loop -------------------------------------------------------------------------------


@pytest.mark.parametrize("score", SCORES)
def test_every_score_prunes_as_much_and_other_weights(score):
    config = Config(**FAST, score=score)
    states = []
    rows = list(run(config, keep=states.append))
    assert rows[-1].density == pytest.approx(0.25, abs=1e-3)
    again = []
    list(run(config, states[1], keep=again.append))
    final, resumed = states[-1].start.masks, again[-1].start.masks
    assert all(torch.equal(final[k], resumed[k]) for k in final)
    by_size = []
    list(run(Config(**FAST), keep=by_size.append))
    same = all(torch.equal(final[k], m) for k, m in by_size[-1].start.masks.items())
    assert same == (score == "magnitude")


def test_a_score_of_ones_own_is_a_function():
    def largest_index(model, masks, batch, loss):
        assert batch[0].shape[1:] == (1, 8, 8)
        assert loss(torch.zeros(1, 10), torch.zeros(1, dtype=torch.long)).item() > 0
        return {k: torch.arange(m.numel()).reshape(m.shape).float() for k, m in masks.items()}

    trainer = Trainer.of(Config(**FAST, score=largest_index))
    masks = trainer.next_masks(0)
    for mask in masks.values():
        half = mask.numel() // 2
        assert mask.flatten()[half:].all()
        assert not mask.flatten()[: half - 1].any()


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda *_: {}, "the scores must be tensors like the masks"),
        (lambda m, masks, *_: {k: v.float()[:1] for k, v in masks.items()}, "like the masks"),
        (lambda m, masks, *_: {k: v * float("nan") for k, v in masks.items()}, "NaN or infinite"),
    ],
)
def test_a_score_that_gives_no_such_tensors_is_refused(score, message):
    net = nn.Linear(4, 2)
    with pytest.raises(ValueError, match=message):
        next_masks(net, full_masks(net), Config(score=score), batch())


def test_rules_with_a_random_score_come_to_the_same_in_company():
    shared = FAST | {"score": "random"}
    configs = {"full": Config(**shared), "loss": Config(**shared, stop="loss")}
    together = {found.rule: found.masks for found in compare(configs)}
    for name, config in configs.items():
        (alone,) = compare({name: config})
        assert all(torch.equal(m, alone.masks[k]) for k, m in together[name].items())


# --- what stays dense, and fractions of one's own ----------------------------------------------


def cloud(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, 6, generator=generator)
    return x, x[:, :3].argmax(1)


def small_net():
    torch.manual_seed(0)
    layers = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    return nn.Sequential(*layers)


def pruned(net=None, **options):
    settings = {"levels": 2, "epochs": 1, "warmup_epochs": 1, "batch_size": 20, "fraction": 0.5}
    return prune(net or small_net(), cloud(), cloud(1), **{**settings, **options})


@pytest.mark.parametrize("amount", ["fixed", "sap"])
@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("dense", [("0",), ("0", "4"), "0, 4", ("[04]",)])
def test_layers_that_stay_dense_keep_every_weight(scope, dense, amount):
    found = pruned(dense=dense, scope=scope, amount=amount, p=1.0, q=2.0)
    assert found.masks["0.weight"].all()
    assert found.masks["4.weight"].all() == ("4" in str(dense))
    assert not found.masks["2.weight"].all()
    assert found.rows[-1].density == density(found.masks)  # they count
    assert "not pruned: 0 (dense)" in found.summary()


def test_an_output_layer_that_is_also_an_embedding_is_spared_and_named():
    net = nn.ModuleDict({"emb": nn.Embedding(6, 4), "mid": nn.Linear(4, 4), "out": nn.Linear(4, 6)})
    twins = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert spared(net) == {}
    net["out"].weight = net["emb"].weight
    assert spared(net) == {"out.weight": "tied"}
    assert next_masks(net, full_masks(net), Config(fraction=0.5))["out.weight"].all()
    twins[1].weight = twins[0].weight  # two layers that are pruned: nothing is promised
    assert spared(twins) == {}
    del net["mid"]
    with pytest.raises(ValueError, match="nothing is left to prune"):
        spared(net)


def test_a_frozen_layer_is_spared_and_named():
    net = small_net()
    net[2].weight.requires_grad_(False)
    before = net[2].weight.clone()
    found = pruned(net)
    assert found.masks["2.weight"].all()
    assert torch.equal(found.model[2].weight, before)
    assert "not pruned: 2 (frozen)" in found.summary()
    assert "not pruned" not in pruned().summary()


def test_a_global_threshold_is_drawn_over_what_is_pruned():
    net = small_net()
    with torch.no_grad():
        net[4].weight.mul_(1e-6)  # without being spared, all of it would go
    config = Config(scope="global", fraction=0.5, dense=("4",))
    masks = next_masks(net, full_masks(net), config)
    assert masks["4.weight"].all()
    others = torch.cat([masks["0.weight"].flatten(), masks["2.weight"].flatten()])
    assert others.float().mean() == 0.5


def test_each_layer_may_have_a_fraction_of_its_own():
    net = small_net()
    masks = next_masks(net, full_masks(net), Config(fraction={"0": 0.25, "[2]": 0.75}))
    kept = {name: mask.float().mean().item() for name, mask in masks.items()}
    assert kept == {"0.weight": 0.75, "2.weight": 0.25, "4.weight": 1.0}


def test_the_final_density_is_reached_with_layers_that_stay_dense():
    found = pruned(dense=("0",), final_density=0.5, levels=20, fraction=0.2)
    assert found.rows[-1].density == pytest.approx(0.5, abs=0.02)
    total = sum(m.numel() for m in found.masks.values())
    least = found.masks["0.weight"].numel() / total
    message = f"final_density 0.3 cannot be reached: 0 stay dense, .*{least:.4f}"
    with pytest.raises(ValueError, match=message):
        pruned(dense=("0",), final_density=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dense": ("conv",)}, "dense: no layer is called 'conv'; there are 0, 2, 4"),
        ({"dense": ("*",)}, "nothing is left to prune"),
        ({"dense": 3}, "dense must be names of layers, not 3"),
        ({"dense": ("0", 1)}, "dense must be names of layers"),
        ({"fraction": {}}, "fraction must be a number, or name at least one layer"),
        ({"fraction": {"9": 0.5}}, "fraction: no layer that is pruned is called '9'"),
        ({"fraction": {"0": 1.0}}, "fraction of 0 must be less than 1"),
        ({"fraction": {"0": 0.2, "2": 0.3}, "scope": "global"}, "global scope takes one fraction"),
        ({"score": "size"}, "unknown score 'size'; choose from magnitude"),
        ({"score": magnitude.__class__}, "score must be a name or a function, not the class"),
    ],
)
def test_what_cannot_be_pruned_so_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match="(?s)^" + message):
        pruned(**options)


def test_every_layer_frozen_is_refused():
    net = small_net()
    for layer in (0, 2, 4):
        net[layer].weight.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing is left to prune"):
        spared(net)


def test_a_folder_tells_such_runs_apart(tmp_path):
    first = pruned(dense=("0",), fraction={"2": 0.5}, folder=tmp_path)
    again = pruned(dense=["0"], fraction={"2": 0.5}, folder=tmp_path)
    assert [r.density for r in again.rows] == [r.density for r in first.rows]
    with pytest.raises(ValueError, match="it differs in dense"):
        pruned(dense=("4",), fraction={"2": 0.5}, folder=tmp_path)
    with pytest.raises(ValueError, match="it differs in fraction"):
        pruned(dense=("0",), fraction={"2": 0.6}, folder=tmp_path)


def test_masks_of_a_spared_layer_are_applied_as_any_other():
    net = small_net()
    masks = next_masks(net, full_masks(net), Config(dense=("0",), fraction=0.5))
    before = net[0].weight.clone()
    apply_masks(net, masks)
    assert torch.equal(net[0].weight, before)
