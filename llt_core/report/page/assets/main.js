// The head of the page, its controls, and who draws when.

function drawHead() {
  const origin = byId("origin");
  origin.classList.toggle("imported", DATA.imported);
  origin.textContent = DATA.imported
    ? `Imported table: ${DATA.origin}. Its numbers are shown as they are there.`
    : `${DATA.measured[0].toUpperCase()}${DATA.measured.slice(1)}, sweep ${DATA.name}.`;
  const counts = Array.isArray(DATA.models) ? DATA.models : [DATA.models];
  const models = extent(counts.filter((count) => count > 0));
  const facts = [["Cells", String(ROWS)]];
  if (models) facts.push(["Models a cell", models[0] === models[1] ? String(models[0]) : `${models[0]}–${models[1]}`]);
  const about = new Map(DATA.about);
  for (const name of ["Task", "Architecture", "Seeds"]) if (about.has(name)) facts.push([name, about.get(name)]);
  if (!about.has("Seeds")) facts.push(["Seeds", "not stated"]);
  facts.push(["Metrics", String(COLUMNS.size)]);
  if (OTHER) facts.push(["Compared with", `${OTHER.name} (${OTHER.imported ? OTHER.origin : OTHER.measured})`]);
  facts.push(["Page made", `${DATA.made.slice(0, 10)}, llt ${DATA.llt}`]);
  byId("facts").replaceChildren(...facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
}

/** What was computed when the page was made: sentences, and the claims that llt phases prints. */
function drawFindings() {
  const stale = ruleChanged();
  const since = "For the thresholds that the page opened with; you have moved them since.";
  const items = DATA.findings.map(({ heading, text }) => [el("dt", {}, heading), el("dd", {}, text)]).flat();
  byId("findings").replaceChildren(el("dl", {}, ...items),
    el("p", { class: `note${stale ? " stale" : ""}`, id: "findings-note" }, stale ? since : "For the thresholds below."));
  byId("claims").replaceChildren(...DATA.claims.map(({ verdict, statement, evidence }) => el("li", {},
    el("span", { class: "outcome", "data-verdict": verdict }, verdict), el("div", {}, el("p", {}, statement), el("p", { class: "sub" }, evidence)))));
  byId("claims-note").classList.toggle("stale", stale);
  byId("claims-note").textContent = stale ? since : "Each holds, does not hold, or cannot be said, by the number behind it. Brackets are 95 % intervals over cells; they do not cover the choice of the grid.";
}

/** One card a phase: how many cells, how good. */
function drawPhases() {
  const target = COLUMNS.get(DATA.target);
  const cards = [...PHASES.keys(), -1].map((code) => {
    const rows = [];
    let measured = 0;
    let sum = 0;
    let held = 0;
    for (let row = 0; row < ROWS; row++) {
      if (state.codes[row] !== code) continue;
      rows.push(row);
      measured += isInferred(row) ? 0 : 1;
      if (target && Number.isFinite(target.values[row])) [sum, held] = [sum + target.values[row], held + 1];
    }
    const mean = held ? `${pretty(sum / held, 3)} ${target.unit}` : "–";
    const pressed = Boolean(state.selected && rows.length && state.selected.size === rows.length && rows.every((row) => state.selected.has(row)));
    const split = measured < rows.length ? `, ${rows.length - measured} ${code < 0 ? "not measured" : "inferred"}` : "";
    return el("button", { type: "button", class: "phase", "data-phase": phaseName(code), "data-count": rows.length, "aria-pressed": String(pressed), disabled: !rows.length, onclick: () => select(pressed ? null : new Set(rows)) },
      badge(code, true), el("span", { class: "phase-count" }, String(rows.length), el("span", { class: "unit" }, ` ${rows.length === 1 ? "cell" : "cells"}`)),
      el("span", { class: "phase-mean" }, target ? (held ? `${target.title} ${mean}${split}` : split.slice(2)) : split.slice(2)),
      el("span", { class: "phase-words" }, code < 0 ? "undetermined: values are missing" : PHASE_WORDS[code]));
  });
  byId("phases").replaceChildren(...cards);
  byId("phases-note").textContent = `${target ? `Means of ${target.title.toLowerCase()} over cells. ` : ""}Choose a phase to select its cells.${ruleChanged() ? " By the thresholds as you have set them." : ""}`;
}

function makeControls() {
  const pool = VARIED.length ? VARIED : AXES;
  const options = pool.map((axis) => [axis.name, axis.title]);
  const changed = () => {
    placesCache = null;
    makeControls();
    tell("plane");
  };
  const axis = (which, other) => (event) => {
    const chosen = pool.find(({ name }) => name === event.target.value);
    if (chosen === state[other]) state[other] = state[which];
    state[which] = chosen;
    changed();
    byId(`axis-${which}`).focus();
  };
  const parts = [picker("axis-x", "Across", options, state.x.name, axis("x", "y"))];
  if (state.y.name) parts.push(picker("axis-y", "Upwards", options, state.y.name, axis("y", "x")));
  for (const other of VARIED.filter((one) => one !== state.x && one !== state.y)) {
    const levels = other.levels.map((level, i) => [String(i), levelText(level)]);
    parts.push(picker(`slice-${other.short}`, other.title, levels, String(state.slice[other.name]), (event) => {
      state.slice[other.name] = Number(event.target.value);
      changed();
      byId(`slice-${other.short}`).focus();
    }));
  }
  parts.push(picker("metric", "Colour", columnOptions(), state.metric, (event) => {
    state.metric = event.target.value;
    tell("metric");
  }));
  parts.push(picker("spacing", "Steps", [["scale", "to scale"], ["even", "even"]], state.even ? "even" : "scale", (event) => {
    state.even = event.target.value === "even";
    tell("plane");
  }));
  byId("plane-controls").replaceChildren(...parts);
}

function drawPlaneWords() {
  const column = COLUMNS.get(state.metric);
  const shown = places().shown.length;
  byId("phase-sub").textContent = `${plural(shown, "cell")}${places().shown.some(isInferred) ? `, ${places().shown.filter(isInferred).length} of them inferred` : ""}`;
  byId("heat-title").textContent = column ? column.title : "No metric";
  const missing = column ? places().shown.filter((row) => !Number.isFinite(column.values[row])).length : 0;
  const below = places().shown.filter(heatBelow).length;
  byId("heat-sub").textContent = `${column ? `mean over models${column.unit ? `, ${column.unit}` : ""}` : ""}${missing ? ` · ${missing} without a value` : ""}${below ? ` · ${below} not positive` : ""}`;
  drawColourLegend(byId("heat-legend"), heatScale(), column, below > 0);
  const note = byId("plane-note");
  note.hidden = !places().hidden;
  note.textContent = places().hidden ? `${plural(places().hidden, "cell")} more share a place with another one here; the table has all.` : "";
}

/** One scale for the whole column, so that slices of it can be compared. */
function heatScale() {
  const column = COLUMNS.get(state.metric);
  return column ? colourScale(column.values, column) : null;
}

/** Whether a cell of the map has a number that logarithmic colours cannot show. */
function heatBelow(row) {
  const column = COLUMNS.get(state.metric);
  return Boolean(column?.logged) && column.values[row] <= 0 && Number.isFinite(column.values[row]);
}

function drawAbout() {
  const facts = [["Table", DATA.name], ["Origin", DATA.imported ? `${DATA.origin} (imported)` : DATA.origin], ...DATA.about];
  if (OTHER) facts.push(["Compared with", `${OTHER.name}, ${OTHER.imported ? `${OTHER.origin} (imported)` : OTHER.origin}: ${OTHER.shared} shared of ${plural(OTHER.rows, "cell")}`]);
  const units = [...COLUMNS.values()].map((column) => `${column.title}${column.unit ? ` (${column.unit})` : " (no unit)"}`);
  facts.push(["Metrics", units.join(", ")], ["Phases", "by the rule after Yang et al., Taxonomizing local versus global structure in neural network loss landscapes (NeurIPS 2021)"]);
  byId("about").replaceChildren(factList(facts), ...DATA.notes.map((note) => el("p", { class: "note" }, note)));
  byId("foot").textContent = `Made by llt ${DATA.llt}, ${DATA.made.replace("T", " ").slice(0, 16)} UTC. This file holds all of its data and asks the network for nothing.`;
}

function makeTheme() {
  const names = { "": "automatic", light: "light", dark: "dark" };
  const button = byId("theme");
  button.addEventListener("click", () => {
    const order = Object.keys(names);
    const next = order[(order.indexOf(document.documentElement.dataset.theme ?? "") + 1) % order.length];
    document.documentElement.dataset.theme = next;
    button.textContent = `Theme: ${names[next]}`;
  });
}

function start() {
  makePatterns();
  chooseAxes();
  chooseMetrics();
  classifyAll();
  chooseCell();
  drawHead();
  drawFindings();
  drawPhases();
  makeControls();
  drawPlaneWords();
  drawPhaseLegend();
  const phaseMap = new Plane("phase-canvas", () => "Map of phases", paintPhases);
  const heatMap = new Plane("heat-canvas", () => `Map of ${COLUMNS.get(state.metric)?.title ?? "nothing"}`, () => paintColumn(COLUMNS.get(state.metric)?.values ?? [], heatScale(), heatBelow));
  on("rule selection", drawPhases);
  on("rule", () => {
    drawFindings();
    drawPhaseLegend();
    phaseMap.draw();
    heatMap.draw();
    drawCell();
  });
  on("plane", () => {
    drawPlaneWords();
    drawPhaseLegend();
    phaseMap.draw();
    heatMap.draw();
  });
  on("metric", () => {
    drawPlaneWords();
    heatMap.draw();
    drawCell();
  });
  on("cell", () => {
    phaseMap.mark();
    heatMap.mark();
    drawCell();
    announceCell();
  });
  on("selection", () => {
    phaseMap.mark();
    heatMap.mark();
    if (state.selected) byId("live").textContent = `${plural(state.selected.size, "cell")} selected`;
  });
  scatter.start();
  makeThresholds();
  makeCompare();
  table.start();
  drawAbout();
  drawCell();
  announceCell();
  makeTheme();
  new IntersectionObserver(([seen]) => byId("glance").classList.toggle("away", seen.isIntersecting)).observe(byId("cell"));
}

start();
