// Draws the solvable model of chapter 11 where the page has <div id="solvable">.

(() => {
  "use strict";

  const START = { rho: -0.8, second: 1, pruned: 2, start: 0, epsilon: 0.3, price: 0.01 };
  const T_MAX = 6;
  const signed = (x) => x.toFixed(2).replace("-", "−");

  function knobs() {
    const weight = { min: -2, max: 2, step: 0.05, show: signed };
    const logarithm = { toPosition: (x) => Math.log10(x), fromPosition: (x) => Number((10 ** x).toPrecision(3)) };
    return [
      Drawing.slider({ name: "rho", label: "correlation of the inputs", min: -0.95, max: 0.95, step: 0.05, show: signed }),
      Drawing.slider({ name: "second", label: "best weight of input 2 (input 1: 1)", ...weight }),
      Drawing.choice({ name: "pruned", label: "pruned", options: { 1: "input 1", 2: "input 2" } }),
      Drawing.slider({ name: "start", label: "kept weight at the start", ...weight }),
      Drawing.slider({ name: "epsilon", label: "tolerance ε", min: 0, max: 2, step: 0.01, show: (x) => x.toFixed(2) }),
      Drawing.slider({ name: "price", label: "price of a unit of time", min: -3, max: 0, step: 0.1, show: String, ...logarithm }),
    ];
  }

  const three = (x) => x.toFixed(3);
  const two = (x) => x.toFixed(2);

  // What a setting shows, in sentences.
  function describe(setting) {
    return [whatMoves(setting), whenTheRuleStops(setting), whatIsBest(setting)].join(" ");
  }

  function atRest(setting) {
    return Math.abs(Solvable.terms(setting).offset) < 1e-9;
  }

  function whatMoves(setting) {
    const [loss, distance] = [Solvable.loss, Solvable.distance].map((f) => three(f(setting, 0)));
    const price = three(Solvable.maskPrice(setting));
    const resting = three(Solvable.restingDistance(setting));
    if (atRest(setting)) return `The start is at rest: the loss stays at ${price} and the distance at ${resting}.`;
    const fall = `The loss falls from ${loss} to ${price}, the price of the mask.`;
    const turn = Solvable.turn(setting);
    const last = `${resting}, where it rests`;
    if (turn === 0) return `${fall} Meanwhile the distance rises from ${distance} to ${last}.`;
    if (turn === Infinity) return `${fall} The distance falls, too, from ${distance} to ${last}.`;
    const least = three(Solvable.distance(setting, turn));
    return `${fall} The distance falls from ${distance} to ${least} at t = ${two(turn)}; then it rises to ${last}, while the loss still falls.`;
  }

  function whenTheRuleStops(setting) {
    const [enter, leave] = Solvable.window(setting);
    const rule = `The rule with ε = ${two(setting.epsilon)}`;
    if (enter === Infinity) return `${rule} never stops.`;
    const stops = enter === 0 ? `${rule} stops at once` : `${rule} stops at t = ${two(enter)}`;
    return leave === Infinity ? `${stops}.` : `${stops}; one that first looks after t = ${two(leave)} never does.`;
  }

  function whatIsBest(setting) {
    const best = Solvable.bestStop(setting);
    const when = best === 0 ? "at once" : `at t = ${two(best)}`;
    return `At the price ${setting.price} the best stop is ${when}.`;
  }

  const LOSS = {
    "loss-line": "loss",
    "total-line": "loss + price × time",
    "resting-line": "price of the mask",
    "rule-event": "the rule stops",
    "best-event": "best stop",
  };
  const DISTANCE = {
    "loss-line": "distance of the full flows",
    "epsilon-line": "tolerance ε",
    "resting-line": "resting distance",
    "rule-event": "the rule stops",
    "best-event": "best stop",
    band: "within ε: a look here stops",
  };

  function pictures(setting) {
    const [loss, distance] = [Solvable.loss, Solvable.distance].map((f) => (t) => f(setting, t));
    const total = (t) => loss(t) + setting.price * t;
    const [price, resting] = [Solvable.maskPrice(setting), Solvable.restingDistance(setting)];
    const window = Solvable.window(setting);
    const events = [
      { at: window[0], kind: "rule-event" },
      { at: Solvable.bestStop(setting), kind: "best-event" },
    ];
    const common = { x: "time", xMax: T_MAX, events };
    const left = Drawing.chart({
      ...common,
      title: "Loss over time; the sentence above says what it does",
      yMax: Math.max(loss(0), total(T_MAX), 0.01),
      lines: [
        { of: () => price, kind: "resting-line" },
        { of: total, kind: "total-line" },
        { of: loss, kind: "loss-line" },
      ],
    });
    const right = Drawing.chart({
      ...common,
      title: "Distance over time, with tolerance and resting distance; the sentence above says what it does",
      yMax: Math.max(distance(0), resting, setting.epsilon, 0.01),
      bands: [window],
      lines: [
        { of: () => resting, kind: "resting-line" },
        { of: () => setting.epsilon, kind: "epsilon-line" },
        { of: distance, kind: "loss-line" },
      ],
    });
    return [left, right];
  }

  function begin(root) {
    const controls = knobs();
    const boxes = [Drawing.make("div"), Drawing.make("div")];
    const sentence = Drawing.make("p", { role: "status", "aria-live": "polite" });

    const read = () => Object.fromEntries(controls.map((knob) => [knob.name, Number(knob.read())]));
    const write = (values) => controls.forEach((knob) => knob.name in values && knob.write(values[knob.name]));

    function draw() {
      pictures(read()).forEach((picture, i) => boxes[i].replaceChildren(picture));
      sentence.textContent = describe(read());
    }
    function turned() {
      draw();
      Drawing.writeAddress(root.id, Drawing.differing(read(), START));
    }
    function set(values) {
      write(values);
      turned();
    }

    write(START);
    draw();
    root.replaceChildren(
      Drawing.make("div", { class: "knobs" }, ...controls.map((knob) => knob.element)),
      Drawing.make(
        "div",
        { class: "buttons" },
        Drawing.button("Start at the pruned optimum", () => set({ start: Solvable.terms(read()).best })),
        Drawing.button("Start rewound to 0", () => set({ start: 0 })),
        Drawing.button("Reset", () => set(START)),
      ),
      sentence,
      Drawing.make(
        "div",
        { class: "charts" },
        Drawing.make("div", {}, Drawing.make("p", { class: "title" }, "Loss"), boxes[0], Drawing.legend(LOSS)),
        Drawing.make("div", {}, Drawing.make("p", { class: "title" }, "Distance"), boxes[1], Drawing.legend(DISTANCE)),
      ),
    );
    root.addEventListener("input", turned);
    Drawing.followAddress(root, (values) => {
      write({ ...START, ...values });
      draw();
    });
  }

  addEventListener("DOMContentLoaded", () => {
    const root = document.getElementById("solvable");
    if (root) begin(root);
  });
})();
