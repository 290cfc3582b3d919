// One column against another, a point a cell, shape and colour by phase.

const SHAPES = {
  up: (x, y, r) => `M${x} ${y - 1.25 * r}l${1.15 * r} ${2 * r}h${-2.3 * r}z`,
  square: (x, y, r) => `M${x - 0.9 * r} ${y - 0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}z`,
  diamond: (x, y, r) => `M${x} ${y - 1.3 * r}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}l${-1.3 * r} ${-1.3 * r}z`,
  down: (x, y, r) => `M${x} ${y + 1.25 * r}l${1.15 * r} ${-2 * r}h${-2.3 * r}z`,
  disc: (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  cross: (x, y, r) => `M${x - r} ${y - r}l${2 * r} ${2 * r}M${x - r} ${y + r}l${2 * r} ${-2 * r}`,
};

// Up to so many points, standard errors are drawn.
const MOST_WHISKERS = 300;

/** The values of some rows, and how far their error bars go where those stay on a log axis. */
function reach(column, rows) {
  const values = rows.map((row) => column.values[row]);
  if (!column.errors || rows.length > MOST_WHISKERS) return values;
  const positive = values.every((value) => value > 0);
  const ends = rows.flatMap((row) => [column.values[row] - column.errors[row], column.values[row] + column.errors[row]]);
  return [...values, ...ends.filter((end) => !(positive && column.steep) || end > 0)];
}

const scatter = {
  root: null,
  points: [],
  limits: {},

  start() {
    this.host = byId("scatter-canvas");
    this.root = svg("svg", { class: "scatter", tabindex: 0, role: "application", "aria-roledescription": "scatter plot", "aria-describedby": "keys" });
    this.host.append(this.root);
    followPointer(this.root, {
      over: (point) => hover(this.nearest(point)),
      click: (point) => (this.nearest(point) >= 0 ? keep(this.nearest(point)) : this.clear()),
      drag: (box) => this.brush(box),
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.makeControls();
    redrawOnResize(this.host, () => this.draw());
    on("plane rule selection scatter", () => this.draw());
    on("cell", () => this.mark());
  },

  makeControls() {
    const choose = (which) => (event) => {
      state.scatter[which] = event.target.value;
      this.limits = {};
      this.makeRanges();
      tell("scatter");
    };
    byId("scatter-controls").replaceChildren(
      picker("scatter-x", "Across", columnOptions(), state.scatter.x, choose("x")),
      picker("scatter-y", "Upwards", columnOptions(), state.scatter.y, choose("y")),
    );
    this.makeRanges();
  },

  /** Four numbers that do what dragging does. */
  makeRanges() {
    const field = (axis, end, text) => {
      const column = COLUMNS.get(state.scatter[axis]);
      const input = el("input", { type: "number", step: "any", id: `range-${axis}-${end}`, "aria-label": `${column?.title ?? axis} ${text}`, placeholder: text, onchange: () => this.typed() });
      const value = this.limits[axis]?.[end === "from" ? 0 : 1];
      if (Number.isFinite(value)) input.value = general(value, 6);
      return input;
    };
    const range = (axis) => el("div", { class: "range" }, el("span", { class: "range-name" }, COLUMNS.get(state.scatter[axis])?.title ?? ""), field(axis, "from", "from"), el("span", { "aria-hidden": "true" }, "–"), field(axis, "to", "to"));
    byId("scatter-ranges").replaceChildren(
      el("p", { class: "note" }, "Drag over points to select their cells, or give limits:"),
      range("x"), range("y"),
      el("button", { type: "button", id: "clear-selection", onclick: () => this.clear() }, "Clear selection"),
    );
  },

  typed() {
    const read = (axis, end) => {
      const text = byId(`range-${axis}-${end}`).value;
      return text === "" ? (end === "from" ? -Infinity : Infinity) : Number(text);
    };
    this.limits = { x: [read("x", "from"), read("x", "to")], y: [read("y", "from"), read("y", "to")] };
    const open = [...this.limits.x, ...this.limits.y].every((limit) => !Number.isFinite(limit));
    if (open) this.clear();
    else this.selectWithin();
  },

  selectWithin() {
    const { x, y } = this.limits;
    const inside = this.points.filter((p) => p.vx >= x[0] && p.vx <= x[1] && p.vy >= y[0] && p.vy <= y[1]);
    select(new Set(inside.map((p) => p.row)));
  },

  brush([x0, y0, x1, y1]) {
    const rounded = (value) => Number(general(value, 4));
    this.limits = { x: [this.x.back(x0), this.x.back(x1)].map(rounded), y: [this.y.back(y1), this.y.back(y0)].map(rounded) };
    this.selectWithin();
    this.makeRanges();
  },

  clear() {
    this.limits = {};
    select(null);
    this.makeRanges();
  },

  draw() {
    if (!this.host.clientWidth) return;
    const width = Math.max(this.host.clientWidth, 200);
    const box = { left: 62, top: 8, right: width - 10, bottom: Math.min(Math.max(width * 0.72, 240), 380) - 44 };
    this.box = box;
    const [a, b] = [COLUMNS.get(state.scatter.x), COLUMNS.get(state.scatter.y)];
    const height = box.bottom + 44;
    furnish(this.root, { width, height, viewBox: `0 0 ${width} ${height}` }, []);
    this.root.replaceChildren();
    if (!a || !b) return;
    const rows = planeRows().filter((row) => Number.isFinite(a.values[row]) && Number.isFinite(b.values[row]));
    this.x = spanAxis(reach(a, rows), a.steep, box.left, box.right);
    this.y = spanAxis(reach(b, rows), b.steep, box.bottom, box.top);
    this.points = rows
      .map((row) => ({ row, vx: a.values[row], vy: b.values[row], px: this.x.at(a.values[row]), py: this.y.at(b.values[row]) }))
      .filter((p) => (!this.x.log || p.vx > 0) && (!this.y.log || p.vy > 0));
    const frame = svg("g", { class: "axes", "aria-hidden": "true" });
    drawTicks(frame, this.x, { side: "bottom", from: box.top, to: box.bottom, most: Math.max(Math.floor(width / 80), 3), at: box.bottom });
    drawTicks(frame, this.y, { side: "left", from: box.left, to: box.right, most: 6, at: box.left });
    frame.append(
      svg("text", { x: (box.left + box.right) / 2, y: height - 5, class: "axis-name", "text-anchor": "middle" }, columnTitle(a) + (this.x.log ? ", logarithmic" : "")),
      svg("text", { transform: `translate(13 ${(box.top + box.bottom) / 2}) rotate(-90)`, class: "axis-name", "text-anchor": "middle" }, columnTitle(b) + (this.y.log ? ", logarithmic" : "")),
    );
    this.marks = svg("g", { class: "marks" });
    this.root.append(frame, this.whiskers(a, b), this.dots(), this.marks);
    this.say(a, b);
    this.mark();
  },

  dots() {
    const size = this.points.length > 3000 ? 1.8 : this.points.length > 400 ? 3 : 4.6;
    const group = svg("g", { class: "dots", "data-points": this.points.length });
    for (const chosen of [false, true]) {
      for (let code = -1; code < PHASES.length; code++) {
        const of = this.points.filter((p) => state.codes[p.row] === code && (!state.selected || state.selected.has(p.row)) === chosen);
        if (!of.length) continue;
        const shape = SHAPES[code < 0 ? "cross" : PHASE_SHAPES[code]];
        const path = of.map((p) => shape(Math.round(p.px * 10) / 10, Math.round(p.py * 10) / 10, size)).join("");
        const paint = code < 0 ? { fill: "none", stroke: "var(--muted)", "stroke-width": 1.5 } : { fill: PHASE_COLOURS[code], class: "dot" };
        group.append(svg("path", { d: path, ...paint, opacity: chosen ? 1 : 0.16, "data-phase": phaseName(code), "data-points": of.length }));
      }
    }
    return group;
  },

  /** Standard errors, where there are few enough points to see them. */
  whiskers(a, b) {
    let path = "";
    const within = (axis, value, from, to) => Math.min(Math.max(axis.at(value), from), to).toFixed(1);
    const [x, y] = [(value) => within(this.x, value, this.box.left, this.box.right), (value) => within(this.y, value, this.box.top, this.box.bottom)];
    if (this.points.length <= MOST_WHISKERS) {
      for (const { row, vx, vy, px, py } of this.points) {
        const [ex, ey] = [a.errors?.[row], b.errors?.[row]];
        if (ex > 0 && (!this.x.log || vx > ex)) path += `M${x(vx - ex)} ${py.toFixed(1)}H${x(vx + ex)}`;
        if (ey > 0 && (!this.y.log || vy > ey)) path += `M${px.toFixed(1)} ${y(vy - ey)}V${y(vy + ey)}`;
      }
    }
    return svg("path", { d: path, class: "whiskers" });
  },

  say(a, b) {
    const of = state.selected ? this.points.filter((p) => state.selected.has(p.row)) : this.points;
    const rho = spearman(of.map((p) => p.vx), of.map((p) => p.vy));
    const over = `${state.selected ? "the selected " : ""}${plural(of.length, "cell")}`;
    const bars = (a.errors || b.errors) && this.points.length <= MOST_WHISKERS ? " · bars: ± 1 standard error" : "";
    byId("scatter-sub").textContent = Number.isNaN(rho) ? `${over}${bars}` : `Spearman ${rho < 0 ? "−" : "+"}${Math.abs(rho).toFixed(2)} over ${over}${bars}`;
    this.root.setAttribute("aria-label", `${b.title} against ${a.title}, ${plural(this.points.length, "cell")}. ${byId("scatter-sub").textContent}. Left and right move from point to point.`);
  },

  mark() {
    if (!this.marks) return;
    this.marks.replaceChildren();
    for (const [row, kind] of [[state.kept, "kept"], [state.hovered, "hovered"]]) {
      const point = row >= 0 && this.points.find((p) => p.row === row);
      if (point) this.marks.append(svg("circle", { cx: point.px, cy: point.py, r: 9, class: `ring-under ${kind}` }), svg("circle", { cx: point.px, cy: point.py, r: 9, class: `ring ${kind}` }));
    }
  },

  nearest([x, y]) {
    let [best, least] = [-1, 14];
    for (const p of this.points) {
      const distance = Math.hypot(p.px - x, p.py - y);
      if (distance < least) [best, least] = [p.row, distance];
    }
    return best;
  },

  key(event) {
    if (event.key === "Escape") return this.clear();
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !this.points.length) return undefined;
    event.preventDefault();
    const order = [...this.points].sort((p, q) => p.px - q.px || p.row - q.row);
    const at = order.findIndex((p) => p.row === state.kept);
    return keep(order[Math.min(Math.max(at + step, 0), order.length - 1)].row);
  },
};

/** Rank correlation, ties at the mean of their ranks; NaN for fewer than five pairs. */
function spearman(a, b) {
  if (a.length < 5) return NaN;
  const [ra, rb] = [ranks(a), ranks(b)];
  const mean = (a.length + 1) / 2;
  let [cross, va, vb] = [0, 0, 0];
  ra.forEach((rank, i) => {
    cross += (rank - mean) * (rb[i] - mean);
    va += (rank - mean) ** 2;
    vb += (rb[i] - mean) ** 2;
  });
  return va && vb ? cross / Math.sqrt(va * vb) : NaN;
}

function ranks(values) {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const found = new Array(values.length);
  for (let i = 0; i < order.length;) {
    let j = i;
    while (j < order.length && values[order[j]] === values[order[i]]) j++;
    for (let k = i; k < j; k++) found[order[k]] = (i + j + 1) / 2;
    i = j;
  }
  return found;
}

const columnTitle = (column) => (column.unit ? `${column.title} (${column.unit})` : column.title);
const columnOptions = () => [...COLUMNS.values()].map((column) => [column.name, column.title]);

/** A labelled list to choose from. */
function picker(id, text, options, chosen, onchange) {
  const list = el("select", { id, onchange }, ...options.map(([value, shown]) => el("option", { value, selected: value === chosen }, shown)));
  return el("label", { class: "picker" }, el("span", {}, text), list);
}
