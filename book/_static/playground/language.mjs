// The language in which a reader writes a stop rule, here and in chapter 7: parsed, never evaluated
// as code.
//
//   rule       = conjunction { "or" conjunction }
//   conjunction = negation { "and" negation }
//   negation   = "not" negation | comparison
//   comparison = sum [ ( "<" | "<=" | ">" | ">=" ) sum ]
//   sum        = product { ( "+" | "-" ) product }
//   product    = factor { ( "*" | "/" ) factor }
//   factor     = "-" factor | number | name | call | "(" rule ")"
//   call       = ( "prev" | "best" ) "(" measured ")" | "abs" "(" sum ")"
//              | ( "min" | "max" ) "(" sum "," sum { "," sum } ")"
//
// A measured name is one of MEASURED; other names are those of CONSTANTS. What is not known at a
// check is NaN; a comparison with it is neither true nor false (null), and so is what hangs on it.

// What a check holds -> in words. The distances are in units of the reference flow's norm.
export const MEASURED = {
  epoch: "epochs trained in this level",
  loss: "training loss since the check before",
  accuracy: "validation accuracy",
  information: "distance of the information flow to the snapshot's",
  gradient: "distance of the gradient profile to the snapshot's",
  mask: "share of the next mask that changed since half the training",
};
export const CONSTANTS = {
  level: "prunings so far",
  levels: "number of levels that a rule ends",
  x: "the slider",
  ref_loss: "training loss at the end of the warm-up, from below",
  ref_accuracy: "validation accuracy after the warm-up",
};
// Function -> least and most arguments.
export const FUNCTIONS = { prev: [1, 1], best: [1, 1], abs: [1, 1], min: [2, 9], max: [2, 9] };
const LONGEST = 200; // characters: also bounds how deep the parser goes

export class RuleError extends Error {
  constructor(message, column) {
    super(`column ${column}: ${message}`);
    this.column = column;
  }
}

const TOKEN = /\s*(?:(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)|([a-z_]+)|(<=|>=|[<>+\-*/(),]))/iy;

// Text -> tokens { text, kind, column }, the last of them of kind "end".
function tokens(text) {
  if (text.length > LONGEST) throw new RuleError(`a rule has at most ${LONGEST} characters`, LONGEST + 1);
  const found = [];
  let at = 0;
  const end = text.trimEnd().length;
  while (at < end) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    const column = 1 + at + text.slice(at).search(/\S/);
    if (!match) throw new RuleError(`“${text[column - 1]}” means nothing here`, column);
    const kind = match[1] ? "number" : match[2] ? "word" : "sign";
    found.push({ text: match[0].trim().toLowerCase(), kind, column });
    at = TOKEN.lastIndex;
  }
  return [...found, { text: "the end", kind: "end", column: end + 1 }];
}

// Text -> a tree of { op, ... }; raises a RuleError that names the column.
export function parse(text) {
  const list = tokens(text);
  let next = 0;
  const peek = () => list[next];
  const is = (...words) => peek().kind !== "end" && words.includes(peek().text);
  const take = () => list[next++];

  function expect(word) {
    if (!is(word)) throw new RuleError(`expected “${word}”, found ${said(peek())}`, peek().column);
    return take();
  }
  // Whether a part is a yes or no, or a number.
  function demand(part, isTruth) {
    if (part.isTruth === isTruth) return part;
    const wanted = isTruth ? "a comparison, such as loss < 0.1" : "a number";
    throw new RuleError(`expected ${wanted}, found ${isTruth ? "a number" : "a comparison"}`, part.column);
  }
  // left { word right }, for operators that take and give the same kind.
  function chain(words, part, isTruth) {
    let left = part();
    while (is(...words)) {
      const { text: op } = take();
      left = { op, isTruth, column: left.column, parts: [demand(left, isTruth), demand(part(), isTruth)] };
    }
    return left;
  }

  const rule = () => chain(["or"], conjunction, true);
  const conjunction = () => chain(["and"], negation, true);
  const sum = () => chain(["+", "-"], product, false);
  const product = () => chain(["*", "/"], factor, false);

  function negation() {
    if (!is("not")) return comparison();
    const { column } = take();
    return { op: "not", isTruth: true, column, parts: [demand(negation(), true)] };
  }
  function comparison() {
    const left = sum();
    if (!is("<", "<=", ">", ">=")) return left;
    const { text: op } = take();
    const whole = { op, isTruth: true, column: left.column, parts: [demand(left, false), demand(sum(), false)] };
    if (is("<", "<=", ">", ">=")) throw new RuleError("compare two numbers at a time; join with “and”", peek().column);
    return whole;
  }
  function factor() {
    const token = take();
    const { text: word, kind, column } = token;
    if (word === "-") return { op: "negative", isTruth: false, column, parts: [demand(factor(), false)] };
    if (word === "(") {
      const inside = rule();
      expect(")");
      return { ...inside, column };
    }
    if (kind === "number") return { op: "number", isTruth: false, column, value: Number(word) };
    if (kind === "word" && Object.hasOwn(FUNCTIONS, word)) return call(token);
    if (kind === "word" && (Object.hasOwn(MEASURED, word) || Object.hasOwn(CONSTANTS, word)))
      return { op: "name", isTruth: false, column, name: word };
    if (kind === "word" && !["and", "or", "not"].includes(word)) {
      const known = [...Object.keys(MEASURED), ...Object.keys(CONSTANTS), ...Object.keys(FUNCTIONS)];
      throw new RuleError(`“${word}” is not known; choose from ${known.join(", ")}`, column);
    }
    throw new RuleError(`expected a number or a name, found ${said(token)}`, column);
  }
  function call({ text: op, column }) {
    expect("(");
    const parts = [demand(sum(), false)];
    while (is(",")) {
      take();
      parts.push(demand(sum(), false));
    }
    expect(")");
    const [least, most] = FUNCTIONS[op];
    if (parts.length < least || parts.length > most) {
      const wanted = least === most ? "one argument" : `${least} to ${most} arguments`;
      throw new RuleError(`${op} takes ${wanted}, not ${parts.length}`, column);
    }
    if (["prev", "best"].includes(op) && !(parts[0].op === "name" && parts[0].name in MEASURED)) {
      const wanted = Object.keys(MEASURED).join(", ");
      throw new RuleError(`${op} takes one of ${wanted}`, parts[0].column);
    }
    return { op, isTruth: false, column, parts };
  }

  const tree = demand(rule(), true);
  if (peek().kind !== "end") throw new RuleError(`expected the end, found ${said(peek())}`, peek().column);
  return tree;
}

const said = ({ kind, text }) => (kind === "end" ? text : `“${text}”`);

// What a name was at the checks before the last, where it was known.
const before = (name, checks) => checks.slice(0, -1).map((check) => check[name]).filter((v) => !Number.isNaN(v));

const NUMBERS = {
  number: ({ value }) => value,
  name: ({ name }, checks, constants) => (Object.hasOwn(MEASURED, name) ? checks.at(-1)[name] : constants[name]),
  prev: ({ parts }, checks) => before(parts[0].name, checks).at(-1) ?? NaN,
  best: ({ parts: [{ name }] }, checks) => {
    const values = before(name, checks);
    if (values.length === 0) return NaN;
    return ["accuracy", "epoch"].includes(name) ? Math.max(...values) : Math.min(...values);
  },
  negative: (tree, ...seen) => -number(tree.parts[0], ...seen),
  abs: (tree, ...seen) => Math.abs(number(tree.parts[0], ...seen)),
  min: (tree, ...seen) => Math.min(...tree.parts.map((part) => number(part, ...seen))),
  max: (tree, ...seen) => Math.max(...tree.parts.map((part) => number(part, ...seen))),
};
const SIGNS = { "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b };
const COMPARISONS = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b };

// All names in a tree, each once.
export function names({ op, name, parts = [] }) {
  return [...new Set([...(op === "name" ? [name] : []), ...parts.flatMap(names)])];
}

// The number that a part comes to; NaN if it is not known.
export function number(tree, checks, constants) {
  if (tree.op in NUMBERS) return NUMBERS[tree.op](tree, checks, constants);
  const [a, b] = tree.parts.map((part) => number(part, checks, constants));
  return SIGNS[tree.op](a, b);
}

// Whether a rule says stop at the last of some checks: true, false, or null if it cannot know.
export function decide(tree, checks, constants) {
  const { op, parts } = tree;
  if (op in COMPARISONS) {
    const [a, b] = parts.map((part) => number(part, checks, constants));
    return Number.isNaN(a) || Number.isNaN(b) ? null : COMPARISONS[op](a, b);
  }
  const answers = parts.map((part) => decide(part, checks, constants));
  if (op === "not") return answers[0] === null ? null : !answers[0];
  const decisive = op === "or"; // one such answer is enough
  if (answers.includes(decisive)) return decisive;
  return answers.includes(null) ? null : !decisive;
}
