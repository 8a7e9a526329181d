// The arithmetic of one layer, in float64: where all the time goes, so the loops are unrolled.

/**
 * out[n][m] = bias[m] + sum over k of input[n][k] * weight[m][k]. Four samples and two units at a
 * time make eight sums that do not wait for one another.
 * @param {Float64Array} input (sample, input)
 * @param {Float64Array} weight (unit, input)
 * @param {Float64Array} bias (unit,)
 * @param {Float64Array} out (sample, unit), written over
 */
export function affine(input, weight, bias, out, samples, inputs, units) {
  let n = 0;
  for (; n + 3 < samples; n += 4) {
    const x0 = n * inputs, x1 = x0 + inputs, x2 = x1 + inputs, x3 = x2 + inputs;
    const y0 = n * units, y1 = y0 + units, y2 = y1 + units, y3 = y2 + units;
    let m = 0;
    for (; m + 1 < units; m += 2) {
      const w0 = m * inputs, w1 = w0 + inputs;
      let a0 = bias[m], a1 = a0, a2 = a0, a3 = a0;
      let b0 = bias[m + 1], b1 = b0, b2 = b0, b3 = b0;
      for (let k = 0; k < inputs; k++) {
        const u = weight[w0 + k], v = weight[w1 + k];
        const p = input[x0 + k], q = input[x1 + k], r = input[x2 + k], s = input[x3 + k];
        a0 += u * p; a1 += u * q; a2 += u * r; a3 += u * s;
        b0 += v * p; b1 += v * q; b2 += v * r; b3 += v * s;
      }
      out[y0 + m] = a0; out[y1 + m] = a1; out[y2 + m] = a2; out[y3 + m] = a3;
      out[y0 + m + 1] = b0; out[y1 + m + 1] = b1; out[y2 + m + 1] = b2; out[y3 + m + 1] = b3;
    }
    for (; m < units; m++) {
      for (let i = n; i < n + 4; i++) out[i * units + m] = one(input, weight, bias, i, m, inputs);
    }
  }
  for (; n < samples; n++) {
    for (let m = 0; m < units; m++) out[n * units + m] = one(input, weight, bias, n, m, inputs);
  }
}

function one(input, weight, bias, n, m, inputs) {
  const x = n * inputs, w = m * inputs;
  let sum = bias[m];
  for (let k = 0; k < inputs; k++) sum += weight[w + k] * input[x + k];
  return sum;
}

/**
 * grad[m][k] = sum over n of delta[n][m] * input[n][k]: what the weights of a layer get.
 * @param {Float64Array} delta (sample, unit)
 * @param {Float64Array} input (sample, input)
 * @param {Float64Array} grad (unit, input), written over
 */
export function outer(delta, input, grad, samples, inputs, units) {
  grad.fill(0);
  let n = 0;
  for (; n + 3 < samples; n += 4) {
    const x0 = n * inputs, x1 = x0 + inputs, x2 = x1 + inputs, x3 = x2 + inputs;
    for (let m = 0; m < units; m++) {
      const d = n * units + m;
      const a = delta[d], b = delta[d + units];
      const c = delta[d + 2 * units], e = delta[d + 3 * units];
      if (a === 0 && b === 0 && c === 0 && e === 0) continue;
      const g = m * inputs;
      for (let k = 0; k < inputs; k++) {
        grad[g + k] += a * input[x0 + k] + b * input[x1 + k] + c * input[x2 + k] + e * input[x3 + k];
      }
    }
  }
  for (; n < samples; n++) {
    for (let m = 0; m < units; m++) {
      const a = delta[n * units + m], g = m * inputs, x = n * inputs;
      for (let k = 0; k < inputs; k++) grad[g + k] += a * input[x + k];
    }
  }
}

/**
 * back[n][k] = sum over m of delta[n][m] * weight[m][k], but 0 where the ReLU was closed.
 * @param {Float64Array} delta (sample, unit)
 * @param {Float64Array} weight (unit, input)
 * @param {Float64Array} open (sample, input) what came out of the ReLU
 * @param {Float64Array} back (sample, input), written over
 */
export function backward(delta, weight, open, back, samples, inputs, units) {
  back.fill(0, 0, samples * inputs);
  for (let n = 0; n < samples; n++) {
    const x = n * inputs, d = n * units;
    let m = 0;
    for (; m + 1 < units; m += 2) {
      const a = delta[d + m], b = delta[d + m + 1];
      if (a === 0 && b === 0) continue;
      const w0 = m * inputs, w1 = w0 + inputs;
      for (let k = 0; k < inputs; k++) back[x + k] += a * weight[w0 + k] + b * weight[w1 + k];
    }
    for (; m < units; m++) {
      const a = delta[d + m], w = m * inputs;
      for (let k = 0; k < inputs; k++) back[x + k] += a * weight[w + k];
    }
    for (let k = 0; k < inputs; k++) if (!(open[x + k] > 0)) back[x + k] = 0;
  }
}
