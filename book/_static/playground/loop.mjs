// Warm up -> snapshot -> per level: train until the rule, prune, rewind -> train the final network.
import { distance, gradientFlow, informationFlow, norm } from "./flows.mjs";
import { density, fullMasks, maskDistance, pruned, roundHalfEven } from "./masks.mjs";
import { accuracy, applyMasks, copied, desk, optimiser, room } from "./network.mjs";
import { RULES } from "./rules.mjs";

/**
 * @typedef {Object} Settings those of infcop_lite.Config, in camel case
 * @property {string} rule of RULES
 * @property {number} epsilon @property {boolean} absolute @property {number} patience
 * @property {number} fixed epochs of the rule "fixed"
 * @property {string} text of the rule "own"
 * @property {number[]} timetable epochs of each level, of the rule "timetable"
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

/** Return the steps after which a level is looked at: 0, the budget, and evenly between. */
function checkTimes(every, budget) {
  const times = [];
  for (let due = 0; due < budget; due += every) times.push(due);
  return [...times, budget];
}

/**
 * Run the whole method; yield at each check, and in the warm-up as often.
 *
 * A memory saves runs that differ in their rule alone from training twice what they have in common:
 * levels are the same if those before ended at the same checks. What it has trained on is not
 * trained back: the network yielded with a check may be a later one. A run that goes on from where
 * a level ended shares its warm-up only.
 *
 * @param {Network} initial its initial weights; changed in place
 * @param {Data} data @param {Order} order @param {Settings} settings
 * @param {string[]} watched what to measure besides what the rule reads
 * @param {{get: Function, set: Function} | null} memory
 */
export function* run(initial, data, order, settings, watched = [], memory = null) {
  const { levels, epochs, warmupEpochs, checkSteps, fraction, batchSize, rewind } = settings;
  const perEpoch = Math.ceil(data.train.targets.length / batchSize);
  const steps = (count) => roundHalfEven(count * perEpoch);
  const large = Object.values(data).map((split) => split.targets.length);
  const own = room(initial.sizes, Math.max(...large)), table = desk(initial.sizes, batchSize);

  function trainer(network, masks, purpose, level) {
    const step = optimiser(network, masks, settings, table), batches = order(purpose, level);
    return (count) => {
      let loss = 0;
      for (let i = 0; i < count; i++) loss += step(data.train, batches.next().value);
      if (!Number.isFinite(loss)) throw new Error("the training loss is not finite");
      return loss / count;
    };
  }

  const measures = {
    information: (network) => informationFlow(network, data.probe, own),
    gradient: (network, masks) => gradientFlow(network, data.gradientProbe, masks, own),
  };
  const flowsOf = (names, ...of) =>
    Object.fromEntries(names.filter((name) => measures[name]).map((name) => [name, measures[name](...of)]));

  let warmed = memory?.get("warmed");
  if (!warmed) {
    const masks = fullMasks(initial), warm = trainer(initial, masks, "warmup", 0);
    const warmSteps = steps(warmupEpochs);
    let loss = Infinity;
    for (let left = warmSteps; left > 0; ) {
      const now = left % checkSteps || checkSteps;
      loss = warm(now);
      left -= now;
      const epoch = (warmSteps - left) / perEpoch;
      yield { kind: "warm-up", level: 0, epoch, density: 1, trainLoss: loss, network: initial, masks };
    }
    warmed = { network: copied(initial), loss, accuracy: accuracy(initial, data.validation, own) };
    memory?.set("warmed", warmed);
  }
  const read = RULES[settings.rule](settings, warmed);
  const names = [...new Set([...watched, ...read.reads])], compared = read.reads.find((name) => measures[name]);
  const references = flowsOf(names, warmed.network, fullMasks(initial));
  const budget = steps(epochs), times = checkTimes(checkSteps, budget);

  /** Return a level, and a function `at`: what check i of it finds, and the masks it would draw. */
  function begun(network, masks, level) {
    applyMasks(network, masks);
    const go = trainer(network, masks, "level", level), isLast = level === levels, made = [];
    const common = { kind: "check", level, density: density(masks), references, isLast };
    function at(i) {
      while (made.length <= i) {
        const due = times[made.length], before = made.at(-1);
        const trainLoss = before ? go(due - times[made.length - 1]) : NaN; // nothing is known yet
        const flows = flowsOf(names, network, masks);
        const isDrawn = names.includes("mask") || due >= budget || (memory && !isLast);
        const next = isDrawn ? pruned(network, masks, fraction) : null;
        const check = {
          ...common, epoch: due / perEpoch, flows, trainLoss,
          distance: compared ? distance(flows[compared], references[compared]) : NaN,
          unit: compared ? norm(references[compared]) : NaN,
          relative: relative(flows, references),
          maskDistance: names.includes("mask") && before ? maskDistance(next, before.next, masks) : NaN,
          accuracy: names.includes("accuracy") ? accuracy(network, data.validation, own) : NaN,
        };
        made.push({ check, next });
      }
      return made[i];
    }
    return { network, masks, at };
  }

  let path = names.join(), last = null, masks = fullMasks(initial);
  for (let level = 0; level <= levels; level++) {
    const from = level === 0 || rewind ? () => copied(warmed.network) : () => last.network;
    last = (rewind && memory?.get(path)) || begun(from(), masks, level);
    if (rewind) memory?.set(path, last);
    for (let i = 0, checks = [], ends = false; !ends; i++) {
      const { check, next } = last.at(i), { network } = last, isOver = i === times.length - 1;
      checks.push(check);
      ends = isOver || (!check.isLast && read.stop(checks));
      const testAccuracy = ends && (isOver || !memory) ? accuracy(network, data.test, own) : NaN;
      yield { ...check, testAccuracy, stopped: ends, network, masks: last.masks };
      if (!ends) continue;
      if (!check.isLast) masks = next ?? pruned(network, last.masks, fraction);
      path += ` ${i}`;
    }
  }
}
