// Print what the playground's statistics say about the numbers that a test gives.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";

const { alone, gains, interval, onTheLine, single, timetables, uncertain, verdict } = await import(`${argv[2]}/compare.mjs`);
const { values, line, at, swept, lines, stops } = await json(stdin);
const bySeed = ([tolerance, runs]) => [tolerance, new Map(runs)];
const found = gains(new Map(swept.map(bySeed)), new Map(lines));
console.log(
  JSON.stringify({
    interval: interval(values),
    uncertain: [0.95, 1].map((accuracy) => uncertain(accuracy, 360)),
    single: [0.9, 0.85, 0.7].map((accuracy) => single({ accuracy, epochs: 20 }, line, 360)),
    line: at.map((epochs) => onTheLine(line, epochs)),
    gains: found,
    verdict: verdict(found, swept.length),
    alone: found.length > 1 ? alone(found, found.map((gain, i) => gain - [0.01, 0.03][i % 2])) : "",
    timetables: [...timetables(new Map(stops.map((each, seed) => [seed, { stops: each }])))],
  }),
);
