// Small helpers to build HTML and SVG; every text goes in as text, never as markup.

const SPACE = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SPACE, name), attributes, children);
}

/** Return an HTML element. */
export function html(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return a number as an attribute: no more digits than a screen has. */
export const px = (value) => Number(value.toFixed(1));

/** Return a map from one range of numbers to another, linear. */
export function linear([a, b], [c, d]) {
  return (value) => c + ((value - a) / (b - a || 1)) * (d - c);
}

/** Return a map from a range of positive numbers to another, logarithmic; it clips. */
export function logarithmic([a, b], range) {
  const inner = linear([Math.log(a), Math.log(b)], range);
  return (value) => inner(Math.log(Math.min(b, Math.max(a, value))));
}
