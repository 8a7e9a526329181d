// The solvable model of chapter 11 with two inputs of variance 1, in closed formulas.
//
// A setting has: rho, the inputs' correlation; second, the best weight of input 2 (that of input 1
// is 1); pruned, which input is pruned, 1 or 2; start, the other one's weight at time 0; epsilon,
// the tolerance; price, of a unit of time. All functions are pure, so node can test them.

const Solvable = (() => {
  "use strict";

  // q is what the kept input does not explain of the pruned one; u(t) = offset e^-t is how far the
  // kept weight is from where it comes to rest.
  function terms({ rho, second, pruned, start }) {
    const best = pruned === 2 ? 1 : second;
    const removed = pruned === 2 ? second : 1;
    const rest = best + rho * removed;
    return { best, removed, rest, q: 1 - rho * rho, offset: start - rest };
  }

  const weight = (setting, t) => {
    const { rest, offset } = terms(setting);
    return rest + offset * Math.exp(-t);
  };

  // Above the least loss of both weights.
  const loss = (setting, t) => ((terms(setting).offset * Math.exp(-t)) ** 2) / 2 + maskPrice(setting);

  const maskPrice = (setting) => {
    const { q, removed } = terms(setting);
    return (q * removed * removed) / 2;
  };

  // Of the full flows, from that of the best weights: |Sigma v| with Sigma v = (u, rho u - q w).
  const distance = (setting, t) => {
    const { q, removed, offset } = terms(setting);
    const u = offset * Math.exp(-t);
    return Math.hypot(u, setting.rho * u - q * removed);
  };

  const restingDistance = (setting) => Math.abs(terms(setting).q * terms(setting).removed);

  // The least distance of any weight of the kept input.
  const lowestDistance = (setting) =>
    restingDistance(setting) / Math.sqrt(1 + setting.rho * setting.rho);

  // When the kept weight, on its way to rest, is at u; Infinity if it never is.
  function timeAt(offset, u) {
    return u / offset > 0 ? Math.max(0, Math.log(offset / u)) : Infinity;
  }

  // When the distance is least: 0 if it only rises, Infinity if it only falls.
  function turn(setting) {
    const { q, removed, offset } = terms(setting);
    return timeAt(offset, (setting.rho * q * removed) / (1 + setting.rho ** 2));
  }

  // From when until when the distance is within the tolerance; [Infinity, Infinity] if never.
  function window(setting) {
    const { rho, epsilon } = setting;
    const { q, removed, offset } = terms(setting);
    const square = (1 + rho * rho) * epsilon * epsilon - (q * removed) ** 2;
    if (square < 0) return [Infinity, Infinity];
    const ends = [-1, 1].map((sign) => (rho * q * removed + sign * Math.sqrt(square)) / (1 + rho * rho));
    if (offset === 0) return distance(setting, 0) <= epsilon ? [0, Infinity] : [Infinity, Infinity];
    // met first is the end on the side of the start, unless the start lies between the two
    const [near, far] = offset > 0 ? [ends[1], ends[0]] : ends;
    if (Math.abs(offset) < Math.abs(far) && offset * far > 0) return [Infinity, Infinity];
    const inside = ends[0] <= offset && offset <= ends[1];
    const enter = inside ? 0 : timeAt(offset, near);
    return [enter, enter === Infinity ? Infinity : timeAt(offset, far)];
  }

  // When loss plus price times time is least: the squared gradient u^2 is the price.
  function bestStop(setting) {
    const { offset } = terms(setting);
    return Math.max(0, Math.log((offset * offset) / setting.price) / 2);
  }

  return { terms, weight, loss, maskPrice, distance, restingDistance, lowestDistance, turn, window, bestStop };
})();

if (typeof module !== "undefined") module.exports = Solvable;
