// What runs beside the page: it trains when asked, so many checks at a time, and answers each time.
import { digits } from "./data.mjs";
import { remembering } from "./memory.mjs";
import { begin, dense, summary, whole } from "./runs.mjs";

/** Return a network that can be sent: what is sent is copied, and half the precision will do. */
function sent({ sizes, weights, biases }) {
  const short = (rows) => rows.map((row) => Float32Array.from(row));
  return { sizes, weights: short(weights), biases: short(biases) };
}

/** Return a function that answers one message. */
export function answering(data) {
  const memory = remembering();
  let current = null, stops = [];

  function advance({ id, count }) {
    const checks = [];
    let shown = null, done = false;
    while (checks.length < count && !done) {
      const { value, done: over } = current.next();
      done = over;
      if (over) break;
      const { network, masks, ...numbers } = value;
      checks.push(value.stopped ? { ...numbers, network: sent(network) } : numbers);
      if (value.stopped) stops.push(numbers);
      shown = { ...sent(network), masks };
    }
    return { id, checks, shown, summary: done ? summary(stops) : null };
  }

  return (message) => {
    if (message.dense) return { id: message.id, dense: sent(dense(message.dense, data)) };
    if (message.knobs && message.whole) return { id: message.id, summary: whole(message.knobs, data, memory) };
    if (message.knobs) {
      current = begin(message.knobs, data, ["information", "accuracy"]);
      stops = [];
    }
    return advance(message);
  };
}

/** Answer messages for ever; `scope` is the worker's global object. */
export function serve(scope) {
  const ready = digits().then(answering);
  scope.onmessage = async ({ data }) => {
    try {
      scope.postMessage((await ready)(data));
    } catch (error) {
      scope.postMessage({ error: error.message });
    }
  };
}
