// A drawn digit as scikit-learn's digits are: scaled to 32 × 32 black or white pixels, then counted.

const SIDE = 32; // pixels of the bitmap, a block of 4 × 4 of which makes one of the 8 × 8
const PEN = 5.4; // pixels: then three in ten of them are black, as in those digits

/** Return the segments of all strokes; a stroke of one point is a segment of no length. */
function segments(strokes) {
  return strokes.flatMap((points) => {
    const ends = points.length > 1 ? points.slice(1) : points;
    return ends.map((end, i) => [...points[i], ...end]);
  });
}

/** Return the squared distance of a point to a segment. */
function apart(x, y, [ax, ay, bx, by]) {
  const [dx, dy] = [bx - ax, by - ay], length = dx * dx + dy * dy;
  const share = length ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length)) : 0;
  return (x - ax - share * dx) ** 2 + (y - ay - share * dy) ** 2;
}

/**
 * Return 64 numbers of black pixels, 0 to 16, row by row: the drawing in the middle, as large as
 * fits, both sides by the same factor, so that neither its place nor its size counts.
 * @param {number[][][]} strokes lists of points [x, y], y downwards, in any unit
 */
export function counted(strokes) {
  const points = strokes.flat(), blocks = new Uint8Array(64);
  if (!points.length) return blocks;
  const range = (axis) => points.reduce(([low, high], p) => [Math.min(low, p[axis]), Math.max(high, p[axis])], [Infinity, -Infinity]);
  const [[left, right], [top, bottom]] = [range(0), range(1)];
  const scale = (SIDE - PEN) / (Math.max(right - left, bottom - top) || 1);
  const place = ([x, y]) => [
    SIDE / 2 + scale * (x - (left + right) / 2),
    SIDE / 2 + scale * (y - (top + bottom) / 2),
  ];
  const lines = segments(strokes.map((stroke) => stroke.map(place)));
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const isBlack = lines.some((line) => apart(x + 0.5, y + 0.5, line) <= (PEN / 2) ** 2);
      if (isBlack) blocks[8 * (y >> 2) + (x >> 2)] += 1;
    }
  }
  return blocks;
}
