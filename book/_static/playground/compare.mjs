// Does a rule lie above the line of constants? Paired by seed, with an interval.

/** Two-sided 95 % points of Student's t, for 1 to 9 degrees of freedom. */
const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/** Return the mean and the half width of its 95 % interval; of one number that width is infinite. */
export function interval(values) {
  const n = values.length, mean = values.reduce((a, b) => a + b, 0) / n;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const half = n > 1 ? (T[Math.min(n, 10) - 2] * Math.sqrt(square / (n - 1))) / Math.sqrt(n) : Infinity;
  return { mean, half, n };
}

/**
 * Return the accuracy that a fixed number of epochs comes to at this cost, between two tried ones.
 * @param {{epochs: number, accuracy: number}[]} line
 */
export function onTheLine(line, epochs) {
  const points = [...line].sort((a, b) => a.epochs - b.epochs);
  const after = points.findIndex((point) => point.epochs >= epochs);
  if (after === 0) return points[0].accuracy;
  if (after < 0) return points.at(-1).accuracy;
  const [a, b] = [points[after - 1], points[after]];
  const share = (epochs - a.epochs) / (b.epochs - a.epochs);
  return a.accuracy + share * (b.accuracy - a.accuracy);
}

/**
 * Return for each seed how far its runs lie above its own line, on average over tolerances: seeds
 * are independent, tolerances of one seed are not. They stand in the order of the lines.
 * @param {Map<number, Map<number, Object>>} swept tolerance -> seed -> summary
 * @param {Map<number, Object[]>} lines seed -> line of constants
 */
export function gains(swept, lines) {
  const found = [];
  for (const [seed, line] of lines) {
    const runs = [...swept.values()].map((each) => each.get(seed)).filter(Boolean);
    const each = line.length ? runs.map((run) => run.accuracy - onTheLine(line, run.epochs)) : [];
    if (each.length) found.push(each.reduce((a, b) => a + b, 0) / each.length);
  }
  return found;
}

/**
 * Return seed -> epochs of each level but the last: the mean of where the runs on the *other* seeds
 * ended it, to the next check. Whoever follows it knows nothing of the network at hand.
 * @param {Map<number, {stops: number[]}>} runs seed -> summary
 */
export function timetables(runs) {
  const told = (seed) => {
    const others = [...runs].filter(([other]) => other !== seed).map(([, { stops }]) => stops);
    const mean = (level) => others.reduce((sum, stops) => sum + stops[level], 0) / others.length;
    return runs.get(seed).stops.slice(0, -1).map((_, level) => Math.round(3 * mean(level)) / 3);
  };
  return new Map([...runs.keys()].map((seed) => [seed, told(seed)]));
}

function points(share) {
  const text = (100 * share).toFixed(1);
  return Number(text) === 0 ? "0.0" : text.replace("-", "−"); // nothing is not below 0
}

/** Return the verdict on some gains, in words. @param {string} what was turned `count` times */
export function verdict(values, count, what = "tolerances") {
  if (values.length < 2) return "";
  const { mean, half, n } = interval(values);
  const where = Math.abs(mean) <= half ? "on" : mean > 0 ? "above" : "below";
  const noise = where === "on" ? "within noise" : "more than noise";
  const over = count > 1 ? `${count} ${what} and ` : "";
  return (
    `Over ${over}${n} seeds the rule lies ${where} the line of constants: at equal cost it ` +
    `bought ${points(mean)} ± ${points(half)} points of accuracy, ${noise}.`
  );
}

/** Return what the timetables alone come to, in words, and what looking adds: paired by seed. */
export function alone(rule, replayed) {
  const [told, added] = [replayed, rule.map((gain, i) => gain - replayed[i])].map(interval);
  const said = ({ mean, half }) => `${points(mean)} ± ${points(half)}`;
  return `Its timetable alone, told by the other seeds: ${said(told)} points. So looking added ${said(added)}.`;
}

/** Return the half width of the 95 % interval of one accuracy on so many images. */
export function uncertain(accuracy, images) {
  const n = images + 4, share = (accuracy * images + 2) / n; // or all right would be certain
  return 1.96 * Math.sqrt((share * (1 - share)) / n);
}

/** Return how one run compares with the line of its own seed. */
export function single({ accuracy, epochs }, line, images) {
  const rival = onTheLine(line, epochs), gain = accuracy - rival;
  const noise = Math.hypot(uncertain(accuracy, images), uncertain(rival, images));
  const within = Math.abs(gain) <= noise ? "within noise" : "more than the noise of one run";
  return (
    `A fixed number of epochs of the same cost comes to ${points(rival)} %: this run gained ` +
    `${points(gain)} ± ${points(noise)} points, ${within} with ${images} test images.`
  );
}
