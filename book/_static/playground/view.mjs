// The parts of the page, and what they show: no part of it knows how a run goes on.
import { alone, gains, single, verdict } from "./compare.mjs";
import { decides, drawCurve, epsilonAt } from "./curve.mjs";
import { painter } from "./edges.mjs";
import { drawFrontier } from "./frontier.mjs";
import { drawGauges } from "./gauges.mjs";
import { reading } from "./reading.mjs";
import { SEEDS, constants, runsOf, tolerances } from "./rivals.mjs";
import { RULES, TEST_IMAGES } from "./settings.mjs";
import { html } from "./svg.mjs";

const NETWORK = "The network: 64 pixels at the left, two hidden layers, ten classes at the right. An edge for each weight that is left.";

/** Return how the last run compares with the constants, in words, or nothing if they are not all there. */
function compared({ dots, lines }, { epochs }) {
  const dot = dots.at(-1), line = lines.get(dot?.seed) ?? [];
  if (!dot || line.length <= constants(epochs).length) return "";
  if (["fixed", "full"].includes(dot.rule)) return "It is itself a fixed number of epochs, on the line that rules are held against.";
  return single(dot, line, TEST_IMAGES);
}

/** Return what the runs so far say about the rule, in words. */
function judged({ dots, lines, swept, replayed, sweeping }, busy, single) {
  if (busy) return "The sweep is on its way, and pale marks are not complete: a verdict follows at its end.";
  const found = sweeping ? gains(swept, lines) : [];
  if (found.length > 1) {
    const { title, isText } = RULES[sweeping.rule];
    const begun = [...swept.values()].filter((runs) => runs.size).length; // all, unless it was stopped
    const said = verdict(found, begun, isText ? "values of x" : "tolerances");
    const isWhole = replayed.size === swept.size && [...replayed.values()].every((runs) => runs.size === SEEDS);
    const told = isWhole ? ` ${alone(found, gains(replayed, lines))}` : "";
    return `A level ends by: ${isText ? sweeping.text : title}. ${said}${told}`;
  }
  if (!dots.length) return "Each finished run drops a dot here.";
  if (!single) return "Not yet compared: the line of fixed numbers of epochs is on its way.";
  return `${single} Sweep before you believe it.`;
}

/** Build everything into the root; return its parts and what draws them. */
export function view(root, form, press, dragged) {
  const button = (text, name, first) => {
    const made = html("button", { type: "button", class: first ? "pg-first" : "" }, text);
    made.addEventListener("click", () => press(name));
    return made;
  };
  const play = button("Play", "play", true), stop = button("Stop the sweep", "stop"), sweep = button("Sweep", "sweep");
  const status = html("p", { class: "pg-status", role: "status", "aria-live": "polite" });
  const canvas = html("canvas", { role: "img", "aria-label": NETWORK });
  const gauges = html("div"), curve = html("div", { class: "pg-drag" }), frontier = html("div");
  const words = html("p", { class: "pg-verdict", role: "status", "aria-live": "polite" });
  const would = html("span", {}, " ○ With the tolerance as it stands, it would end here."), progress = html("span", {}), key = (name, text) => html("span", {}, html("i", { style: `background:var(--pg-${name})` }), text, " ");
  const paint = painter(canvas), digit = reading();
  root.replaceChildren(
    html("div", { class: "pg-row" }, play, button("Step", "step"), button("Full run", "full"), button("Reset", "reset")),
    status,
    html("div", { class: "pg-two" },
      html("div", {}, canvas, html("p", { class: "pg-key" }, key("plus", "weight above 0"), key("minus", "below 0"), key("dead", "just removed"))),
      html("div", {}, html("h2", {}, "Information flow, pair by pair"), gauges,
        html("p", { class: "pg-key" }, "The bar leads from the reference, the network after the warm-up, to the network now. The distance below is made of these bars."))),
    html("h2", {}, "When does a level end?"),
    curve,
    html("p", { class: "pg-key" }, "● a level ended here.", would),
    form.epsilon, form.knobs,
    html("h2", {}, "Was it worth it?"),
    frontier,
    html("p", { class: "pg-key" }, key("edge", "a fixed number of epochs in every level"), key("plus", "your runs, the last with its 95 % interval"), key("minus", "a sweep: means and 95 % intervals over seeds")),
    html("div", { class: "pg-row" }, sweep, stop, progress),
    words,
    html("h2", {}, "Draw a digit: what do they read?"),
    digit.element,
  );
  let drag = false;
  const move = (event, isFinal) => dragged(epsilonAt(event.clientY - curve.lastChild.getBoundingClientRect().top), isFinal);
  curve.addEventListener("pointerdown", (event) => {
    if (!event.target.classList.contains("pg-grip")) return;
    drag = true;
    curve.setPointerCapture(event.pointerId);
  });
  curve.addEventListener("pointermove", (event) => drag && move(event, false));
  curve.addEventListener("pointerup", (event) => {
    if (drag) move(event, true);
    drag = false;
  });
  curve.addEventListener("pointercancel", () => (drag = false));

  return {
    play,
    say: (text) => status.textContent !== text && (status.textContent = text),
    network: paint, read: digit.show, fit: paint.fit, redraw: digit.draw,
    flows(check) {
      if (check) drawGauges(gauges, check.flows.information, check.references.information);
      else gauges.replaceChildren();
    },
    curve(checks, settings, levels, target) {
      drawCurve(curve, checks, settings, levels, target);
      would.hidden = !decides(settings);
    },
    /** Draw the runs, say what they come to; return how the last one compares, if that is known. */
    frontier(found, settings, full) {
      drawFrontier(frontier, found, full);
      const busy = found.wanted > found.done;
      stop.hidden = !busy;
      const many = tolerances(settings).length, what = RULES[settings.rule].isText ? "values of x" : "tolerances";
      sweep.textContent = `Sweep: ${many > 1 ? `${many} ${what} × ` : ""}${SEEDS} seeds, ${runsOf(settings)} runs`;
      progress.textContent = busy ? `${found.done} of ${found.wanted} runs` : "";
      const single = compared(found, settings), text = judged(found, busy, single);
      if (words.textContent !== text) words.textContent = text;
      return single;
    },
  };
}
