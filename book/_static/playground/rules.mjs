// When a level may stop: each rule reads the checks of the level so far and answers yes or no.

/**
 * @typedef {Object} Check What was measured; what nobody measured is NaN, and stops nothing.
 * @property {number} epoch trained in this level so far; the first check of a level has 0
 * @property {number} trainLoss mean over the steps since the check before, in nats
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

/** Name -> {reads, stop}; made of the settings and of the loss at the end of the warm-up. */
export const RULES = {
  information: (settings) => ({ reads: "information", stop: consistent(settings) }),
  gradient: (settings) => ({ reads: "gradient", stop: consistent(settings) }),
  mask: ({ epsilon, patience }) => ({
    reads: "mask",
    stop: (checks) =>
      checks.length >= patience && checks.slice(-patience).every((c) => c.maskDistance < epsilon),
  }),
  loss: (settings, reference) => ({
    reads: "loss",
    stop: (checks) => checks.some((c) => c.epoch > 0 && c.trainLoss <= reference.loss),
  }),
  fixed: ({ fixed }) => ({ reads: "epoch", stop: (checks) => checks.at(-1).epoch >= fixed }),
  full: () => ({ reads: "epoch", stop: () => false }),
};
