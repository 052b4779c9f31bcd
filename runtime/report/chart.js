// chart.js: lines over steps, drawn as SVG to the width that there is.
//
// All charts share one cursor, a step: whatever chart or map the reader is in, every other shows
// the same moment. A chart has the keyboard's focus like a button; arrow keys move the cursor, Page
// keys by a tenth, Home and End.

const cursor = {
  step: null,
  owner: null
};
const followers = [];
function moveCursor(step, owner) {
  cursor.step = step;
  cursor.owner = owner;
  followers.forEach((follow) => follow());
}

const tip = document.getElementById("tip");
let tipFrame = 0;
// Beside (x, y) of the window, on the side where there is room.
function showTip(x, y, ...content) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), gap = 14, wide = document.documentElement.clientWidth;
  let left = x + gap + box.width > wide ? x - gap - box.width : x + gap;
  left = Math.max(4, Math.min(left, wide - box.width - 4));
  const top = Math.max(4, Math.min(y - box.height / 2, window.innerHeight - box.height - 4));
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}
function hideTip() {
  tip.hidden = true;
}

// --- scales ---

// Round steps: 1, 2 or 5 times a power of ten.
function ticks(low, high, wanted) {
  const raw = (high - low) / Math.max(1, wanted), power = 10 ** Math.floor(Math.log10(raw));
  const unit = [1, 2, 5, 10].find((m) => m * power >= raw * 0.999) * power;
  const out = [];
  for (let i = Math.ceil(low / unit - 1e-9); i * unit <= high + unit * 1e-9; i++)
    out.push(Number((i * unit).toPrecision(12)));
  return out;
}
// Powers of ten, thinned when there are many, with 2 and 5 between them when there are few.
function logTicks(low, high, wanted) {
  const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
  const stride = Math.max(1, Math.ceil((to - from) / Math.max(2, wanted)));
  const parts = to - from <= 1 ? [1, 2, 3, 5, 7] : to - from <= 2 ? [1, 2, 5] : [1];
  const out = [];
  for (let e = from; e <= to; e += stride) parts.forEach((m) => out.push(m * 10 ** e));
  return out.filter((v) => v >= low * 0.999 && v <= high * 1.001);
}
// {to: value -> 0..1, marks}. A log scale needs something above zero.
function scaleOf(low, high, log, wanted) {
  if (log && high > 0) {
    low = Math.max(low, Number.MIN_VALUE);
    if (high / low < 1.02) {
      low /= 1.1;
      high *= 1.1;
    }
    const a = Math.log(low), b = Math.log(high);
    let marks = logTicks(low, high, wanted);
    if (marks.length < 2) marks = ticks(low, high, wanted);
    return {
      low,
      high,
      log: true,
      marks,
      to: (v) => (v > 0 ? (Math.log(v) - a) / (b - a) : -Infinity)
    };
  }
  if (!(high > low)) {
    const room = Math.abs(low) * 0.05 || 1;
    low -= room;
    high += room;
  }
  return {
    low,
    high,
    log: false,
    marks: ticks(low, high, wanted),
    to: (v) => (v - low) / (high - low)
  };
}

// Whether a linear scale would hide most of what is there: hardly anything at or below zero, and
// thirtyfold from end to end, or a peak that is far above all else.
function wideRange(values) {
  const positive = values.filter((v) => v > 0);
  if (!positive.length || positive.length < 0.9 * values.length || least(values) < 0) return false;
  const low = quantile(positive, 0.01), high = quantile(positive, 0.99);
  return high / low > 30 || most(positive) / quantile(positive, 0.5) > 100;
}

// Steps as axes say them: 500, 2k, 1.5M.
function stepText(step) {
  if (step >= 1e6) return `${number(step / 1e6, 4)}M`;
  return step >= 1e4 ? `${number(step / 1e3, 4)}k` : String(step);
}

// --- lines ---

// Gaps where a value is not there; what leaves a log scale below runs along its edge.
function linePath(step, values, x, y) {
  let path = "", pen = "M", last = -Infinity;
  for (let i = 0; i < step.length; i++) {
    const v = values[i];
    if (v === null || v === undefined || !Number.isFinite(v)) {
      pen = "M";
      continue;
    }
    if (step[i] < last) pen = "M";
    last = step[i];
    path += `${pen}${x(step[i]).toFixed(1)},${y(v).toFixed(1)}`;
    pen = "L";
  }
  return path;
}
function bandPath(step, low, high, x, y) {
  let path = "", up = [], down = [];
  const close = () => {
    if (up.length > 1) path += `M${up.join("L")}L${down.reverse().join("L")}Z`;
    up = [];
    down = [];
  };
  for (let i = 0; i < step.length; i++) {
    if (low[i] === null || high[i] === null) {
      close();
      continue;
    }
    const at = x(step[i]).toFixed(1);
    up.push(`${at},${y(high[i]).toFixed(1)}`);
    down.push(`${at},${y(low[i]).toFixed(1)}`);
  }
  close();
  return path;
}

// The point of a curve that stands for a step.
function indexAt(steps, step) {
  let low = 0, high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step)
      low = middle + 1;
    else
      high = middle;
  }
  return low > 0 && Math.abs(steps[low - 1] - step) <= Math.abs(steps[low] - step) ? low - 1 : low;
}

const alarmMarks = {
  note: 0,
  warning: 2,
  collapse: 3
};
const alarmOrder = ["collapse", "warning", "note"];

// A chart of {lines: [{label, index, curve}], scale: "auto" | "linear" | "log", smoothing, clipped,
// alarms: [alarm with .index], format} in `host`. `spec()` is asked anew on every drawing.
class Chart {
  constructor(host, title, spec, height = 220) {
    this.spec = spec;
    this.title = title;
    this.height = height;
    this.root = make("svg", {class: "chart", tabindex: 0, role: "img"});
    host.append(this.root);
    this.root.addEventListener("pointermove", (event) => this.point(event));
    this.root.addEventListener("pointerdown", (event) => this.point(event));
    this.root.addEventListener("pointerleave", () => this.leave());
    this.root.addEventListener("blur", () => this.leave());
    this.root.addEventListener("keydown", (event) => this.key(event));
    followers.push(() => this.drawCursor());
    onChange(() => this.draw());
    // In the next frame: drawing changes sizes, and within an observer's call that is an error to
    // browsers.
    new ResizeObserver(() => requestAnimationFrame(() => {
                         if (Math.abs(this.root.clientWidth - (this.width || 0)) > 1) this.draw();
                       }))
        .observe(this.root);
  }

  draw() {
    const spec = this.spec();
    this.width = this.root.clientWidth || 600;
    this.lines = spec.lines.filter((line) => line.curve);
    this.alarms = spec.alarms || [];
    this.format = spec.format || number;
    this.root.replaceChildren();
    this.root.setAttribute("aria-label", this.describe());
    const lanes = [...new Set(this.alarms.map((alarm) => alarm.index))].sort((a, b) => a - b);
    const laneHeight = Math.min(11, 66 / Math.max(1, lanes.length));
    const lower = 22 + (lanes.length ? lanes.length * laneHeight + 5 : 0);
    this.root.setAttribute("height", this.height + lower);
    this.root.setAttribute("viewBox", `0 0 ${this.width} ${this.height + lower}`);
    if (!this.lines.length) {
      this.root.append(make("text", {x: 12, y: 24, class: "empty"}, "nothing to show"));
      return;
    }
    this.measure(spec);
    this.drawAxes();
    this.drawAlarms(lanes, laneHeight);
    this.drawLines(spec);
    this.pointer = make("g", {class: "cursor"});
    this.root.append(this.pointer);
    this.drawCursor();
  }

  describe() {
    const words = this.lines.map((line) => {
      const values = finite(line.curve.middle);
      return values.length ? `${line.label}: from ${this.format(values[0])} to ${
                                 this.format(values[values.length - 1])}` :
                             "";
    });
    return `${this.title} by step. ${words.filter(Boolean).join("; ")}. Arrow keys read values.`;
  }

  measure(spec) {
    const values = [];
    let first = Infinity, last = -Infinity;
    for (const {curve} of this.lines) {
      for (const list of [curve.middle, curve.low, curve.high]) {
        if (list) values.push(...finite(list));
      }
      first = Math.min(first, least(curve.step));
      last = Math.max(last, most(curve.step));
    }
    const positive = values.filter((v) => v > 0);
    const log = positive.length > 0 &&
        (spec.scale === "log" || (spec.scale === "auto" && wideRange(values)));
    let low = least(log ? positive : values), high = most(values);
    // The first step, in which devices are opened, would flatten all others.
    if (spec.clipped) high = Math.min(high, 1.5 * quantile(values, 0.98));
    if (!log && low > 0 && low < 0.35 * high) low = 0;
    this.yScale = scaleOf(low, high, log, this.height / 42);
    this.steps = {first, last: last > first ? last : first + 1};
    const widest = most(this.yScale.marks.map((mark) => this.format(mark).length));
    this.left = Math.max(34, 10 + 6.6 * widest);
    this.right = this.width - 12;
    this.top = 8;
    this.bottom = this.height - 2;
    this.x = (step) => this.left +
        ((step - this.steps.first) / (this.steps.last - this.steps.first)) *
            (this.right - this.left);
    this.y = (v) =>
        this.bottom - Math.max(0, Math.min(1, this.yScale.to(v))) * (this.bottom - this.top);
  }

  drawAxes() {
    const axes = make("g", {class: "axes"});
    for (const mark of this.yScale.marks) {
      const y = this.y(mark);
      axes.append(
          make("line", {x1: this.left, x2: this.right, y1: y, y2: y}),
          make("text", {x: this.left - 6, y: y + 4, "text-anchor": "end"}, this.format(mark)));
    }
    for (const mark of ticks(this.steps.first, this.steps.last, this.width / 90)) {
      const x = this.x(mark), edge = x > this.right - 16;
      axes.append(
          make("line", {class: "tick", x1: x, x2: x, y1: this.bottom, y2: this.bottom + 4}),
          make(
              "text", {
                x: edge ? this.right + 8 : x,
                y: this.bottom + 17,
                "text-anchor": edge ? "end" : "middle"
              },
              stepText(mark)));
    }
    axes.append(make(
        "line", {class: "base", x1: this.left, x2: this.right, y1: this.bottom, y2: this.bottom}));
    this.root.append(axes);
  }

  // A lane a rule below the steps; a collapse is also a line through the plot.
  drawAlarms(lanes, laneHeight) {
    const group = make("g", {class: "alarms"});
    const levels = [...alarmOrder].reverse();
    for (const alarm of [...this.alarms].sort(
             (a, b) => levels.indexOf(a.level) - levels.indexOf(b.level))) {
      const x = this.x(alarm.step),
            y = this.bottom + 24 + (lanes.indexOf(alarm.index) + 0.5) * laneHeight;
      if (x < this.left - 1 || x > this.right + 1) continue;
      if (alarm.level === "collapse")
        group.append(make(
            "line",
            {class: "collapse", x1: x, x2: x, y1: this.top, y2: y, stroke: colour(alarm.index)}));
      const r = alarm.level === "note" ? 2.1 : alarm.level === "warning" ? 3.2 : 4;
      group.append(make("path", {
        class: alarm.level,
        d: markPath(alarmMarks[alarm.level], x, y, Math.min(r, laneHeight * 0.45)),
        fill: colour(alarm.index)
      }));
    }
    this.root.append(group);
  }

  drawLines(spec) {
    for (const line of this.lines) {
      const {curve, index} = line;
      const style = {stroke: colour(index), "stroke-dasharray": dashes(index)};
      if (curve.low)
        this.root.append(make("path", {
          class: "band",
          d: bandPath(curve.step, curve.low, curve.high, this.x, this.y),
          fill: colour(index)
        }));
      if (spec.smoothing)
        this.root.append(make(
            "path",
            {class: "line raw", d: linePath(curve.step, curve.middle, this.x, this.y), ...style}));
      line.drawn = smooth(curve.middle, spec.smoothing);
      this.root.append(make("path", {
        class: line.thin ? "line thin" : "line",
        d: linePath(curve.step, line.drawn, this.x, this.y),
        ...style
      }));
      let end = line.drawn.length - 1;
      while (end > 0 && line.drawn[end] === null) end--;
      if (line.drawn[end] !== null && !line.thin)
        this.root.append(make("path", {
          d: markPath(index, this.x(curve.step[end]), this.y(line.drawn[end]), 3.6),
          fill: colour(index),
          class: "mark"
        }));
    }
  }

  drawCursor() {
    if (!this.pointer) return;
    this.pointer.replaceChildren();
    const step = cursor.step;
    if (step === null || step < this.steps.first || step > this.steps.last) return;
    const x = this.x(step);
    this.pointer.append(make("line", {x1: x, x2: x, y1: this.top, y2: this.bottom}));
    for (const line of this.lines) {
      const at = indexAt(line.curve.step, step), value = line.drawn[at];
      if (value === null || value === undefined || !this.covers(line, at, step)) continue;
      this.pointer.append(make("path", {
        d: markPath(line.index, this.x(line.curve.step[at]), this.y(value), 4),
        fill: colour(line.index)
      }));
    }
  }

  // Whether the line has not ended long before the step.
  covers(line, at, step) {
    return Math.abs(line.curve.step[at] - step) <= (this.steps.last - this.steps.first) / 100;
  }

  point(event) {
    if (!this.lines || !this.lines.length) return;
    const box = this.root.getBoundingClientRect();
    const share = (event.clientX - box.left - this.left) / (this.right - this.left);
    if (share < -0.03 || share > 1.03) return this.leave();
    this.read(
        this.steps.first + Math.max(0, Math.min(1, share)) * (this.steps.last - this.steps.first),
        event.clientX, event.clientY);
  }

  leave() {
    if (cursor.owner !== this) return;
    hideTip();
    moveCursor(null, null);
  }

  // Shows the values at the nearest step that a line has.
  read(step, clientX, clientY) {
    const near = this.lines.map((line) => line.curve.step[indexAt(line.curve.step, step)]);
    step = near.reduce((a, b) => (Math.abs(b - step) < Math.abs(a - step) ? b : a));
    moveCursor(step, this);
    const rows = this.lines.map((line) => {
      const at = indexAt(line.curve.step, step);
      return {line, at, value: this.covers(line, at, step) ? line.curve.middle[at] : null};
    });
    rows.sort((a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity));
    const body = rows.map(({line, at, value}) => {
      const {low, high} = line.curve;
      const range = low && value !== null && low[at] !== high[at] ?
          ` (${this.format(low[at])} to ${this.format(high[at])})` :
          "";
      return make(
          "tr", {}, make("td", {}, swatch(line.index)), make("td", {}, line.label),
          make("td", {class: "value"}, `${this.format(value)}${range}`));
    });
    const reach = ((this.steps.last - this.steps.first) / (this.right - this.left)) * 5;
    const here = this.alarms.filter((alarm) => Math.abs(alarm.step - step) <= reach)
                     .sort((a, b) => alarmOrder.indexOf(a.level) - alarmOrder.indexOf(b.level));
    const notes = here.slice(0, 4).map(
        (alarm) => make(
            "p", {class: `alarm ${alarm.level}`}, swatch(alarm.index),
            `${alarm.level} at ${count(alarm.step)}, ${alarm.rule}: ${alarm.text}`));
    if (here.length > 4) notes.push(make("p", {}, `and ${here.length - 4} more here`));
    showTip(
        clientX, clientY, make("p", {class: "when"}, `${this.title}, step ${count(step)}`),
        make("table", {}, ...body), ...notes);
  }

  key(event) {
    if (!this.lines || !this.lines.length) return;
    const steps =
        this.lines.reduce((a, b) => (b.curve.step.length > a.curve.step.length ? b : a)).curve.step;
    const now = cursor.step === null ? steps.length - 1 : indexAt(steps, cursor.step),
          tenth = Math.ceil(steps.length / 10);
    const to = {
      ArrowLeft: now - 1,
      ArrowRight: now + 1,
      PageUp: now - tenth,
      PageDown: now + tenth,
      Home: 0,
      End: steps.length - 1,
      Escape: null
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to === null) return this.leave();
    const step = steps[Math.max(0, Math.min(steps.length - 1, to))],
          box = this.root.getBoundingClientRect();
    this.read(step, box.left + this.x(step), box.top + this.height / 2);
  }
}
