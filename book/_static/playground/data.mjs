// scikit-learn's digits in the library's splits, normalised as the library does it.
import { DIGITS } from "./digits.mjs";

const SIZES = { train: 1294, validation: 143, test: 360 };
const PROBE = 500; // training images on which flows are measured
const f = Math.fround; // the library normalises in float32
const LEVELS = Array.from({ length: 17 }, (_, v) => f(f(v / 16 - f(0.3053)) / f(0.376)));

/** Return pixels of 0 to 16 as the network takes them. */
export const normalised = (pixels) => Float64Array.from(pixels, (value) => LEVELS[value]);

/** Return what a deflated, base64-encoded text holds. */
async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return the splits and the probes, of 64 inputs and 10 classes. @returns {Promise<Data>} */
export async function digits() {
  const bytes = await inflated(DIGITS), total = bytes.length / 65, splits = {};
  let from = 0;
  for (const [name, size] of Object.entries(SIZES)) {
    const pixels = new Uint8Array(64 * size); // the text has them pixel by pixel
    for (let n = 0; n < size; n++) {
      for (let k = 0; k < 64; k++) pixels[64 * n + k] = bytes[total * (k + 1) + from + n];
    }
    splits[name] = { pixels, inputs: normalised(pixels), targets: bytes.slice(from, from + size) };
    from += size;
  }
  const { inputs, targets } = splits.train; // in an order that was drawn once
  const probe = { inputs: inputs.subarray(0, 64 * PROBE), targets: targets.subarray(0, PROBE) };
  return { ...splits, probe, gradientProbe: probe };
}
