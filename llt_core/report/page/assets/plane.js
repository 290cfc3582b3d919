// A map of the plane: one rectangle a cell. Cells of one colour are one path, so that ten
// thousand of them are as quick as ten.

const planes = [];
let placesCache = null;

/** The cells of the plane as it is chosen, with their places. */
function places() {
  if (placesCache) return placesCache;
  const rows = planeRows();
  const at = new Map();
  for (const row of rows) {
    const key = state.x.at[row] + state.x.levels.length * state.y.at[row];
    if (!at.has(key)) at.set(key, row);
  }
  placesCache = { rows, at, row: (i, j) => at.get(i + state.x.levels.length * j) ?? -1, shown: [...at.values()], hidden: rows.length - at.size };
  return placesCache;
}

/** Hot is on top: small batches are hot. */
const turned = (axis) => axis.short === "batch_size";

class Plane {
  /**
   * paint() → { fill(row): colour or name of a pattern, letter(row, digits): text, boundaries }
   */
  constructor(host, name, paint) {
    Object.assign(this, { host: byId(host), name, paint });
    this.root = svg("svg", { class: "plane", tabindex: 0, role: "application", "aria-roledescription": "map of cells", "aria-describedby": "keys" });
    this.host.append(this.root);
    this.anchor = -1;
    followPointer(this.root, {
      over: (point) => hover(this.rowAt(point)),
      click: (point) => this.click(point),
      drag: (box) => this.drag(box),
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    redrawOnResize(this.host, () => this.draw());
    planes.push(this);
  }

  layout() {
    const width = Math.max(this.host.clientWidth, 200);
    const left = 30 + Math.max(...state.y.levels.map((level) => Math.min(textWidth(levelText(level)), 90)), 6);
    const tall = state.y.levels.length > 1 ? Math.min(Math.max(width * 0.78, 250), 440) : 120;
    const box = { left, top: 6, right: width - 12, bottom: tall - 44, width, height: tall };
    const { x, y } = state;
    const [from, to] = turned(y) ? [box.top, box.bottom] : [box.bottom, box.top];
    this.xs = levelEdges(x.levels, x.log, x.numeric, state.even, box.left, box.right);
    this.ys = levelEdges(y.levels, y.log, y.numeric, state.even, from, to);
    this.box = box;
  }

  /** x, y, width and height of the cell of a row. */
  frame(row) {
    const [i, j] = [state.x.at[row], state.y.at[row]];
    const y = Math.min(this.ys[j], this.ys[j + 1]);
    return [this.xs[i], y, this.xs[i + 1] - this.xs[i], Math.abs(this.ys[j + 1] - this.ys[j])];
  }

  draw() {
    if (!this.host.clientWidth) return;
    this.layout();
    const { box, root } = this;
    const painted = this.paint();
    furnish(root, { width: box.width, height: box.height, viewBox: `0 0 ${box.width} ${box.height}` }, []);
    root.setAttribute("aria-label", `${this.name()}: ${plural(places().shown.length, "cell")}, ${state.x.short} across${state.y.name ? `, ${state.y.short} upwards` : ""}. Arrow keys move from cell to cell.`);
    this.marks = svg("g", { class: "marks" });
    root.replaceChildren(this.cells(painted), this.lines(painted), this.letters(painted), this.marks, this.axes());
    this.mark();
  }

  cells(painted) {
    const paths = new Map();
    const inferred = [];
    const gap = this.finest() > 9 ? 1 : 0;
    for (const row of places().shown) {
      const [x, y, w, h] = this.frame(row);
      const path = rectPath(x + gap / 2, y + gap / 2, Math.max(w - gap, 0.5), Math.max(h - gap, 0.5));
      const fill = painted.fill(row);
      const pale = isInferred(row) && isColour(fill);
      const key = pale ? `${fill} pale` : fill;
      if (paths.has(key)) paths.get(key).push(path);
      else paths.set(key, [path]);
      if (pale && w > 9 && h > 9) inferred.push(rectPath(x + 2.5, y + 2.5, w - 5, h - 5));
    }
    const group = svg("g", { class: "cells", "data-cells": places().shown.length });
    for (const [key, found] of paths) {
      const [fill, pale] = key.split(" ");
      group.append(svg("path", { d: found.join(""), fill: fillOf(fill), class: isColour(fill) ? pale : fill, "data-fill": fill }));
    }
    if (inferred.length) group.append(svg("path", { d: inferred.join(""), class: "inferred" }));
    return group;
  }

  /** The smallest side of a cell, in pixels. */
  finest() {
    return Math.min(...[this.xs, this.ys].flatMap((edges) => edges.slice(1).map((edge, i) => Math.abs(edge - edges[i]))));
  }

  /** Lines between cells of different phases, where there is room for lines. */
  lines(painted) {
    if (!painted.boundaries || this.finest() < 5) return "";
    const { codes } = state;
    let path = "";
    const { row } = places();
    const differ = (a, b) => b >= 0 && codes[a] >= 0 && codes[b] >= 0 && codes[a] !== codes[b];
    for (const a of places().shown) {
      const [i, j] = [state.x.at[a], state.y.at[a]];
      const right = row(i + 1, j);
      const above = row(i, j + 1);
      if (i + 1 < state.x.levels.length && differ(a, right)) path += `M${this.xs[i + 1].toFixed(1)} ${this.ys[j].toFixed(1)}V${this.ys[j + 1].toFixed(1)}`;
      if (j + 1 < state.y.levels.length && differ(a, above)) path += `M${this.xs[i].toFixed(1)} ${this.ys[j + 1].toFixed(1)}H${this.xs[i + 1].toFixed(1)}`;
    }
    return svg("g", { class: "boundaries" }, svg("path", { d: path, class: "under" }), svg("path", { d: path, class: "over" }));
  }

  letters(painted) {
    const group = svg("g", { class: "letters", "aria-hidden": "true" });
    if (places().shown.length > 600) return group;
    for (const row of places().shown) {
      const [x, y, w, h] = this.frame(row);
      if (h < 13) continue;
      // Bold, and room between two.
      const text = [3, 2, 1].map((digits) => painted.letter(row, digits)).find((short) => 1.15 * textWidth(short) + 5 <= w);
      if (!text) continue;
      const fill = painted.fill(row);
      group.append(svg("text", { x: x + w / 2, y: y + h / 2 + 4, "text-anchor": "middle", fill: isColour(fill) && !isInferred(row) ? inkOn(fill) : "var(--ink)" }, text));
    }
    return group;
  }

  axes() {
    const { box } = this;
    const group = svg("g", { class: "axes", "aria-hidden": "true" });
    const [nx, cx] = axisLabels(state.x, this.xs);
    const [ny, cy] = axisLabels(state.y, this.ys);
    const names = nx;
    for (const i of spacedLabels(cx, names.map(textWidth), 6)) {
      group.append(svg("line", { x1: cx[i], x2: cx[i], y1: box.bottom, y2: box.bottom + 4, class: "tick-line" }),
        svg("text", { x: cx[i], y: box.bottom + 17, class: "tick", "text-anchor": "middle" }, names[i]));
    }
    group.append(svg("text", { x: (box.left + box.right) / 2, y: box.height - 6, class: "axis-name", "text-anchor": "middle" }, axisTitle(state.x)));
    if (!state.y.name) return group;
    const order = turned(state.y) ? cy : cy.map((c) => -c);
    for (const j of spacedLabels(order, cy.map(() => 12), 3)) {
      group.append(svg("line", { x1: box.left - 4, x2: box.left, y1: cy[j], y2: cy[j], class: "tick-line" }),
        svg("text", { x: box.left - 7, y: cy[j] + 4, class: "tick", "text-anchor": "end" }, clipped(ny[j], 13)));
    }
    const middle = (box.top + box.bottom) / 2;
    group.append(svg("text", { transform: `translate(12 ${middle}) rotate(-90)`, class: "axis-name", "text-anchor": "middle" }, axisTitle(state.y)));
    return group;
  }

  /** Show which cells are selected, and which one is looked at. */
  mark() {
    if (!this.marks) return;
    this.marks.replaceChildren();
    const { shown } = places();
    if (state.selected) {
      const out = shown.filter((row) => !state.selected.has(row)).map((row) => rectPath(...this.frame(row)));
      this.marks.append(svg("path", { d: out.join(""), class: "veil", "data-cells": out.length }));
    }
    for (const [row, kind] of [[state.kept, "kept"], [state.hovered, "hovered"]]) {
      if (row < 0 || places().row(state.x.at[row], state.y.at[row]) !== row) continue;
      const [x, y, w, h] = this.frame(row);
      const frame = { x: x - 1, y: y - 1, width: w + 2, height: h + 2, rx: 2 };
      this.marks.append(svg("rect", { ...frame, class: `ring-under ${kind}` }), svg("rect", { ...frame, class: `ring ${kind}` }));
    }
  }

  levelAt(edges, place) {
    for (let i = 0; i + 1 < edges.length; i++) {
      if (place >= Math.min(edges[i], edges[i + 1]) && place < Math.max(edges[i], edges[i + 1])) return i;
    }
    return -1;
  }

  rowAt([x, y]) {
    const [i, j] = [this.levelAt(this.xs, x), this.levelAt(this.ys, y)];
    return i < 0 || j < 0 ? -1 : places().row(i, j);
  }

  click(point) {
    const row = this.rowAt(point);
    if (row >= 0) keep(row);
    else select(null);
  }

  drag([x0, y0, x1, y1]) {
    const inside = places().rows.filter((row) => {
      const [x, y, w, h] = this.frame(row);
      return x + w / 2 >= x0 && x + w / 2 <= x1 && y + h / 2 >= y0 && y + h / 2 <= y1;
    });
    select(new Set(inside));
  }

  key(event) {
    const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, turned(state.y) ? -1 : 1], ArrowDown: [0, turned(state.y) ? 1 : -1] };
    if (event.key === "Escape") {
      this.anchor = -1;
      select(null);
      return;
    }
    if (event.key === "Enter" && state.hovered >= 0) keep(state.hovered);
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const inside = state.kept >= 0 && places().row(state.x.at[state.kept], state.y.at[state.kept]) === state.kept;
    const from = inside ? state.kept : places().shown[0];
    const row = inside ? this.next(from, step) : from;
    if (row < 0 || row === undefined) return;
    if (event.shiftKey) {
      if (this.anchor < 0) this.anchor = from;
      select(this.between(this.anchor, row));
    } else this.anchor = -1;
    keep(row);
  }

  /** The next cell in one direction; −1 where there is none. */
  next(row, [dx, dy]) {
    let [i, j] = [state.x.at[row] + dx, state.y.at[row] + dy];
    for (; i >= 0 && j >= 0 && i < state.x.levels.length && j < state.y.levels.length; i += dx, j += dy) {
      if (places().row(i, j) >= 0) return places().row(i, j);
    }
    return -1;
  }

  between(a, b) {
    const within = (axis, row) => axis.at[row] >= Math.min(axis.at[a], axis.at[b]) && axis.at[row] <= Math.max(axis.at[a], axis.at[b]);
    return new Set(places().rows.filter((row) => within(state.x, row) && within(state.y, row)));
  }
}

// Of more levels than this, round numbers are written on the axis instead.
const MANY_LEVELS = 24;

/** What is written on an axis, and where: its levels, or of many numbers round ones. */
function axisLabels(axis, edges) {
  const centres = edges.slice(1).map((edge, i) => (edge + edges[i]) / 2);
  if (state.even || !axis.numeric || axis.levels.length <= MANY_LEVELS) return [axis.levels.map(levelText), centres];
  const [low, high] = [axis.levels[0], axis.levels.at(-1)];
  const scale = pixelAxis(low, high, axis.log, centres[0], centres.at(-1));
  const round = ticks(low, high, 7, axis.log);
  return [round.map((value) => pretty(value, 3)), round.map(scale.at)];
}

const clipped = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const axisTitle = (axis) => `${axis.title}${axis.kind ? ` (${axis.kind})` : ""}`;
const phaseColour = (code) => (code < 0 ? "" : PHASE_COLOURS[code]);

/** Cells without a colour have a pattern: "hatch" for no value, "below" for one that has no logarithm. */
const isColour = (fill) => fill.startsWith("#");
const fillOf = (fill) => (isColour(fill) ? fill : `url(#${fill})`);
