// Print what runs come to whose settings a test gives, and how their dense networks compare.
import { argv, stdin } from "node:process";
import { json } from "node:stream/consumers";

const [{ digits }, { begin, dense, whole }, { DEFAULTS, KNOBS, RULES, TEST_IMAGES, within }, { densities, sizesOf }, { runsOf }] = await Promise.all(
  ["data", "runs", "settings", "levels", "rivals"].map((name) => import(`${argv[2]}/${name}.mjs`)),
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

/** Return all values of a knob. */
function values(name) {
  const { choices, min, max, step } = KNOBS.find((knob) => knob.name === name);
  return choices ?? Array.from({ length: Math.round((max - min) / step) + 1 }, (_, i) => Number((min + i * step).toFixed(4)));
}
const left = values("density").flatMap((density) =>
  values("fraction").flatMap((fraction) =>
    values("units").map((units) => ({ density, fraction, sizes: sizesOf(units), densities: densities({ density, fraction, units }) })),
  ),
);
const sweeps = Object.fromEntries(Object.keys(RULES).map((rule) => [rule, runsOf(within({ ...DEFAULTS, rule, epsilon: NaN }))]));
const says = Object.values(RULES).map((rule) => rule.says);
console.log(JSON.stringify({ found, left, sweeps, says, images: [TEST_IMAGES, data.test.targets.length] }));
