// The distance of every check, level by level, and the line at epsilon that can be dragged.
import { names, parse } from "./language.mjs";
import { EPSILON, RULES } from "./settings.mjs";
import { html, linear, logarithmic, px, svg } from "./svg.mjs";

const HEIGHT = 250, LEFT = 46, BOTTOM = 34, TOP = 10;
const TICKS = [0.01, 0.03, 0.1, 0.3, 1, 3];

const SHOWN = {
  information: (check) => check.relative.information,
  gradient: (check) => check.relative.gradient,
  mask: (check) => check.maskDistance,
  loss: (check) => check.trainLoss,
};

/** Return what the curve shows, of SHOWN: what the rule reads, and of several things the first. */
export function measureOf({ rule, text }) {
  const read = RULES[rule].isText ? names(parse(text)) : [rule];
  return read.find((name) => name in SHOWN) ?? "information";
}

/** Return whether a line stands at the number of the rule, which is a tolerance of what is shown. */
export function hasLine(settings) {
  const { epsilon, isText } = RULES[settings.rule];
  const compares = new RegExp(`\\b${measureOf(settings)}\\s*<=?\\s*x\\b`, "i");
  return isText ? compares.test(settings.text) : epsilon !== undefined;
}

/** Return whether a line alone says where each level would end. */
export const decides = (settings) => hasLine(settings) && !RULES[settings.rule].isText;

/** Return for each level the check at which this tolerance would have stopped it, if any would. */
export function wouldStop(checks, settings) {
  const value = SHOWN[measureOf(settings)], met = new Map();
  let inARow = 0;
  for (const check of checks) {
    if (check.epoch === 0) inARow = 0;
    inARow = value(check) < settings.epsilon ? inARow + 1 : 0;
    const enough = settings.rule === "mask" ? inARow >= 2 : inARow >= 1 && check.epoch > 0;
    if (enough && !check.isLast && !met.has(check.level)) met.set(check.level, check);
  }
  return met;
}

/**
 * Draw into a host.
 * @param {HTMLElement} host @param {Object[]} checks @param {Object} settings @param {number} levels
 * @param {number} target the loss after the warm-up, as soon as it is known
 */
export function drawCurve(host, checks, settings, levels, target) {
  const width = Math.max(280, host.clientWidth), budget = settings.epochs;
  const x = linear([0, (levels + 1) * budget], [LEFT, width - 6]);
  const y = logarithmic([EPSILON.min, EPSILON.max], [HEIGHT - BOTTOM, TOP]);
  const value = SHOWN[measureOf(settings)], isDrawn = hasLine(settings);
  const place = (check) => `${px(x(check.level * budget + check.epoch))} ${px(y(value(check)))}`;
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img",
    "aria-label": described(checks, settings, levels),
  });
  for (let level = 0; level <= levels; level++) {
    const from = x(level * budget), to = x((level + 1) * budget);
    const band = { x: px(from), y: TOP, width: px(to - from), height: HEIGHT - BOTTOM - TOP };
    picture.append(svg("rect", { ...band, class: level % 2 ? "pg-band" : "pg-band pg-odd" }));
    const own = checks.filter((check) => check.level === level && Number.isFinite(value(check)));
    if ((to - from > 14 || level % 4 === 0) && levels < 40) {
      const middle = { x: px((from + to) / 2), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" };
      picture.append(svg("text", middle, String(level)));
    }
    if (own.length) picture.append(svg("path", { d: `M${own.map(place).join("L")}`, class: "pg-curve" }));
    if (settings.rule === "fixed" && level < levels) {
      const at = px(x(level * budget + Math.min(settings.fixed, budget)));
      picture.append(svg("path", { d: `M${at} ${TOP}V${HEIGHT - BOTTOM}`, class: "pg-epsilon" }));
    }
  }
  for (const tick of TICKS) {
    const at = { x: LEFT - 6, y: px(y(tick) + 4), "text-anchor": "end" };
    picture.append(svg("text", at, String(tick)));
  }
  picture.append(
    svg("text", { x: px((LEFT + width) / 2), y: HEIGHT - 3, "text-anchor": "middle" }, "level"),
  );
  for (const check of checks.filter((each) => each.stopped)) {
    const [cx, cy] = place(check).split(" ");
    picture.append(svg("circle", { cx, cy: cy === "NaN" ? HEIGHT - BOTTOM : cy, r: 5, class: "pg-stop" }));
  }
  if (isDrawn || (settings.rule === "loss" && target)) {
    const at = px(y(isDrawn ? settings.epsilon : target));
    for (const check of decides(settings) ? wouldStop(checks, settings).values() : []) {
      const [cx, cy] = place(check).split(" ");
      picture.append(svg("circle", { cx, cy, r: 8, class: "pg-would" }));
    }
    const own = RULES[settings.rule].isText ? "x" : "ε";
    const text = isDrawn ? `${own} = ${settings.epsilon}` : "loss after the warm-up";
    picture.append(
      svg("path", { d: `M${LEFT} ${at}H${width - 6}`, class: "pg-epsilon" }),
      svg("text", { x: width - 10, y: at - 6, "text-anchor": "end", class: "pg-title pg-halo" }, text),
    );
    const grip = { x: LEFT, y: at - 22, width: width - LEFT, height: 44, class: "pg-grip" };
    if (isDrawn) picture.append(svg("rect", grip));
  }
  host.replaceChildren(html("p", { class: "pg-title" }, RULES[measureOf(settings)].reads), picture);
}

/** Return the epsilon at a height of the picture, in pixels from its top. */
export function epsilonAt(height) {
  const share = (HEIGHT - BOTTOM - height) / (HEIGHT - BOTTOM - TOP);
  const power = Math.log(EPSILON.min) + share * Math.log(EPSILON.max / EPSILON.min);
  return Math.min(EPSILON.max, Math.max(EPSILON.min, Math.exp(power)));
}

function described(checks, settings, levels) {
  const stops = checks.filter((check) => check.stopped).map((check) => check.epoch.toFixed(1));
  const what = `${RULES[measureOf(settings)].reads}, level by level, 0 to ${levels}`;
  return stops.length ? `${what}. Levels ended after ${stops.join(", ")} epochs.` : `${what}. No run yet.`;
}
