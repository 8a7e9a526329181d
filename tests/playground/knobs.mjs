// Print what runs come to whose settings a test gives, and how their dense networks compare.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";

const [{ digits }, { begin, dense, whole }, { DEFAULTS, within }] = await Promise.all(
  ["data", "runs", "settings"].map((name) => import(`${argv[2]}/${name}.mjs`)),
);
const data = await digits();

/** Return the weights at the end of level 0 of a run with the full budget. */
function firstLevel(settings) {
  for (const check of begin({ ...settings, rule: "full" }, data)) {
    if (check.stopped) return check.network.weights.map((weight) => [...weight]);
  }
}

const found = (await json(stdin)).settings.map((own) => {
  const settings = within({ ...DEFAULTS, ...own }), { sizes, weights } = dense(settings, data);
  const isWhole = JSON.stringify(weights.map((weight) => [...weight])) === JSON.stringify(firstLevel(settings));
  return { ...whole(settings, data), sizes, isWhole };
});
console.log(JSON.stringify(found));
