// The network as a drawing: edges coloured by sign, thick by weight, dying at each pruning.

const FADE_MS = 700;
/** Shares of the largest weight from which on an edge is thicker, and how edges of each band look. */
const LIMITS = [0.25, 0.5];
const OPACITY = [0.5, 0.75, 1];
const THICK = [0.4, 0.9, 1.4];
/** Without a graphics card a line below one pixel is drawn ten times as fast as a thicker one. */
const HAIR = 0.96;

/** Return the places of all units, layer by layer: [[x, y], ...]. */
export function places(sizes, width, height) {
  return sizes.map((units, l) => {
    const x = 8 + (l * (width - 30)) / (sizes.length - 1), gap = (height - 12) / units;
    return Array.from({ length: units }, (_, u) => [x, 6 + gap * (u + 0.5)]);
  });
}

/**
 * Return the edges of the masks in bundles that are drawn alike: {pair, sign, band, lines, many}. The
 * band is how many of the limits, as shares of the pair's largest weight, an edge reaches; lines are
 * x, y, x, y of edge after edge; many is how many edges the pair has in all.
 */
export function bundles(at, weights, masks, limits = LIMITS) {
  return weights.flatMap((weight, pair) => {
    const mask = masks[pair], inputs = at[pair], outputs = at[pair + 1];
    let most = 0, many = 0;
    for (let i = 0; i < weight.length; i++) {
      if (!mask[i]) continue;
      many += 1;
      most = Math.max(most, Math.abs(weight[i]));
    }
    const found = [1, -1].flatMap((sign) => [0, ...limits].map((_, band) => ({ pair, sign, band, lines: [], many })));
    for (let u = 0, i = 0; u < outputs.length; u++) {
      const [x, y] = outputs[u];
      for (let k = 0; k < inputs.length; k++, i++) {
        if (!mask[i]) continue;
        const strength = Math.abs(weight[i]) / (most || 1);
        let place = weight[i] < 0 ? limits.length + 1 : 0;
        for (const limit of limits) place += strength >= limit;
        found[place].lines.push(inputs[k][0], inputs[k][1], x, y);
      }
    }
    return found;
  });
}

/**
 * Return a function that draws a network on a canvas, and its part `fit`, to be called when the
 * canvas has another size or another theme.
 * @param {HTMLCanvasElement} canvas
 */
export function painter(canvas) {
  let before = null, dying = null, diedAt = 0, last = null, look = null;

  /** What died is what the masks have lost since the picture before. */
  function lost(masks) {
    if (!before || before.every((mask, l) => mask.every((bit, i) => bit === masks[l][i]))) return null;
    return before.map((mask, l) => mask.map((bit, i) => bit && !masks[l][i]));
  }

  /** Measure the canvas and read its colours; both are slow, and seldom change. */
  function fit() {
    const { width, height } = canvas.getBoundingClientRect(), scale = Math.min(2, devicePixelRatio || 1);
    const style = getComputedStyle(canvas);
    const colours = ["plus", "minus", "dead", "unit"].map((name) => [name, style.getPropertyValue(`--pg-${name}`)]);
    look = { width, height, scale, ...Object.fromEntries(colours) };
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  }

  function stroke(context, { lines }) {
    context.beginPath();
    for (let i = 0; i < lines.length; i += 4) {
      context.moveTo(lines[i], lines[i + 1]);
      context.lineTo(lines[i + 2], lines[i + 3]);
    }
    context.stroke();
  }

  function draw(shown, now = performance.now()) {
    if (!look?.width) fit();
    const { width, height, scale } = look, context = canvas.getContext("2d");
    if (!width) return;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const { sizes } = shown;
    const at = places(sizes, width, height);
    for (const bundle of bundles(at, shown.weights, shown.masks)) {
      const { sign, band, many } = bundle, light = Math.min(1, 260 / many); // or a dense layer is one dark block
      context.globalAlpha = Math.min(1, OPACITY[band] * (0.3 + 0.7 * light));
      context.strokeStyle = sign > 0 ? look.plus : look.minus;
      const hairs = Math.ceil((THICK[band] * scale) / HAIR), thick = THICK[band] / hairs; // side by side
      context.lineWidth = thick;
      for (let hair = 0; hair < hairs; hair++) {
        context.setTransform(scale, 0, 0, scale, 0, scale * thick * (hair - (hairs - 1) / 2));
        stroke(context, bundle);
      }
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const age = (now - diedAt) / FADE_MS;
    if (dying && age < 1) {
      context.globalAlpha = 0.5 * (1 - age);
      [context.strokeStyle, context.lineWidth] = [look.dead, Math.min(0.7, HAIR / scale)];
      for (const bundle of bundles(at, dying.weights, dying.masks, [])) stroke(context, bundle);
    }
    context.globalAlpha = 1;
    context.fillStyle = look.unit;
    at.forEach((units, l) => {
      const size = l ? 3.4 : 1.6, hasIn = (u) => !l || shown.masks[l - 1].subarray(u * at[l - 1].length, (u + 1) * at[l - 1].length).some(Boolean);
      units.forEach(([x, y], u) => {
        context.globalAlpha = hasIn(u) ? 1 : 0.25;
        context.beginPath();
        context.arc(x, y, size, 0, 7);
        context.fill();
        if (l === sizes.length - 1) context.fillText(String(u), x + 8, y + 4);
      });
    });
    return dying && age < 1;
  }

  function fade(now) {
    if (last && draw(last, now)) requestAnimationFrame(fade);
  }

  function paint(shown) {
    if (String(last?.sizes) !== String(shown.sizes)) before = dying = null; // nothing dies of another size
    const gone = lost(shown.masks), calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (gone && last && !calm) {
      [dying, diedAt] = [{ weights: last.weights, masks: gone }, performance.now()];
      requestAnimationFrame(fade);
    }
    [before, last] = [shown.masks, shown];
    draw(shown);
  }
  return Object.assign(paint, { fit });
}
