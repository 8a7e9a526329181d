// Explorers that were recorded: pictures which Python drew, and knobs that choose among them.
//
// <div class="drawn recorded" id="name"> holds the first picture, in .shown, and everything else as
// JSON: `knobs`, `pictures` and a `tree` of lists [number of a knob, a branch for each option];
// below the last knob a branch is the number of a picture. Needs drawing.js.

const Recorded = (() => {
  "use strict";

  // The knobs from the outermost to the last, with the number of the option that each stands at,
  // and the picture they lead to. `place` knows where the knobs stand that are not at their start;
  // a knob that depends on others has a place for each of their settings, and keeps it.
  function follow({ knobs, tree }, place) {
    const path = [];
    let branch = tree;
    while (Array.isArray(branch)) {
      const knob = knobs[branch[0]];
      const at = place.get(branch[0]) ?? knob.start;
      path.push({ number: branch[0], knob, at });
      branch = branch[1 + at];
    }
    return { path, picture: branch };
  }

  // The knobs of a path that do not stand at their start, by label: what an address holds.
  function different(path) {
    const turned = path.filter(({ knob, at }) => at !== knob.start);
    return turned.map(({ knob, at }) => [knob.label, knob.options[at]]);
  }

  // The places that an address asks for; what it says of other knobs or options is left out.
  function asked(told, values) {
    const place = new Map();
    told.knobs.forEach((knob, number) => {
      const at = knob.options.indexOf(values[knob.label]);
      if (at >= 0) place.set(number, at);
    });
    return place;
  }

  // One knob: buttons, or a slider over the numbers of its options.
  function control(name, { label, options, buttons }) {
    if (buttons) return Drawing.choice({ name, label, options: { ...options } });
    const show = (at) => options[at];
    return Drawing.slider({ name, label, min: 0, max: options.length - 1, step: 1, show });
  }

  function begin(root) {
    const told = JSON.parse(root.querySelector("script").textContent);
    const shown = root.querySelector(".shown");
    const sentence = Drawing.make("div", { role: "status", "aria-live": "polite" });
    const box = Drawing.make("div", { class: "knobs" });
    const controls = new Map(); // number of a knob -> its control, made when it is first needed
    let place = new Map();

    function draw() {
      const { path, picture } = follow(told, place);
      const wanted = path.map(({ number, knob, at }) => {
        if (!controls.has(number)) controls.set(number, control(`${root.id}-${number}`, knob));
        controls.get(number).write(at);
        return controls.get(number).element;
      });
      // only what changes is touched: whoever turns a knob keeps it in hand
      wanted.forEach((element, i) => box.children[i] === element || box.insertBefore(element, box.children[i]));
      while (box.children.length > wanted.length) box.lastChild.remove();
      shown.innerHTML = told.pictures[picture];
      const words = shown.querySelector(":scope > p");
      sentence.replaceChildren(...(words ? [words] : []));
      return path;
    }
    function turned() {
      const { path } = follow(told, place);
      for (const { number } of path) place.set(number, Number(controls.get(number).read()));
      Drawing.writeAddress(root.id, different(draw()));
    }
    function reset() {
      place = new Map();
      Drawing.writeAddress(root.id, different(draw()));
    }

    draw();
    const buttons = Drawing.make("div", { class: "buttons" }, Drawing.button("Reset", reset));
    root.prepend(box, buttons, sentence);
    box.addEventListener("input", turned);
    Drawing.followAddress(root, (values) => {
      place = asked(told, values);
      draw();
    });
  }

  return { follow, different, asked, begin };
})();

if (typeof module !== "undefined") module.exports = Recorded;
else
  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".recorded").forEach(Recorded.begin);
  });
