// Print what the playground's statistics say about the numbers that a test gives.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";

const { gains, interval, onTheLine, verdict } = await import(`${argv[2]}/compare.mjs`);
const { values, line, at, swept, lines } = await json(stdin);
const bySeed = ([tolerance, runs]) => [tolerance, new Map(runs)];
const found = gains(new Map(swept.map(bySeed)), new Map(lines));
console.log(
  JSON.stringify({
    interval: interval(values),
    line: at.map((epochs) => onTheLine(line, epochs)),
    gains: found,
    verdict: verdict(found, swept.length),
  }),
);
