// Making elements, and writing numbers as Python does.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. Text is set as text, so that no name in the data can become markup. */
function el(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const byId = (id) => document.getElementById(id);

/** A number as Python's format(value, ".{digits}g") writes it. */
function general(value, digits = 6) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power < -4 || power >= digits) {
    const size = String(Math.abs(power)).padStart(2, "0");
    return `${trim(mantissa)}e${power < 0 ? "-" : "+"}${size}`;
  }
  return trim(value.toFixed(Math.max(digits - 1 - power, 0)));
}

/** A number for people: four digits, a true minus, thousands apart. */
function pretty(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  let text;
  if (size >= 10 ** Math.min(digits, 4) && size < 1e7) text = grouped(digits < 4 ? Number(size.toPrecision(digits)) : Math.round(size));
  else text = general(size, digits).replace(/^1e/, "e").replace(/^e([+-])0?(\d+)$/, (_, sign, power) => `10${raised((sign === "-" ? "-" : "") + power)}`).replace(/e([+-])0?(\d+)/, (_, sign, power) => ` × 10${raised((sign === "-" ? "-" : "") + power)}`);
  return value < 0 ? `−${text}` : text;
}

const grouped = (whole) => (whole < 10000 ? String(whole) : whole.toLocaleString("en-US").replaceAll(",", "\u202f"));

function raised(text) {
  return [...text].map((sign) => ({ "-": "⁻" })[sign] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)]).join("");
}

function withUnit(text, unit) {
  return unit ? `${text} ${unit}` : text;
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** What to call a value of an axis. */
function levelText(value) {
  return typeof value === "number" && !Number.isInteger(value) ? general(value, 6) : String(value);
}
