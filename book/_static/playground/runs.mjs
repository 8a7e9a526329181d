// A run on the digits, decided by its settings and its seed alone.
import { run } from "./loop.mjs";
import { initial } from "./network.mjs";
import { generator, shuffledBatches } from "./random.mjs";

/** What no knob changes. */
const FIXED = {
  patience: 2, checkSteps: 7, rewind: true, batchSize: 64, lr: 0.05, momentum: 0.9, weightDecay: 5e-4,
};
export const SIZES = [64, 24, 24, 10];

/** Return how many prunings bring a network to a density, or below. */
export function levelsTo(density, fraction) {
  return Math.ceil(Math.log(density) / Math.log(1 - fraction) - 1e-9);
}

/** Begin a run: a generator of its checks. Watched flows are measured besides what the rule reads. */
export function begin(knobs, data, watched = []) {
  const levels = levelsTo(knobs.density, knobs.fraction), size = data.train.targets.length;
  const settings = { ...FIXED, ...knobs, levels };
  const order = (purpose, level) => {
    const random = generator(knobs.seed, purpose === "level" ? 1 : 2, level);
    return shuffledBatches(size, FIXED.batchSize, random);
  };
  return run(initial(SIZES, generator(knobs.seed, 0)), data, order, settings, watched);
}

/** Return what a finished run came to: where its levels ended, epochs, accuracy, density. */
export function summary(stops) {
  const last = stops.at(-1);
  return {
    stops: stops.map((stop) => stop.epoch),
    epochs: stops.reduce((sum, stop) => sum + stop.epoch, 0),
    accuracy: last.testAccuracy,
    density: last.density,
  };
}

/** Run to the end at once. */
export function whole(knobs, data) {
  const stops = [];
  for (const check of begin(knobs, data)) if (check.stopped) stops.push(check);
  return summary(stops);
}
