// Draw what stands in the playground's place before it runs: the default setting's last network.
//
//     node tools/playground_picture.mjs
import { writeFileSync } from "node:fs";

const folder = new URL("../book/_static/playground/", import.meta.url);
const take = (name) => import(new URL(`${name}.mjs`, folder));
const [{ digits }, { begin }, { DEFAULTS }, { bundles, places }] = await Promise.all(
  ["data", "runs", "settings", "edges"].map(take),
);
let last;
for (const check of begin(DEFAULTS, await digits())) last = check;
const { network, masks } = last, at = places(network.sizes, 760, 340);
const line = ([a, b, c, d]) => `M${a.toFixed(0)} ${b.toFixed(0)}L${c.toFixed(0)} ${d.toFixed(0)}`;
const all = bundles(at, network.weights, masks, [0.3, 0.6]), thick = [0.7, 1.2, 2];
const drawn = [["#0b6b6d", 1], ["#b4530f", -1]].flatMap(([colour, sign]) =>
  thick.map((width, band) => {
    const own = all.filter((bundle) => bundle.sign === sign && bundle.band === band).flatMap(({ lines }) => lines);
    const edges = Array.from({ length: own.length / 4 }, (_, i) => line(own.slice(4 * i, 4 * i + 4)));
    return `<path d="${edges.join("")}" stroke="${colour}" stroke-width="${width}"/>`;
  }),
);
const dots = at.flat().map(([x, y]) => `<circle cx="${x.toFixed(0)}" cy="${y.toFixed(0)}" r="2"/>`);
const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 340" fill="none">${drawn.join("")}<g fill="#666">${dots.join("")}</g></svg>\n`;
writeFileSync(new URL("picture.svg", folder), picture);
