// data.js: what the page is given, put in the order in which it is shown.
//
// The block of JSON (runtime/report_data.c):
//   {title, remark, noun, compiler, live, runs: [{name, rule, seed, state, note, folder, model, residual,
//   device,
//    parameters, memory_bytes, steps, first_bad, options: {NAME: VALUE}, settings: {NAME: VALUE},
//    figures: {first_loss, last_loss, norm, most_norm, seconds},
//    curves: {step: [], loss: {mean: [], least: [], most: []}, grad_norm, lr, seconds},
//    tables: [{name, step: [], layers: [], rows_a_cell, layers_a_cell, sites: [{name, values:
//    [layer][step]}]}], alarms: [{step, level, rule, text}], pictures: [{name, png}]}]}
// A run that failed early has no more than its first five. null is a number that was not finite or
// not known; `least` and `most` are there where a point stands for several steps.

const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;

// Runs of one rule differ in their seed; a rule has one colour, one mark and one place everywhere.
const rules = [];
for (const run of runs) {
  let rule = rules.find((r) => r.name === run.rule);
  if (!rule) rules.push((rule = {name: run.rule, runs: [], index: rules.length, shown: true}));
  rule.runs.push(run);
  run.of = rule;
}
const seeds = [...new Set(runs.map((run) => run.seed))];
const manySeeds = rules.some((rule) => rule.runs.length > 1);

// --- numbers for people ---

// Four digits tell runs apart; powers of ten where a plain number would be long.
function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  let text;
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [mantissa, power] = value.toExponential(digits - 2).split("e");
    text = `${mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa}e${Number(power)}`;
  } else {
    text = Number(value.toPrecision(digits)).toString();
  }
  return text.replace(/-/g, "−");
}
const count = (value) =>
    (value === null || value === undefined ? "–" : value.toLocaleString("en-US"));
function bytes(value) {
  if (value === null || value === undefined) return "–";
  let unit = 0;
  for (; value >= 1024 && unit < 4; unit++) value /= 1024;
  return `${number(value, 3)} ${["bytes", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}
function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0";
  if (seconds < 1e-3) return `${number(seconds * 1e6, 3)} µs`;
  return seconds < 1 ? `${number(seconds * 1e3, 3)} ms` : `${number(seconds, 3)} s`;
}

// --- statistics; null passes through as "not there" ---

const finite = (list) => list.filter((v) => v !== null && v !== undefined && Number.isFinite(v));
function quantile(list, share) {
  const sorted = finite(list).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] :
                         null;
}
const median = (list) => {
  const sorted = finite(list).sort((a, b) => a - b), n = sorted.length;
  if (!n) return null;
  return n % 2 ? sorted[(n - 1) / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
};
const least = (list) => finite(list).reduce((a, b) => Math.min(a, b), Infinity);
const most = (list) => finite(list).reduce((a, b) => Math.max(a, b), -Infinity);

// --- curves of rules ---

// A curve is {step, middle, low, high}; low and high are null where they are the middle.
function curveOfRun(run, name) {
  const curve = run.curves && run.curves[name];
  if (!curve || !finite(curve.mean).length) return null;
  return {
    step: run.curves.step,
    middle: curve.mean,
    low: curve.least || null,
    high: curve.most || null
  };
}

// The seeds of a rule as one: their median, between the least and the most of them. Seeds may have
// stopped early or hold other buckets: the longest gives the steps, the others the point that
// stands for each of those.
function spread(curves) {
  curves = curves.filter(Boolean);
  if (curves.length < 2) return curves[0] || null;
  const frame =
      curves.reduce((a, b) => (b.step[b.step.length - 1] > a.step[a.step.length - 1] ? b : a));
  const out = {step: frame.step, middle: [], low: [], high: []};
  const at = curves.map(() => 0);
  for (const step of frame.step) {
    const middle = [], low = [], high = [];
    curves.forEach((curve, k) => {
      while (at[k] < curve.step.length && curve.step[at[k]] < step) at[k]++;
      if (at[k] === curve.step.length) return;
      middle.push(curve.middle[at[k]]);
      low.push((curve.low || curve.middle)[at[k]]);
      high.push((curve.high || curve.middle)[at[k]]);
    });
    out.middle.push(median(middle));
    out.low.push(finite(low).length ? least(low) : null);
    out.high.push(finite(high).length ? most(high) : null);
  }
  return out;
}

// Averages neighbours with weights that fall off over `width` points; the ends use what there is.
function smooth(values, width) {
  if (!width) return values;
  const out = [];
  const reach = Math.ceil(width * 2.5);
  const weights =
      Array.from({length: reach + 1}, (_, d) => Math.exp((-d * d) / (2 * width * width)));
  for (let i = 0; i < values.length; i++) {
    let sum = 0, weight = 0;
    for (let j = Math.max(0, i - reach); j <= Math.min(values.length - 1, i + reach); j++) {
      if (values[j] === null) continue;
      sum += values[j] * weights[Math.abs(i - j)];
      weight += weights[Math.abs(i - j)];
    }
    out.push(values[i] === null || !weight ? null : sum / weight);
  }
  return out;
}

// --- elements ---

function make(name, attributes = {}, ...children) {
  const svg =
      ["svg", "path", "line", "rect", "circle", "text", "g", "polygon", "title"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) :
                        document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on"))
      element.addEventListener(key.slice(2), value);
    else if (value === true)
      element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Circle, square, triangle, diamond, …: what colour says, shape says too.
function markPath(index, x, y, r) {
  const points = [
    null,
    [[-1, -1], [1, -1], [1, 1], [-1, 1]],
    [[0, -1.2], [1.15, 0.85], [-1.15, 0.85]],
    [[0, -1.35], [1.35, 0], [0, 1.35], [-1.35, 0]],
    [[0, 1.2], [1.15, -0.85], [-1.15, -0.85]],
    [
      [-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2],
      [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]
    ],
    [[-1.3, -0.65], [1.3, -0.65], [1.3, 0.65], [-1.3, 0.65]],
    [[0, -1.3], [1.24, -0.4], [0.76, 1.05], [-0.76, 1.05], [-1.24, -0.4]],
  ][index % 8];
  if (!points) return `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${- 2 * r},0Z`;
  return `M${
      points.map(([a, b]) => `${(x + a * r).toFixed(1)},${(y + b * r).toFixed(1)}`).join("L")}Z`;
}
// Colours repeat after eight; the lines of the second eight are dashed.
const colour = (index) => `var(--c${index % 8})`;
const dashes = (index) => [null, "6 3", "2 3"][Math.floor(index / 8) % 3];
function swatch(index) {
  return make(
      "svg", {class: "swatch", viewBox: "0 0 26 12", "aria-hidden": "true"}, make("line", {
        x1: 1,
        y1: 6,
        x2: 25,
        y2: 6,
        stroke: colour(index),
        "stroke-width": 2,
        "stroke-dasharray": dashes(index)
      }),
      make("path", {d: markPath(index, 13, 6, 4), fill: colour(index)}));
}

// --- what the reader has chosen; kept while the page loads itself anew ---

const listeners = [];
const onChange = (listener) => listeners.push(listener);
const changed = () => listeners.forEach((listener) => listener());
let kept = {};
try {
  kept = JSON.parse(sessionStorage.getItem(location.pathname) || "{}");
} catch { /* storage is closed to some pages that open from disk: choices last as long as the page
           */
}
function choice(name, fallback) {
  return kept[name] === undefined ? fallback : kept[name];
}
function choose(name, value) {
  kept[name] = value;
  try {
    sessionStorage.setItem(location.pathname, JSON.stringify(kept));
  } catch { /* as above */
  }
  changed();
}
rules.forEach((rule) => {
  rule.shown = choice(`rule ${rule.name}`, true);
});
