// Print what the playground's engine takes in node: processor seconds of a full run and of a sweep,
// and what the sweep at the first setting comes to.
import { argv } from "node:process";

const take = (name) => import(`${argv[2]}/${name}.mjs`);
const [{ digits }, { whole }, { DEFAULTS }, { SEEDS, constants, tolerances }, compare, { remembering }] =
  await Promise.all(["data", "runs", "settings", "rivals", "compare", "memory"].map(take));
const data = await digits(), perEpoch = Math.ceil(data.train.targets.length / 64);
const taken = () => ({ runs: 0, steps: 0, seconds: 0 });

/** Run a setting, and count it in. */
function counted(count, settings, memory = null) {
  const before = process.cpuUsage(), found = whole({ ...DEFAULTS, ...settings }, data, memory);
  const { user, system } = process.cpuUsage(before);
  count.runs += 1;
  count.steps += Math.round(perEpoch * (DEFAULTS.warmupEpochs + found.epochs));
  count.seconds += (user + system) / 1e6;
  return found;
}

counted(taken(), { rule: "full" }); // compiled by now
const full = taken(), sweep = taken(), lines = new Map(), swept = new Map(), replayed = new Map();
const memories = Array.from({ length: SEEDS }, remembering);
const ran = (settings) => counted(sweep, settings, memories[settings.seed]);
counted(full, { rule: "full" });
for (let seed = 0; seed < SEEDS; seed++) {
  const line = constants(DEFAULTS.epochs).map((fixed) => ran({ rule: "fixed", fixed, seed }));
  lines.set(seed, [...line, ran({ rule: "full", seed })]);
}
const rows = tolerances(DEFAULTS).map((epsilon) => {
  const runs = new Map([...lines.keys()].map((seed) => [seed, ran({ epsilon, seed })]));
  const told = [...compare.timetables(runs)];
  swept.set(epsilon, runs);
  replayed.set(epsilon, new Map(told.map(([seed, timetable]) => [seed, ran({ rule: "timetable", timetable, seed })])));
  const gain = (all) => compare.interval(compare.gains(new Map([[epsilon, all.get(epsilon)]]), lines));
  const mean = (read) => compare.interval([...runs].map(read));
  const [epochs, accuracy] = ["epochs", "accuracy"].map((name) => mean(([, run]) => run[name]));
  return { epsilon, epochs, accuracy, gain: gain(swept), alone: gain(replayed) };
});
const [found, told] = [swept, replayed].map((all) => compare.gains(all, lines));
const verdict = `${compare.verdict(found, swept.size)} ${compare.alone(found, told)}`;
const many = [rows.length, constants(DEFAULTS.epochs).length + 1, SEEDS];
console.log(JSON.stringify({ full, sweep, rows, verdict, many }));
