// What every picture needs: hatching, axes, pointers; and the small figures of one cell.

const LINE_COLOURS = ["var(--line-1)", "var(--line-2)", "var(--line-3)", "var(--line-4)", "var(--line-5)", "var(--line-6)"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "4 2", "1 2"];

/** The patterns that stand for what has no value, and for what a logarithmic scale cannot show. */
function makePatterns() {
  const hatch = svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 6, height: 6, class: "hatch-ground" }), svg("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "hatch-line" }));
  const below = svg("pattern", { id: "below", width: 5, height: 5, patternUnits: "userSpaceOnUse" },
    svg("rect", { width: 5, height: 5, class: "below-ground" }), svg("circle", { cx: 2.5, cy: 2.5, r: 0.9, class: "below-dot" }));
  byId("defs").append(hatch, below);
}

const rectPath = (x, y, width, height) => `M${x.toFixed(2)} ${y.toFixed(2)}h${width.toFixed(2)}v${height.toFixed(2)}h${(-width).toFixed(2)}z`;

/** About how wide a text is at a size of 11 pixels. */
const textWidth = (text) => 6.6 * String(text).length;

/** Pointing, clicking and dragging over a picture, in its own coordinates. */
function followPointer(node, { over, click, drag }) {
  let start = null;
  let box = null;
  const point = (event) => {
    const frame = node.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  const area = ([x, y]) => [Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)];
  const stop = () => {
    box?.remove();
    start = box = null;
  };
  node.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    start = point(event);
    if (event.pointerType !== "touch") node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", (event) => {
    const here = point(event);
    if (start && Math.hypot(here[0] - start[0], here[1] - start[1]) > 6) {
      box ??= node.appendChild(svg("rect", { class: "brush" }));
      const [x0, y0, x1, y1] = area(here);
      furnish(box, { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }, []);
    }
    if (!box) over(here);
  });
  node.addEventListener("pointerup", (event) => {
    if (!start) return;
    const here = point(event);
    if (box) drag(area(here));
    else click(here);
    stop();
  });
  node.addEventListener("pointercancel", stop);
  node.addEventListener("pointerleave", () => hover(-1));
}

/** Draw a picture again whenever the room for it changes. */
function redrawOnResize(host, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(host.clientWidth - width) < 1) return;
    width = host.clientWidth;
    draw();
  }).observe(host);
}

/** Ticks, their labels and thin lines across, of an axis from values to pixels. */
function drawTicks(group, axis, { side, from, to, most, at, whole = false }) {
  for (const value of ticks(axis.low, axis.high, most, axis.log)) {
    if (whole && !Number.isInteger(value)) continue;
    const place = axis.at(value);
    const text = pretty(value, 3);
    if (side === "bottom") {
      group.append(svg("line", { x1: place, x2: place, y1: from, y2: to, class: "grid" }),
        svg("text", { x: place, y: at + 15, class: "tick", "text-anchor": "middle" }, text));
    } else {
      group.append(svg("line", { x1: from, x2: to, y1: place, y2: place, class: "grid" }),
        svg("text", { x: at - 7, y: place + 4, class: "tick", "text-anchor": "end" }, text));
    }
  }
}

/** One figure of a cell. */
function smallFigure(figure) {
  if (figure.kind === "bars") return barsFigure(figure);
  const [width, height, top, right, bottom, left] = [344, 164, 8, 8, 40, 46];
  const xs = figure.series.flatMap((one) => (figure.kind === "histogram" ? [...one.low, ...one.high] : one.x)).map(numberOr);
  const ys = figure.series.flatMap((one) => (figure.kind === "histogram" ? [0, ...one.y] : [...one.y, ...(one.low ?? []), ...(one.high ?? [])])).map(numberOr);
  const x = boundAxis(xs, figure.xLog, left, width - right, figure.kind === "histogram");
  const y = boundAxis(ys, figure.yLog, height - bottom, top, false);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "small-figure", role: "img", "aria-label": figureWords(figure) });
  drawTicks(root, x, { side: "bottom", from: top, to: height - bottom, most: 5, at: height - bottom, whole: xs.every(Number.isInteger) });
  drawTicks(root, y, { side: "left", from: left, to: width - right, most: 4, at: left });
  // A picture in the picture cuts off what lies beyond the axes; three more pixels keep points whole.
  const frame = [left - 3, top - 3, width - right - left + 6, height - bottom - top + 6];
  const inner = svg("svg", { x: frame[0], y: frame[1], width: frame[2], height: frame[3], viewBox: frame.join(" ") });
  figure.series.forEach((one, i) => drawSeries(inner, figure, one, i, x, y));
  root.append(inner, svg("text", { x: (left + width - right) / 2, y: height - 5, class: "axis-name", "text-anchor": "middle" }, figure.x));
  const caption = [el("p", { class: "figure-title" }, figure.title, figure.y ? el("span", { class: "dim" }, ` · ${figure.y}`) : null), root];
  if (figure.series.length > 1) {
    caption.push(el("ul", { class: "keys" }, ...figure.series.map((one, i) => el("li", {}, lineKey(i), one.label))));
  }
  if (figure.note) caption.push(el("p", { class: "note" }, figure.note));
  return el("div", { class: "figure" }, ...caption);
}

const numberOr = (value) => (value === null ? NaN : value);

function boundAxis(values, log, from, to, tight) {
  const found = extent(values, (value) => !log || value > 0) ?? (log ? [1, 10] : [0, 1]);
  let [low, high] = found;
  if (log) {
    low = Math.max(low, high / 10 ** MOST_DECADES);
    if (low === high) [low, high] = [low / 2, high * 2];
  } else if (!tight || low === high) {
    const room = (high - low) * 0.06 || Math.abs(low) / 10 || 1;
    [low, high] = [low - room, high + room];
  }
  return pixelAxis(low, high, log, from, to);
}

function lineKey(i) {
  const sample = svg("line", { x1: 1, x2: 19, y1: 5, y2: 5, stroke: LINE_COLOURS[i % 6], "stroke-width": 2, "stroke-dasharray": DASHES[i % 6] });
  return svg("svg", { width: 20, height: 10, "aria-hidden": "true" }, sample);
}

function drawSeries(root, figure, one, i, x, y) {
  const colour = LINE_COLOURS[i % 6];
  if (figure.kind === "histogram") {
    const base = y.at(Math.max(0, y.low));
    const bars = one.y.map((count, k) => rectPath(x.at(one.low[k]), y.at(count), Math.max(x.at(one.high[k]) - x.at(one.low[k]) - 1, 0.5), base - y.at(count)));
    root.append(svg("path", { d: bars.join(""), fill: colour, class: "bars" }));
    return;
  }
  const usable = (k) => one.y[k] !== null && one.x[k] !== null && (!y.log || one.y[k] > 0) && (!x.log || one.x[k] > 0);
  if (one.low && one.high) {
    const held = one.x.map((_, k) => k).filter((k) => usable(k) && one.low[k] !== null && one.high[k] !== null);
    const edge = (k, value) => `${x.at(one.x[k]).toFixed(1)} ${y.at(y.log ? Math.max(value, y.low) : value).toFixed(1)}`;
    const outline = [...held.map((k) => edge(k, one.high[k])), ...held.reverse().map((k) => edge(k, one.low[k]))];
    if (outline.length) root.append(svg("path", { d: `M${outline.join("L")}z`, fill: colour, "fill-opacity": 0.16 }));
  }
  let path = "";
  let broken = true;
  one.x.forEach((_, k) => {
    if (usable(k)) path += `${broken ? "M" : "L"}${x.at(one.x[k]).toFixed(1)} ${y.at(one.y[k]).toFixed(1)}`;
    broken = !usable(k);
  });
  if (figure.kind !== "scatter") root.append(svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.75, "stroke-dasharray": DASHES[i % 6], "stroke-linejoin": "round" }));
  if (figure.kind === "scatter" || one.x.length <= 30) {
    one.x.forEach((_, k) => {
      if (usable(k)) root.append(svg("circle", { cx: x.at(one.x[k]), cy: y.at(one.y[k]), r: 2.25, fill: colour }));
    });
  }
}

/** Bars that lie, because names of layers are long. */
function barsFigure(figure) {
  const [one] = figure.series;
  const values = one.y.map(numberOr);
  const named = DATA.names[figure.names];
  const names = named.length ? named : values.map((_, i) => String(i));
  const left = Math.min(8 + 5.4 * Math.max(...names.map((name) => name.length)), 150);
  const [width, step, top] = [344, 12, 4];
  const height = top + step * values.length + 30;
  const x = boundAxis([...values, ...(figure.yLog ? [] : [0])], figure.yLog, left, width - 10, true);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "small-figure", role: "img", "aria-label": figureWords(figure) });
  drawTicks(root, x, { side: "bottom", from: top, to: height - 30, most: 4, at: height - 32 });
  const zero = x.at(figure.yLog ? x.low : 0);
  values.forEach((value, i) => {
    const y = top + step * i;
    root.append(svg("text", { x: left - 4, y: y + 9, class: "bar-name", "text-anchor": "end" }, names[i].length > 26 ? `…${names[i].slice(-25)}` : names[i]));
    if (!Number.isFinite(value) || (figure.yLog && value <= 0)) return;
    root.append(svg("path", { d: rectPath(Math.min(zero, x.at(value)), y + 1.5, Math.abs(x.at(value) - zero), step - 3), fill: LINE_COLOURS[0], class: "bars" }));
  });
  root.append(svg("text", { x: (left + width) / 2, y: height - 3, class: "axis-name", "text-anchor": "middle" }, figure.y));
  return el("div", { class: "figure" }, el("p", { class: "figure-title" }, figure.title), root, figure.note ? el("p", { class: "note" }, figure.note) : null);
}

/** What a figure shows, for those who do not see it. */
function figureWords(figure) {
  const parts = figure.series.slice(0, 6).map((one) => {
    const found = extent(one.y.map(numberOr));
    const range = found ? `from ${pretty(found[0])} to ${pretty(found[1])}` : "nothing finite";
    return `${one.label ? `${one.label}: ` : ""}${plural(one.y.length, "point")}, ${range}`;
  });
  return `${figure.title}, ${figure.y || "count"} over ${figure.x}. ${parts.join("; ")}.`;
}
