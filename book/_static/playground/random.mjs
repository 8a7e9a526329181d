// Random numbers that a seed decides: equal seeds give equal runs, in every browser.

/** Return a function that draws from [0, 1); every part of the key counts. */
export function generator(...key) {
  let state = 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0; // mulberry32
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  for (const part of key) state = next() ^ Math.imul(part + 1, 0x9e3779b1);
  return () => next() / 2 ** 32;
}

/** Yield index batches without end, a fresh permutation every epoch. */
export function* shuffledBatches(samples, size, random) {
  const order = Uint32Array.from({ length: samples }, (_, i) => i);
  for (;;) {
    for (let i = samples - 1; i > 0; i--) {
      const j = Math.floor((i + 1) * random());
      [order[i], order[j]] = [order[j], order[i]];
    }
    for (let i = 0; i < samples; i += size) yield order.slice(i, i + size);
  }
}
