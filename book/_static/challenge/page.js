// "Beat the constant" of chapter 7, where the page has <div id="challenge"> and its data.

(() => {
  "use strict";

  const START = { rule: "loss <= ref_loss", x: 0.5 };
  const PRESETS = {
    "loss <= ref_loss": "the loss is back where the warm-up left it",
    "accuracy >= ref_accuracy": "the validation accuracy is back",
    "accuracy <= best(accuracy)": "the validation accuracy has not improved",
    "information < x": "the information flow is within x",
    "gradient < x": "the gradient profile is within x",
    "mask < x": "the next mask changes by less than x",
    "epoch >= x": "a constant: x epochs",
    "epoch >= 2 * x * (1 + level) / levels": "later levels train longer",
    "loss <= ref_loss and abs(loss - prev(loss)) < x * loss": "loss back, and no longer falling fast",
  };
  const KINDS = {
    "loss-line": "your rule, replayed",
    "total-line": "a constant of the same cost",
    "resting-line": "the nearest recorded timetable",
    "epsilon-line": "what this very rule did",
  };

  const points = (gain) => (100 * gain).toFixed(2).replace(/^-(?=0\.00$)/, "").replace("-", "−");
  const signed = (gain) => (points(gain).startsWith("−") ? "" : "+") + points(gain);
  const within = (gain, half) => `${signed(gain)} ± ${points(half)} points`;
  const some = (epochs) => Number(epochs.toPrecision(3));

  // A text or a list of choices, as the knobs of drawing.js are: { name, element, read, write }.
  function field({ name, label, control }) {
    control.id = `knob-${name}`;
    const words = Drawing.make("label", { for: control.id }, label);
    const element = Drawing.make("div", { class: "knob" }, words, control);
    return { name, element, read: () => control.value, write: (value) => (control.value = value) };
  }

  function knobs() {
    const options = Object.entries({ ...PRESETS, "": "one of your own" });
    const choices = options.map(([value, words]) => Drawing.make("option", { value }, words));
    const typed = { type: "text", maxlength: 200, spellcheck: "false", autocapitalize: "none", autocomplete: "off" };
    const logarithm = { toPosition: (x) => Math.log10(x), fromPosition: (x) => Number((10 ** x).toPrecision(2)) };
    return [
      field({ name: "preset", label: "A rule to begin with", control: Drawing.make("select", {}, ...choices) }),
      field({ name: "rule", label: "A level ends when", control: Drawing.make("input", typed) }),
      Drawing.slider({ name: "x", label: "x", min: -2, max: 0.6, step: 0.02, show: String, ...logarithm }),
    ];
  }

  // What a rule comes to on a table, all in numbers.
  function played(table, tree, written, x) {
    const decide = (checks, constants) => Language.decide(tree, checks, constants);
    const stops = Replay.stops(table, decide, x), epochs = Replay.timetable(stops);
    const cost = Replay.total(epochs), { one: near, gap } = Replay.nearest(table, epochs);
    const same = gap < 1e-6;
    const error = Math.hypot(near.half_width, same ? 0 : 2 * table.error);
    const own = table.recorded.find(({ expression }) => expression && expression === written);
    return { epochs, cost, costs: stops.map(Replay.total), near, same, error, own, isFar: gap > table.reach };
  }

  // Above, below, or not told apart from a constant of the same cost.
  function verdict(gain, half) {
    if (gain > half) return `above a constant of its cost by ${within(gain, half)}`;
    if (gain < -half) return `below a constant of its cost: ${within(gain, half)}`;
    return `not told apart from a constant of its cost: ${within(gain, half)}`;
  }

  // What ran is told as it ran; what only was replayed, by the nearest timetable that ran.
  function told(table, { cost, near, error, own, isFar }) {
    const replayed = `${table.title}: replayed, ${some(cost)} epochs`;
    if (own) {
      const really = some(Replay.total(own.timetable));
      return `${replayed}. When this very rule ran it took ${really}, ${verdict(own.gain, own.half_width)}.`;
    }
    if (isFar) return `${replayed}. No recorded timetable is near enough to say what that is worth.`;
    return `${replayed}. The nearest timetable that ran says: ${verdict(near.gain, error)}.`;
  }

  function facts(table, { cost, costs, near, same, own }) {
    const [low, high] = [Math.min(...costs), Math.max(...costs)].map(some);
    const range = low === high ? "the same on every seed" : `${low} to ${high} by seed`;
    const constant = Replay.ofConstants(table, cost);
    const lines = [["Replayed", `${some(cost)} epochs before the last level, ${range}.`]];
    if (own) lines.push(["This very rule, when it ran", `${some(Replay.total(own.timetable))} epochs: ${worth(table, own)}`]);
    if (constant) lines.push(["A constant that costs what the replay does", `Test accuracy ${constant.toFixed(4)}.`]);
    if (own !== near) lines.push(["Nearest timetable that ran", `${near.rule}${same ? ", the same" : ""}: ${worth(table, near)}`]);
    lines.push(["How far to trust the nearest", `Of a rule left out, it was off by ${points(table.error)} points (root mean square).`]);
    return lines;
  }

  // What a recorded rule gained, and its timetable alone, where it was told beforehand.
  function worth(table, { rule, kind, gain, half_width, replay_gain, replay_half_width }) {
    if (["constant", "full"].includes(kind)) return "a constant itself, gain 0.";
    const own = `gain ${within(gain, half_width)}.`;
    const replay = table.recorded.find((one) => one.rule === `replay of ${rule}`);
    if (!replay || replay_gain === null) return own;
    const alone = `Its timetable alone, told beforehand: ${within(replay.gain, replay.half_width)}.`;
    return `${own} ${alone} So looking added ${within(replay_gain, replay_half_width)}.`;
  }

  function picture(table, { epochs, cost, near, own }) {
    const last = epochs.length - 1;
    const between = (values) => (t) => {
      const low = Math.min(Math.floor(t), last - 1);
      return values[low] + (t - low) * (values[low + 1] - values[low]);
    };
    const lines = [
      { of: between(near.timetable), kind: "resting-line" },
      { of: () => cost / epochs.length, kind: "total-line" },
      ...(own ? [{ of: between(own.timetable), kind: "epsilon-line" }] : []),
      { of: between(epochs), kind: "loss-line" },
    ];
    const most = Math.max(0.1, ...epochs, ...near.timetable, ...(own?.timetable ?? []));
    const title = `Epochs of each level on ${table.title}; the list below says what they come to`;
    return Drawing.chart({ title, x: "level (0 = dense)", xMax: last, yMax: most, lines });
  }

  function card(table, found) {
    const terms = facts(table, found).flatMap(([term, words]) => [
      Drawing.make("dt", {}, term),
      Drawing.make("dd", {}, words),
    ]);
    const drawn = Object.entries(KINDS).filter(([kind]) => kind !== "epsilon-line" || found.own);
    return Drawing.make(
      "div",
      {},
      Drawing.make("p", { class: "title" }, `${table.title}: epochs per level`),
      picture(table, found),
      Drawing.legend(Object.fromEntries(drawn)),
      Drawing.make("dl", {}, ...terms),
    );
  }

  function vocabulary() {
    const words = { ...Language.MEASURED, ...Language.CONSTANTS };
    words["prev(…)"] = "that number at the check before";
    words["best(…)"] = "the best of the checks before, in this level";
    words["abs, min, max, + − * /"] = "as usual; so are < <= > >=, and, or, not, and brackets";
    const terms = Object.entries(words).flatMap(([term, said]) => [
      Drawing.make("dt", {}, Drawing.make("code", {}, term)),
      Drawing.make("dd", {}, said),
    ]);
    const summary = Drawing.make("summary", {}, "Words that a rule may use");
    return Drawing.make("details", {}, summary, Drawing.make("dl", {}, ...terms));
  }

  function begin(root, tables) {
    const controls = knobs(), [preset, rule] = controls;
    const cards = Drawing.make("div", { class: "charts" });
    const sentence = Drawing.make("p", { role: "status", "aria-live": "polite" });
    const input = rule.element.querySelector("input");
    const live = Drawing.make("a", {}, "Let it train and prune, on the playground’s network");
    const wayOn = Drawing.make("p", {}, live);

    const read = () => ({ rule: rule.read().trim(), x: Number(controls[2].read()) });
    function write(values) {
      controls.forEach((knob) => knob.name in values && knob.write(values[knob.name]));
      preset.write(rule.read() in PRESETS ? rule.read() : "");
    }

    function draw() {
      const { rule: text, x } = read();
      let tree = null;
      try {
        tree = Language.parse(text);
      } catch (error) {
        if (!(error instanceof Language.RuleError)) throw error;
        sentence.textContent = `This rule cannot be read. In ${error.message}.`;
      }
      input.setAttribute("aria-invalid", String(tree === null));
      cards.hidden = wayOn.hidden = tree === null;
      if (tree === null) return;
      live.href = `../book/playground.html#play&rule=own&text=${encodeURIComponent(text)}&epsilon=${x}`;
      const written = text.replace(/\bx\b/g, String(x));
      const found = tables.map((table) => [table, played(table, tree, written, x)]);
      cards.replaceChildren(...found.map((each) => card(...each)));
      sentence.textContent = found.map((each) => told(...each)).join(" ");
    }
    function turned() {
      draw();
      Drawing.writeAddress(root.id, Drawing.differing(read(), START));
    }

    write(START);
    draw();
    root.replaceChildren(
      Drawing.make("div", { class: "knobs" }, ...controls.map((knob) => knob.element)),
      Drawing.make("div", { class: "buttons" }, Drawing.button("Reset", () => (write(START), turned()))),
      sentence,
      wayOn,
      cards,
      vocabulary(),
    );
    preset.element.addEventListener("input", () => preset.read() && rule.write(preset.read()));
    input.addEventListener("input", () => preset.write(rule.read() in PRESETS ? rule.read() : ""));
    root.addEventListener("input", turned);
    Drawing.followAddress(root, (values) => {
      write({ ...START, ...values });
      draw();
    });
  }

  addEventListener("DOMContentLoaded", () => {
    const root = document.getElementById("challenge"), data = document.getElementById("challenge-data");
    if (root && data) begin(root, Object.values(JSON.parse(data.textContent)));
  });
})();
