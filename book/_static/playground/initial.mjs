// The network before any training: its seed decides it.
import { generator } from "./random.mjs";

const SIZES = [64, 24, 24, 10]; // pixels, two hidden layers, classes

/** Return a network with the initial weights that torch.nn.Linear has, in the same ranges. */
export function initial(seed, sizes = SIZES) {
  const random = generator(seed, 0);
  const draw = (count, limit) => Float64Array.from({ length: count }, () => limit * (2 * random() - 1));
  const weights = [], biases = [];
  sizes.slice(1).forEach((units, l) => {
    const limit = 1 / Math.sqrt(sizes[l]);
    weights.push(draw(units * sizes[l], limit));
    biases.push(draw(units, limit));
  });
  return { sizes, weights, biases };
}
