"""A drawn digit becomes what scikit-learn's digits are, and a network reads it as torch would."""

import functools
import json
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import linear

from .node import ENGINE, node


def arc(x, y, width, height, start, end):
    angles = np.radians(np.linspace(start, end, 20))
    return [[x + width * math.cos(a), y + height * math.sin(a)] for a in angles]


BAR = [[[3.0, 10.0], [3.0, 90.0]]]
DIGITS = {  # as people write them, in strokes
    0: [arc(5, 8, 4, 7, -90, 270)],
    2: [[*arc(5, 4.5, 3.5, 3.5, -170, 30), [1.5, 15], [9, 15]]],
    4: [[[6, 1], [1.5, 10], [9.5, 10]], [[6.5, 6], [6.5, 16]]],
    5: [[[9, 1], [2.5, 1], [2, 7], *arc(5, 10.5, 4, 4.2, -120, 140)]],
    8: [[*arc(5, 4.5, 3, 3.5, 90, 450), *arc(5, 11.8, 3.6, 3.8, -90, 270)]],
    9: [[*arc(5, 5, 3.3, 3.8, 0, 360), [8.3, 5], [7, 15.5]]],
}
LARGER = [[[70 + 9 * x, 9 * y - 40] for x, y in stroke] for stroke in DIGITS[5]]
DOT = [[[7, 7]]]


@functools.cache
def drawn():
    drawings = [*DIGITS.values(), LARGER, BAR, DOT, []]
    return json.loads(node("draw.mjs", ENGINE, drawings=drawings))


def pixels(place):
    return np.array(drawn()["said"][place]["pixels"]).reshape(8, 8)


def test_a_bar_is_six_black_pixels_wide_and_as_high_as_the_image():
    """Three columns of pixels on either side of the middle are black; the ends are round."""
    bar = pixels(-3)
    assert (bar[1:7] == [0, 0, 0, 12, 12, 0, 0, 0]).all()
    assert (bar[[0, 7]] == bar[[7, 0]][:, ::-1]).all()
    assert 0 < bar[0, 3] < 12


def test_neither_place_nor_size_of_a_drawing_counts():
    assert (pixels(list(DIGITS).index(5)) == pixels(len(DIGITS))).all()


def test_a_dot_stands_in_the_middle_and_nothing_is_nothing():
    assert pixels(-2).sum() == pixels(-2)[3:5, 3:5].sum() > 0
    assert pixels(-1).sum() == 0


def test_as_much_is_black_as_in_the_digits_of_the_data():
    """There 303 to 330 of 1024 pixels are, digit by digit; a fifth more or less will do."""
    black = [pixels(place).sum() for place in range(len(DIGITS))]
    assert 313 * 0.8 < np.mean(black) < 313 * 1.2


def test_a_dense_network_reads_what_people_write():
    guesses = [int(np.argmax(each["shares"])) for each in drawn()["said"][: len(DIGITS)]]
    assert sum(map(int.__eq__, guesses, DIGITS)) >= 5


def test_probabilities_are_those_of_torch_and_a_test_image_is_normalised_as_in_training():
    network = drawn()["network"]
    values = torch.tensor(drawn()["input"], dtype=torch.float64)
    for weight, bias in zip(network["weights"], network["biases"], strict=True):
        before = linear(
            values, torch.tensor(weight).double().view(len(bias), -1), torch.tensor(bias).double()
        )
        values = before.relu()
    assert drawn()["said"][0]["shares"] == pytest.approx(before.softmax(0).tolist(), abs=1e-6)
    assert drawn()["same"]
