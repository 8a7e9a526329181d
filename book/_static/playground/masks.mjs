// Which weights exist, and what magnitude pruning keeps of them: infcop_lite.masks in short.

/** Return the nearest whole number; a half goes to the even one, as Python's round has it. */
export function roundHalfEven(value) {
  const down = Math.floor(value), rest = value - down;
  if (rest !== 0.5) return Math.round(value);
  return down % 2 === 0 ? down : down + 1;
}

/** Return the masks of a dense network. */
export function fullMasks(network) {
  return network.weights.map((weight) => new Uint8Array(weight.length).fill(1));
}

/** Return the share of weights that are kept. */
export function density(masks) {
  return kept(masks) / masks.reduce((sum, mask) => sum + mask.length, 0);
}

function kept(masks) {
  return masks.reduce((sum, mask) => sum + mask.reduce((count, bit) => count + bit, 0), 0);
}

/**
 * Return masks without the round(fraction * survivors) smallest weights of each layer; of equal
 * ones the first go first.
 */
export function pruned(network, masks, fraction) {
  return masks.map((mask, l) => {
    const size = network.weights[l].map(Math.abs);
    const alive = size.filter((_, i) => mask[i]).sort();
    const removed = roundHalfEven(fraction * alive.length), next = mask.slice();
    if (!removed) return next;
    const threshold = alive[removed - 1];
    let ties = removed - alive.findIndex((value) => value === threshold);
    for (let i = 0; i < next.length; i++) {
      if (next[i] && (size[i] < threshold || (size[i] === threshold && ties-- > 0))) next[i] = 0;
    }
    return next;
  });
}

/** Return the share of surviving weights on whose fate two next masks differ. */
export function maskDistance(masks, others, alive) {
  const differ = masks.map((mask, l) => mask.map((bit, i) => bit ^ others[l][i]));
  return kept(differ) / Math.max(1, kept(alive));
}
