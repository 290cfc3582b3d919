// Axes, ticks and colours.

// Viridis (van der Walt and Smith 2015): told apart by colour-blind readers, and in grey.
const SEQUENTIAL = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
// Red to blue: the worse end is red.
const DIVERGING = ["#7d0722", "#b5313a", "#db6f53", "#f3ac86", "#fbdcc8", "#f6f4f1", "#dbe9f1", "#a3cbe2", "#5f9fcb", "#2a6fae", "#08417c"];
// A logarithmic axis shows at most this many powers of ten, and begins where values span this factor.
const MOST_DECADES = 12;
const STEEP = 30;

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** The colour at a place between 0 and 1 of a list of colours. */
function blend(stops, place) {
  const at = Math.min(Math.max(place, 0), 1) * (stops.length - 1);
  const first = Math.min(Math.floor(at), stops.length - 2);
  const [from, to] = [channels(stops[first]), channels(stops[first + 1])];
  const mixed = from.map((channel, i) => Math.round(channel + (to[i] - channel) * (at - first)));
  return `#${mixed.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}

/** Relative luminance (WCAG 2). */
function luminance(hex) {
  const [r, g, b] = channels(hex).map((c) => {
    const share = c / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);

/** Black or white, whichever is easier to read on a colour. */
function inkOn(hex) {
  const light = luminance(hex);
  return contrast(light, 1) > contrast(light, luminance("#111111")) ? "#ffffff" : "#111111";
}

function extent(values, accept = () => true) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value) || !accept(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

/** How the values of a column become colours. Those of a logged one that are not positive have none. */
function colourScale(values, { diverging = false, steep = false, logged = false, better = null }) {
  const found = logged ? extent(values, (value) => value > 0) : extent(values);
  if (!found) return null;
  let [low, high] = found;
  if ((low < 0 && high > 0) || (diverging && (low < 0 || high > 0))) {
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    return makeScale("diverging", -most, most, better === "low" ? [...DIVERGING].reverse() : DIVERGING, false);
  }
  const log = logged || (steep && low > 0 && high > STEEP * low);
  if (log) low = Math.max(low, high / 10 ** MOST_DECADES);
  if (low === high) [low, high] = [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
  return makeScale(log ? "log" : "sequential", low, high, SEQUENTIAL, log);
}

function makeScale(kind, low, high, stops, log) {
  const place = placer(low, high, log);
  return { kind, low, high, stops, log, place, colour: (value) => blend(stops, Math.round(place(value) * 255) / 255) };
}

/** A function from values to places between 0 (low) and 1 (high). */
function placer(low, high, log) {
  const to = log ? Math.log : (value) => value;
  const [from, span] = [to(low), to(high) - to(low) || 1];
  return (value) => (log && value <= 0 ? 0 : (to(value) - from) / span);
}

/** About `most` round numbers between low and high. */
function ticks(low, high, most, log = false) {
  if (log && low > 0) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const decades = last - first + 1;
    for (const steps of [[1, 2, 5], [1, 3], [1]]) {
      const found = [];
      for (let power = first - 1; power <= last; power++) {
        for (const step of steps) {
          const value = Number(`${step}e${power}`);
          if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) found.push(value);
        }
      }
      if (found.length >= 2 && found.length <= most + 1) return found;
    }
    if (decades >= 2) {
      const stride = Math.ceil(decades / most);
      return Array.from({ length: Math.ceil(decades / stride) }, (_, i) => Number(`1e${first + i * stride}`));
    }
  }
  const raw = (high - low) / Math.max(most, 1);
  if (!(raw > 0) || !Number.isFinite(raw)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** An axis from values to pixels, with a little room on both sides. */
function spanAxis(values, steep, from, to) {
  const found = extent(values) ?? [0, 1];
  const log = steep && found[0] > 0 && found[1] > STEEP * found[0];
  let [low, high] = found;
  if (log) {
    low = Math.max(low, high / 10 ** MOST_DECADES);
    const room = (high / low) ** 0.04;
    [low, high] = [low / room, high * room];
  } else {
    const room = (high - low) * 0.04 || Math.abs(low) / 10 || 1;
    [low, high] = [low - room, high + room];
  }
  return pixelAxis(low, high, log, from, to);
}

function pixelAxis(low, high, log, from, to) {
  const place = placer(low, high, log);
  const at = (value) => from + place(value) * (to - from);
  const back = (pixel) => {
    const share = (pixel - from) / (to - from);
    return log ? low * (high / low) ** share : low + (high - low) * share;
  };
  return { low, high, log, at, back };
}

/** Where the cells of an axis lie: edges in pixels, one more than there are levels. */
function levelEdges(levels, log, numeric, even, from, to) {
  const count = levels.length;
  if (!count) return [from];
  const places = levels.map((level, i) => (even || !numeric ? i : log ? Math.log(level) : level));
  const edges = [];
  for (let i = 1; i < count; i++) edges.push((places[i - 1] + places[i]) / 2);
  const first = count > 1 ? places[0] - (edges[0] - places[0]) : places[0] - 0.5;
  const last = count > 1 ? places[count - 1] + (places[count - 1] - edges[count - 2]) : places[0] + 0.5;
  const all = [first, ...edges, last];
  return all.map((edge) => from + ((edge - first) / (last - first)) * (to - from));
}

/** Which levels are written on an axis: every first, second, third … so that none touch. */
function spacedLabels(centres, sizes, gap) {
  for (let stride = 1; stride < centres.length; stride++) {
    let free = -Infinity;
    const chosen = [];
    let fits = true;
    for (let i = 0; i < centres.length && fits; i += stride) {
      const [a, b] = [centres[i] - sizes[i] / 2, centres[i] + sizes[i] / 2];
      fits = a >= free || !chosen.length;
      free = b + gap;
      chosen.push(i);
    }
    if (fits) return chosen;
  }
  return centres.length ? [0] : [];
}
