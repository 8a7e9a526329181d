// A multilayer perceptron with ReLU, its cross-entropy, and one masked step of SGD with momentum.
import { affine, backward, outer } from "./kernel.mjs";

/**
 * @typedef {{sizes: number[], weights: Float64Array[], biases: Float64Array[]}} Network
 * Weights of a layer are (unit, input), row by row, as torch.nn.Linear keeps them.
 * @typedef {Uint8Array[]} Masks One for each layer, like its weights; 1 = kept.
 * @typedef {{inputs: Float64Array, targets: Uint8Array}} Split Inputs (sample, input), row by row.
 */

/** Return a copy that shares nothing. */
export function copied({ sizes, weights, biases }) {
  return { sizes, weights: weights.map((w) => w.slice()), biases: biases.map((b) => b.slice()) };
}

/** Set what the masks removed to zero, in place. */
export function applyMasks(network, masks) {
  network.weights.forEach((weight, l) => masks[l].forEach((kept, i) => kept || (weight[i] = 0)));
}

/** Return room for what `samples` samples make of a network: once, not at every step. */
export function room(sizes, samples) {
  const each = () => sizes.slice(1).map((units) => new Float64Array(samples * units));
  const weights = sizes.slice(1).map((units, l) => new Float64Array(units * sizes[l]));
  const biases = sizes.slice(1).map((units) => new Float64Array(units));
  return { before: each(), after: each(), delta: each(), weights, biases };
}

/** Fill room.before with the outputs of all layers before the ReLU; the last are the logits. */
export function forward(network, inputs, samples, own) {
  const { sizes, weights, biases } = network;
  let input = inputs;
  for (let l = 0; l < weights.length; l++) {
    const before = own.before[l], after = own.after[l];
    affine(input, weights[l], biases[l], before, samples, sizes[l], sizes[l + 1]);
    for (let i = 0; i < samples * sizes[l + 1]; i++) after[i] = before[i] > 0 ? before[i] : 0;
    input = after;
  }
  return own.before[weights.length - 1];
}

/** Fill room.weights and room.biases with the gradient of the mean loss; return that loss, in nats. */
export function gradients(network, inputs, targets, samples, own) {
  const { sizes, weights } = network;
  const last = weights.length - 1, classes = sizes[last + 1];
  const logits = forward(network, inputs, samples, own), delta = own.delta[last];
  let loss = 0;
  for (let n = 0; n < samples; n++) {
    const row = n * classes;
    let top = logits[row], sum = 0;
    for (let c = 1; c < classes; c++) if (logits[row + c] > top) top = logits[row + c];
    for (let c = 0; c < classes; c++) sum += delta[row + c] = Math.exp(logits[row + c] - top);
    for (let c = 0; c < classes; c++) delta[row + c] /= sum * samples;
    delta[row + targets[n]] -= 1 / samples;
    loss += Math.log(sum) + top - logits[row + targets[n]];
  }
  for (let l = last; l >= 0; l--) {
    const units = sizes[l + 1], input = l ? own.after[l - 1] : inputs;
    outer(own.delta[l], input, own.weights[l], samples, sizes[l], units);
    own.biases[l].fill(0);
    for (let n = 0, i = 0; n < samples; n++) {
      for (let m = 0; m < units; m++, i++) own.biases[l][m] += own.delta[l][i];
    }
    if (l) backward(own.delta[l], weights[l], input, own.delta[l - 1], samples, sizes[l], units);
  }
  return loss / samples;
}

/** Return what a step needs and leaves nothing in: optimisers that take turns may share it. */
export function desk(sizes, batchSize) {
  const batch = new Float64Array(batchSize * sizes[0]);
  return { own: room(sizes, batchSize), batch, labels: new Uint8Array(batchSize) };
}

/** Return a fresh optimiser: a function that takes one step on a batch and returns its loss. */
export function optimiser(network, masks, { lr, momentum, weightDecay }, { own, batch, labels }) {
  const velocity = room(network.sizes, 0), width = network.sizes[0];

  function move(values, grads, speed, kept) {
    for (let i = 0; i < values.length; i++) {
      if (kept && !kept[i]) continue;
      speed[i] = momentum * speed[i] + (grads[i] + weightDecay * values[i]);
      values[i] -= lr * speed[i];
    }
  }

  /** @param {Split} split @param {ArrayLike<number>} index of the samples of the batch */
  return (split, index) => {
    for (let n = 0; n < index.length; n++) {
      const from = index[n] * width;
      for (let k = 0; k < width; k++) batch[n * width + k] = split.inputs[from + k];
      labels[n] = split.targets[index[n]];
    }
    const loss = gradients(network, batch, labels, index.length, own);
    network.weights.forEach((w, l) => move(w, own.weights[l], velocity.weights[l], masks[l]));
    network.biases.forEach((b, l) => move(b, own.biases[l], velocity.biases[l], null));
    return loss;
  };
}

/** Return the share of samples whose largest logit is that of their class. */
export function accuracy(network, split, own) {
  const samples = split.targets.length, classes = network.sizes.at(-1);
  const logits = forward(network, split.inputs, samples, own);
  let right = 0;
  for (let n = 0; n < samples; n++) {
    let best = 0;
    for (let c = 1; c < classes; c++) if (logits[n * classes + c] > logits[n * classes + best]) best = c;
    right += best === split.targets[n];
  }
  return right / samples;
}
