// The knobs, their limits, and the address in which they stand.
import { names, parse } from "./language.mjs";

/** Each: name, what it says, limits, and the value that it has at first. */
export const KNOBS = [
  { name: "fraction", label: "Remove at each level", min: 0.1, max: 0.5, step: 0.05, value: 0.2, unit: "%" },
  { name: "density", label: "Down to", choices: [0.2, 0.1, 0.05], value: 0.2, unit: "%" },
  { name: "epochs", label: "Budget of a level", min: 1, max: 20, step: 1, value: 10, unit: "epochs" },
  { name: "warmupEpochs", label: "Warm-up", min: 1, max: 5, step: 1, value: 2, unit: "epochs" },
  { name: "rewind", label: "After pruning", choices: [1, 0], texts: ["back to the warm-up", "go on from here"], value: 1 },
  { name: "units", label: "Units in a hidden layer", choices: [12, 24, 48], value: 24 },
  { name: "seed", label: "Seed", min: 0, max: 999, step: 1, value: 0, isNumber: true },
];

/** Rule -> what it is called, when it ends a level, the knob it has, and what it compares with that. */
export const RULES = {
  information: {
    title: "information flow", says: "A level ends as soon as the flow is near that after the warm-up: the distance is less than ε times the reference.",
    epsilon: 0.25, reads: "distance of the information flow, in units of the reference",
  },
  gradient: {
    title: "gradient profile", says: "A level ends as soon as the gradients of the layers are about as large as after the warm-up: their distance is less than ε times the reference.",
    epsilon: 0.5, reads: "distance of the gradient profile, in units of the reference",
  },
  mask: {
    title: "mask stability", says: "A level ends when pruning would twice in a row remove almost what it would have removed one check before: all but a share ε.",
    epsilon: 0.05, reads: "share of the surviving weights whose fate has just changed",
  },
  loss: {
    title: "loss recovered", says: "A level ends as soon as the training loss is as low as it was after the warm-up.",
    reads: "training loss, in nats",
  },
  fixed: {
    title: "fixed number of epochs", says: "Every level but the last is trained for the same number of epochs; nobody looks at the network.",
    fixed: 3,
  },
  full: {
    title: "full budget", says: "Every level is trained for its whole budget.",
  },
  own: {
    title: "a rule of your own", says: "A level ends at the first check at which your line is true.",
    epsilon: 0.5, isText: true,
  },
};
export const EPSILON = { min: 0.01, max: 4 };
export const TEST_IMAGES = 360;

/** The settings that a reader meets first. */
export const DEFAULTS = {
  rule: "information", epsilon: 0.25, fixed: 3, absolute: false, text: "loss <= ref_loss",
  ...Object.fromEntries(KNOBS.map(({ name, value }) => [name, value])),
};

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Return whether the rule has a number to turn: a tolerance, or the x of a rule of one's own. */
export function hasNumber({ rule, text }) {
  return RULES[rule].isText ? names(parse(text)).includes("x") : RULES[rule].epsilon !== undefined;
}

/** Return whether the rule looks at the network; another is its own timetable. */
export const looks = ({ rule, text }) =>
  RULES[rule].isText ? names(parse(text)).some((name) => !["epoch", "level", "levels", "x"].includes(name)) : !["fixed", "full"].includes(rule);

/** Return what a rule is called, with its number. */
export function called(settings) {
  const { title, isText } = RULES[settings.rule];
  if (isText) return settings.text.replace(/\bx\b/gi, String(settings.epsilon));
  return hasNumber(settings) ? `${title}, ε = ${settings.epsilon}` : title;
}

/** Return a text that can be read as a rule: this one, if it can. */
function readable(text) {
  try {
    parse(text);
    return text.trim();
  } catch {
    return DEFAULTS.text;
  }
}

/** Return the settings with every value in its limits; what is no number is as at first. */
export function within(settings) {
  const rule = settings.rule in RULES ? settings.rule : DEFAULTS.rule;
  const number = (value, otherwise) => (Number.isFinite(value) ? value : otherwise);
  const kept = { rule, absolute: false, text: RULES[rule].isText ? readable(String(settings.text)) : DEFAULTS.text };
  for (const { name, value, min, max, step, choices } of KNOBS) {
    const given = number(settings[name], value);
    const near = (best, choice) => (Math.abs(choice - given) < Math.abs(best - given) ? choice : best);
    const stepped = min + Math.round((clamp(given, min, max) - min) / step) * step;
    kept[name] = choices ? choices.reduce(near) : Number(stepped.toFixed(4));
  }
  const epsilon = number(settings.epsilon, RULES[rule].epsilon ?? DEFAULTS.epsilon);
  kept.epsilon = Number(clamp(epsilon, EPSILON.min, EPSILON.max).toPrecision(3));
  kept.fixed = clamp(Math.round(3 * number(settings.fixed, DEFAULTS.fixed)) / 3, 0, 20);
  return kept;
}

/** Return the address's last part: what differs from the first settings, after "#play". */
export function toHash(settings) {
  const first = { ...DEFAULTS, epsilon: RULES[settings.rule].epsilon ?? DEFAULTS.epsilon };
  const differs = ([name, value]) => value !== first[name];
  const plain = (value) => (Number.isFinite(value) ? Number(value.toFixed(4)) : value);
  const parts = Object.entries(settings).filter(differs).map(([k, v]) => `&${k}=${encodeURIComponent(plain(v))}`);
  return `#play${parts.join("")}`;
}

/** Return the settings that an address holds, or null if it holds none. */
export function fromHash(hash) {
  if (!/^#play(&|$)/.test(hash)) return null;
  const given = Object.fromEntries(new URLSearchParams(hash.slice(5)));
  const numbers = Object.entries(given).map(([k, v]) => [k, ["rule", "text"].includes(k) ? v : Number(v)]);
  return within({ ...DEFAULTS, epsilon: NaN, ...Object.fromEntries(numbers) });
}
