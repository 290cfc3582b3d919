// What maps are filled with, and the legends that say so.

/** The map of phases. */
function paintPhases() {
  return {
    boundaries: true,
    fill: (row) => phaseColour(state.codes[row]) || "hatch",
    letter: (row) => (state.codes[row] < 0 ? "?" : PHASES[state.codes[row]]),
  };
}

/** A map of one column; `below` tells whether a row has a number that its scale cannot show. */
function paintColumn(values, scale, below) {
  const fill = (row) => (below(row) ? "below" : scale && Number.isFinite(values[row]) ? scale.colour(values[row]) : "hatch");
  return {
    boundaries: true,
    fill,
    letter: (row, digits) => (Number.isFinite(values[row]) ? pretty(values[row], digits) : ""),
  };
}

/** The colours of a map, with their values, and its patterns. */
function drawColourLegend(host, scale, column, below, words = "") {
  const [width, height] = [260, 34];
  const parts = [];
  if (scale) {
    const id = `${host.id}-colours`;
    const stops = Array.from({ length: 33 }, (_, i) => svg("stop", { offset: i / 32, "stop-color": blend(scale.stops, i / 32) }));
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: "bar",
      "aria-label": `Colours from ${pretty(scale.low)} to ${pretty(scale.high)}${scale.log ? ", logarithmic" : ""}` },
    svg("defs", {}, svg("linearGradient", { id }, ...stops)), svg("rect", { x: 10, y: 1, width: width - 20, height: 12, rx: 2, fill: `url(#${id})` }));
    for (const value of ticks(scale.low, scale.high, 4, scale.log)) {
      const x = 10 + scale.place(value) * (width - 20);
      root.append(svg("line", { x1: x, x2: x, y1: 13, y2: 17, class: "tick-line" }), svg("text", { x, y: 29, class: "tick", "text-anchor": "middle" }, pretty(value, 3)));
    }
    parts.push(root);
  }
  const kind = scale?.log ? "logarithmic colours" : scale?.kind === "diverging" ? "zero in the middle" : "";
  parts.push(el("span", { class: "dim" }, [withUnit("", column?.unit).trim(), kind, words].filter(Boolean).join(" · ")));
  parts.push(el("span", { class: "legend-item" }, swatch("hatch"), "no value"));
  if (below) parts.push(el("span", { class: "legend-item" }, swatch("below"), "not positive: no logarithm"));
  host.replaceChildren(...parts);
}

function swatch(code) {
  const fill = typeof code === "number" ? phaseColour(code) : code;
  const root = svg("svg", { width: 20, height: 14, "aria-hidden": "true", class: "swatch" }, svg("rect", { x: 0.5, y: 0.5, width: 19, height: 13, rx: 2, fill: fillOf(fill) }));
  if (code === "inferred") root.replaceChildren(svg("rect", { x: 0.5, y: 0.5, width: 19, height: 13, rx: 2, fill: "#888888", class: "pale" }), svg("rect", { x: 2.5, y: 2.5, width: 15, height: 9, class: "inferred" }));
  return root;
}

function drawPhaseLegend() {
  const present = new Set(places().shown.map((row) => state.codes[row]));
  const items = PHASES.map((phase, code) => [code, phase]).filter(([code]) => present.has(code));
  if (present.has(-1)) items.push(["hatch", UNDETERMINED]);
  if (places().shown.some(isInferred)) items.push(["inferred", "pale, dashed: inferred, not measured"]);
  byId("phase-legend").replaceChildren(...items.map(([code, text]) => el("span", { class: "legend-item" }, swatch(code), text)));
}
