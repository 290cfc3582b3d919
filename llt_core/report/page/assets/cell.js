// Everything about one cell, in the panel at the side.

const GROUPS = [["curve", "Curves between models"], ["spectrum", "Curvature"], ["history", "Training"], ["other", "More figures"]];

function drawCell() {
  const row = shownRow();
  const host = byId("cell");
  if (row < 0) {
    host.replaceChildren(el("h3", { id: "cell-title" }, "No cell"), el("p", { class: "sub" }, ROWS ? "Point at a cell of a map." : "The table is empty."));
    return;
  }
  const figures = DATA.figures[row] ?? [];
  const parts = [
    el("p", { class: "kicker" }, isInferred(row) ? "Inferred, not measured" : `Cell ${row + 1} of ${ROWS}${MODELS(row) ? ` · ${plural(MODELS(row), "model")}` : ""}`),
    el("h3", { id: "cell-title" }, label(row)),
    el("p", { class: "verdict" }, badge(state.codes[row]), el("span", { id: "cell-why" }, why(row))),
    confidence(row),
    metricTable(row),
    ...GROUPS.flatMap(([group, title]) => figureGroup(figures.filter((figure) => figure.group === group), title, group !== "other")),
    provenance(row),
  ];
  host.replaceChildren(...parts.filter((part) => part !== null));
}

function badge(code, short = false) {
  const colour = phaseColour(code);
  const node = el("span", { class: `badge${code < 0 ? " open" : ""}`, "data-phase": phaseName(code) }, code < 0 ? (short ? "?" : UNDETERMINED) : PHASES[code]);
  if (code < 0 && short) furnish(node, { role: "img", "aria-label": UNDETERMINED }, []);
  if (colour) {
    node.style.backgroundColor = colour;
    node.style.color = inkOn(colour);
  }
  return node;
}

/** How sure the phase is, where somebody worked it out, for the thresholds that the page opened with. */
function confidence(row) {
  const found = DATA.probabilities?.[row];
  if (!found || ruleChanged() || isInferred(row)) return null;
  const shares = found.map((share, i) => [share, i < PHASES.length ? i : -1]).filter(([share]) => share > 0).sort(([a], [b]) => b - a);
  const bar = el("div", { class: "shares", "aria-hidden": "true" }, ...shares.map(([share, code]) => {
    const part = el("span", { class: code < 0 ? "open" : "" });
    part.style.flexGrow = share;
    if (code >= 0) part.style.backgroundColor = PHASE_COLOURS[code];
    return part;
  }));
  const percent = (share) => `${general(100 * share, 3)} %`;
  const words = shares.map(([share, code]) => `${phaseName(code)} ${percent(share)}`).join(", ");
  return el("div", { id: "cell-sure", class: "sure" }, bar, el("p", { class: "note" }, `Were the models drawn again: ${words}.`));
}

let moreOpen = false;

function metricTable(row) {
  const shared = OTHER && OTHER.there[row] ? OTHER : null;
  const head = ["Metric", "Value", "n", ...(shared ? ["Difference"] : [])];
  const line = (column) => {
    const cells = [el("th", { scope: "row" }, column.title), valueCell(column, row), el("td", { class: "number dim" }, Number.isNaN(column.values[row]) ? "" : String(column.n(row) || "–"))];
    if (shared) cells.push(differenceCell(column, shared.columns.get(column.name), row));
    return el("tr", { "data-metric": column.name, class: column.name === state.metric ? "chosen" : "" }, ...cells);
  };
  const tableOf = (columns) => el("table", { class: "metrics" }, el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...columns.map(line)));
  const isFirst = (column) => column.main || column.name === state.metric;
  const rest = [...COLUMNS.values()].filter((column) => !isFirst(column));
  const notes = ["± one standard error; n: measurements behind the mean."];
  if (shared) notes.push(`Difference: this less ${OTHER.name}, there in ${phaseName(state.otherCodes[row])}.`);
  const more = rest.length ? el("details", { open: moreOpen, ontoggle: (event) => { moreOpen = event.target.open; } }, el("summary", {}, `${rest.length} more metrics`), tableOf(rest)) : null;
  return el("div", {}, tableOf([...COLUMNS.values()].filter(isFirst)), el("p", { class: "note" }, notes.join(" ")), more);
}

function valueCell(column, row) {
  const value = column.values[row];
  if (Number.isNaN(value)) return el("td", { class: "absent", title: column.reason(row) }, column.reason(row) || "not finite");
  const error = column.errors?.[row];
  const text = pretty(value) + (Number.isFinite(error) ? ` ± ${pretty(error, 2)}` : "");
  return el("td", { class: "number", "data-value": value }, text, column.unit ? el("span", { class: "unit" }, ` ${column.unit}`) : null);
}

function differenceCell(column, other, row) {
  const difference = other ? column.values[row] - other.values[row] : NaN;
  const sign = difference > 0 ? "+" : "";
  return el("td", { class: "number" }, Number.isFinite(difference) ? sign + pretty(difference, 3) : "–");
}

function figureGroup(figures, title, open) {
  if (!figures.length) return [];
  return [el("details", { open, class: "group" }, el("summary", {}, title), ...figures.map(smallFigure))];
}

function provenance(row) {
  const facts = [];
  if (DATA.provenance) {
    DATA.provenance.rows[row]?.forEach((text, i) => text >= 0 && facts.push([DATA.provenance.labels[i], DATA.provenance.texts[text]]));
  }
  facts.unshift(["Origin", DATA.imported ? DATA.origin : `${DATA.origin}, sweep ${DATA.name}`]);
  return el("details", { open: facts.length > 1, class: "group" }, el("summary", {}, "Provenance"), factList(facts));
}

const factList = (facts) => el("dl", { class: "fact-list" }, ...facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));

let announced = -1;

/** Say a kept cell aloud, and at the foot of a narrow window. */
function announceCell() {
  const row = state.kept;
  if (row < 0 || row === announced) return;
  const chosen = announced >= 0;
  announced = row;
  if (!chosen) return;
  const column = COLUMNS.get(state.metric);
  const value = column ? `, ${column.title} ${pretty(column.values[row])} ${column.unit}` : "";
  byId("live").textContent = `${label(row)}: ${state.codes[row] < 0 ? "phase undetermined" : `phase ${PHASES[state.codes[row]]}`}${value}`;
  const glance = byId("glance");
  glance.hidden = false;
  glance.replaceChildren(badge(state.codes[row]), el("span", {}, label(row)), el("span", { class: "dim" }, "all of it ↓"));
}
