// What a run comes to, in one sentence.

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

/** Return where a run stands. @param {Object} check the last one @param {number} epochs so far */
export function standing(check, levels, epochs) {
  if (check.kind === "warm-up") return `Warm-up: ${check.epoch.toFixed(1)} epochs, nothing removed yet.`;
  const left = `${percent(check.density)} of the weights left`;
  const cost = `${epochs.toFixed(1)} epochs of retraining so far`;
  return `Level ${check.level} of ${levels}: ${left}, ${cost}, validation accuracy ${percent(check.accuracy, 1)}.`;
}

/** Return what a finished run came to. */
export function finished({ density, epochs, accuracy }, full, half) {
  const cost = epochs < full ? `${epochs.toFixed(1)} epochs of retraining instead of ${full}` : `all ${full} epochs of retraining`;
  return `Done: ${percent(density)} of the weights left, ${cost}, test accuracy ${(100 * accuracy).toFixed(1)} ± ${percent(half, 1)}.`;
}
