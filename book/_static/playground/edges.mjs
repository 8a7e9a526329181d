// The network as a drawing: edges coloured by sign, thick by weight, dying at each pruning.

const FADE_MS = 700;

/** Return the places of all units, layer by layer: [[x, y], ...]. */
export function places(sizes, width, height) {
  return sizes.map((units, l) => {
    const x = 8 + (l * (width - 30)) / (sizes.length - 1), gap = (height - 12) / units;
    return Array.from({ length: units }, (_, u) => [x, 6 + gap * (u + 0.5)]);
  });
}

/** Return the edges of the masks, the thinnest first: {from, to, weight, strength in (0, 1]}. */
export function edgesOf(at, weights, masks) {
  return weights.map((weight, l) => {
    const inputs = at[l].length, edges = [];
    let most = 0;
    weight.forEach((w, i) => masks[l][i] && (most = Math.max(most, Math.abs(w))));
    weight.forEach((w, i) => {
      if (!masks[l][i]) return;
      const from = at[l][i % inputs], to = at[l + 1][Math.floor(i / inputs)];
      edges.push({ from, to, weight: w, strength: Math.abs(w) / (most || 1) });
    });
    return edges.sort((a, b) => a.strength - b.strength);
  });
}

/**
 * Return a function that draws a network on a canvas.
 * @param {HTMLCanvasElement} canvas
 */
export function painter(canvas) {
  let before = null, dying = null, diedAt = 0, last = null;

  /** What died is what the masks have lost since the picture before. */
  function lost(masks) {
    if (!before || before.every((mask, l) => mask.every((bit, i) => bit === masks[l][i]))) return null;
    return before.map((mask, l) => mask.map((bit, i) => bit && !masks[l][i]));
  }

  function draw(shown, now = performance.now()) {
    const { width, height } = canvas.getBoundingClientRect(), scale = devicePixelRatio || 1;
    if (!width) return;
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    const context = canvas.getContext("2d"), style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(`--pg-${name}`);
    context.scale(scale, scale);
    const { sizes } = shown;
    const at = places(sizes, width, height);
    const strokes = (edges, chosen, paint, thick) => {
      context.strokeStyle = paint;
      context.lineWidth = thick;
      context.beginPath();
      for (const { from, to } of edges.filter(chosen)) {
        context.moveTo(...from);
        context.lineTo(...to);
      }
      context.stroke();
    };
    for (const edges of edgesOf(at, shown.weights, shown.masks)) {
      const many = Math.min(1, 260 / edges.length); // or a dense layer is one dark block
      for (const [low, high] of [[0, 0.25], [0.25, 0.5], [0.5, 1.1]]) {
        context.globalAlpha = Math.min(1, (0.25 + high) * (0.3 + 0.7 * many));
        const within = (edge) => edge.strength >= low && edge.strength < high;
        for (const [name, sign] of [["plus", 1], ["minus", -1]]) {
          strokes(edges, (e) => within(e) && e.weight * sign > 0, colour(name), 0.4 + 2 * low);
        }
      }
    }
    const age = (now - diedAt) / FADE_MS;
    if (dying && age < 1) {
      context.globalAlpha = 0.5 * (1 - age);
      for (const edges of edgesOf(at, dying.weights, dying.masks)) {
        strokes(edges, () => true, colour("dead"), 0.7);
      }
    }
    context.globalAlpha = 1;
    context.fillStyle = colour("unit");
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

  return (shown) => {
    if (String(last?.sizes) !== String(shown.sizes)) before = dying = null; // nothing dies of another size
    const gone = lost(shown.masks), calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (gone && last && !calm) {
      [dying, diedAt] = [{ weights: last.weights, masks: gone }, performance.now()];
      requestAnimationFrame(fade);
    }
    [before, last] = [shown.masks, shown];
    draw(shown);
  };
}
