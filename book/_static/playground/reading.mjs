// Draw a digit: what the dense network and the pruned one say about it.
import { digits, normalised } from "./data.mjs";
import { counted } from "./drawing.mjs";
import { guess, probabilities } from "./reader.mjs";
import { html, px, svg } from "./svg.mjs";
import { percent } from "./words.mjs";

const ROW = 26, LEFT = 20;
const EMPTY = "Nothing is drawn yet.", UNTRAINED = "The networks answer after a run: press Play.";
const SEEN = "What the networks see: 8 × 8 pixels of 17 greys.";

/** Draw the image as the networks see it. */
function drawSeen(host, pixels) {
  const squares = [...pixels].map((value, i) =>
    svg("rect", { x: i % 8, y: i >> 3, width: 1.02, height: 1.02, "fill-opacity": px(value / 16) }),
  );
  host.replaceChildren(svg("svg", { viewBox: "0 0 8 8", role: "img", "aria-label": SEEN }, ...squares));
}

/** Draw the probabilities of both networks, class by class. */
function drawBars(host, said, text) {
  const width = Math.max(200, host.clientWidth), height = 10 * ROW;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": text });
  for (let digit = 0; digit < 10; digit++) {
    const y = digit * ROW;
    picture.append(svg("text", { x: 2, y: y + 17 }, String(digit)));
    picture.append(svg("path", { d: `M${LEFT} ${y + 3}V${y + ROW - 3}`, class: "pg-axis" }));
    said.forEach(({ shares, kind }, i) => {
      const length = px((width - LEFT) * (shares?.[digit] ?? 0));
      const bar = { x: LEFT, y: y + 4 + 9 * i, width: length, height: 8, class: kind };
      if (shares) picture.append(svg("rect", bar));
    });
  }
  host.replaceChildren(picture);
}

/** Let strokes be drawn on a canvas; `changed` is called with all of them, whenever there are more. */
function pad(canvas, changed) {
  let strokes = [], isDown = false;
  const point = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  };

  function paint() {
    const size = canvas.getBoundingClientRect().width * (devicePixelRatio || 1);
    [canvas.width, canvas.height] = [size, size];
    const context = canvas.getContext("2d");
    context.strokeStyle = context.fillStyle = getComputedStyle(canvas).color;
    if (!strokes.length) {
      [context.font, context.textAlign] = [`${size / 14}px sans-serif`, "center"];
      context.fillText("draw here", size / 2, size / 2);
    }
    [context.lineWidth, context.lineCap, context.lineJoin] = [size / 11, "round", "round"];
    for (const points of strokes) {
      context.beginPath();
      for (const [x, y] of [points[0], ...points]) context.lineTo(x * size, y * size);
      context.stroke();
    }
  }

  function go(event) {
    strokes.at(-1).push(point(event));
    paint();
    changed(strokes);
  }

  canvas.addEventListener("pointerdown", (event) => {
    isDown = true;
    canvas.setPointerCapture(event.pointerId);
    strokes.push([]);
    go(event);
  });
  canvas.addEventListener("pointermove", (event) => isDown && go(event));
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (isDown = false));
  return {
    paint,
    clear() {
      strokes = [];
      paint();
    },
  };
}

/** Build the part of the page; `show` takes {dense, pruned, density}, networks or null. */
export function reading() {
  const canvas = html("canvas", { class: "pg-pad", role: "img", "aria-label": "Draw a digit here, or take a test image below." });
  const seen = html("div", { class: "pg-seen" }), bars = html("div"), words = html("p", { role: "status", "aria-live": "polite" });
  let image = null, label = null, networks = {}, next = 0;

  function show(found = networks) {
    networks = found;
    const { dense, pruned, density } = networks;
    const said = [["Dense network", dense, "pg-constant"], [`With ${percent(density ?? 1)} of the weights`, pruned, "pg-now"]].map(
      ([name, network, kind]) => ({ name, kind, shares: network && image ? probabilities(network, normalised(image)) : null }),
    );
    const answers = said.filter(({ shares }) => shares).map(({ name, shares }) => `${name}: ${guess(shares)} (${percent(Math.max(...shares))}).`);
    const truth = label === null ? "" : ` It is a ${label}.`;
    const text = !image ? EMPTY : answers.length ? answers.join(" ") + truth : UNTRAINED;
    if (words.textContent !== text) words.textContent = text;
    drawBars(bars, said, text);
  }

  function take(pixels, truth = null) {
    [image, label] = [pixels, truth];
    drawSeen(seen, pixels ?? new Uint8Array(64));
    show();
  }

  /** Take the next test image that is wanted, from where the last one was. */
  async function sample(isWanted) {
    const { pixels, targets } = (await digits()).test, size = targets.length;
    for (let i = 0; i < size; i++) {
      const at = (next + i) % size, own = pixels.subarray(64 * at, 64 * at + 64);
      if (!isWanted(own)) continue;
      next = at + 1;
      board.clear();
      return take(own, targets[at]);
    }
    words.textContent = "They agree on every test image.";
  }

  function disagree(pixels) {
    const [a, b] = [networks.dense, networks.pruned].map((network) => guess(probabilities(network, normalised(pixels))));
    return a !== b;
  }

  const board = pad(canvas, (strokes) => take(counted(strokes)));
  const button = (text, act) => {
    const made = html("button", { type: "button" }, text);
    made.addEventListener("click", act);
    return made;
  };
  const differ = button("One they disagree on", () => sample(disagree));
  const clear = () => {
    board.clear();
    take(null);
  };
  const key = (kind, text) => html("span", {}, html("i", { class: kind }), text, " ");
  const element = html("div", {},
    html("div", { class: "pg-draw" }, canvas, seen, bars),
    html("p", { class: "pg-key" }, key("pg-is-dense", "dense network, trained as long as the last level"), key("pg-is-pruned", "pruned network, at the end of its last level")),
    words,
    html("div", { class: "pg-row" }, button("Clear", clear), button("A test image", () => sample(() => true)), differ),
  );
  return {
    element,
    show(found) {
      differ.disabled = !(found.dense && found.pruned);
      show(found);
    },
    /** Draw again, at another width or in another theme. */
    draw() {
      board.paint();
      take(image, label);
    },
  };
}
