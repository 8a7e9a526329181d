// When a level may stop: each rule reads the checks of the level so far and answers yes or no.
import { decide, names, parse } from "./language.mjs";

/**
 * @typedef {Object} Check What was measured; what nobody measured is NaN, and stops nothing.
 * @property {number} epoch trained in this level so far; the first check of a level has 0
 * @property {number} trainLoss mean over the steps since the check before, in nats
 * @property {number} level prunings so far
 * @property {number} accuracy on the validation images
 * @property {Object} relative name -> distance of a flow, in units of the reference flow's norm
 * @property {number} distance of the flow that the rule reads, to the reference flow
 * @property {number} unit norm of that reference flow
 * @property {number} maskDistance share of survivors whose fate has changed since the check before
 */

const trained = (checks) => checks.at(-1).epoch > 0;

/** Return whether the flow is within epsilon of the reference: the paper's criterion. */
function consistent({ epsilon, absolute }) {
  return (checks) => {
    const { distance, unit } = checks.at(-1);
    return trained(checks) && distance < epsilon * (absolute ? 1 : unit);
  };
}

/** Return a check as the language of rules has it. */
const told = ({ epoch, trainLoss, accuracy, relative, maskDistance }) => ({
  epoch, loss: trainLoss, accuracy, mask: maskDistance,
  information: relative.information ?? NaN, gradient: relative.gradient ?? NaN,
});

/** Return a rule that a reader wrote; as in chapter 7, a level is trained before it may end. */
function own({ text, epsilon, levels }, reference) {
  const tree = parse(text);
  const constants = { levels, x: epsilon, ref_loss: reference.loss, ref_accuracy: reference.accuracy };
  return {
    reads: names(tree),
    stop: (checks) =>
      trained(checks) && decide(tree, checks.map(told), { ...constants, level: checks.at(-1).level }) === true,
  };
}

/**
 * Name -> {reads, stop}; made of the settings, and of loss and accuracy at the end of the warm-up.
 * What a rule reads is measured: information, gradient, mask, accuracy.
 */
export const RULES = {
  information: (settings) => ({ reads: ["information"], stop: consistent(settings) }),
  gradient: (settings) => ({ reads: ["gradient"], stop: consistent(settings) }),
  mask: ({ epsilon, patience }) => ({
    reads: ["mask"],
    stop: (checks) =>
      checks.length >= patience && checks.slice(-patience).every((c) => c.maskDistance < epsilon),
  }),
  loss: (settings, reference) => ({
    reads: [],
    stop: (checks) => checks.some((c) => c.epoch > 0 && c.trainLoss <= reference.loss),
  }),
  fixed: ({ fixed }) => ({ reads: [], stop: (checks) => checks.at(-1).epoch >= fixed }),
  full: () => ({ reads: [], stop: () => false }),
  own,
  timetable: ({ timetable }) => ({
    reads: [],
    stop: (checks) => checks.at(-1).epoch >= timetable[checks.at(-1).level],
  }),
};
