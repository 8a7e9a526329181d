// The knobs as native inputs: each says its value, and tells when it is turned and when let go.
import { levelsTo } from "./levels.mjs";
import { EPSILON, KNOBS, RULES } from "./settings.mjs";
import { html } from "./svg.mjs";

const STEPS = 200; // of the tolerance's slider, which is logarithmic
const toStep = (epsilon) => (STEPS * Math.log(epsilon / EPSILON.min)) / Math.log(EPSILON.max / EPSILON.min);
const toEpsilon = (step) => EPSILON.min * (EPSILON.max / EPSILON.min) ** (step / STEPS);

function choice(options) {
  return html("select", {}, ...options.map(([value, text]) => html("option", { value }, text)));
}

/** Return one labelled knob: its element, and what shows a value in it. */
function knob(input, label, said, turned) {
  const value = html("b", {}), element = html("label", {}, label, " ", value, input);
  const show = (settings) => {
    value.textContent = said(settings);
    if (input.type === "range") input.setAttribute("aria-valuetext", said(settings));
  };
  input.addEventListener("input", () => turned(false));
  input.addEventListener("change", () => turned(true));
  return { element, show };
}

/**
 * Return the knobs.
 * @param {(change: Object, isFinal: boolean) => void} turned called with what a reader changed
 */
export function form(turned) {
  const shows = [];
  const add = (input, label, said, read, write) => {
    const made = knob(input, label, said, (isFinal) => turned(read(), isFinal));
    shows.push((settings) => {
      write(settings);
      made.show(settings);
    });
    return made.element;
  };
  const rule = choice(Object.entries(RULES).map(([name, { title }]) => [name, title]));
  const epsilon = html("input", { type: "range", min: 0, max: STEPS, step: 1, class: "pg-eps" });
  const fixed = html("input", { type: "range", min: 0, step: 1 });
  const ruleKnob = add(
    rule, "A level ends by", () => "",
    () => ({ rule: rule.value, epsilon: RULES[rule.value].epsilon }),
    (settings) => (rule.value = settings.rule),
  );
  const epsilonKnob = add(
    epsilon, "Tolerance ε: drag the line above, or turn here", (settings) => String(settings.epsilon),
    () => ({ epsilon: toEpsilon(Number(epsilon.value)) }),
    (settings) => (epsilon.value = Math.round(toStep(settings.epsilon))),
  );
  const fixedKnob = add(
    fixed, "Epochs in every level", (settings) => Number(settings.fixed.toFixed(1)),
    () => ({ fixed: Number(fixed.value) / 3 }),
    (settings) => {
      fixed.max = 3 * settings.epochs;
      fixed.value = Math.round(3 * settings.fixed);
    },
  );
  const others = KNOBS.map((record) => {
    const { name, label, choices, texts, unit, isNumber, min, max, step } = record;
    const shown = (value) => (unit === "%" ? `${Math.round(100 * value)} %` : `${value}${unit ? ` ${unit}` : ""}`);
    const input = choices
      ? choice(choices.map((value, i) => [value, texts?.[i] ?? shown(value)]))
      : html("input", { type: isNumber ? "number" : "range", min, max, step });
    const said = (settings) => {
      if (name === "density") return `${levelsTo(settings.density, settings.fraction)} levels`;
      return choices || isNumber ? "" : shown(settings[name]);
    };
    const read = () => ({ [name]: Number(input.value) });
    return add(input, label, said, read, (settings) => (input.value = settings[name]));
  });
  return {
    knobs: html("div", { class: "pg-knobs" }, ruleKnob, fixedKnob, ...others),
    epsilon: epsilonKnob,
    /** Show these settings. */
    show(settings) {
      shows.forEach((each) => each(settings));
      epsilonKnob.hidden = RULES[settings.rule].epsilon === undefined;
      fixedKnob.hidden = settings.rule !== "fixed";
    },
  };
}
