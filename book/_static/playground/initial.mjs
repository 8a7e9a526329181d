// The network before any training: its seed decides it.
import { sizesOf } from "./levels.mjs";
import { generator } from "./random.mjs";

/** Return a network of two hidden layers, its weights in the ranges that torch.nn.Linear has. */
export function initial({ seed, units }) {
  const sizes = sizesOf(units);
  const random = generator(seed, 0);
  const draw = (count, limit) => Float64Array.from({ length: count }, () => limit * (2 * random() - 1));
  const weights = [], biases = [];
  sizes.slice(1).forEach((outputs, l) => {
    const limit = 1 / Math.sqrt(sizes[l]);
    weights.push(draw(outputs * sizes[l], limit));
    biases.push(draw(outputs, limit));
  });
  return { sizes, weights, biases };
}
