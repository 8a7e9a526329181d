// The playground itself: knobs, a run in a worker, and what is drawn of it.
//
// Others may rely on the root element: `#playground` has data-state (idle, training or done),
// data-level, data-density, data-epochs and data-accuracy, the latter from 0 to 1, and hands on an
// event `playground:run` with what a finished run came to.
import { uncertain } from "./compare.mjs";
import { form } from "./form.mjs";
import { initial } from "./initial.mjs";
import { levelsTo } from "./levels.mjs";
import { worker } from "./pool.mjs";
import { rivals } from "./rivals.mjs";
import { DEFAULTS, TEST_IMAGES, called, fromHash, toHash, within } from "./settings.mjs";
import { STYLE } from "./style.mjs";
import { html } from "./svg.mjs";
import { view } from "./view.mjs";
import { finished, standing } from "./words.mjs";

const PACE_MS = 45; // between two checks while one watches
const AT_ONCE = 24; // checks in a full run before it is drawn again
const SAID_EVERY_MS = 1500;
const IDLE = "Press Play: a network learns to read digits, loses weights level by level, and is retrained in between.";

/** Build a playground in its root element. @param {string} program text of the worker */
export function mount(root, program) {
  document.head.append(html("style", {}, STYLE));
  let settings = fromHash(location.hash) ?? DEFAULTS;
  let speed = "", state = "idle", checks = [], shown = null, target = NaN, token = 0, begun = false;
  let read = {}; // the networks that say what is drawn
  let ended = null; // what the run that is shown has come to
  let later = null, asked = 0, said = 0, due = null, isAsked = false, running = settings, trainer = null;

  const levels = () => levelsTo(settings);
  const full = () => (levels() + 1) * settings.epochs;
  const knobs = form((change, isFinal) => turn(change, isFinal));
  const parts = view(root, knobs, press, (epsilon, isFinal) => turn({ epsilon }, isFinal));
  const fail = (reason) => parts.say(`This did not work: ${reason}`);
  const others = rivals(program, () => drawFrontier(), fail);

  function spent() {
    const ended = checks.filter((check) => check.stopped).reduce((sum, check) => sum + check.epoch, 0);
    const last = checks.at(-1);
    return ended + (last && !last.stopped ? last.epoch : 0);
  }

  function tell(next) {
    state = next;
    const last = checks.at(-1), data = root.dataset;
    data.state = state;
    data.level = last?.level ?? 0;
    data.density = last?.density ?? 1;
    data.epochs = spent();
    data.accuracy = (state === "done" ? last?.testAccuracy : last?.accuracy) ?? 0;
    parts.play.textContent = speed === "play" ? "Pause" : "Play";
  }

  function untrained() {
    const network = initial(settings);
    return { ...network, masks: network.weights.map((w) => new Uint8Array(w.length).fill(1)) };
  }

  function draw() {
    parts.network(shown ?? untrained());
    drawCharts();
  }

  function drawCharts() {
    cancelAnimationFrame(later);
    later = null;
    parts.flows(checks.at(-1));
    parts.curve(checks, settings, levels(), target);
  }

  function drawFrontier() {
    const compared = parts.frontier(others.adopt(settings), settings, full());
    if (ended) parts.say(`${ended} ${compared || "It is not yet compared with a fixed number of epochs of the same cost."}`);
  }

  /** Ask the worker for some checks; the first message of a run carries its knobs. */
  function ask() {
    due = null;
    if (isAsked) return;
    trainer ??= worker(program, answered, fail); // a page that nobody plays with starts none
    asked = performance.now();
    const count = speed === "full" ? AT_ONCE : 1;
    trainer.ask({ id: token, count, ...(begun ? {} : { knobs: running }) });
    begun = isAsked = true;
  }

  function begin(next) {
    halt();
    token += 1;
    [speed, checks, shown, begun, isAsked, target, ended] = [next, [], null, false, false, NaN, null];
    running = settings;
    parts.read((read = {}));
    tell("training");
    ask();
  }

  function halt() {
    clearTimeout(due);
    [due, speed] = [null, ""];
  }

  /** Keep the networks at the end of a level; the dense one is trained as long as the last level. */
  function keep({ level, density, network }) {
    if (level > 0) parts.read((read = { ...read, pruned: network, density }));
    else trainer.ask({ id: token, dense: running });
  }

  function answered({ id, checks: news, shown: latest, summary, dense }) {
    if (id !== token) return;
    if (dense) return parts.read((read = { ...read, dense }));
    isAsked = false;
    for (const check of news) {
      if (check.kind === "warm-up") target = check.trainLoss;
      else checks.push(check);
      if (check.stopped) keep(check);
    }
    shown = latest ?? shown;
    if (summary) return finish(summary);
    tell("training");
    parts.network(shown);
    later ??= requestAnimationFrame(drawCharts); // one frame would be too short for all
    const last = news.at(-1), now = performance.now();
    if (last.stopped || now - said > SAID_EVERY_MS || !speed) {
      parts.say(standing(last, levels(), spent()));
      said = now;
    }
    if (speed === "full") ask();
    if (speed === "play") due = setTimeout(ask, Math.max(0, PACE_MS - (now - asked)));
  }

  function finish(summary) {
    halt();
    tell("done");
    draw();
    const half = uncertain(summary.accuracy, TEST_IMAGES);
    ended = finished(summary, full(), half);
    others.adopt(running).dots.push({ ...summary, half, rule: running.rule, name: called(running), seed: running.seed });
    others.line(running);
    drawFrontier();
    const detail = { ...summary, settings: running };
    root.dispatchEvent(new CustomEvent("playground:run", { bubbles: true, detail }));
  }

  /** Take a change of the knobs: what is drawn follows at once, the run begins anew at the end. */
  function turn(change, isFinal) {
    settings = within({ ...settings, ...change });
    knobs.show(settings);
    if (!isFinal) return parts.curve(checks, settings, levels(), target);
    history.replaceState(null, "", toHash(settings));
    if (state === "idle") reset();
    else begin(speed === "play" ? "play" : "full");
    drawFrontier();
  }

  function reset() {
    halt();
    token += 1;
    [checks, shown, target, ended] = [[], null, NaN, null];
    parts.read((read = {}));
    tell("idle");
    parts.say(IDLE);
    knobs.show(settings);
    draw();
    drawFrontier();
  }

  function press(name) {
    if (name === "reset") {
      settings = DEFAULTS;
      history.replaceState(null, "", location.pathname + location.search);
      others.clear();
      return reset();
    }
    if (name === "sweep") {
      others.sweep(settings);
      return drawFrontier();
    }
    if (name === "stop") {
      others.stop();
      return drawFrontier();
    }
    if (name === "play" && speed === "play") {
      halt();
      return tell("training");
    }
    const next = name === "step" ? "" : name;
    if (state !== "training") return begin(next);
    clearTimeout(due);
    speed = next;
    tell("training");
    ask(); // unless an answer is on its way, which goes on from there
  }

  addEventListener("hashchange", () => {
    const linked = fromHash(location.hash);
    if (!linked) return;
    settings = linked;
    reset();
  });
  let width = 0; // what changes the height alone is no reason to draw again
  new ResizeObserver(() => {
    if (width === root.clientWidth) return;
    width = root.clientWidth;
    parts.fit();
    draw();
    drawFrontier();
    parts.redraw();
  }).observe(root);
  const themes = { attributes: true, attributeFilter: ["data-theme"] };
  new MutationObserver(() => [parts.fit(), draw(), parts.redraw()]).observe(document.documentElement, themes);
  reset();
}
