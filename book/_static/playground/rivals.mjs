// What a run is held against: fixed numbers of epochs, on the same seeds; and the sweep.
import { timetables } from "./compare.mjs";
import { pool } from "./pool.mjs";
import { DEFAULTS, hasNumber, looks } from "./settings.mjs";

export const SEEDS = 5;
export const TOLERANCES = 20;
const SHARES = [0, 1 / 30, 0.1, 0.2, 0.3, 0.5, 0.7]; // of the budget; all of it is "full"
const RANGES = { information: [0.02, 2], gradient: [0.1, 2], mask: [0.005, 0.5], own: [0.02, 2] };

/** Return what runs must share to lie on one picture. */
export const familyOf = ({ fraction, density, epochs, warmupEpochs, rewind, units }) =>
  JSON.stringify([fraction, density, epochs, warmupEpochs, rewind, units]);

/** Return evenly spaced tolerances, on a logarithmic scale; one NaN for a rule that has none. */
export function tolerances(settings, count = TOLERANCES) {
  if (!hasNumber(settings)) return [NaN];
  const [low, high] = RANGES[settings.rule];
  const at = (i) => low * (high / low) ** (i / (count - 1));
  return Array.from({ length: count }, (_, i) => Number(at(i).toPrecision(3)));
}

/** Return the fixed numbers of epochs of the line, thirds of an epoch as the checks have it. */
export function constants(epochs) {
  return [...new Set(SHARES.map((share) => Math.round(3 * share * epochs) / 3))];
}

/** Return how many runs a sweep is: each tolerance, its timetable if it looks, and the line, with each seed. */
export function runsOf(settings) {
  const own = tolerances(settings).length * (looks(settings) ? 2 : 1);
  return SEEDS * (own + constants(settings.epochs).length + 1);
}

/** Return the runs to hold against, empty at first; `changed` is called when one is there. */
export function rivals(program, changed, fail) {
  const queue = pool(program, 2, fail);
  let family = "", own = null;

  function fresh() {
    return { dots: [], lines: new Map(), swept: new Map(), replayed: new Map(), sweeping: null, done: 0, wanted: 0 };
  }

  /** Take on the family of these knobs; what belongs to another is forgotten. */
  function adopt(knobs) {
    if (familyOf(knobs) === family && own) return own;
    queue.clear();
    [family, own] = [familyOf(knobs), fresh()];
    return own;
  }

  function plain(knobs, changes) {
    const { epsilon, fixed, text } = DEFAULTS;
    return { ...knobs, epsilon, fixed, text, ...changes };
  }

  /** Have the line of constants run for a seed. */
  function line(knobs, seed, ran = changed) {
    const mine = adopt(knobs), runs = [];
    mine.lines.set(seed, runs);
    const rules = constants(knobs.epochs).map((fixed) => ({ rule: "fixed", fixed }));
    const all = [...rules, { rule: "full" }];
    for (const rule of all) {
      queue.add(plain(knobs, { ...rule, seed }), (summary) => {
        runs.push(summary);
        ran();
      }, true);
    }
  }

  /** Have 20 tolerances of the rule run, each with 5 seeds, their lines and their timetables. */
  function sweep(knobs) {
    const mine = adopt(knobs), seeds = Array.from({ length: SEEDS }, (_, i) => knobs.seed + i);
    queue.clear();
    Object.assign(mine, { lines: new Map(), swept: new Map(), replayed: new Map(), sweeping: knobs, done: 0, wanted: runsOf(knobs) });
    const ran = () => {
      mine.done += 1;
      changed();
    };
    for (const seed of seeds) line(knobs, seed, ran);
    function replay(epsilon, runs) {
      const replays = new Map();
      mine.replayed.set(epsilon, replays);
      for (const [seed, timetable] of timetables(runs)) {
        queue.add(plain(knobs, { rule: "timetable", timetable, seed }), (summary) => {
          replays.set(seed, summary);
          ran();
        });
      }
    }
    const all = tolerances(knobs), { text } = knobs;
    for (const epsilon of all) {
      const runs = new Map();
      mine.swept.set(epsilon, runs);
      for (const seed of seeds) {
        const change = Number.isNaN(epsilon) ? { fixed: knobs.fixed } : { epsilon };
        queue.add(plain(knobs, { text, ...change, seed }), (summary) => {
          runs.set(seed, summary);
          if (runs.size === SEEDS && looks(knobs)) replay(epsilon, runs);
          ran();
        });
      }
    }
  }

  return {
    adopt, sweep,
    /** Have the line of a seed run, if it is not there. */
    line: (knobs) => adopt(knobs).lines.has(knobs.seed) || line(knobs, knobs.seed),
    /** End a sweep; what has run stays. */
    stop() {
      queue.clear();
      own.wanted = own.done;
    },
    /** Begin with nothing. */
    clear() {
      queue.clear();
      [family, own] = ["", null];
    },
  };
}
