// Run the playground's engine on networks, data and batches that a test gives, in node or a page.
const doubles = (rows) => rows.map((row) => Float64Array.from(row));
const split = ({ inputs, targets }) => ({
  inputs: Float64Array.from(inputs),
  targets: Uint8Array.from(targets),
});

/** Return the checks of a run as text. @param {Function} run of loop.mjs */
export function replayed(run, { network, data, orders, settings }) {
  const splits = Object.fromEntries(Object.entries(data).map(([name, part]) => [name, split(part)]));
  const own = { ...network, weights: doubles(network.weights), biases: doubles(network.biases) };
  const queue = [...orders];
  const order = () => queue.shift()[Symbol.iterator]();
  const checks = [];
  for (const check of run(own, splits, order, settings, ["information", "gradient", "mask", "accuracy"])) {
    if (check.kind !== "check") continue;
    const { network: trained, masks, ...numbers } = check;
    const flows = ["information", "gradient"].flatMap((name) => [...numbers.flows[name]]);
    const weights = trained.weights.flatMap((weight) => [...weight]);
    checks.push({ ...numbers, flows, masks: masks.map((mask) => [...mask]), weights });
  }
  return JSON.stringify(checks);
}
