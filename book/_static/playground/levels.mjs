/** Return how many prunings bring a network to a density, or below. */
export function levelsTo(density, fraction) {
  return Math.ceil(Math.log(density) / Math.log(1 - fraction) - 1e-9);
}
