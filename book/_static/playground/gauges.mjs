// The flow of each pair of layers beside that of the reference: the bar is what the rule adds up.
import { html, linear, px, svg } from "./svg.mjs";

/** Draw one gauge for each pair of layers into a host. */
export function drawGauges(host, flow, reference) {
  const width = Math.max(200, host.clientWidth);
  const most = Math.max(0.05, ...[...flow, ...reference].map((value) => 1.25 * Math.abs(value)));
  const x = linear([-most, most], [10, width - 10]);
  const gauges = [...flow].map((value, pair) => {
    const [a, b, zero] = [x(value), x(reference[pair]), x(0)].map(px);
    const said = (number) => number.toFixed(3).replace("-", "−");
    const text = `layers ${pair + 1} and ${pair + 2}: ${said(value)}, reference ${said(reference[pair])}`;
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${width} 34`, height: 34, role: "img", "aria-label": text },
      svg("path", { d: `M10 17H${width - 10}M${zero} 11V23`, class: "pg-axis" }),
      svg("path", { d: `M${b} 17H${a}`, class: "pg-gap" }),
      svg("path", { d: `M${b} 5V29`, class: "pg-reference" }),
      svg("circle", { cx: a, cy: 17, r: 6, class: "pg-now" }),
    );
    return html("div", {}, html("span", {}, text), picture);
  });
  host.replaceChildren(...gauges);
}
