// The knobs as native inputs: each says its value, and tells when it is turned and when let go.
import { densities } from "./levels.mjs";
import { CONSTANTS, FUNCTIONS, MEASURED, RuleError, parse } from "./language.mjs";
import { EPSILON, KNOBS, RULES, hasNumber } from "./settings.mjs";
import { html } from "./svg.mjs";
import { percent } from "./words.mjs";

const STEPS = 200; // of the tolerance's slider, which is logarithmic
const toStep = (epsilon) => (STEPS * Math.log(epsilon / EPSILON.min)) / Math.log(EPSILON.max / EPSILON.min);
const toEpsilon = (step) => EPSILON.min * (EPSILON.max / EPSILON.min) ** (step / STEPS);

function choice(options) {
  return html("select", {}, ...options.map(([value, text]) => html("option", { value }, text)));
}

/** Return what a rule of one's own may say, folded. */
function vocabulary() {
  const words = { ...MEASURED, ...CONSTANTS, mask: "share of the next mask that changed since the check before" };
  words[`${Object.keys(FUNCTIONS).join(", ")}, + − * /`] = "prev and best are of the checks before; the others as usual";
  words["< <= > >=, and, or, not"] = "as usual, with brackets";
  const terms = Object.entries(words).flatMap(([term, said]) => [html("dt", {}, html("code", {}, term)), html("dd", {}, said)]);
  return html("details", {}, html("summary", {}, "Words that a rule may use"), html("dl", {}, ...terms));
}

/** Return the line on which a reader writes a rule; `turned` hears of those that can be read. */
function written(turned) {
  const input = html("input", { type: "text", maxlength: 200, spellcheck: "false", autocapitalize: "none", autocomplete: "off" });
  const trouble = html("p", { role: "status", "aria-live": "polite" });
  let shown = null; // what is being typed stays until another rule is set
  function say(text) {
    trouble.textContent = text;
    input.setAttribute("aria-invalid", String(text !== ""));
  }
  function show({ rule, text }) {
    const next = RULES[rule].isText ? text : null;
    if (next !== null && next !== shown && next !== input.value.trim()) {
      input.value = next;
      say("");
    }
    [shown, element.hidden] = [next, next === null];
  }
  function tell(isFinal) {
    try {
      parse(input.value);
    } catch (error) {
      if (!(error instanceof RuleError)) throw error;
      return say(`This rule cannot be read. In ${error.message}.`);
    }
    say("");
    turned({ text: input.value }, isFinal);
  }
  input.addEventListener("input", () => tell(false));
  input.addEventListener("change", () => tell(true));
  const element = html("div", {}, html("label", {}, "A level ends when", input), trouble, vocabulary());
  return { element, show, read: () => (input.value ? { text: input.value } : {}) };
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
  const says = html("p", { id: "pg-says", class: "pg-key" });
  rule.setAttribute("aria-describedby", says.id);
  const epsilon = html("input", { type: "range", min: 0, max: STEPS, step: 1, class: "pg-eps" });
  const fixed = html("input", { type: "range", min: 0, step: 1 });
  const own = written(turned), number = html("span", {});
  const ruleKnob = add(
    rule, "A level ends by", () => "",
    () => ({ rule: rule.value, epsilon: RULES[rule.value].epsilon, ...own.read() }),
    (settings) => {
      rule.value = settings.rule;
      says.textContent = RULES[settings.rule].says;
    },
  );
  const epsilonKnob = add(
    epsilon, number, (settings) => String(settings.epsilon),
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
    const shown = (value) => {
      if (name === "density") return `${percent(value)} or less`;
      return unit === "%" ? percent(value) : `${value}${unit ? ` ${unit}` : ""}`;
    };
    const input = choices
      ? choice(choices.map((value, i) => [value, texts?.[i] ?? shown(value)]))
      : html("input", { type: isNumber ? "number" : "range", min, max, step });
    const said = (settings) => {
      if (name === "density") {
        const left = densities(settings); // the last pruning is whole, so it may lead below
        return `${left.length - 1} prunings: ${percent(left.at(-1))}`;
      }
      return choices || isNumber ? "" : shown(settings[name]);
    };
    const read = () => ({ [name]: Number(input.value) });
    return add(input, label, said, read, (settings) => (input.value = settings[name]));
  });
  return {
    knobs: html("div", { class: "pg-knobs" }, html("div", {}, ruleKnob, says), fixedKnob, ...others),
    epsilon: html("div", {}, own.element, epsilonKnob),
    /** Show these settings. */
    show(settings) {
      const { isText } = RULES[settings.rule];
      shows.forEach((each) => each(settings));
      own.show(settings);
      number.textContent = isText ? "x, in your rule" : "Tolerance ε: drag the line above, or turn here";
      epsilonKnob.hidden = !hasNumber(settings);
      fixedKnob.hidden = settings.rule !== "fixed";
    },
  };
}
