// A run on the digits, decided by its settings and its seed alone.
import { initial } from "./initial.mjs";
import { levelsTo } from "./levels.mjs";
import { run } from "./loop.mjs";
import { generator, shuffledBatches } from "./random.mjs";

/** What no knob changes. */
const FIXED = {
  patience: 2, checkSteps: 7, batchSize: 64, lr: 0.05, momentum: 0.9, weightDecay: 5e-4,
};

/** Begin a run: a generator of its checks. What is watched is measured besides what the rule reads. */
export function begin(knobs, data, watched = [], memory = null) {
  const levels = levelsTo(knobs), size = data.train.targets.length;
  const settings = { ...FIXED, ...knobs, levels };
  const order = (purpose, level) => {
    const random = generator(knobs.seed, purpose === "level" ? 1 : 2, level);
    return shuffledBatches(size, FIXED.batchSize, random);
  };
  return run(initial(knobs), data, order, settings, watched, memory);
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

/** Return the dense network after the warm-up and a level's whole budget, as the last level has it. */
export function dense(knobs, data) {
  let network;
  for (const check of begin({ ...knobs, rule: "full", density: 1 }, data)) ({ network } = check);
  return network;
}

/** Run to the end at once. @param {Object} memory of `remembering`, for runs that come one by one */
export function whole(knobs, data, memory = null) {
  const stops = [];
  for (const check of begin(knobs, data, [], memory?.of(knobs))) if (check.stopped) stops.push(check);
  return summary(stops);
}
