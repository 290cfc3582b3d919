// All cells as a table: search, order, download.

const FIRST_ROWS = 25;
const MORE_ROWS = 500;
const table = {
  search: "",
  only: false,
  order: { key: "", down: false },
  most: FIRST_ROWS,

  start() {
    const only = el("input", { type: "checkbox", id: "only-selected", onchange: () => this.change({ only: only.checked }) });
    byId("table-controls").replaceChildren(
      el("label", { class: "picker wide" }, el("span", {}, "Search"), el("input", { type: "search", id: "search", placeholder: "width=8, IV-B, poorly connected …", autocomplete: "off", oninput: (event) => this.change({ search: event.target.value }) })),
      el("label", { class: "check" }, only, "Selected cells only"),
      el("button", { type: "button", id: "download", onclick: () => this.download() }, "Download CSV"),
    );
    on("rule selection", () => this.draw());
    on("cell", () => this.mark());
    this.draw();
  },

  change(changes) {
    Object.assign(this, changes, { most: FIRST_ROWS });
    this.draw();
  },

  /** What can be ordered by: a name, a heading, a unit, and the value of a row. */
  keys() {
    const axes = AXES.map((axis) => ({ key: `axis ${axis.name}`, text: axis.short, value: (row) => axis.at[row], shown: (row) => (axis.at[row] < 0 ? "–" : levelText(axis.levels[axis.at[row]])) }));
    const phase = { key: "phase", text: "phase", value: (row) => (state.codes[row] < 0 ? NaN : state.codes[row]) };
    const columns = [...COLUMNS.values()].map((column) => ({ key: column.name, text: column.title, unit: column.unit, column, value: (row) => column.values[row] }));
    return [...axes, phase, ...columns];
  },

  rows() {
    const words = this.search.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const found = [];
    for (let row = 0; row < ROWS; row++) {
      if (this.only && state.selected && !state.selected.has(row)) continue;
      if (words.length) {
        const phase = phaseName(state.codes[row]).toLowerCase();
        const tokens = [...label(row).toLowerCase().split(", "), phase];
        const text = `${why(row)} ${isInferred(row) ? (inferredHold() ? "inferred" : "not measured") : "measured"}`.toLowerCase();
        // A phase or value is meant whole: "I" is not "III", and width=1 not width=16.
        const whole = (word) => tokens.includes(word) || (!PHASES.some((p) => p.toLowerCase() === word) && !word.includes("=") && text.includes(word));
        if (!words.every(whole)) continue;
      }
      found.push(row);
    }
    const chosen = this.keys().find(({ key }) => key === this.order.key);
    if (!chosen) return found;
    const sign = this.order.down ? -1 : 1;
    // What has no value comes last, whichever way the rest is ordered.
    return found.sort((a, b) => {
      const [x, y] = [chosen.value(a), chosen.value(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
      return sign * (x < y ? -1 : x > y ? 1 : 0) || a - b;
    });
  },

  draw() {
    const rows = this.rows();
    const keys = this.keys();
    byId("table").replaceChildren(
      el("caption", { class: "unseen" }, `${plural(rows.length, "cell")}, means over models ± one standard error`),
      el("thead", {}, el("tr", {}, ...keys.map((key) => this.heading(key)))),
      el("tbody", {}, ...rows.slice(0, this.most).map((row) => this.line(row, keys))),
    );
    const rest = rows.length - Math.min(this.most, rows.length);
    const note = [`${rows.length} of ${plural(ROWS, "cell")}${this.only && !state.selected ? "; none are selected, so all are shown" : ""}. Means over models ± one standard error; the download has every digit, n and the reasons.`];
    if (rest) note.push(" ", el("button", { type: "button", id: "more", onclick: () => { this.most += MORE_ROWS; this.draw(); } }, `Show ${Math.min(rest, MORE_ROWS)} more`));
    byId("table-note").replaceChildren(...note);
    this.mark();
  },

  heading({ key, text, unit }) {
    const chosen = this.order.key === key;
    const arrow = chosen ? (this.order.down ? " ↓" : " ↑") : "";
    const turn = () => {
      this.change({ order: { key, down: chosen && !this.order.down } });
      byId("table").querySelector(`button[data-key="${CSS.escape(key)}"]`)?.focus();
    };
    return el("th", { scope: "col", "aria-sort": chosen ? (this.order.down ? "descending" : "ascending") : null },
      el("button", { type: "button", "data-key": key, onclick: turn }, text, unit ? el("span", { class: "unit" }, ` ${unit}`) : null, el("span", { "aria-hidden": "true" }, arrow)));
  },

  line(row, keys) {
    const cells = keys.map((key, i) => {
      if (key.key === "phase") return el("td", {}, badge(state.codes[row]), isInferred(row) ? el("span", { class: "dim" }, inferredHold() ? " inferred" : " not measured") : null);
      if (!key.column) {
        const text = key.shown(row);
        return el("td", { class: "number" }, i ? text : el("button", { type: "button", class: "link", "aria-label": `Show ${label(row)}`, onclick: () => keep(row) }, text));
      }
      const [value, error] = [key.value(row), key.column.errors?.[row]];
      if (Number.isNaN(value)) return el("td", { class: "number dim", title: key.column.reason(row) }, "–");
      return el("td", { class: "number" }, pretty(value) + (Number.isFinite(error) ? ` ± ${pretty(error, 2)}` : ""));
    });
    return el("tr", { "data-row": row, onclick: () => keep(row) }, ...cells);
  },

  mark() {
    for (const line of byId("table").querySelectorAll("tr[data-row]")) line.classList.toggle("kept", Number(line.dataset.row) === state.kept);
  },

  /** What is shown, in its order, with every digit. */
  csv() {
    const quoted = (value) => (/[",\n\r]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
    const number = (value) => (Number.isNaN(value) ? "" : value === Infinity ? "inf" : value === -Infinity ? "-inf" : String(value));
    const head = [...AXES.map((axis) => axis.name), "phase", "why", "measured", "origin", "models"];
    for (const { name } of COLUMNS.values()) head.push(name, `${name}_standard_error`, `${name}_n`);
    const lines = this.rows().map((row) => {
      const cells = [...AXES.map((axis) => (axis.at[row] < 0 ? "" : axis.levels[axis.at[row]])), phaseName(state.codes[row]), why(row), isInferred(row) ? "no" : "yes", DATA.origin, MODELS(row)];
      for (const column of COLUMNS.values()) cells.push(number(column.values[row]), number(column.errors ? column.errors[row] : NaN), column.n(row));
      return cells;
    });
    return [head, ...lines].map((cells) => cells.map(quoted).join(",")).join("\r\n") + "\r\n";
  },

  download() {
    const url = URL.createObjectURL(new Blob([this.csv()], { type: "text/csv;charset=utf-8" }));
    const link = el("a", { href: url, download: `${DATA.name.replace(/[^\w.-]+/g, "_") || "cells"}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  },
};
