// map.js: layer by step heat maps on a canvas, one pixel a cell, enlarged without blur. The colours
// are those of cividis, which read the same with and without red-green vision and in grey; dark is
// small, bright is large.

const cividis = [
  [0, 34, 78],
  [18, 53, 112],
  [59, 73, 108],
  [87, 93, 109],
  [112, 113, 115],
  [138, 134, 120],
  [165, 156, 116],
  [195, 179, 105],
  [225, 204, 85],
  [254, 232, 56],
];
function mapColour(share) {
  const at = Math.max(0, Math.min(1, share)) * (cividis.length - 1),
        low = Math.min(Math.floor(at), cividis.length - 2);
  return cividis[low].map((v, k) => Math.round(v + (cividis[low + 1][k] - v) * (at - low)));
}

// One scale for all maps of a diagnostic, so that they compare; the outermost hundredth does not
// stretch it.
function mapScale(all) {
  const values = finite(all);
  if (!values.length) return null;
  // Zeros have no place on a log scale; they take its lowest colour.
  const log = wideRange(values), counted = log ? values.filter((v) => v > 0) : values;
  const low = quantile(counted, 0.01), high = quantile(counted, 0.99);
  const cut = least(values) < low || most(values) > high;
  return {...scaleOf(low, high, log, 4), cut};
}

function scaleLegend(scale, format) {
  const canvas = make("canvas", {width: 128, height: 1, "aria-hidden": "true"}),
        pen = canvas.getContext("2d");
  for (let i = 0; i < 128; i++) {
    pen.fillStyle = `rgb(${mapColour(i / 127).join()})`;
    pen.fillRect(i, 0, 1, 1);
  }
  const words = `${scale.log ? "log scale" : "linear scale"}${
      scale.cut ? ", outermost hundredths clipped" : ""}`;
  return make(
      "div", {class: "scale"}, make("span", {}, format(scale.low)), canvas,
      make("span", {}, format(scale.high)), make("span", {class: "quiet"}, words));
}

class HeatMap {
  // `table` is {step, layers, values: [layer][step]}; `last` the step at the right edge of all
  // maps. `what` says which diagnostic it is.
  constructor(host, title, index, table, scale, first, last, format, what) {
    Object.assign(this, {title, index, table, scale, first, last, format, what});
    this.rows = table.values.length;
    this.columns = table.step.length;
    this.canvas = make("canvas", {width: this.columns, height: this.rows});
    const named = Math.min(this.rows, 4);
    const labels = make("div", {class: "layers", "aria-hidden": "true"});
    for (let i = 0; i < named; i++) {
      const row = named === 1 ? 0 : Math.round((i * (this.rows - 1)) / (named - 1));
      labels.append(make(
          "span", {style: `top:${((row + 0.5) / this.rows) * 100}%`}, String(table.layers[row])));
    }
    this.hair = make("div", {class: "hair", hidden: true});
    this.frame = make(
        "div", {class: "frame", tabindex: 0, role: "img", "aria-label": this.describe()},
        this.canvas, this.hair);
    host.append(make(
        "figure", {class: "map"}, make("figcaption", {}, swatch(index), make("span", {}, title)),
        make("div", {class: "plot", style: `--rows:${this.rows}`}, labels, this.frame),
        make(
            "div", {class: "ends", "aria-hidden": "true"}, make("span", {}, stepText(first)),
            make("span", {}, "step"), make("span", {}, stepText(last)))));
    this.paint();
    this.frame.addEventListener("pointermove", (event) => this.point(event));
    this.frame.addEventListener("pointerdown", (event) => this.point(event));
    this.frame.addEventListener("pointerleave", () => this.leave());
    this.frame.addEventListener("blur", () => this.leave());
    this.frame.addEventListener("keydown", (event) => this.key(event));
    this.follow = () => this.drawHair();
    followers.push(this.follow);
  }

  describe() {
    const values = finite(this.table.values.flat());
    return `${this.what}, ${this.title}: layers ${this.table.layers[0]} to ${
               this.table.layers[this.rows - 1]} by step, from ` +
        `${this.format(least(values))} to ${this.format(most(values))}. Arrow keys read cells.`;
  }

  // Cells that are not there stay clear and show the ground's hatching. A run that ended early
  // fills its part.
  paint() {
    const pen = this.canvas.getContext("2d"), image = pen.createImageData(this.columns, this.rows);
    for (let row = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++) {
        const value = this.table.values[row][column];
        if (value === null) continue;
        image.data.set(
            [...mapColour(this.scale.to(value)), 255], 4 * (row * this.columns + column));
      }
    }
    pen.putImageData(image, 0, 0);
    const span = Math.max(1, this.last - this.first), step = this.table.step;
    this.share = this.columns > 1 ? Math.min(1, (step[this.columns - 1] - this.first) / span) : 1;
    this.canvas.style.width = `${100 * this.share}%`;
  }

  drawHair() {
    const step = cursor.step;
    this.hair.hidden = step === null || step > this.table.step[this.columns - 1];
    if (!this.hair.hidden)
      this.hair.style.left =
          `${100 * this.share * ((indexAt(this.table.step, step) + 0.5) / this.columns)}%`;
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
    if (column >= this.columns || column < 0) return this.leave();
    this.read(Math.max(0, Math.min(this.rows - 1, row)), column, event.clientX, event.clientY);
  }

  read(row, column, x, y) {
    const {table} = this, step = table.step[column];
    this.at = {row, column};
    moveCursor(step, this);
    const layers = table.layers_a_cell > 1 ?
        `layers ${table.layers[row]} to ${
            row + 1 < this.rows ? table.layers[row + 1] - 1 : "the last"}` :
        `layer ${table.layers[row]}`;
    const shared = table.rows_a_cell > 1 || table.layers_a_cell > 1 ?
        make(
            "p", {class: "quiet"},
            "the value furthest from its layer's median among those that share the cell") :
        null;
    showTip(
        x, y, make("p", {class: "when"}, swatch(this.index), this.title),
        make("p", {class: "value"}, `${this.what} ${this.format(table.values[row][column])}`),
        make("p", {}, `step ${count(step)}, ${layers}`), ...(shared ? [shared] : []));
  }

  leave() {
    if (cursor.owner !== this) return;
    hideTip();
    moveCursor(null, null);
  }

  key(event) {
    const {row, column} = this.at || {row: this.rows - 1, column: this.columns - 1};
    const to = {
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      Home: [row, 0],
      End: [row, this.columns - 1]
    }[event.key];
    if (event.key === "Escape") return this.leave();
    if (!to) return;
    event.preventDefault();
    const [r, c] = [
      Math.max(0, Math.min(this.rows - 1, to[0])), Math.max(0, Math.min(this.columns - 1, to[1]))
    ];
    const box = this.canvas.getBoundingClientRect();
    this.read(
        r, c, box.left + ((c + 0.5) / this.columns) * box.width,
        box.top + ((r + 0.5) / this.rows) * box.height);
  }

  gone() {
    const at = followers.indexOf(this.follow);
    if (at >= 0) followers.splice(at, 1);
  }
}
