// The numbers between phases, each with a slider and a field.

const STEPS = 1000;
const THRESHOLD_WORDS = {
  train_loss: ["Training loss: sharp from", "train_loss", "nats"],
  log_trace: ["Log Hessian trace: sharp from", "log_trace", ""],
  sharp_connectivity: ["Sharp cells: phase I below connectivity", "connectivity", "percent"],
  poorly_connected: ["Flat cells: phase III below connectivity", "connectivity", "percent"],
  unconverged: ["Flat cells: phase II above connectivity", "connectivity", "percent"],
  cka: ["CKA: phase IV-B from", "cka", ""],
  cka_quantile: ["… or this quantile of the flat, connected cells", "share", ""],
};
const sliders = {};

function makeThresholds() {
  const rows = DATA.thresholds.map(({ name, description }) => thresholdRow(name, description));
  byId("sliders").replaceChildren(...rows);
  byId("reset").addEventListener("click", () => setRule({ ...OPENED }));
  on("rule", showRule);
  showRule();
}

function thresholdRow(name, description) {
  const [text, use, unit] = THRESHOLD_WORDS[name] ?? [name, "", ""];
  const axis = thresholdAxis(name, use);
  const note = el("p", { class: "note stale", role: "alert", hidden: true });
  const change = (value) => {
    if (!Number.isFinite(value)) return;
    const held = clampPair(name, value);
    note.hidden = held === value;
    note.textContent = "The limit for phase III cannot lie above that for phase II: set to it.";
    setRule({ [name]: held });
    if (held !== value) field.value = general(held, 6);
  };
  const range = el("input", { type: "range", id: `slider-${name}`, min: 0, max: STEPS, step: 1, "aria-label": `${text} (slider)`,
    oninput: () => change(Number(general(axis.back(Number(range.value)), 3))) });
  const field = el("input", { type: "number", id: `threshold-${name}`, step: "any", title: description ?? "",
    onchange: () => (field.value === "" ? showRule() : change(clampShare(name, Number(field.value)))) });
  sliders[name] = { range, field, axis };
  const head = el("div", { class: "threshold-head" }, el("label", { for: `threshold-${name}` }, text), field, el("span", { class: "unit" }, unit));
  if (name === "cka_quantile") {
    const box = el("input", { type: "checkbox", id: "use-quantile", onchange: () => setRule({ cka_quantile: box.checked ? 0.5 : null }) });
    head.replaceChildren(el("label", { class: "check" }, box, text), field);
    field.setAttribute("aria-label", "Quantile, 0 to 1");
    sliders[name].box = box;
  }
  const strip = use === "share" ? null : distribution(FACTS[use], axis);
  return el("div", { class: "threshold", "data-threshold": name }, head, el("div", { class: "track" }, strip, range), note);
}

const clampShare = (name, value) => (name === "cka_quantile" ? Math.min(Math.max(value, 0), 1) : value);

/** Flat cells: III ends where II begins or before, as in Python, which refuses anything else. */
function clampPair(name, value) {
  if (name === "poorly_connected") return Math.min(value, state.rule.unconverged);
  if (name === "unconverged") return Math.max(value, state.rule.poorly_connected);
  return value;
}

/** From a threshold to the steps of its slider: over what the cells have, and where it opened. */
function thresholdAxis(name, use) {
  if (use === "share") return pixelAxis(0, 1, false, 0, STEPS);
  const found = extent([...(FACTS[use] ?? []), OPENED[name]]) ?? [0, 1];
  let [low, high] = found;
  const log = use === "train_loss" && high > 0;
  if (log) [low, high] = [Math.max(extent([...FACTS[use], OPENED[name]], (v) => v > 0)[0], high / 1e6), high];
  // Connectivity has a long tail of barriers, and what matters lies about zero.
  if (use === "connectivity") [low, high] = [Math.max(low, -20), Math.min(Math.max(high, 5), 20)];
  const room = log ? 1.05 : (high - low) * 0.02 || 1;
  return log ? pixelAxis(low / room, high * room, true, 0, STEPS) : pixelAxis(low - room, high + room, false, 0, STEPS);
}

/** How the cells lie along a slider. */
function distribution(values, axis) {
  const bins = new Array(50).fill(0);
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    const place = Math.floor((axis.at(axis.log ? Math.max(value, axis.low) : value) / STEPS) * 50);
    bins[Math.min(Math.max(place, 0), 49)] += 1;
  }
  const most = Math.max(...bins, 1);
  const bars = bins.map((count, i) => (count ? rectPath(i * 2, 16 - 15 * Math.sqrt(count / most), 1.6, 15 * Math.sqrt(count / most)) : ""));
  return svg("svg", { viewBox: "0 0 100 16", preserveAspectRatio: "none", class: "distribution", "aria-hidden": "true" }, svg("path", { d: bars.join("") }));
}

/** Bring sliders and fields to what holds. */
function showRule() {
  for (const [name, { range, field, axis, box }] of Object.entries(sliders)) {
    const relative = state.rule.cka_quantile !== null;
    const off = name === "cka" ? relative : name === "cka_quantile" && !relative;
    const value = name === "cka" ? state.resolved.cka : state.rule[name];
    for (const input of [range, field]) input.disabled = off;
    if (box) box.checked = relative;
    if (document.activeElement !== field) field.value = value === null ? "" : general(value, 6);
    if (document.activeElement !== range) range.value = value === null ? 500 : Math.round(axis.at(axis.log ? Math.max(value, axis.low) : value));
    range.setAttribute("aria-valuetext", value === null ? "not used" : pretty(value));
  }
  byId("reset").disabled = !ruleChanged();
}
