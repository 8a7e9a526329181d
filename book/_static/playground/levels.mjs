// How many prunings a run makes, and what they leave: counts of weights alone decide it.
import { roundHalfEven } from "./masks.mjs";

/** Return the units of each layer: pixels, two hidden layers, classes. */
export const sizesOf = (units) => [64, units, units, 10];

/** Return the density after each pruning, the dense network first, until one leaves so few or none goes. */
export function densities({ density, fraction, units }) {
  const sizes = sizesOf(units), sum = (counts) => counts.reduce((a, b) => a + b, 0);
  let left = sizes.slice(1).map((outputs, l) => outputs * sizes[l]);
  const all = sum(left), found = [1];
  while (found.at(-1) > density) {
    left = left.map((count) => count - roundHalfEven(fraction * count));
    if (sum(left) === found.at(-1) * all) break;
    found.push(sum(left) / all);
  }
  return found;
}

/** Return how many prunings bring a network to a density, or below. */
export const levelsTo = (settings) => densities(settings).length - 1;
