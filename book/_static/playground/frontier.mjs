// Final accuracy against epochs: every finished run, beside the line of fixed numbers of epochs.
import { interval } from "./compare.mjs";
import { SEEDS } from "./rivals.mjs";
import { html, linear, px, svg } from "./svg.mjs";

const HEIGHT = 280, LEFT = 46, BOTTOM = 40, TOP = 10;

/** Return the means over seeds of summaries: {epochs, accuracy, half, n}, by their mean epochs. */
export function means(groups) {
  const mean = (runs) => {
    const { mean: accuracy, half } = interval(runs.map((run) => run.accuracy));
    return { epochs: interval(runs.map((run) => run.epochs)).mean, accuracy, half, n: runs.length };
  };
  return groups.filter((runs) => runs.length).map(mean).sort((a, b) => a.epochs - b.epochs);
}

/** Return the lines of all seeds as one, constant by constant. */
export function meanLine(lines) {
  const byCost = new Map();
  for (const run of [...lines.values()].flat()) {
    byCost.set(run.epochs, [...(byCost.get(run.epochs) ?? []), run]);
  }
  return means([...byCost.values()]);
}

/**
 * Draw into a host.
 * @param {{dots: Object[], lines: Map, swept: Map}} found @param {number} full epochs of a full run
 */
export function drawFrontier(host, { dots, lines, swept }, full) {
  const width = Math.max(280, host.clientWidth);
  const line = meanLine(lines), sweep = means([...swept.values()].map((runs) => [...runs.values()]));
  const all = [...dots, ...line, ...sweep];
  const reach = (point, sign) => point.accuracy + sign * Math.min(point.half || 0, 0.02);
  const low = Math.min(0.9, ...all.map((point) => reach(point, -1)));
  const high = Math.max(0.96, ...all.map((point) => reach(point, 1)));
  const x = linear([0, full * 1.03], [LEFT, width - 8]);
  const y = linear([Math.max(0, low - 0.005), Math.min(1, high + 0.005)], [HEIGHT - BOTTOM, TOP]);
  const text = `Test accuracy against epochs: ${dots.length} runs, ${line.length} fixed numbers of epochs.`;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": text });
  const step = high - low > 0.25 ? 0.1 : high - low > 0.1 ? 0.05 : 0.02;
  for (let i = Math.ceil((low - 0.005) / step); i * step <= Math.min(1, high + 0.005); i++) {
    const at = px(y(i * step));
    picture.append(
      svg("path", { d: `M${LEFT} ${at}H${width - 8}`, class: "pg-grid" }),
      svg("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, `${Math.round(100 * i * step)} %`),
    );
  }
  const apart = [1, 2, 5, 10, 20, 50, 100].find((each) => full / each <= 6) ?? 200;
  for (let at = 0; at <= full; at += apart) {
    picture.append(svg("text", { x: px(x(at)), y: HEIGHT - 22, "text-anchor": "middle" }, String(at)));
  }
  picture.append(
    svg("text", { x: px((LEFT + width) / 2), y: HEIGHT - 4, "text-anchor": "middle" }, "epochs of retraining, all levels"),
  );
  const place = (point) => `${px(x(point.epochs))} ${px(y(point.accuracy))}`;
  /** What runs on some seeds only may not be held against what runs on others. */
  const pale = ({ n }, wanted) => (n < wanted ? " pg-pale" : "");
  const bar = (point, kind) => {
    if (!Number.isFinite(point.half)) return;
    const ends = [point.accuracy - point.half, point.accuracy + point.half];
    const [from, to] = ends.map((value) => px(Math.min(HEIGHT - BOTTOM, Math.max(TOP, y(value)))));
    picture.append(svg("path", { d: `M${px(x(point.epochs))} ${from}V${to}`, class: `pg-bar ${kind}` }));
  };
  if (line.length) {
    const isPale = line.some((point) => pale(point, lines.size));
    picture.append(svg("path", { d: `M${line.map(place).join("L")}`, class: `pg-line${isPale ? " pg-pale" : ""}` }));
  }
  for (const point of line) {
    const kind = `pg-constant${pale(point, lines.size)}`;
    bar(point, kind);
    const [a, b] = [px(x(point.epochs)) - 4, px(y(point.accuracy)) - 4];
    picture.append(svg("rect", { x: a, y: b, width: 8, height: 8, class: kind }));
  }
  for (const point of sweep) {
    const kind = `pg-swept${pale(point, SEEDS)}`;
    bar(point, kind);
    const [cx, cy] = place(point).split(" ");
    picture.append(svg("circle", { cx, cy, r: 4, class: kind }));
  }
  dots.forEach((dot, i) => {
    const [cx, cy] = place(dot).split(" "), last = i === dots.length - 1;
    if (last) bar(dot, "pg-now");
    const circle = svg("circle", { cx, cy, r: last ? 7 : 5, class: last ? "pg-dot pg-last" : "pg-dot" });
    circle.append(svg("title", {}, `${dot.name}: ${dot.epochs.toFixed(1)} epochs, ${(100 * dot.accuracy).toFixed(1)} ± ${(100 * dot.half).toFixed(1)} %`));
    picture.append(circle);
  });
  host.replaceChildren(html("p", { class: "pg-title" }, "test accuracy of the final network"), picture);
}
