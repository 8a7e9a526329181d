// Run the playground's engine on what a test writes to the standard input, and print its checks.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";

const { run } = await import(`${argv[2]}/loop.mjs`);
const { network, data, orders, settings } = await json(stdin);
const doubles = (rows) => rows.map((row) => Float64Array.from(row));
const split = ({ inputs, targets }) => ({
  inputs: Float64Array.from(inputs),
  targets: Uint8Array.from(targets),
});
const splits = Object.fromEntries(Object.entries(data).map(([name, part]) => [name, split(part)]));
const own = { ...network, weights: doubles(network.weights), biases: doubles(network.biases) };
const queue = [...orders];
const order = () => queue.shift()[Symbol.iterator]();
const checks = [];
for (const check of run(own, splits, order, settings, ["information", "gradient", "mask"])) {
  if (check.kind !== "check") continue;
  const { network: trained, masks, ...numbers } = check;
  const flows = ["information", "gradient"].flatMap((name) => [...numbers.flows[name]]);
  const weights = trained.weights.flatMap((weight) => [...weight]);
  checks.push({ ...numbers, flows, masks: masks.map((mask) => [...mask]), weights });
}
console.log(JSON.stringify(checks));
