// Two tables: what one has more of, and which cells change their phase.

function makeCompare() {
  if (!OTHER) return;
  const host = byId("compare");
  host.hidden = false;
  host.className = "pair";
  host.append(
    el("figure", { class: "card plot", id: "gain-map" },
      el("figcaption", {}, el("h3", { id: "gain-title" }), el("p", { class: "sub", id: "gain-sub" })),
      el("div", { class: "canvas", id: "gain-canvas" }), el("div", { class: "legend", id: "gain-legend" })),
    el("section", { class: "card", id: "changes", "aria-labelledby": "changes-head" },
      el("h3", { id: "changes-head" }, "Changes of phase"), el("p", { class: "sub", id: "changes-sub" }), el("div", { class: "scroll", id: "changes-table" })),
  );
  const map = new Plane("gain-canvas", () => byId("gain-title").textContent, paintGain);
  const redraw = () => {
    drawGainWords();
    map.draw();
  };
  on("plane metric", redraw);
  on("rule", () => {
    map.draw();
    drawChanges();
  });
  on("cell selection", () => map.mark());
  redraw();
  drawChanges();
}

/** This table less the other, in each row; NaN where one has no value. */
function differences() {
  const shown = logged() ? (value) => (value > 0 ? Math.log(value) : NaN) : (value) => value;
  const [mine, theirs] = [COLUMNS.get(state.metric), OTHER.columns.get(state.metric)];
  return Float64Array.from({ length: ROWS }, (_, row) => (mine && theirs ? shown(mine.values[row]) - shown(theirs.values[row]) : NaN));
}

/** Whether a gain is one of natural logarithms: of Hessian quantities, as in other pictures. */
const logged = () => Boolean(COLUMNS.get(state.metric)?.logged);

/** Whether both tables have a number in a row, of which one has no logarithm. */
function gainBelow(row) {
  const both = [COLUMNS, OTHER.columns].map((columns) => columns.get(state.metric)?.values[row]);
  return logged() && both.every(Number.isFinite) && both.some((value) => value <= 0);
}

function gainScale(values) {
  return colourScale([...values, 0], { diverging: true, better: COLUMNS.get(state.metric)?.better });
}

function paintGain() {
  const values = differences();
  return { ...paintColumn(values, gainScale(values), gainBelow), boundaries: false };
}

function drawGainWords() {
  const column = COLUMNS.get(state.metric);
  const values = differences();
  const held = values.filter(Number.isFinite);
  const up = held.filter((value) => value > 0).length;
  byId("gain-title").textContent = `Gain in ${logged() ? "ln " : ""}${column?.title ?? state.metric}`;
  byId("gain-sub").textContent = `${DATA.name} less ${OTHER.name}: ${plural(held.length, "shared cell")}, higher in ${up}, lower in ${held.filter((value) => value < 0).length}`;
  drawColourLegend(byId("gain-legend"), held.length ? gainScale(values) : null, logged() ? null : column, places().shown.some(gainBelow), logged() ? "difference of natural logarithms" : "");
}

/** How many cells go from which phase to which; a count selects its cells. */
function drawChanges() {
  const codes = [...PHASES.keys(), -1];
  const shared = [];
  for (let row = 0; row < ROWS; row++) if (OTHER.there[row]) shared.push(row);
  const moved = shared.filter((row) => state.codes[row] !== state.otherCodes[row]);
  byId("changes-sub").textContent = `${moved.length} of ${plural(shared.length, "shared cell")} have another phase in ${DATA.name} (across) than in ${OTHER.name} (down), by the same thresholds.`;
  const cell = (from, to) => {
    const rows = shared.filter((row) => state.otherCodes[row] === from && state.codes[row] === to);
    if (!rows.length) return el("td", { class: "number dim" }, "·");
    return el("td", { class: `number${from === to ? " same" : ""}` }, el("button", { type: "button", class: "count", "aria-label": `${plural(rows.length, "cell")} from ${phaseName(from)} to ${phaseName(to)}: select`, onclick: () => select(new Set(rows)) }, String(rows.length)));
  };
  byId("changes-table").replaceChildren(el("table", { class: "changes" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "from ↓ to →"), ...codes.map((code) => el("th", { scope: "col" }, badge(code, true))))),
    el("tbody", {}, ...codes.map((from) => el("tr", {}, el("th", { scope: "row" }, badge(from, true)), ...codes.map((to) => cell(from, to)))))));
}
