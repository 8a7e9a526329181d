"""Write scikit-learn's digits as the playground ships them: one short module of text.

A pixel has 17 levels, 0 to 16, which four bits do not hold. Deflated bytes do, without loss, at
under three bits a pixel: one and the same pixel is much alike in all images.
"""

import base64
import zlib
from pathlib import Path

import numpy as np

from infcop_lite import data
from infcop_lite.datasets import SOURCES

TARGET = Path(__file__).resolve().parents[1] / "book/_static/playground/digits.mjs"


def raw() -> bytes:
    """Return the labels, then pixel by pixel all images: training, validation and test, in order.

    Source: `data.load` with seed 0, so that the page and the library have the same splits.
    """
    record, digits = SOURCES["digits"], data.load("digits", seed=0)
    splits = (digits.train, digits.validation, digits.test)
    labels = np.concatenate([split.targets.numpy() for split in splits])
    inputs = np.concatenate([split.inputs.numpy().reshape(len(split), -1) for split in splits])
    pixels = (inputs * record.deviation[0] + record.mean[0]) * record.brightest
    return labels.astype(np.uint8).tobytes() + pixels.T.round().astype(np.uint8).tobytes()


def module(content: bytes) -> str:
    """Return the text of the module: what it holds inflates to the content.

    >>> module(b"aaa").splitlines()[-1]
    'export const DIGITS = "S0xMBAA=";'
    """
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15, 5, zlib.Z_FILTERED)
    text = base64.b64encode(squeezer.compress(content) + squeezer.flush()).decode()
    note = "// Written by tools/playground_digits.py: labels, then pixels, deflated; see data.mjs."
    return f'{note}\nexport const DIGITS = "{text}";\n'


if __name__ == "__main__":
    TARGET.write_text(module(raw()), "utf-8")
