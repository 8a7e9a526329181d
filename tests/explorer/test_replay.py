"""The replay: what it draws and says is what the run did."""

import base64
import functools
import html
import io
import math
import re
from itertools import groupby

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns
import test_loop
import torch

from infcop_lite import Config, run_imp
from infcop_lite.explorer.replay import CELLS, FRAME, SIZE, mask_image, replay
from infcop_lite.masks import density
from infcop_lite.stopping import AnyOf, FixedEpochs

FAST = test_loop.FAST | {"fraction": 0.5, "check_steps": 5, "monitor": True}
LAYERS = ["fc1", "fc2", "fc3"]
RULES = {
    "information": {"stop": "information", "epsilon": 0.5},
    "absolute": {"stop": "information", "epsilon": 0.004, "absolute": True},
    "gradient": {"stop": "gradient", "epsilon": 0.7, "reference": "trained"},
    "small gradient": {"stop": "small-gradient", "epsilon": 0.6},
    "mask": {"stop": "mask", "epsilon": 0.05, "patience": 1},
    "any": {"stop": "accuracy+information", "epsilon": 1e-9},
    "no tolerance": {"stop": "budget"},
    "own": {"stop": AnyOf(FixedEpochs(1.5))},
    "no flow": {"stop": "mask", "epsilon": 0.05, "monitor": False},
    "nothing to train": {"stop": "budget", "epochs": 0.0},
}
each_rule = pytest.mark.parametrize("rule", RULES)


def config_of(rule):
    return Config(**{**FAST, **RULES[rule]})


@functools.cache
def explorer_of(rule):
    return replay(config_of(rule))


@functools.cache
def run_of(rule):
    """Return the ends of the levels, the states before them, and what was measured there."""
    states, looks = [], []
    rows = list(run_imp(config_of(rule), keep=states.append, look=lambda *seen: looks.append(seen)))
    ends = [list(group)[-1] for _, group in groupby(rows, key=lambda row: row.level)]
    measured = [[m for row, m in looks if row.level == end.level][-1] for end in ends]
    return ends, states, measured


def pictures(explorer):
    """Return the HTML of every picture, by the texts of the knobs."""
    level, layer, stack = explorer.widget.children
    return {
        (level_text, layer_text): picture.value
        for level_text, inner in zip(level.options, stack.children, strict=True)
        for layer_text, picture in zip(layer.options, inner.children, strict=True)
    }


def alt(picture):
    return html.unescape(" ".join(re.findall('aria-label="([^"]*)"', picture)))


def sentence(picture):
    return html.unescape(re.search("<p>(.*?)</p>", picture)[1])


def shades(picture):
    """Return how strong the grey is in each cell of the mask that a picture shows, in [0, 1]."""
    png = base64.b64decode(re.search('data:image/png;base64,([^"]*)', picture)[1])
    return plt.imread(io.BytesIO(png))[..., 3]


# --- masks --------------------------------------------------------------------------------------


def test_a_mask_of_few_weights_is_drawn_weight_by_weight():
    mask = torch.tensor([[True, False, True], [False, False, True]])
    fractions, cells = mask_image(mask, ())
    assert fractions.tolist() == [[1, 0, 1], [0, 0, 1]]
    assert cells == "a row for each unit"


def test_kernels_stand_side_by_side():
    mask = torch.zeros(2, 3, 3, 3, dtype=torch.bool)
    mask[1, 2, 0, 1] = True
    fractions, _ = mask_image(mask, (3, 8, 8))
    assert fractions.shape == (6, 9)
    assert np.argwhere(fractions).tolist() == [[1 * 3 + 0, 2 * 3 + 1]]


def test_a_first_linear_layer_is_an_image_of_what_each_pixel_keeps():
    mask = torch.zeros(4, 2 * 3 * 5, dtype=torch.bool)
    mask[0, 7] = mask[3, 7] = True  # channel 0, row 1, column 2
    mask[1, 15 + 7] = True  # the same pixel of channel 1
    fractions, cells = mask_image(mask, (2, 3, 5))
    assert fractions.shape == (3, 5)
    assert fractions[1, 2] == 3 / 8
    assert fractions.sum() == 3 / 8
    assert cells == "by input pixel"


@pytest.mark.parametrize(
    "shape", [(100, 300), (10, 100), (16, 1, 3, 3), (128, 64, 3, 3), (8, 6, 4)]
)
def test_the_mean_of_the_picture_is_the_density(shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.3
    fractions, _ = mask_image(mask, ())
    assert max(fractions.shape) <= CELLS
    assert fractions.mean() == pytest.approx(density({"weight": mask}))


def test_blocks_at_the_edge_hold_fewer_weights_and_are_fractions_too():
    mask = torch.ones(65, 131, dtype=torch.bool)
    mask[64] = False
    fractions, _ = mask_image(mask, ())
    assert fractions.shape == (33, 44)
    assert (fractions[:-1] == 1).all()
    assert (fractions[-1] == 0).all()


@pytest.mark.parametrize("rule", ["information", "mask"])
def test_the_masks_drawn_are_those_of_the_run(rule):
    drawn = pictures(explorer_of(rule))
    _, states, _ = run_of(rule)
    for (level, layer), picture in drawn.items():
        mask = states[int(level)].start.masks[f"{layer}.weight"]
        fractions, _ = mask_image(mask, (1, 8, 8) if layer == "fc1" else ())
        assert fractions.mean() == pytest.approx(density({layer: mask}))
        assert np.abs(shades(picture) - np.cbrt(fractions)).max() <= 0.5 / 15 + 1e-6
        assert f"Mask of {layer}: {density({layer: mask}):.3f} kept" in alt(picture)


def test_only_the_first_layer_is_drawn_by_pixel():
    drawn = pictures(explorer_of("information"))
    assert {layer for (_, layer), picture in drawn.items() if "input pixel" in picture} == {"fc1"}
    assert shades(drawn["1", "fc1"]).shape == (8, 8)
    options = {"model": "resnet20", "levels": 0, "epochs": 0.0, "warmup_epochs": 0.0}
    drawn = pictures(replay(Config(**{**FAST, **options})))  # its last layer has 64 inputs too
    assert shades(drawn["0", "fc"]).shape == (10, 64)


def test_the_picture_of_a_mask_fills_its_frame():
    """A scale that has lost its digits draws the cells smaller, and the more of them the more."""
    for picture in pictures(explorer_of("information")).values():
        width, height, *scale = map(
            float,
            re.search(
                r'width="(\d+)" height="(\d+)" transform="matrix\(([\d.]+) 0 0 ([\d.]+) ', picture
            ).groups(),
        )
        frame = [72 * inches * part for inches, part in zip(SIZE, FRAME[2:], strict=True)]
        assert (width * scale[0], height * scale[1]) == pytest.approx(frame, abs=0.1)


# --- levels and decisions -----------------------------------------------------------------------


@each_rule
def test_every_level_and_layer_has_its_picture(rule):
    drawn = pictures(explorer_of(rule))
    ends, _, _ = run_of(rule)
    assert list(drawn) == [(str(end.level), layer) for end in ends for layer in LAYERS]
    assert len(set(drawn.values())) == len(drawn) == 9


@each_rule
def test_what_is_said_agrees_with_the_rows(rule):
    config, (ends, states, _) = config_of(rule), run_of(rule)
    decisions = explorer_of(rule).table["decision"]
    for end, decision, before, after in zip(ends, decisions, states, states[1:], strict=False):
        text = sentence(pictures(explorer_of(rule))[str(end.level), "fc1"])
        assert text.startswith(f"Level {end.level}, density {end.density:.3f}: trained ")
        assert f"trained {end.epoch:.3g} of {config.epochs:.3g} epochs" in text
        assert f": {decision}. Test accuracy {end.test_accuracy:.3f}." in text
        if end.level == config.levels:
            assert decision == "no rule decides in the last level"
            continue
        pruned = 1 - density(after.start.masks) / density(before.start.masks)
        assert decision.endswith(f"; {pruned:.2f} of what is left is pruned next")
        if end.level == 0 and config.reference == "trained":
            assert decision.startswith("no rule decides in a reference level;")
        else:
            early = end.epoch < config.epochs
            assert early == decision.startswith(("stops;", "another rule stops it;"))
            assert early != ("budget used up" in decision)


def test_the_distance_stands_beside_epsilon():
    ends, _, _ = run_of("information")
    for end in ends:
        text = sentence(pictures(explorer_of("information"))[str(end.level), "fc2"])
        relative = end.flow_distance / end.reference_norm
        side = "below" if relative < 0.5 else "not below"
        assert f"distance {relative:.3g} times the reference's norm, {side} ε = 0.5: " in text
    for end in run_of("absolute")[0]:
        text = sentence(pictures(explorer_of("absolute"))[str(end.level), "fc2"])
        side = "below" if end.flow_distance < 0.004 else "not below"
        assert f"distance {end.flow_distance:.3g}, {side} ε = 0.004: " in text


def test_the_mark_at_the_end_is_filled_where_the_rule_ended_the_level():
    filled = {True: 0, False: 0}
    for rule in ("information", "absolute", "mask"):
        for end, decision in zip(run_of(rule)[0], explorer_of(rule).table["decision"], strict=True):
            picture = pictures(explorer_of(rule))[str(end.level), "fc1"]
            if not math.isnan(end.mask_distance if rule == "mask" else end.flow_distance):
                mark = re.findall(r'<use [^>]*style="([^"]*stroke-width: 2[^"]*)"', picture)[-1]
                is_filled = "fill: #de8f05" in mark
                assert is_filled == decision.startswith("stops;")
                filled[is_filled] += 1
    assert min(filled.values()) > 0


def test_a_notebook_that_likes_grids_adds_no_lines():
    with sns.axes_style("whitegrid"):
        drawn = pictures(replay(config_of("nothing to train")))
    for where, picture in pictures(explorer_of("nothing to train")).items():
        assert drawn[where].count("<path") == picture.count("<path")


def test_the_rules_here_stop_early_and_late():
    said = " ".join(text for rule in RULES for text in explorer_of(rule).table["decision"])
    for decision in ("stops;", "budget used up;", "another rule stops it;"):
        assert decision in said


@pytest.mark.parametrize(
    ("rule", "name", "column"),
    [
        ("mask", "mask distance", "mask_distance"),
        ("no flow", "mask distance", "mask_distance"),
        ("small gradient", "gradient norm", "gradient_norm"),
    ],
)
def test_other_tolerances_are_held_against_what_they_are_about(rule, name, column):
    ends, _, _ = run_of(rule)
    epsilon = config_of(rule).epsilon
    for end in ends:
        picture, value = pictures(explorer_of(rule))[str(end.level), "fc1"], getattr(end, column)
        assert f"{name}, by epoch" in picture
        if math.isnan(value):
            assert f"{name} not known" in sentence(picture)
        else:
            side = "below" if value < epsilon else "not below"
            assert f"{name} {value:.3g}, {side} ε = {epsilon:g}" in sentence(picture)


@pytest.mark.parametrize("rule", ["no tolerance", "own", "nothing to train"])
def test_without_a_tolerance_the_watched_flow_is_told_and_no_epsilon_drawn(rule):
    for end in run_of(rule)[0]:
        picture = pictures(explorer_of(rule))[str(end.level), "fc1"]
        relative = end.flow_distance / end.reference_norm
        assert f"distance {relative:.3g} times the reference's norm, no ε" in sentence(picture)
        assert ">ε</text>" not in picture
    assert ">ε</text>" in pictures(explorer_of("information"))["0", "fc1"]


@pytest.mark.parametrize("rule", ["information", "gradient"])
def test_the_difference_that_is_drawn_is_what_the_rule_reads(rule):
    """Its bars, in units of the reference's norm, are as long together as the distance."""
    for end in run_of(rule)[0]:
        told = re.search(r"Difference ([^a-z]*), in norms", alt_of_level(rule, end.level))
        if end.level == 0 and rule == "gradient":
            assert told is None  # the reference is the end of this level
            assert "no reference yet" in pictures(explorer_of(rule))["0", "fc1"]
            continue
        off = [float(x) for x in told[1].split(", ")]
        assert math.hypot(*off) == pytest.approx(end.flow_distance / end.reference_norm, rel=0.02)


def alt_of_level(rule, level):
    return alt(pictures(explorer_of(rule))[str(level), "fc1"])


def test_it_begins_at_a_level_that_has_lost_something():
    assert explorer_of("information").widget.children[0].label == "2"
    one = replay(Config(**{**FAST, "levels": 1, "stop": "budget"}))
    assert one.widget.children[0].label == "1"


# --- words, tables, sizes -----------------------------------------------------------------------


@each_rule
def test_the_alt_texts_carry_the_numbers(rule):
    _, states, measured = run_of(rule)
    for (level, _), picture in pictures(explorer_of(rule)).items():
        text = alt(picture)
        assert text.endswith(sentence(picture))
        name, flow = next(iter(measured[int(level)].flows.items()), ("", None))
        if flow is None:
            assert "No flow was measured." in text
            continue
        held = states[int(level)].references.values()
        reference = next((each.flows[name] for each in held), torch.tensor([]))
        now, before = (", ".join(f"{x:.2g}" for x in part.tolist()) for part in (flow, reference))
        assert f"{name.capitalize()} flow {now}; reference {before or 'none yet'}." in text


@each_rule
def test_the_table_has_a_row_for_each_level(rule):
    ends, states, _ = run_of(rule)
    table = explorer_of(rule).table
    assert table["level"].tolist() == [end.level for end in ends]
    assert table["density"].tolist() == [end.density for end in ends]
    assert table["epochs"].tolist() == [end.epoch for end in ends]
    assert table["test accuracy"].tolist() == [end.test_accuracy for end in ends]
    for text, state in zip(table["density of layers"], states, strict=False):
        expected = [density({k: m}) for k, m in state.start.masks.items()]
        assert [float(part.split()[1]) for part in text.split(", ")] == pytest.approx(
            expected, abs=5e-4
        )


@each_rule
def test_a_picture_is_small(rule):
    sizes = [len(picture.encode()) for picture in pictures(explorer_of(rule)).values()]
    assert max(sizes) < 12_000
    assert sum(sizes) / len(sizes) < 9_500


def test_a_network_of_convolutions_can_be_replayed():
    options = {"model": "convnet", "levels": 1, "epochs": 0.2, "stop": "information"}
    drawn = pictures(replay(Config(**{**FAST, **options, "scope": "global"})))
    assert len(drawn) == 2 * 5
    assert shades(drawn["1", "conv1"]).shape == (48, 3)
    assert max(len(picture.encode()) for picture in drawn.values()) < 13_000


@pytest.mark.parametrize("options", [{"data": "imagenet"}, {"model": "mlpp"}])
def test_a_bad_config_is_refused_in_one_line(options):
    with pytest.raises(ValueError, match=r"^unknown .*choose from[^\n]*$"):
        replay(Config(**{**FAST, **options}))
