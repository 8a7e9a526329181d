// Replays a rule on recorded full retraining, and looks for the recorded timetable that is nearest.
//
// A table is as infcop_lite.explorer.challenge writes it. No network is trained: after level 0 the
// checks are those of a network whose masks full retraining drew, not the rule.

const Replay = (() => {
  "use strict";

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const known = (value) => value ?? NaN; // JSON has no NaN

  // The checks of one level of one seed.
  function checksOf(table, seed, level) {
    const columns = Object.entries(table.checks);
    return table.epochs.map((epoch, i) => ({
      epoch,
      ...Object.fromEntries(columns.map(([name, values]) => [name, known(values[seed][level][i])])),
    }));
  }

  // The epoch at which a rule ends a level: its first yes after some training, or the last check.
  function stop(decide, checks, constants) {
    for (let count = 2; count < checks.length; count++) {
      if (decide(checks.slice(0, count), constants) === true) return checks[count - 1].epoch;
    }
    return checks.at(-1).epoch;
  }

  // [seed][level] -> epochs. `decide(checks, constants)` is the rule; x is the reader's number.
  function stops(table, decide, x) {
    return table.seeds.map((_, seed) =>
      table.checks.loss[seed].map((_, level, { length: levels }) => {
        const [ref_loss, ref_accuracy] = [table.ref_loss, table.ref_accuracy].map((of) => known(of[seed]));
        const constants = { level, levels, x, ref_loss, ref_accuracy };
        return stop(decide, checksOf(table, seed, level), constants);
      }),
    );
  }

  // The mean over seeds of each level.
  const timetable = (found) => found[0].map((_, level) => mean(found.map((levels) => levels[level])));
  const total = (epochs) => epochs.reduce((sum, value) => sum + value, 0);

  // How far two timetables are apart: the root mean square over levels, in log(1 + epochs).
  function apart(a, b) {
    return Math.sqrt(mean(a.map((epochs, level) => (Math.log1p(epochs) - Math.log1p(b[level])) ** 2)));
  }

  // { one, gap }: the recorded rule whose timetable is nearest, and how far it is.
  function nearest(table, epochs) {
    const gaps = table.recorded.map((one) => apart(one.timetable, epochs));
    const least = Math.min(...gaps);
    return { gap: least, one: table.recorded[gaps.indexOf(least)] };
  }

  // The accuracy of a constant that costs so many epochs, between the recorded ones; NaN outside.
  function ofConstants(table, cost) {
    const curve = table.constants;
    const right = curve.findIndex(({ epochs }) => epochs >= cost);
    if (right < 0 || cost < curve[0].epochs) return NaN;
    if (right === 0) return curve[0].accuracy;
    const [low, high] = [curve[right - 1], curve[right]];
    const [from, to, at] = [low.epochs, high.epochs, cost].map(Math.log1p);
    return low.accuracy + ((at - from) / (to - from)) * (high.accuracy - low.accuracy);
  }

  return { checksOf, stops, timetable, total, apart, nearest, ofConstants };
})();

if (typeof module !== "undefined") module.exports = Replay;
