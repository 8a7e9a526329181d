// What runs of one seed have in common, kept so that a sweep trains it once.

const MOST_BYTES = 6e7; // of a worker

/** What decides when a level ends, and changes nothing else. */
const OF_THE_RULE = ["rule", "epsilon", "absolute", "fixed", "text", "timetable"];

/** Return a memory for runs, emptied when it holds so many bytes; `of` is the part for some knobs. */
export function remembering(most = MOST_BYTES) {
  const kept = new Map();
  let bytes = 0;
  return {
    of(knobs) {
      const others = Object.entries(knobs).filter(([name]) => !OF_THE_RULE.includes(name));
      const about = JSON.stringify(others.sort());
      return {
        get: (key) => kept.get(about + key),
        set(key, value) {
          if (kept.has(about + key)) return;
          const weights = value.network.weights.reduce((sum, weight) => sum + weight.length, 0);
          bytes += weights * (16 + 3 * knobs.epochs); // weight and speed in float64, a mask for each check
          if (bytes > most) kept.clear();
          if (kept.size === 0) bytes = 0;
          kept.set(about + key, value);
        },
      };
    },
  };
}
