"""Gradient flow: each statement of chapter 14 against autograd, numpy, scipy, or an exact sum."""

import copy
import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from infcop_lite.flows import flow_distance, gradient_flow
from infcop_lite.masks import apply_masks, full_masks, magnitude_masks, prunable
from infcop_lite.theory import gradients as theory

seeded = settings(max_examples=50, derandomize=True, deadline=None, database=None)
few = settings(seeded, max_examples=12)
seeds = st.integers(0, 10**6)
densities = st.floats(0.2, 1.0)


@pytest.fixture(autouse=True)
def _in_double_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def chain(*widths, bias=True, activation=nn.ReLU, seed=0, scale=1.0):
    """A fully connected chain with random weights and biases."""
    torch.manual_seed(seed)
    layers = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), activation()]
    model = nn.Sequential(*layers[:-1]).double()
    for p in model.parameters():
        nn.init.normal_(p, std=scale / math.sqrt(p.shape[-1]) if p.dim() > 1 else 0.3)
    return model


def samples(num_samples=20, num_inputs=4, num_outputs=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_samples, num_inputs, generator=generator, dtype=torch.float64)
    return x, torch.randn(num_samples, num_outputs, generator=generator, dtype=torch.float64)


def random_masks(model, density, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        k: torch.rand(w.shape, generator=generator) < density for k, w in prunable(model).items()
    }


def squared(model, x, y):
    """Half the squared error, averaged over the samples."""
    return theory.loss_of(model, x, y, theory.half_square)


def integral(energies, step):
    return torch.trapezoid(energies.sum(1), dx=step)


def least_squares(density, seed, num_samples=12, num_inputs=6):
    """A masked linear regression with its exact constants and infimum; everything in numpy."""
    model = chain(num_inputs, 1, bias=False, seed=seed)
    x, y = samples(num_samples, num_inputs, 1, seed)
    masks = random_masks(model, density, seed)
    masks["0.weight"][0, 0] = True
    apply_masks(model, masks)
    kept = masks["0.weight"][0].numpy()
    x_kept = x.numpy()[:, kept]
    eigenvalues = np.linalg.eigvalsh(x_kept.T @ x_kept / num_samples)
    best = np.linalg.lstsq(x_kept, y.numpy(), rcond=None)[0]
    least = ((x_kept @ best - y.numpy()) ** 2).sum() / (2 * num_samples)
    return model, squared(model, x, y), masks, eigenvalues[-1], eigenvalues[0], least


def norm_of(gradients):
    return torch.stack([g.norm() for g in gradients.values()]).norm()


# --- T4.1: the energy identity ---


@few
@given(seed=seeds, density=densities)
def test_t4_1_the_loss_falls_by_the_energy_of_the_surviving_weights_layer_by_layer(seed, density):
    model, (x, y) = chain(4, 6, 5, 3, activation=nn.Tanh, seed=seed), samples(seed=seed)
    masks = random_masks(model, density, seed)
    losses, energies = theory.follow_gradient(model, squared(model, x, y), 0.01, 20, masks)
    fallen = losses[0] - losses[-1]
    assert fallen.item() == pytest.approx(integral(energies, 0.01).item(), rel=1e-3)
    assert all((w[~masks[k]] == 0).all() for k, w in prunable(model).items())


def test_t4_1_kinks_do_not_matter_and_biases_do():
    model, (x, y) = chain(4, 12, 12, 3, seed=1), samples(40, seed=1)
    losses, energies = theory.follow_gradient(
        model, squared(model, x, y), 5e-3, 200, random_masks(model, 0.5)
    )
    fallen = losses[0] - losses[-1]
    assert integral(energies, 5e-3).item() == pytest.approx(fallen.item(), rel=1e-3)
    weights_only = torch.tensor([k.endswith("weight") for k, _ in model.named_parameters()])
    assert integral(energies[:, weights_only], 5e-3) < 0.95 * fallen


def test_t4_1_the_unmasked_gradient_does_not_account_for_the_loss():
    model, (x, y) = chain(4, 6, 3, activation=nn.Tanh), samples()
    masks, loss = random_masks(model, 0.5), squared(model, x, y)
    apply_masks(model, masks)
    before = loss()
    masked, full = (norm_of(theory.masked_gradients(model, loss, m)) ** 2 for m in (masks, None))
    theory.follow_gradient(model, loss, 1e-4, 1, masks)
    rate = (before - loss()) / 1e-4
    assert rate.item() == pytest.approx(masked.item(), rel=1e-2)
    assert full > 1.2 * masked


def test_t4_1_the_integrator_agrees_with_scipy_and_has_second_order():
    model, (x, y) = chain(2, 3, 1, activation=nn.Tanh), samples(10, 2, 1)
    start, loss = copy.deepcopy(model.state_dict()), squared(model, x, y)

    def velocity(_, theta):
        nn.utils.vector_to_parameters(torch.from_numpy(theta.copy()), model.parameters())
        return -nn.utils.parameters_to_vector(theory.masked_gradients(model, loss).values()).numpy()

    begin = nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
    exact = scipy.integrate.solve_ivp(velocity, (0, 1), begin, rtol=1e-10, atol=1e-12).y[:, -1]
    errors = []
    for step, num_steps in ((0.1, 10), (0.05, 20)):
        model.load_state_dict(start)
        theory.follow_gradient(model, loss, step, num_steps)
        end = nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
        errors.append(np.linalg.norm(end - exact))
    assert errors[0] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)


@seeded
@given(seed=seeds, density=densities, part=st.floats(0.05, 1.0))
def test_t4_1_step_up_to_one_over_beta_gains_half_the_energy(seed, density, part):
    model, loss, masks, beta, _, _ = least_squares(density, seed)
    before = loss()
    g = theory.masked_gradients(model, loss, masks)["0.weight"]
    with torch.no_grad():
        model[0].weight -= part / beta * g
        assert loss() <= before - part / beta / 2 * g.square().sum() + 1e-12


@pytest.mark.parametrize("step", [1.0, 0.1, 1e-3, 1e-6])
def test_t4_1_step_none_is_short_enough_at_a_kink(step):
    pair = chain(1, 2, 1, bias=False)
    pair[0].weight.data = torch.tensor([[1.0], [-1.0]])
    pair[2].weight.data = torch.ones(1, 2)
    pair[0].requires_grad_(False)
    pair[2].requires_grad_(False)
    x = nn.Parameter(torch.tensor([[step / 4]]))  # the network is |x|; x is what is trained
    before = pair(x)
    (g,) = torch.autograd.grad(before, x)
    assert pair(x - step * g) > before - step / 2 * g.square().sum()
    assert pair(x - step * g) > before


# --- T4.2: what a norm certifies ---


@seeded
@given(seed=seeds, density=densities)
def test_t4_2_the_gap_inside_the_mask_lies_in_the_interval(seed, density):
    model, loss, masks, beta, mu, least = least_squares(density, seed)
    g = norm_of(theory.masked_gradients(model, loss, masks))
    lower, upper = theory.gap_interval(g, beta, mu)
    gap = loss().detach() - least
    assert lower - 1e-12 <= gap <= upper + 1e-12


@seeded
@given(seed=seeds)
def test_t4_2_both_ends_are_reached_along_the_extreme_directions(seed):
    model, loss, masks, beta, mu, least = least_squares(1.0, seed)
    x, y = samples(12, 6, 1, seed)
    best = torch.linalg.lstsq(x, y).solution.T
    directions = torch.linalg.eigh(x.T @ x / 12).eigenvectors
    for direction, end in ((directions[:, -1], 0), (directions[:, 0], 1)):
        model[0].weight.data = best + direction
        g = norm_of(theory.masked_gradients(model, loss, masks))
        interval = theory.gap_interval(g, beta, mu)
        assert interval[end].item() == pytest.approx(loss().item() - least, rel=1e-6)


@few
@given(seed=seeds, density=st.floats(0.3, 0.9))
def test_t4_2_pl_along_the_path_makes_the_gap_fall_exponentially(seed, density):
    model, loss, masks, _, mu, least = least_squares(density, seed)
    losses, _ = theory.follow_gradient(model, loss, 0.01, 40, masks)
    times = 0.01 * torch.arange(41)
    bound = (losses[0] - least) * torch.exp(-2 * mu * times)
    assert (losses - least <= bound * (1 + 1e-3) + 1e-12).all()


def test_t4_2_the_interval_holds_for_penalised_logistic_regression():
    x, _ = samples(50, 3, 1)
    y = (x[:, 0] + 0.5 * x[:, 1] > 0).double()
    model, penalty = chain(3, 1, bias=False), 0.05
    masks = {"0.weight": torch.tensor([[True, True, False]])}

    def loss():
        fit = nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], y)
        return fit + penalty / 2 * model[0].weight.square().sum()

    def value(w):
        margins = x[:, :2].numpy() @ w * (2 * y.numpy() - 1)
        return np.logaddexp(0, -margins).mean() + penalty / 2 * (w**2).sum()

    least = scipy.optimize.minimize(value, np.zeros(2), tol=1e-14).fun
    beta = penalty + torch.linalg.eigvalsh(x[:, :2].T @ x[:, :2] / 50)[-1].item() / 4
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        model[0].weight.data = 3 * torch.randn(1, 3, generator=generator, dtype=torch.float64)
        apply_masks(model, masks)
        g = norm_of(theory.masked_gradients(model, loss, masks))
        lower, upper = theory.gap_interval(g, beta, penalty)
        assert lower <= loss() - least + 1e-9
        assert loss() - least <= upper + 1e-9


def test_t4_2_the_price_of_the_mask_leaves_no_trace_in_the_gradient():
    model, loss, masks, beta, _, least = least_squares(0.4, 3)
    theory.follow_gradient(model, loss, 1 / beta, 500, masks)
    assert norm_of(theory.masked_gradients(model, loss, masks)) < 1e-5
    assert norm_of(theory.masked_gradients(model, loss)) > 1e-2
    dense_least = least_squares(1.0, 3)[-1]
    assert least > dense_least + 0.05


@pytest.mark.parametrize("logit", [1.0, 5.0, 10.0, 20.0])
def test_t4_2_no_pl_constant_serves_cross_entropy_down_to_zero(logit):
    margin = torch.tensor(logit, requires_grad=True)
    loss = nn.functional.softplus(-margin)
    (g,) = torch.autograd.grad(loss, margin)
    assert g**2 / 2 / loss < math.exp(-logit) / 2 * (1 + 1e-9)
    assert g.abs() / loss > 0.8  # first order in the loss, where PL would have the square root


def test_t4_2_the_lower_end_fails_across_a_kink():
    # |w| + 1: locally the gradient is constant, so any beta is smooth enough near w, but the step
    # of length 1 / beta leaves the region.
    gap, g, beta = 0.01, torch.tensor(1.0), 1.0
    assert theory.gap_interval(g, beta, 0)[0] > gap


@pytest.mark.parametrize(("replacement", "draws"), [(True, itertools.product), (False, None)])
def test_t4_2_batch_inflates_the_square_exactly_as_stated(replacement, draws):
    model, (x, y) = chain(3, 4, 2, seed=2), samples(5, 3, 2, 2)
    per_sample = torch.stack(
        [
            torch.cat([g.flatten() for g in theory.masked_gradients(model, loss).values()])
            for loss in (squared(model, x[i : i + 1], y[i : i + 1]) for i in range(5))
        ]
    )
    every = draws(range(5), repeat=3) if draws else itertools.combinations(range(5), 3)
    squares = [per_sample[list(batch)].mean(0).square().sum() for batch in every]
    expected = theory.batch_square_norm(per_sample, 3, replacement)
    assert torch.stack(squares).mean().item() == pytest.approx(expected.item(), rel=1e-12)
    full = norm_of(theory.masked_gradients(model, squared(model, x, y))) ** 2
    assert expected > full
    assert theory.batch_square_norm(per_sample, 5, replacement=False).item() == pytest.approx(
        full.item()
    )


# --- T4.3: consistency of gradient flows ---


def descent(scale, density, seed):
    """Rate at which a loss falls, from the loss alone; squares of its gradients by layer."""
    model, (x, y) = chain(4, 6, 3, seed=seed), samples(seed=seed)
    fit, step = squared(model, x, y), 1e-6
    masks = random_masks(model, density, seed)
    losses, energies = theory.follow_gradient(model, lambda: scale * fit(), step, 2, masks)
    return (losses[0] - losses[2]) / (2 * step), energies[1].reshape(-1, 2)  # weights, biases


def test_t4_3_measured_rates_of_consistent_networks_are_close_and_not_without_their_biases():
    found = [descent(1.0, d, seed) for seed in range(6) for d in (1.0, 0.5)]
    found.append(descent(1.5, 1.0, 0))  # adversarial: parallel to the first
    whole, weights = [], []
    for (rate, now), (other, then) in itertools.permutations(found, 2):
        for squares, ratios in (((now, then), whole), ((now[:, :1], then[:, :1]), weights)):
            profile, reference = (v.sum(1).sqrt() for v in squares)
            epsilon = flow_distance(profile, reference)
            allowed = theory.rate_tolerance(reference.norm(), epsilon)
            ratios.append(((rate - other).abs() / allowed).item())
    assert 0.9999 < max(whole) < 1 + 1e-5
    assert max(weights) > 1.02


@given(norm=st.floats(0.01, 10), epsilon=st.floats(0, 10))
@seeded
def test_t4_3_the_tolerance_on_rates_is_reached_by_parallel_flows(norm, epsilon):
    reference = torch.tensor([0.6, 0.8]) * norm
    now = reference * (1 + epsilon / norm)
    difference = now.square().sum() - reference.square().sum()
    assert difference.item() == pytest.approx(
        theory.rate_tolerance(reference.norm(), epsilon).item(), rel=1e-9, abs=1e-12
    )


@seeded
@given(seed=seeds, density=densities, scale=st.floats(0.1, 3))
def test_t4_3_consistency_puts_the_gap_into_the_interval(seed, density, scale):
    model, loss, masks, beta, mu, least = least_squares(density, seed)
    reference = norm_of(theory.masked_gradients(model, loss, full_masks(model)))
    model[0].weight.data *= scale
    now = norm_of(theory.masked_gradients(model, loss, masks))
    epsilon = (now - reference).abs().item()
    lower, upper = theory.consistency_interval(reference, epsilon, beta, mu)
    assert lower - 1e-12 <= loss() - least <= upper + 1e-12


def test_t4_3_a_stop_at_an_unconverged_reference_certifies_under_training():
    lower, _ = theory.consistency_interval(torch.tensor(2.0), 0.5, 4.0, 0.1)
    assert lower == 1.5**2 / 8
    lower, _ = theory.consistency_interval(torch.tensor(0.0), 0.5, 4.0, 0.1)
    assert lower == 0


def test_t4_3_the_norm_of_the_gradient_is_not_monotone():
    # w^4 - 2 w^2 from near its maximum: the force first grows, then dies
    model = chain(1, 1, bias=False)
    model[0].weight.data.fill_(0.01)

    def loss():
        return model[0].weight.pow(4).sum() - 2 * model[0].weight.square().sum()

    _, energies = theory.follow_gradient(model, loss, 0.01, 300)
    norms = energies[:, 0].sqrt()
    crossings = ((norms[1:] > 1) != (norms[:-1] > 1)).sum()
    assert crossings == 2


# --- T4.4: the tangent kernel ---


@seeded
@given(seed=seeds, density=densities)
def test_t4_4_a_mask_shrinks_the_kernel_in_the_loewner_order(seed, density):
    model, (x, y) = chain(4, 8, 2, seed=seed), samples(5, 4, 2, seed)
    masks = random_masks(model, density, seed)
    apply_masks(model, masks)
    dense, masked = theory.tangent_kernel(model, x), theory.tangent_kernel(model, x, masks)
    assert torch.linalg.eigvalsh(dense - masked)[0] > -1e-10
    assert torch.linalg.eigvalsh(masked)[0] <= torch.linalg.eigvalsh(dense)[0] + 1e-10
    residual = (model(x) - y).detach().flatten() / len(x)
    loss = squared(model, x, y)
    for kernel, kept in ((dense, None), (masked, masks)):
        square = norm_of(theory.masked_gradients(model, loss, kept)) ** 2
        assert square.item() == pytest.approx((residual @ kernel @ residual).item(), rel=1e-9)
        pl = torch.linalg.eigvalsh(kernel)[0].item() / len(x)
        assert square / 2 >= pl * loss() - 1e-10


def test_t4_4_the_kernel_agrees_with_finite_differences():
    model, (x, _) = chain(3, 5, 2, activation=nn.Tanh), samples(4, 3)
    masks = random_masks(model, 0.5)
    kept = [masks.get(k, torch.ones_like(p)) for k, p in model.named_parameters()]
    alive = nn.utils.parameters_to_vector([m.double() for m in kept])
    theta = nn.utils.parameters_to_vector(model.parameters()).detach()
    columns = []
    for direction in torch.eye(len(theta)) * alive:
        outputs = []
        for shifted in (theta + 1e-5 * direction, theta - 1e-5 * direction):
            nn.utils.vector_to_parameters(shifted, model.parameters())
            outputs.append(model(x).detach().flatten())
        columns.append((outputs[0] - outputs[1]) / 2e-5)
    nn.utils.vector_to_parameters(theta, model.parameters())
    j = torch.stack(columns, 1)
    torch.testing.assert_close(
        theory.tangent_kernel(model, x, masks), j @ j.T, rtol=1e-6, atol=1e-8
    )


def test_t4_4_fewer_survivors_than_outputs_leave_a_singular_kernel():
    model, (x, _) = chain(4, 6, 2, bias=False, activation=nn.Tanh), samples(8)
    masks = magnitude_masks(model, full_masks(model), 0.6)
    apply_masks(model, masks)
    assert sum(int(m.sum()) for m in masks.values()) < 16
    assert torch.linalg.eigvalsh(theory.tangent_kernel(model, x, masks))[0].abs() < 1e-10


def test_t4_4_at_different_weights_the_pruned_kernel_can_be_larger():
    # relu(w1 x1 + w2 x2) is shut by w2 = -2; without w2 it opens
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU())
    model[0].weight.data = torch.tensor([[1.0, -2.0]])
    x, masks = torch.ones(1, 2), {"0.weight": torch.tensor([[True, False]])}
    before = theory.tangent_kernel(model, x)
    apply_masks(model, masks)
    assert before.item() == 0
    assert theory.tangent_kernel(model, x, masks).item() == 1


# --- T4.5: the published stop ---


@seeded
@given(seed=seeds, size=st.integers(1, 400))
def test_t4_5_the_published_distance_is_the_norm_up_to_the_means(seed, size):
    generator = torch.Generator().manual_seed(seed)
    now, reference = (
        [torch.randn(n, generator=generator) for n in (size, 2 * size, 3)] for _ in range(2)
    )
    factor = 10 / 9
    distance = theory.published_distance(now, reference, num_batches=10)
    norm = factor * torch.stack([g.norm() for g in now]).norm()
    means = factor * torch.stack([g.abs().mean() for g in reference])
    assert (distance - norm).abs() <= means.norm() + 1e-12
    ceiling = [factor * g.norm() / math.sqrt(g.numel()) for g in reference]
    assert (means <= torch.stack(ceiling) + 1e-12).all()


def test_t4_5_a_network_is_inconsistent_with_itself():
    g = [torch.randn(1000, generator=torch.Generator().manual_seed(0))]
    assert theory.published_distance(g, g, num_batches=100) > 0.9 * g[0].norm()
    assert theory.published_distance(g, g, num_batches=1) == math.inf
    zero = [torch.zeros(2)]  # and not NaN
    assert theory.published_distance(zero, zero, num_batches=1) == math.inf


# --- T4.6: conservation laws ---


@seeded
@given(seed=seeds, density=densities, bias=st.booleans())
def test_t4_6a_the_gradient_is_orthogonal_to_the_rescaling_of_every_unit(seed, density, bias):
    model, (x, y) = chain(4, 6, 5, 3, bias=bias, seed=seed), samples(seed=seed)
    masks = random_masks(model, density, seed)
    apply_masks(model, masks)
    g = theory.masked_gradients(model, squared(model, x, y), masks)
    for i, j in ((0, 2), (2, 4)):
        into = (g[f"{i}.weight"] * model[i].weight).sum(1)
        if bias:
            into = into + g[f"{i}.bias"] * model[i].bias
        out = (g[f"{j}.weight"] * model[j].weight).sum(0)
        torch.testing.assert_close(into, out, rtol=1e-9, atol=1e-12)


def test_t4_6_what_autograd_returns_obeys_the_law_even_on_a_kink():
    model = chain(2, 3, 1)
    model[0].weight.data = torch.tensor([[1.0, -1.0], [0.0, 0.0], [2.0, 1.0]])
    model[0].bias.data.zero_()
    x, y = torch.ones(1, 2), torch.tensor([[5.0]])  # the first two units sit at exactly 0
    g = theory.masked_gradients(model, squared(model, x, y))
    into = (g["0.weight"] * model[0].weight).sum(1) + g["0.bias"] * model[0].bias
    torch.testing.assert_close(into, (g["2.weight"] * model[2].weight).sum(0))


@pytest.mark.parametrize("density", [1.0, 0.4])
def test_t4_6a_balances_are_conserved_with_and_without_masks(density):
    model, (x, y) = chain(4, 8, 8, 3, seed=4), samples(30, seed=4)
    masks = random_masks(model, density)
    apply_masks(model, masks)
    before, start = theory.balances(model), model[0].weight.detach().clone()
    theory.follow_gradient(model, squared(model, x, y), 5e-3, 150, masks)
    after = theory.balances(model)
    assert (model[0].weight - start).norm() > 0.05
    for name in before:
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-4)


def test_t4_6a_without_the_bias_the_row_alone_is_not_balanced():
    model, (x, y) = chain(4, 8, 3, seed=4), samples(30, seed=4)
    before = theory.unit_balance(model[0].weight, None, model[2].weight).detach()
    theory.follow_gradient(model, squared(model, x, y), 5e-3, 150)
    after = theory.unit_balance(model[0].weight, None, model[2].weight).detach()
    assert (after - before).abs().max() > 1e-2


def test_t4_6a_a_frozen_or_masked_bias_breaks_the_law():
    model, (x, y) = chain(4, 8, 3, seed=4), samples(30, seed=4)
    model[0].bias.requires_grad_(False)
    before = theory.balances(model)["0.weight"]
    theory.follow_gradient(model, squared(model, x, y), 5e-3, 150)
    assert (theory.balances(model)["0.weight"] - before).abs().max() > 1e-2


def test_t4_6a_tanh_has_no_such_law():
    model, (x, y) = chain(4, 8, 3, activation=nn.Tanh, seed=4), samples(30, seed=4)
    before = theory.balances(model)["0.weight"]
    theory.follow_gradient(model, squared(model, x, y), 5e-3, 150)
    assert (theory.balances(model)["0.weight"] - before).abs().max() > 1e-2


def convolutional(batch_norm=False, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3)]
    layers += [nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3 * 1 * 1, 2)]
    if batch_norm:
        layers.insert(1, nn.BatchNorm2d(4))
        layers.insert(5, nn.BatchNorm2d(3))
    model = nn.Sequential(*layers).double()
    for p in model.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return model


@pytest.mark.parametrize("density", [1.0, 0.5])
def test_t4_6a_channels_are_balanced_through_pooling_and_flattening(density):
    model = convolutional()
    x, y = samples(20, 64, 2)
    x, masks = x.reshape(20, 1, 8, 8), random_masks(model, density)
    apply_masks(model, masks)
    before = theory.balances(model)
    losses, _ = theory.follow_gradient(model, squared(model, x, y), 1e-2, 50, masks)
    assert losses[-1] < losses[0] - 0.05
    for name, after in theory.balances(model).items():
        torch.testing.assert_close(before[name], after, rtol=0, atol=1e-4)


def test_t4_6a_channels_are_balanced_when_flattening_keeps_several_positions():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    x, y = samples(20, 36, 2)
    before = theory.balances(model)["0.weight"]
    theory.follow_gradient(model, squared(model, x.reshape(20, 1, 6, 6), y), 1e-2, 50)
    assert before.shape == (3,)
    torch.testing.assert_close(before, theory.balances(model)["0.weight"], rtol=0, atol=1e-4)


def test_t4_6a_a_skip_connection_breaks_the_law():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.second(x + self.first(x).relu())

    torch.manual_seed(0)
    model, (x, y) = Residual().double(), samples(30)
    before = theory.balances(model)["first.weight"]
    theory.follow_gradient(model, squared(model, x, y), 1e-2, 75)
    assert (theory.balances(model)["first.weight"] - before).abs().max() > 1e-2


@pytest.mark.parametrize("density", [1.0, 0.5])
def test_t4_6bn_batch_norm_has_a_balance_of_its_own(density):
    model = convolutional(batch_norm=True)
    x, y = samples(20, 64, 2)
    x, masks = x.reshape(20, 1, 8, 8), random_masks(model, density)
    apply_masks(model, masks)

    def naive():
        return theory.unit_balance(model[0].weight, None, model[4].weight).detach()

    before, before_naive = theory.balances(model), naive()
    theory.follow_gradient(model, squared(model, x, y), 1e-2, 50, masks)
    for name, after in theory.balances(model).items():
        torch.testing.assert_close(before[name], after, rtol=0, atol=1e-4)
    assert (naive() - before_naive).abs().max() > 1e-2


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.5])
def test_t4_6bn_the_radial_derivative_is_what_eps_leaves(eps):
    torch.manual_seed(0)
    bn = nn.BatchNorm1d(5, eps=eps)
    model = nn.Sequential(nn.Linear(4, 5, bias=False), bn, nn.ReLU(), nn.Linear(5, 2)).double()
    nn.init.normal_(bn.weight)
    nn.init.normal_(bn.bias)
    x, y = samples(20, 4, 2)
    masks = random_masks(model, 0.6)
    apply_masks(model, masks)
    g = theory.masked_gradients(model, squared(model, x, y), masks)
    radial = (g["0.weight"] * model[0].weight).sum(1)
    variance = model[0](x).var(0, correction=0)
    torch.testing.assert_close(
        radial, eps / (variance + eps) * g["1.weight"] * bn.weight, rtol=1e-6, atol=1e-12
    )
    assert (radial.abs().max() < 1e-9) == (eps == 1e-12)


def test_t4_6bn_the_scale_invariance_is_one_of_training_mode_only():
    model, (x, y) = convolutional(batch_norm=True), samples(20, 64, 2)
    x = x.reshape(20, 1, 8, 8)

    def radial():
        g = theory.masked_gradients(model, squared(model, x, y))["0.weight"]
        return (g * model[0].weight).sum((1, 2, 3)).abs().max()

    model.train()
    assert radial() < 1e-4
    model.eval()
    assert radial() > 1e-2


@seeded
@given(seed=seeds, density=densities)
def test_t4_6b_layer_saliencies_agree_once_biases_are_counted(seed, density):
    model, (x, y) = chain(4, 6, 5, 3, seed=seed), samples(seed=seed)
    y = y.argmax(1)
    masks = random_masks(model, density, seed)
    apply_masks(model, masks)
    g = theory.masked_gradients(model, lambda: cross_entropy(model(x), y), masks)
    outputs = model(x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(cross_entropy(outputs, y), outputs)
    expected = (slope * outputs).sum().expand(3)
    torch.testing.assert_close(theory.layer_saliencies(model, g), expected, rtol=1e-9, atol=1e-12)


def test_t4_6b_with_biases_the_plain_saliencies_differ():
    model, (x, y) = chain(4, 6, 5, 3), samples()
    g = theory.masked_gradients(model, squared(model, x, y))
    plain = theory.layer_saliencies(model, g, biases=False)
    assert plain.max() - plain.min() > 0.05


@seeded
@given(seed=seeds, density=densities)
def test_t4_6b_without_biases_the_saliency_bounds_every_layer_norm_from_below(seed, density):
    model, (x, y) = chain(4, 6, 5, 3, bias=False, seed=seed), samples(seed=seed)
    masks, loss = random_masks(model, density, seed), squared(model, x, y)
    apply_masks(model, masks)
    g = theory.masked_gradients(model, loss, masks)
    plain = theory.layer_saliencies(model, g, biases=False)
    torch.testing.assert_close(plain, plain[:1].expand(3), rtol=1e-9, atol=1e-12)
    for saliency, gradient, weight in zip(plain, g.values(), model.parameters(), strict=True):
        assert gradient.norm() * weight.norm() >= saliency.abs() - 1e-12


def test_t4_6b_the_library_flow_obeys_the_bound_on_a_classifier():
    model, (x, y) = chain(4, 6, 5, 3, bias=False, seed=5), samples(seed=5)
    y, masks = y.argmax(1), random_masks(model, 0.5, 5)
    apply_masks(model, masks)
    flow = gradient_flow(model, x, y, masks)
    g = theory.masked_gradients(model, lambda: cross_entropy(model(x), y), masks)
    saliency = theory.layer_saliencies(model, g)[0].abs()
    norms = torch.stack([w.detach().norm() for w in prunable(model).values()])
    assert (flow >= saliency / norms - 1e-12).all()
    torch.testing.assert_close(flow, torch.stack([v.norm() for v in g.values()]))


def drift_of_matrix(masks, seed=0):
    model, (x, y) = chain(5, 6, 6, 3, bias=False, activation=nn.Identity, seed=seed), samples(30, 5)
    apply_masks(model, masks)
    before = theory.balance_matrix(model[0].weight, model[2].weight).detach()
    theory.follow_gradient(model, squared(model, x, y), 5e-3, 150, masks)
    drift = theory.balance_matrix(model[0].weight, model[2].weight).detach() - before
    return drift.diagonal().abs().max().item(), (drift - drift.diagonal().diag()).abs().max().item()


def test_t4_6c_a_linear_network_conserves_the_matrix_and_with_masks_its_diagonal():
    model = chain(5, 6, 6, 3, bias=False)
    diagonal, rest = drift_of_matrix(full_masks(model))
    assert max(diagonal, rest) < 1e-4
    diagonal, rest = drift_of_matrix(random_masks(model, 0.6))
    assert diagonal < 1e-4
    assert rest > 1e-2


def test_t4_6c_structured_masks_keep_the_whole_matrix():
    model = chain(5, 6, 6, 3, bias=False)
    removed_inputs = full_masks(model)
    removed_inputs["0.weight"][:, [0, 3]] = False
    removed_units = full_masks(model)
    removed_units["0.weight"][[1, 4]] = False
    removed_units["2.weight"][:, [1, 4]] = False
    for masks in (removed_inputs, removed_units):
        assert max(drift_of_matrix(masks)) < 1e-4


def test_t4_6c_a_relu_network_does_not_conserve_the_matrix_even_when_dense():
    model, (x, y) = chain(4, 8, 3, bias=False), samples(30)
    before = theory.balance_matrix(model[0].weight, model[2].weight).detach()
    theory.follow_gradient(model, squared(model, x, y), 5e-3, 150)
    drift = theory.balance_matrix(model[0].weight, model[2].weight).detach() - before
    assert drift.diagonal().abs().max() < 1e-4
    assert drift.abs().max() > 1e-2


@pytest.mark.parametrize("decay", [0.1, 1.0])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_t4_6d_weight_decay_shrinks_every_imbalance_at_twice_its_rate(decay, batch_norm):
    model = convolutional(batch_norm)
    x, y = samples(20, 64, 2)
    x, masks = x.reshape(20, 1, 8, 8), random_masks(model, 0.6)
    apply_masks(model, masks)
    fit = squared(model, x, y)

    def loss():
        return fit() + decay / 2 * sum(p.square().sum() for p in model.parameters())

    before = theory.balances(model)
    theory.follow_gradient(model, loss, 1e-2, 50, masks)
    for name, after in theory.balances(model).items():
        expected = before[name] * math.exp(-2 * decay * 0.5)
        torch.testing.assert_close(after, expected, rtol=1e-3, atol=2e-4)


@seeded
@given(seed=seeds, density=densities, step=st.floats(0.001, 0.2))
def test_t4_6e_plain_sgd_drifts_by_exactly_the_squared_step_times_the_difference(
    seed, density, step
):
    model, (x, y) = chain(4, 6, 3, seed=seed), samples(seed=seed)
    masks = random_masks(model, density, seed)
    apply_masks(model, masks)
    before, drift, spent = theory.balances(model)["0.weight"], torch.zeros(6), 0.0
    for batch in torch.arange(20).split(5):
        g = theory.masked_gradients(model, squared(model, x[batch], y[batch]), masks)
        drift += step**2 * theory.unit_balance(g["0.weight"], g["0.bias"], g["2.weight"])
        spent += step * norm_of(g) ** 2
        for name, p in model.named_parameters():
            p.data -= step * g[name]
    observed = theory.balances(model)["0.weight"] - before
    torch.testing.assert_close(observed, drift, rtol=1e-6, atol=1e-10)
    assert observed.abs().sum() <= step * spent + 1e-10


def test_t4_6e_full_batch_steps_drift_by_at_most_twice_the_step_times_the_loss_lost():
    # linear and shallow: smooth, and short steps gain half their energy at least
    model = chain(4, 6, 3, bias=False, activation=nn.Identity, seed=2)
    loss, step = squared(model, *samples()), 0.05
    start, first = theory.balances(model)["0.weight"], loss().item()
    for _ in range(40):
        before, g = loss().item(), theory.masked_gradients(model, loss)
        for name, p in model.named_parameters():
            p.data -= step * g[name]
        assert loss() <= before - step / 2 * norm_of(g) ** 2 + 1e-12
    drift = (theory.balances(model)["0.weight"] - start).abs().sum()
    assert 1e-4 < drift <= 2 * step * (first - loss())


def test_t4_6a_pruning_moves_the_balance_by_removed_out_minus_removed_in():
    model = chain(4, 6, 3)
    before, old = theory.balances(model)["0.weight"], copy.deepcopy(model)
    masks = magnitude_masks(model, full_masks(model), 0.5)
    apply_masks(model, masks)
    removed_in = (old[0].weight.detach() * ~masks["0.weight"]).square().sum(1)
    removed_out = (old[2].weight.detach() * ~masks["2.weight"]).square().sum(0)
    jump = theory.balances(model)["0.weight"] - before
    torch.testing.assert_close(jump, removed_out - removed_in)
    assert jump.abs().max() > 1e-3


# --- the functions themselves ---


def test_half_square_is_torchs_squared_error_and_the_loss_follows_the_parameters():
    model, (x, y) = chain(4, 3), samples()
    loss = squared(model, x, y)
    assert loss().item() == pytest.approx(mse_loss(model(x), y).item() * 3 / 2)
    before = loss().item()
    model[0].weight.data += 1
    assert loss().item() != before
    y = y.argmax(1)
    assert torch.equal(theory.loss_of(model, x, y)(), cross_entropy(model(x), y))


def test_gradients_leave_the_model_as_found_and_unused_parameters_get_zero():
    model, (x, y) = chain(4, 6, 3), samples()
    model.unused = nn.Parameter(torch.ones(2))
    g = theory.masked_gradients(model, lambda: mse_loss(model[:3](x), y))
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(g["unused"], torch.zeros(2))


NET, SHALLOW = chain(2, 3, 1), chain(2, 1)
GROUPED = nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.Conv2d(2, 2, 1, groups=2))
BARE = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False), nn.Linear(2, 2))
ONE = torch.ones(())
REFUSED = {
    "step 0": (lambda: theory.follow_gradient(NET, lambda: ONE, 0.0, 3), "nowhere"),
    "no steps": (lambda: theory.follow_gradient(NET, lambda: ONE, 0.1, 0), "nowhere"),
    "masks missing": (lambda: theory.masked_gradients(NET, lambda: ONE, {}), "masks do not fit"),
    "kernel masks": (lambda: theory.tangent_kernel(NET, torch.ones(1, 2), {}), "masks do not"),
    "nothing trained": (lambda: theory.masked_gradients(nn.ReLU(), lambda: ONE), "no trained"),
    "mu above beta": (lambda: theory.gap_interval(ONE, 1.0, 2.0), "pl <= smoothness"),
    "beta 0": (lambda: theory.gap_interval(ONE, 0.0, 0.0), "pl <= smoothness"),
    "negative norm": (lambda: theory.gap_interval(-ONE, 1.0, 1.0), "not negative"),
    "negative epsilon": (lambda: theory.consistency_interval(ONE, -1.0, 1.0, 1.0), "not negative"),
    "negative reference": (lambda: theory.rate_tolerance(-ONE, 1.0), "not negative"),
    "no matrix": (lambda: theory.batch_square_norm(ONE, 1), "sample, weight"),
    "batch too large": (lambda: theory.batch_square_norm(ONE.view(1, 1), 2, False), "no batch"),
    "batch of 0": (lambda: theory.batch_square_norm(ONE.view(1, 1), 0), "no batch"),
    "no layers": (lambda: theory.published_distance([], [], 3), "one gradient per layer"),
    "layers differ": (lambda: theory.published_distance([ONE], [], 3), "one gradient per layer"),
    "no chain": (lambda: theory.balance_matrix(torch.ones(2, 3), torch.ones(2, 3)), "follow"),
    "no units": (lambda: theory.unit_balance(torch.ones(2, 3), None, torch.ones(2, 3)), "follow"),
    "one layer": (lambda: theory.balances(SHALLOW), "a layer and the next"),
    "groups": (lambda: theory.balances(GROUPED), "plain convolution"),
    "bare batch norm": (lambda: theory.balances(BARE), "scale and shift"),
    "shapes": (lambda: theory.half_square(torch.ones(2, 1), torch.ones(2)), "outputs"),
    "no gradient": (lambda: theory.layer_saliencies(NET, {}), "no gradient"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line(case):
    call, complaint = REFUSED[case]
    with pytest.raises(ValueError, match=complaint) as caught:
        call()
    assert "\n" not in str(caught.value)
