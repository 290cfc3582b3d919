// The data, what the reader has chosen, and who wants to hear of it.

const DATA = JSON.parse(byId("data").textContent);
const ROWS = DATA.rows;
const PHASES = DATA.phases;
const PHASE_COLOURS = DATA.phase_facts.map(({ colour }) => colour);
const PHASE_WORDS = DATA.phase_facts.map(({ meaning }) => meaning);
const PHASE_SHAPES = DATA.phase_facts.map(({ shape }) => shape);
const UNDETERMINED = "undetermined";

/** Numbers of the document as floats: null is missing, words are infinities. */
const floats = (values) => Float64Array.from(values, (value) => (value === null ? NaN : Number(value)));
const perRow = (value) => (Array.isArray(value) ? (row) => value[row] : () => value);

function readColumns(columns) {
  return new Map(columns.map((column) => [column.name, {
    ...column,
    values: floats(column.values),
    errors: column.errors ? floats(column.errors) : null,
    n: perRow(column.n),
    reason: column.reasons ? (row) => column.reasons.texts[column.reasons.at[row]] : () => "",
  }]));
}

/** What the rule compares, by what it uses it for. */
function factsOf(columns, uses, logTrace, count) {
  const nothing = new Float64Array(count).fill(NaN);
  const of = (use) => (uses[use] ? columns.get(uses[use]).values : nothing);
  return { train_loss: of("train_loss"), log_trace: logTrace ? floats(logTrace) : nothing, connectivity: of("connectivity"), cka: of("cka") };
}

const COLUMNS = readColumns(DATA.columns);
const FACTS = factsOf(COLUMNS, DATA.uses, DATA.log_trace, ROWS);
const OTHER = DATA.compare && { ...DATA.compare, columns: readColumns(DATA.compare.columns) };
if (OTHER) OTHER.facts = factsOf(OTHER.columns, OTHER.uses, OTHER.log_trace, ROWS);
const NO_AXIS = { name: "", short: "", title: "", kind: "", numeric: false, log: false, levels: [""], at: new Array(ROWS).fill(0) };
const AXES = DATA.axes;
const VARIED = AXES.filter((axis) => axis.levels.length > 1);
const MODELS = perRow(DATA.models);
const OPENED = Object.fromEntries(DATA.thresholds.map(({ name, value }) => [name, value]));

const isInferred = (row) => Boolean(DATA.inferred && DATA.inferred.at[row]);

const state = {
  x: null,
  y: null,
  slice: {},
  even: false,
  metric: "",
  scatter: { x: "", y: "" },
  rule: { ...OPENED },
  resolved: null,
  codes: null,
  otherCodes: null,
  hovered: -1,
  kept: -1,
  selected: null,
};

const listeners = {};
function on(events, listener) {
  for (const event of events.split(" ")) (listeners[event] ??= []).push(listener);
}
const waiting = new Set();
/** Tell all listeners before the next picture is drawn, each once. */
function tell(event) {
  if (!waiting.size) requestAnimationFrame(flush);
  waiting.add(event);
}
function flush() {
  const due = new Set([...waiting].flatMap((event) => listeners[event] ?? []));
  waiting.clear();
  for (const listener of due) listener();
}

const shownRow = () => (state.hovered >= 0 ? state.hovered : state.kept);
const label = (row) => AXES.map((axis) => `${axis.short}=${axis.at[row] < 0 ? "None" : levelText(axis.levels[axis.at[row]])}`).join(", ");
const phaseName = (code) => (code < 0 ? UNDETERMINED : PHASES[code]);
const reasonIn = (columns) => (name, row) => columns.get(name).reason(row);
const why = (row) => (isInferred(row)
  ? (inferredHold()
    ? `not measured: inferred from other cells${confidenceText(row)}`
    : "not measured: its phase was inferred with other thresholds than these")
  : phaseReason(state.resolved, FACTS, row, state.codes[row], DATA.uses, reasonIn(COLUMNS)));

function confidenceText(row) {
  const sure = DATA.inferred.confidence[row];
  return sure === null ? "" : `, right with probability ${general(sure, 3)}`;
}

/** Whether the thresholds are those that phases were inferred with: no values are behind them. */
const inferredHold = () => !ruleChanged();

/** Sort all cells by the thresholds as they are; inferred phases hold for their own alone. */
function classifyAll() {
  state.resolved = resolvedRule(state.rule, FACTS);
  state.codes = phaseCodes(state.resolved, FACTS);
  for (let row = 0; DATA.inferred && row < ROWS; row++) {
    if (isInferred(row)) state.codes[row] = inferredHold() ? DATA.inferred.codes[row] : -1;
  }
  if (OTHER) {
    OTHER.resolved = resolvedRule(state.rule, OTHER.facts);
    state.otherCodes = phaseCodes(OTHER.resolved, OTHER.facts);
  }
}

const ruleChanged = () => DATA.thresholds.some(({ name, value }) => state.rule[name] !== value);

function setRule(changes) {
  Object.assign(state.rule, changes);
  classifyAll();
  tell("rule");
}
function hover(row) {
  if (row === state.hovered) return;
  state.hovered = row;
  tell("cell");
}
function keep(row) {
  state.kept = row;
  state.hovered = -1;
  tell("cell");
}
/** Select cells by their rows; none at all means no selection. */
function select(rows) {
  state.selected = rows && rows.size ? rows : null;
  tell("selection");
}

/** The rows of the plane: those at the chosen levels of all axes that are not drawn. */
function planeRows() {
  const others = VARIED.filter((axis) => axis !== state.x && axis !== state.y);
  const rows = [];
  for (let row = 0; row < ROWS; row++) {
    if (state.x.at[row] >= 0 && state.y.at[row] >= 0 && others.every((axis) => axis.at[row] === state.slice[axis.name])) rows.push(row);
  }
  return rows;
}

/** Choose the axes at first: load to the right, temperature upwards. */
function chooseAxes() {
  const pool = VARIED.length ? VARIED : AXES;
  state.x = pool.find((axis) => axis.kind === "load") ?? pool.find((axis) => axis.kind !== "temperature") ?? pool[0] ?? NO_AXIS;
  const rest = pool.filter((axis) => axis !== state.x);
  state.y = rest.find((axis) => axis.kind === "temperature") ?? rest[0] ?? NO_AXIS;
  for (const axis of VARIED) {
    const counts = new Array(axis.levels.length).fill(0);
    for (const at of axis.at) if (at >= 0) counts[at] += 1;
    // Of equally full levels the last: all of the data, say.
    state.slice[axis.name] = counts.lastIndexOf(Math.max(...counts));
  }
}

function chooseMetrics() {
  const names = [...COLUMNS.keys()];
  const first = (...wanted) => wanted.find((name) => COLUMNS.has(name)) ?? names[0] ?? "";
  state.metric = first(DATA.target, "test_accuracy", "train_loss");
  state.scatter.x = first("cka", DATA.uses.connectivity, "hessian_trace", "train_loss");
  state.scatter.y = first(DATA.target);
}

/** The cell to begin with: the best one, so that the panel shows what it can show. */
function chooseCell() {
  const target = COLUMNS.get(DATA.target);
  let best = ROWS ? 0 : -1;
  if (target) {
    const sign = DATA.target.endsWith("loss") ? -1 : 1;
    for (let row = 0; row < ROWS; row++) {
      if (sign * target.values[row] > sign * target.values[best] || Number.isNaN(target.values[best])) best = row;
    }
  }
  state.kept = best;
}
