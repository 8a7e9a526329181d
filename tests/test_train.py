"""Masked training: what one step does, what an epoch covers, and what evaluation leaves behind."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from infcop_lite.compute import lay_out, threads
from infcop_lite.masks import apply_masks, full_masks, magnitude_masks, prunable
from infcop_lite.models import build
from infcop_lite.train import (
    SCHEDULES,
    evaluate,
    make_optimizer,
    make_schedule,
    shuffled_batches,
    train_batches,
    train_steps,
)

seeded = settings(max_examples=50, derandomize=True, deadline=None, database=None)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def classifier(seed=0, batch_norm=False):
    torch.manual_seed(seed)
    norm = nn.BatchNorm1d(8) if batch_norm else nn.Identity()
    return nn.Sequential(nn.Linear(4, 8), norm, nn.ReLU(), nn.Linear(8, 3))


def samples(num_samples=30, seed=0):
    x = torch.randn(num_samples, 4, generator=generator(seed))
    return x, x[:, :3].argmax(1)


# Batches


@seeded
@given(num_samples=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 99))
def test_every_epoch_covers_every_sample_exactly_once(num_samples, batch_size, seed):
    batches = shuffled_batches(num_samples, batch_size, generator(seed))
    per_epoch = -(-num_samples // batch_size)
    for _ in range(3):
        epoch = list(itertools.islice(batches, per_epoch))
        assert torch.cat(epoch).sort().values.tolist() == list(range(num_samples))
        assert all(len(batch) == batch_size for batch in epoch[:-1])
        assert 1 <= len(epoch[-1]) <= batch_size


def test_epochs_differ_from_each_other_and_seeds_decide_them():
    first, second = (
        list(itertools.islice(shuffled_batches(50, 50, generator(seed)), 3)) for seed in (0, 1)
    )
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])
    again = list(itertools.islice(shuffled_batches(50, 50, generator(0)), 3))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_batches_do_not_touch_the_global_generator():
    before = torch.get_rng_state()
    next(shuffled_batches(10, 3, generator()))
    assert torch.equal(before, torch.get_rng_state())


# Optimisers


def test_optimisers_get_their_numbers_and_every_parameter():
    model = classifier(batch_norm=True)
    sgd = make_optimizer(model, "sgd", 0.1, 0.9, 0.01)
    adam = make_optimizer(model, "adam", 0.2, 0.9, 0.02)
    assert isinstance(sgd, torch.optim.SGD)
    assert isinstance(adam, torch.optim.Adam)
    wanted = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    assert {key: sgd.defaults[key] for key in wanted} == wanted
    assert (adam.defaults["lr"], adam.defaults["weight_decay"]) == (0.2, 0.02)
    for optimizer in (sgd, adam):
        (group,) = optimizer.param_groups
        assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}


def test_an_unknown_optimiser_is_refused():
    with pytest.raises(ValueError, match="unknown optimizer 'lion'; choose from sgd, adam"):
        make_optimizer(classifier(), "lion", 0.1, 0.9, 0.0)


# Steps


def test_one_step_by_hand():
    """Logits (0, 0), target 0, x = 2: the gradient is (-1, 1), the loss log 2."""
    model = nn.Linear(1, 2, bias=False)
    model.weight.data.zero_()
    sgd = make_optimizer(model, "sgd", 0.5, 0.0, 0.0)
    x, y, batches = torch.tensor([[2.0]]), torch.tensor([0]), iter([torch.tensor([0])])
    loss = train_steps(model, sgd, x, y, full_masks(model), batches, 1)
    assert loss == pytest.approx(np.log(2))
    assert model.weight.flatten().tolist() == [0.5, -0.5]


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_training_equals_a_hand_written_loop(name, weight_decay, batch_norm):
    model, (x, y) = classifier(batch_norm=batch_norm), samples()
    masks = magnitude_masks(model, full_masks(model), 0.5)
    apply_masks(model, masks)
    by_hand = copy.deepcopy(model).train()
    order = list(itertools.islice(shuffled_batches(len(x), 8, generator()), 10))

    optimizer = make_optimizer(model, name, 0.05, 0.9, weight_decay)
    mean_loss = train_steps(model, optimizer, x, y, masks, iter(order), 10)

    optimizer, losses = make_optimizer(by_hand, name, 0.05, 0.9, weight_decay), []
    for batch in order:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(by_hand(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        for weight_name, weight in prunable(by_hand).items():
            weight.data *= masks[weight_name]
        losses.append(loss.item())

    assert mean_loss == pytest.approx(np.mean(losses), rel=1e-6)
    for key, value in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=0, atol=0)


def test_training_takes_exactly_the_batches_it_needs():
    model, (x, y) = classifier(), samples()
    batches = iter([torch.tensor([i]) for i in range(5)])
    optimizer = make_optimizer(model, "sgd", 0.05, 0.9, 0.0)
    train_steps(model, optimizer, x, y, full_masks(model), batches, 3)
    assert [batch.item() for batch in batches] == [3, 4]


def test_two_short_trainings_equal_one_long_one():
    x, y = samples()
    states = []
    for parts in ([6], [2, 4]):
        model = classifier()
        optimizer = make_optimizer(model, "sgd", 0.05, 0.9, 1e-3)
        batches = shuffled_batches(len(x), 8, generator())
        for num_steps in parts:
            train_steps(model, optimizer, x, y, full_masks(model), batches, num_steps)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_training_learns_what_can_be_learnt():
    model, (x, y) = classifier(), samples(200)
    optimizer = make_optimizer(model, "adam", 0.01, 0.0, 0.0)
    batches = shuffled_batches(len(x), 32, generator())
    first = train_steps(model, optimizer, x, y, full_masks(model), batches, 7)
    for _ in range(40):
        last = train_steps(model, optimizer, x, y, full_masks(model), batches, 7)
    assert last < first / 3
    assert evaluate(model, x, y)[1] > 0.95


def test_old_gradients_do_not_leak_into_the_first_step():
    model, (x, y) = classifier(), samples()
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    for net in (model, twin):
        optimizer = make_optimizer(net, "sgd", 0.05, 0.9, 0.0)
        train_steps(net, optimizer, x, y, full_masks(net), iter([torch.arange(30)]), 1)
    assert torch.equal(model[0].weight, twin[0].weight)


def test_removed_weights_are_zero_and_not_minus_zero():
    """-0.0 equals 0.0 but has other bits, and two equal networks should have equal files."""
    model, (x, y) = classifier(), samples()
    masks = magnitude_masks(model, full_masks(model), 0.5)
    optimizer = make_optimizer(model, "sgd", 0.05, 0.9, 1e-3)
    train_steps(model, optimizer, x, y, masks, iter([torch.arange(30)] * 5), 5)
    for name, weight in prunable(model).items():
        assert not weight[~masks[name]].any()
        assert not weight[~masks[name]].signbit().any()


def images(num_channels, size):
    g = generator(1)
    shape = (256, num_channels, size, size)
    return torch.randn(shape, generator=g), torch.randint(10, (256,), generator=g)


def trained(name, num_steps, num_threads=1, channels_last=True):
    """Train a pruned network of the book on noise, and return its weights."""
    torch.manual_seed(0)
    model = build(name)
    if channels_last:
        lay_out(model)
    masks = magnitude_masks(model, full_masks(model), 0.5)
    optimizer = make_optimizer(model, "sgd", 0.05, 0.9, 5e-4)
    x, y = images(1, 28) if name in ("mlp", "lenet5") else images(3, 32)
    with threads(num_threads):
        batches = shuffled_batches(len(x), 128, generator())
        train_steps(model, optimizer, x, y, masks, batches, num_steps)
    return torch.cat([weight.detach().flatten() for weight in prunable(model).values()])


def difference(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("name", ["mlp", "lenet5", "convnet"])
def test_the_same_thread_count_gives_the_same_bits(name):
    assert torch.equal(trained(name, 1, num_threads=2), trained(name, 1, num_threads=2))


TOLERANCE = 1e-3  # as book/many-runs.md promises


@pytest.mark.parametrize(
    ("name", "num_steps"),
    [("mlp", 10), ("lenet5", 10), ("convnet", 1), ("resnet20", 1)],
)
def test_another_thread_count_gives_the_same_weights_within_the_tolerance(name, num_steps):
    one, two = trained(name, num_steps, num_threads=1), trained(name, num_steps, num_threads=2)
    assert difference(two, one) < TOLERANCE
    assert difference(trained(name, num_steps + 1), one) > TOLERANCE  # so it is not a loose one


def test_the_layout_of_the_weights_changes_nothing_but_round_off():
    assert difference(trained("lenet5", 5, channels_last=False), trained("lenet5", 5)) < 1e-5


def test_a_layout_can_be_taken_back_and_is_no_part_of_the_state_dict():
    model = build("lenet5")
    before = copy.deepcopy(model.state_dict())
    lay_out(model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    lay_out(model, torch.contiguous_format)
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_training_leaves_the_model_in_training_mode_and_the_masks_alone():
    model, (x, y) = classifier(batch_norm=True).eval(), samples()
    masks = magnitude_masks(model, full_masks(model), 0.5)
    before = {name: mask.clone() for name, mask in masks.items()}
    optimizer = make_optimizer(model, "sgd", 0.05, 0.9, 0.0)
    train_steps(model, optimizer, x, y, masks, iter([torch.arange(30)]), 1)
    assert all(module.training for module in model.modules())
    assert model[1].num_batches_tracked == 1
    assert all(torch.equal(before[name], mask) for name, mask in masks.items())


def test_divergence_is_an_error_and_not_a_nan():
    model, (x, y) = classifier(), samples()
    optimizer = make_optimizer(model, "sgd", 1e30, 0.9, 0.0)
    batches = shuffled_batches(len(x), 8, generator())
    with pytest.raises(FloatingPointError, match="smaller lr"):
        train_steps(model, optimizer, x, y, full_masks(model), batches, 10)


def test_inputs_that_are_nan_are_an_error_and_not_a_nan():
    model, (x, y) = classifier(), samples()
    optimizer = make_optimizer(model, "sgd", 0.05, 0.9, 0.0)
    with pytest.raises(FloatingPointError):
        train_steps(
            model, optimizer, x * torch.nan, y, full_masks(model), iter([torch.arange(4)]), 1
        )


@pytest.mark.parametrize(
    "masks", [{}, {"weight": torch.tensor([True, False])}, {"weight": torch.ones(2, 4)}], ids=str
)
def test_masks_that_do_not_fit_are_refused(masks):
    """A mask of another shape would be broadcast, and would prune what nobody asked for."""
    model, (x, y) = nn.Linear(4, 2), samples()
    optimizer = make_optimizer(model, "sgd", 0.05, 0.9, 0.0)
    with pytest.raises(ValueError, match="mask"):
        train_steps(model, optimizer, x, y % 2, masks, iter([torch.arange(4)]), 1)


def test_too_few_batches_are_an_error_and_not_a_mean_over_too_many():
    model, (x, y) = classifier(), samples()
    optimizer = make_optimizer(model, "sgd", 0.05, 0.9, 0.0)
    with pytest.raises(ValueError, match="2 batches"):
        train_steps(model, optimizer, x, y, full_masks(model), iter([torch.arange(4)] * 2), 3)
    with pytest.raises(ValueError, match="0 steps"):
        train_steps(model, optimizer, x, y, full_masks(model), iter([torch.arange(4)]), 0)


# Evaluation


def test_loss_and_accuracy_by_hand():
    """Logits (1, 0) three times right, once wrong."""
    model = nn.Linear(1, 2, bias=False)
    model.weight.data = torch.tensor([[1.0], [0.0]])
    loss, accuracy = evaluate(model, torch.ones(4, 1), torch.tensor([0, 0, 0, 1]))
    right = np.log(1 + np.exp(-1))
    assert loss == pytest.approx((3 * right + (right + 1)) / 4)
    assert accuracy == 0.75


@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
def test_evaluation_does_not_depend_on_the_batch_size(batch_size):
    model, (x, y) = classifier(batch_norm=True), samples()
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(x)
    expected = nn.functional.cross_entropy(logits, y).item()
    loss, accuracy = evaluate(model, x, y, batch_size)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert accuracy == (logits.argmax(1) == y).double().mean().item()


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_every_module_in_the_mode_it_had(training):
    model = classifier(batch_norm=True).train(training)
    model[1].train(not training)
    before = [module.training for module in model.modules()]
    evaluate(model, *samples())
    assert [module.training for module in model.modules()] == before


def test_evaluation_leaves_the_modes_as_found_after_an_exception_too():
    model = classifier(batch_norm=True).train()
    with pytest.raises(RuntimeError):
        evaluate(model, torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64))
    assert model.training


def test_evaluation_runs_in_eval_mode_and_changes_nothing():
    model, (x, y) = classifier(batch_norm=True).train(), samples()
    before = copy.deepcopy(model.state_dict())
    assert evaluate(model, x, y) == evaluate(model.eval(), x, y)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_evaluation_of_no_samples_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        evaluate(classifier(), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


# --- schedules, smoothing, augmentation ---------------------------------------------------------


def rates_of(name, num_steps, lr=1.0):
    """The learning rate of each step under a schedule."""
    optimizer = make_optimizer(nn.Linear(1, 1), "sgd", lr, 0.0, 0.0)
    schedule, seen = make_schedule(optimizer, name, num_steps), []
    for _ in range(num_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return [*seen, optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 10, 37])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_takes_every_step_and_ends_at_zero(name, num_steps):
    *seen, after = rates_of(name, num_steps, lr=0.3)
    assert all(0 < rate <= 0.3 + 1e-12 for rate in seen)
    assert max(seen) == pytest.approx(0.3)
    assert after == pytest.approx(0.3 if name == "constant" else 0.0, abs=1e-12)


def test_a_triangle_peaks_after_a_fifth_of_the_steps():
    rates = rates_of("triangular", 20)
    assert rates.index(max(rates)) == 4
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[4:] == pytest.approx([1 - n / 16 for n in range(17)])


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="unknown schedule 'step'; choose from constant, linear"):
        make_schedule(make_optimizer(nn.Linear(1, 1), "sgd", 1.0, 0.0, 0.0), "step", 3)


def test_label_smoothing_is_a_mean_over_smoothed_targets():
    """(1 - s) of the target's cross-entropy and s of the mean over all classes, by hand."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 4), torch.randn(8, 3), torch.randint(0, 4, (8,))
    logs = -torch.log_softmax(model(x).detach(), 1)
    by_hand = (0.8 * logs[torch.arange(8), y] + 0.2 * logs.mean(1)).mean()
    optimizer = make_optimizer(model, "sgd", 1e-9, 0.0, 0.0)
    batches = iter([torch.arange(8)])
    loss = train_steps(model, optimizer, x, y, full_masks(model), batches, 1, None, 0.2)
    assert loss == pytest.approx(by_hand.item())


def test_what_is_trained_on_is_what_the_augmentation_returns():
    """The gradient of a linear unit is the mean of its inputs, so zeros leave the weights alone."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 2, bias=False), torch.randn(8, 3), torch.zeros(8, dtype=torch.long)
    before, seen = model.weight.detach().clone(), []
    optimizer = make_optimizer(model, "sgd", 0.5, 0.0, 0.0)

    def blank(batch):
        seen.append(batch)
        return torch.zeros_like(batch)

    batches = iter([torch.arange(4), torch.arange(4, 8)])
    train_steps(model, optimizer, x, y, full_masks(model), batches, 2, augment=blank)
    assert torch.equal(torch.cat(seen), x)
    assert torch.equal(model.weight, before)


def test_mixed_precision_rounds_factors_and_keeps_weights_and_loss_whole():
    """A product of bfloat16 factors, the loss of its logits in float32, a step in float32."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 2), torch.randn(8, 3), torch.randint(0, 2, (8,))
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    half = copy.deepcopy(model).bfloat16()
    by_hand = nn.functional.cross_entropy(half(x.bfloat16()).float(), y).item()
    sgd = make_optimizer(model, "sgd", 0.1, 0.9, 0.0)
    batches = iter([(x, y)])
    loss = train_batches(model, sgd, full_masks(model), batches, 1, autocast=torch.bfloat16)
    assert loss == pytest.approx(by_hand, rel=1e-6)
    assert seen[0].dtype == torch.bfloat16
    assert model.weight.dtype == model.weight.grad.dtype == torch.float32
    assert not torch.equal(model.weight, model.weight.bfloat16().float())
    evaluate(model, x, y)
    assert seen[-1].dtype == torch.float32
