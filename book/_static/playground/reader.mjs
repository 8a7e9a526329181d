// What a trained network says about one image.
import { forward, room } from "./network.mjs";

/** Return the probabilities of the classes. @param {Network} network @param {Float64Array} inputs */
export function probabilities(network, inputs) {
  const logits = [...forward(network, inputs, 1, room(network.sizes, 1))], top = Math.max(...logits);
  const parts = logits.map((logit) => Math.exp(logit - top)), sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => part / sum);
}

/** Return the class of the largest probability. */
export const guess = (shares) => shares.indexOf(Math.max(...shares));
