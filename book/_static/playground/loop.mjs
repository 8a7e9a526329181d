// Warm up -> snapshot -> per level: train until the rule, prune, rewind -> train the final network.
import { distance, gradientFlow, informationFlow, norm } from "./flows.mjs";
import { density, fullMasks, maskDistance, pruned, roundHalfEven } from "./masks.mjs";
import { accuracy, applyMasks, copied, optimiser, room } from "./network.mjs";
import { RULES } from "./rules.mjs";

/**
 * @typedef {Object} Settings those of infcop_lite.Config, in camel case
 * @property {string} rule of RULES
 * @property {number} epsilon @property {boolean} absolute @property {number} patience
 * @property {number} fixed epochs of the rule "fixed"
 * @property {number} fraction of the survivors that a level removes
 * @property {number} levels prunings @property {number} epochs budget of a level
 * @property {number} warmupEpochs @property {number} checkSteps
 * @property {boolean} rewind to the snapshot, or go on
 * @property {number} batchSize @property {number} lr @property {number} momentum
 * @property {number} weightDecay
 *
 * @typedef {{train: Split, validation: Split, test: Split, probe: Split, gradientProbe: Split}} Data
 * @typedef {(purpose: string, level: number) => Iterator<ArrayLike<number>>} Order of the batches
 */

/** Return name -> distance of a flow to its reference, in units of the reference's norm. */
function relative(flows, references) {
  const share = (name) => distance(flows[name], references[name]) / norm(references[name]);
  return Object.fromEntries(Object.keys(flows).map((name) => [name, share(name)]));
}

/** Yield the steps after which a level is looked at: 0, the budget, and evenly between. */
function* checkTimes(every, budget) {
  for (let due = 0; due < budget; due += every) yield due;
  yield budget;
}

/**
 * Run the whole method; yield at each check, and in the warm-up as often.
 * @param {Network} network its initial weights; changed in place
 * @param {Data} data @param {Order} order @param {Settings} settings
 * @param {string[]} watched flows to measure besides what the rule reads
 */
export function* run(network, data, order, settings, watched = []) {
  const { levels, epochs, warmupEpochs, checkSteps, fraction, batchSize, rewind } = settings;
  const perEpoch = Math.ceil(data.train.targets.length / batchSize);
  const steps = (count) => roundHalfEven(count * perEpoch);
  const large = Object.values(data).map((split) => split.targets.length);
  const own = room(network.sizes, Math.max(...large));
  let masks = fullMasks(network);

  function trainer(purpose, level) {
    const step = optimiser(network, masks, settings), batches = order(purpose, level);
    return (count) => {
      let loss = 0;
      for (let i = 0; i < count; i++) loss += step(data.train, batches.next().value);
      if (!Number.isFinite(loss)) throw new Error("the training loss is not finite");
      return loss / count;
    };
  }

  const measures = {
    information: () => informationFlow(network, data.probe, own),
    gradient: () => gradientFlow(network, data.gradientProbe, masks, own),
  };
  const flowsOf = (names) =>
    Object.fromEntries(names.filter((name) => measures[name]).map((name) => [name, measures[name]()]));

  let loss = Infinity;
  const warm = trainer("warmup", 0), warmSteps = steps(warmupEpochs);
  for (let left = warmSteps; left > 0; ) {
    const now = left % checkSteps || checkSteps;
    loss = warm(now);
    left -= now;
    const epoch = (warmSteps - left) / perEpoch;
    yield { kind: "warm-up", level: 0, epoch, density: 1, trainLoss: loss, network, masks };
  }
  const snapshot = copied(network), read = RULES[settings.rule](settings, { loss });
  const names = [...new Set([...watched, read.reads])];
  const references = flowsOf(names);

  for (let level = 0; level <= levels; level++) {
    const isLast = level === levels, budget = steps(epochs), checks = [];
    const go = trainer("level", level);
    let at = 0, trainLoss = NaN, drawn = null; // nothing is known before the first step
    for (const due of checkTimes(checkSteps, budget)) {
      if (due > at) trainLoss = go(due - at);
      at = due;
      const flows = flowsOf(names), flow = flows[read.reads], reference = references[read.reads];
      const next = names.includes("mask") || due >= budget ? pruned(network, masks, fraction) : null;
      const check = {
        kind: "check", level, epoch: at / perEpoch, density: density(masks), flows, references, isLast,
        trainLoss,
        distance: flow ? distance(flow, reference) : NaN,
        unit: reference ? norm(reference) : NaN,
        relative: relative(flows, references),
        maskDistance: next && drawn ? maskDistance(next, drawn, masks) : NaN,
        accuracy: accuracy(network, data.validation, own),
      };
      drawn = next;
      checks.push(check);
      const ends = at >= budget || (!isLast && read.stop(checks));
      if (ends) check.testAccuracy = accuracy(network, data.test, own);
      yield { ...check, stopped: ends, network, masks };
      if (!ends) continue;
      if (!isLast) masks = next ?? pruned(network, masks, fraction);
      break;
    }
    if (level < levels) {
      if (rewind) snapshot.weights.forEach((w, l) => network.weights[l].set(w));
      if (rewind) snapshot.biases.forEach((b, l) => network.biases[l].set(b));
      applyMasks(network, masks);
    }
  }
}
