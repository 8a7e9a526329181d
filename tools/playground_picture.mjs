// Draw what stands in the playground's place before it runs: the default setting's last network.
//
//     node tools/playground_picture.mjs
import { writeFileSync } from "node:fs";

const folder = new URL("../book/_static/playground/", import.meta.url);
const take = (name) => import(new URL(`${name}.mjs`, folder));
const [{ digits }, { begin }, { DEFAULTS }, { edgesOf, places }] = await Promise.all(
  ["data", "runs", "settings", "edges"].map(take),
);
let last;
for (const check of begin(DEFAULTS, await digits())) last = check;
const { network, masks } = last, at = places(network.sizes, 760, 340);
const line = ({ from, to }) => `M${[...from, ...to].map((value) => value.toFixed(0)).join(" ").replace(/^(\S+ \S+) /, "$1L")}`;
const edges = edgesOf(at, network.weights, masks).flat();
const drawn = [["#0b6b6d", 1], ["#b4530f", -1]].flatMap(([colour, sign]) =>
  [[0, 0.3, 0.7], [0.3, 0.6, 1.2], [0.6, 2, 2]].map(([low, high, thick]) => {
    const own = edges.filter((e) => e.weight * sign > 0 && e.strength >= low && e.strength < high);
    return `<path d="${own.map(line).join("")}" stroke="${colour}" stroke-width="${thick}"/>`;
  }),
);
const dots = at.flat().map(([x, y]) => `<circle cx="${x.toFixed(0)}" cy="${y.toFixed(0)}" r="2"/>`);
const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 340" fill="none">${drawn.join("")}<g fill="#666">${dots.join("")}</g></svg>\n`;
writeFileSync(new URL("picture.svg", folder), picture);
