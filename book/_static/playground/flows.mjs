// The two measurements, information flow and gradient flow, as infcop_lite.flows defines them.
import { forward, gradients } from "./network.mjs";

/**
 * Return for each sample the mean over units of the standardised outputs. A unit is dead, and
 * counts as 0, when what varies in it is round-off.
 */
export function meanUnit(outputs, samples, units) {
  const sum = new Float64Array(samples);
  for (let u = 0; u < units; u++) {
    let mean = 0, rest = 0, square = 0;
    for (let n = 0; n < samples; n++) mean += outputs[n * units + u];
    mean /= samples;
    // the round-off of a long sum is corrected, or a constant unit would pass for a signal
    for (let n = 0; n < samples; n++) rest += outputs[n * units + u] - mean;
    mean += rest / samples;
    for (let n = 0; n < samples; n++) square += (outputs[n * units + u] - mean) ** 2;
    const deviation = Math.sqrt(square / samples);
    if (!(deviation > 4 * Number.EPSILON * Math.hypot(mean, deviation))) continue;
    for (let n = 0; n < samples; n++) sum[n] += (outputs[n * units + u] - mean) / deviation;
  }
  return sum.map((value) => value / units);
}

/** Return the mean correlation between the units of each pair of consecutive layers. */
export function informationFlow(network, split, own) {
  const samples = split.targets.length;
  forward(network, split.inputs, samples, own);
  const means = own.before.map((outputs, l) => meanUnit(outputs, samples, network.sizes[l + 1]));
  return means.slice(1).map((next, l) => {
    let sum = 0;
    for (let n = 0; n < samples; n++) sum += means[l][n] * next[n];
    return sum / samples;
  });
}

/** Return the norm of the loss gradient in each layer, of the surviving weights alone. */
export function gradientFlow(network, split, masks, own) {
  gradients(network, split.inputs, split.targets, split.targets.length, own);
  return own.weights.map((grad, l) => norm(grad.filter((_, i) => masks[l][i])));
}

/** Return the Euclidean norm. */
export function norm(values) {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

/** Return the Euclidean distance between two flows. */
export function distance(flow, reference) {
  return norm(flow.map((value, i) => value - reference[i]));
}
