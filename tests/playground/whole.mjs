// Run the playground's default setting twice with one seed, and once with another.
import { argv } from "node:process";

const [{ digits }, { whole }, { DEFAULTS }] = await Promise.all(
  ["data", "runs", "settings"].map((name) => import(`${argv[2]}/${name}.mjs`)),
);
const data = await digits();
const runs = [0, 0, 1].map((seed) => whole({ ...DEFAULTS, seed, rule: "loss" }, data));
console.log(JSON.stringify(runs));
