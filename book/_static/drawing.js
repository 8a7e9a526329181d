// Small helpers for pictures that are drawn in the page: knobs, line charts, the address.
// No dependency, no state; colours and sizes are in book.css, below "Drawn in the page".

const Drawing = (() => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
  }

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // Knobs. Each is { name, element, read() -> number or string, write(value) }; what cannot be
  // written as it is, the control itself brings into its range.

  // `toPosition` and `fromPosition` turn a value into a place on the slider and back.
  function slider({ name, label, min, max, step, show, toPosition = (x) => x, fromPosition = (x) => x }) {
    const input = make("input", { type: "range", min, max, step, id: `knob-${name}` });
    const output = make("output", { for: input.id });
    const read = () => fromPosition(input.valueAsNumber);
    const say = () => {
      output.textContent = show(read());
      input.setAttribute("aria-valuetext", output.textContent);
    };
    const write = (value) => {
      const position = toPosition(Number(value));
      if (Number.isFinite(position)) input.value = position;
      say();
    };
    input.addEventListener("input", say);
    const element = make("div", { class: "knob" }, make("label", { for: input.id }, label), output, input);
    return { name, element, read, write };
  }

  // `options`: value -> words.
  function choice({ name, label, options }) {
    const inputs = Object.keys(options).map((value) =>
      make("input", { type: "radio", name: `knob-${name}`, value }),
    );
    const labels = inputs.map((input) => make("label", {}, input, options[input.value]));
    const element = make("fieldset", { class: "knob" }, make("legend", {}, label), ...labels);
    const read = () => inputs.find((input) => input.checked).value;
    const write = (value) => {
      const chosen = inputs.find((input) => input.value === String(value));
      if (chosen) chosen.checked = true;
    };
    return { name, element, read, write };
  }

  function button(words, onClick) {
    const element = make("button", { type: "button" }, words);
    element.addEventListener("click", onClick);
    return element;
  }

  // Three to six round numbers from 0 to the first that is not below `max`.
  function ticks(max) {
    const unit = 10 ** Math.floor(Math.log10(max / 3));
    const step = unit * [1, 2, 5, 10].find((k) => max <= 5 * k * unit);
    return Array.from({ length: Math.ceil(max / step - 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
  }

  // A chart of lines over time, both axes from 0. `lines`: { of: t -> y, kind }; `bands`: [from,
  // to] in time; `events`: { at, kind }, upright lines. A kind is a class that book.css draws.
  function chart({ title, x, xMax, yMax, lines, bands = [], events = [] }) {
    const [width, height, left, bottom, top, right] = [360, 250, 44, 38, 10, 12];
    const yTicks = ticks(yMax);
    const last = yTicks.at(-1);
    const across = (t) => left + (Math.min(t, xMax) / xMax) * (width - left - right);
    const up = (y) => height - bottom - (y / last) * (height - bottom - top);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
    for (const [from, to] of bands) {
      if (from >= xMax) continue;
      const size = { x: across(from), width: across(to) - across(from), y: top, height: up(0) - top };
      picture.append(svg("rect", { class: "band", ...size }));
    }
    for (const y of yTicks) {
      picture.append(
        svg("path", { class: "grid", d: `M${left} ${up(y)}H${width - right}` }),
        svg("text", { x: left - 6, y: up(y) + 4, "text-anchor": "end" }, String(y)),
      );
    }
    for (const t of ticks(xMax)) {
      picture.append(svg("text", { x: across(t), y: height - bottom + 16, "text-anchor": "middle" }, String(t)));
    }
    const middle = { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" };
    picture.append(svg("text", middle, x));
    for (const { of, kind } of lines) {
      const points = Array.from({ length: 121 }, (_, i) => (i / 120) * xMax);
      const path = points.map((t) => `${across(t).toFixed(1)} ${up(of(t)).toFixed(1)}`);
      picture.append(svg("path", { class: `line ${kind}`, d: `M${path.join("L")}` }));
    }
    for (const { at, kind } of events) {
      if (at <= xMax) picture.append(svg("path", { class: `line ${kind}`, d: `M${across(at)} ${top}V${up(0)}` }));
    }
    return picture;
  }

  // What the kinds of a chart mean: kind -> words.
  function legend(kinds) {
    const entries = Object.entries(kinds).map(([kind, words]) => {
      const swatch = svg("svg", { viewBox: "0 0 30 12", "aria-hidden": "true" });
      swatch.append(
        kind === "band"
          ? svg("rect", { class: "band", width: 30, height: 12 })
          : svg("path", { class: `line ${kind}`, d: "M1 6H29" }),
      );
      return make("li", {}, swatch, words);
    });
    return make("ul", { class: "legend" }, ...entries);
  }

  // The address: #name?a=1&b=2. Reading gives {} where the address is about something else.
  function readAddress(name) {
    const [before, after] = location.hash.slice(1).split("?");
    return before === name && after ? Object.fromEntries(new URLSearchParams(after)) : {};
  }

  // Replaces, so that turning a knob fills no history; no values take the address away again.
  function writeAddress(name, values) {
    const after = new URLSearchParams(values).toString();
    const here = location.pathname + location.search;
    history.replaceState(history.state, "", after ? `#${name}?${after}` : here);
  }

  // Tell `show` what the address says of a picture, at first and whenever it changes, and go there.
  function followAddress(root, show) {
    function restore() {
      const values = readAddress(root.id);
      if (Object.keys(values).length === 0) return;
      show(values);
      root.scrollIntoView();
    }
    addEventListener("hashchange", restore);
    if (document.readyState === "complete") restore();
    else addEventListener("load", restore); // when the page has its height
  }

  // What differs from the start, as an address holds it: [name, value] of each.
  const differing = (values, start) => Object.entries(values).filter(([name, value]) => value !== start[name]);

  return {
    ...{ make, svg, slider, choice, button, ticks, chart, legend },
    ...{ readAddress, writeAddress, followAddress, differing },
  };
})();

if (typeof module !== "undefined") module.exports = Drawing;
