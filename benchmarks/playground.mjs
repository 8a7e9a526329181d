// Print what the playground's engine takes in node: processor seconds of a full run and of a sweep,
// and what the sweep at the first setting comes to.
import { argv } from "node:process";

const take = (name) => import(`${argv[2]}/${name}.mjs`);
const [{ digits }, { whole }, { DEFAULTS }, { SEEDS, constants, tolerances }, compare] =
  await Promise.all(["data", "runs", "settings", "rivals", "compare"].map(take));
const data = await digits(), perEpoch = Math.ceil(data.train.targets.length / 64);
const taken = () => ({ runs: 0, steps: 0, seconds: 0 });

/** Run a setting, and count it in. */
function counted(count, settings) {
  const before = process.cpuUsage(), found = whole({ ...DEFAULTS, ...settings }, data);
  const { user, system } = process.cpuUsage(before);
  count.runs += 1;
  count.steps += Math.round(perEpoch * (DEFAULTS.warmupEpochs + found.epochs));
  count.seconds += (user + system) / 1e6;
  return found;
}

counted(taken(), { rule: "full" }); // compiled by now
const full = taken(), sweep = taken(), lines = new Map(), swept = new Map();
counted(full, { rule: "full" });
for (let seed = 0; seed < SEEDS; seed++) {
  const line = constants(DEFAULTS.epochs).map((fixed) => counted(sweep, { rule: "fixed", fixed, seed }));
  lines.set(seed, [...line, counted(sweep, { rule: "full", seed })]);
}
const rows = tolerances("information").map((epsilon) => {
  const runs = new Map([...lines.keys()].map((seed) => [seed, counted(sweep, { epsilon, seed })]));
  swept.set(epsilon, runs);
  const mean = (read) => compare.interval([...runs].map(read));
  const [epochs, accuracy] = ["epochs", "accuracy"].map((name) => mean(([, run]) => run[name]));
  return { epsilon, epochs, accuracy, gain: compare.interval(compare.gains(new Map([[epsilon, runs]]), lines)) };
});
const verdict = compare.verdict(compare.gains(swept, lines), swept.size);
console.log(JSON.stringify({ full, sweep, rows, verdict }));
