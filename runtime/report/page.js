// page.js: the sections of the page, from the conclusion down to the details.

const page = document.getElementById("main");
const shownRuns = () => runs.filter((run) => run.of.shown);

function section(id, title, ...children) {
  const body = make(
      "section", {id, "aria-labelledby": `${id}-title`}, make("h2", {id: `${id}-title`}, title),
      ...children);
  page.append(body);
  return body;
}
// One of a few words; what is chosen is kept under `name`.
function segmented(name, label, words, fallback) {
  const group = make(
      "div", {class: "segmented", role: "radiogroup", "aria-label": label},
      make("span", {}, label));
  for (const word of words) {
    const input = make(
        "input", {type: "radio", name, id: `${name}-${word}`, onchange: () => choose(name, word)});
    input.checked = choice(name, fallback) === word;
    group.append(input, make("label", { for: `${name}-${word}`
                 }, word));
  }
  return group;
}
function select(name, label, words, fallback) {
  const input = make("select", {id: name, onchange: () => choose(name, input.value)});
  for (const [value, text] of words) input.append(make("option", {value}, text));
  input.value =
      words.some(([value]) => value === choice(name, fallback)) ? choice(name, fallback) : fallback;
  return make("label", {class: "select"}, `${label} `, input);
}
const seedText = (run) =>
    (manySeeds && run.seed !== null ? `${run.rule}, seed ${run.seed}` : run.rule);

// --- head ---

function head() {
  const model = data.title || "runs";
  document.title = `${model} · mvcc`;
  document.getElementById("title").textContent = model;
  const devices = [...new Set(runs.map((run) => run.device).filter(Boolean))];
  const words = [];
  if (rules.length > 1)
    words.push(`${rules.length} ${data.noun}s`);
  else if (rules.length)
    words.push(`residual ${rules[0].name}`);
  if (manySeeds) words.push(`${seeds.length} seeds`);
  const steps = most(runs.map((run) => run.steps || 0));
  words.push(`${count(steps)} steps`, ...devices);
  if (data.live) words.push("still running: the page loads itself anew");
  document.getElementById("subtitle").textContent = words.join(" · ");
  document.getElementById("footer").textContent =
      `Written by ${data.compiler}. ${data.remark || ""}`;
}

function legend() {
  const host = document.getElementById("legend");
  for (const rule of rules) {
    const button = make(
        "button", {
          type: "button",
          "aria-pressed": String(rule.shown),
          onclick: () => {
            rule.shown = !rule.shown;
            button.setAttribute("aria-pressed", String(rule.shown));
            choose(`rule ${rule.name}`, rule.shown);
          }
        },
        swatch(rule.index), make("code", {}, rule.name));
    host.append(button);
  }
  const switches = document.getElementById("switches");
  switches.append(
      segmented("scale", "Scale", ["auto", "linear", "log"], "auto"),
      segmented("smooth", "Smoothing", ["off", "some", "much"], "off"));
  if (manySeeds) switches.append(segmented("seeds", "Seeds", ["spread", "each"], "spread"));
}

// --- overview ---

// What became of a run; a collapse counts also where training went on to its end.
function outcome(run) {
  const collapse = (run.alarms || []).find((alarm) => alarm.level === "collapse");
  const ended = !["diverged", "failed"].includes(run.state);
  const state = collapse && ended ? "collapsed" : run.state || "unfinished";
  const step = collapse ? collapse.step : state === "diverged" ? run.first_bad : null;
  return {state, step, words: run.note || (collapse ? collapse.text : "")};
}

const badges = {
  done: "✓",
  running: "▸",
  stopped: "‖",
  unfinished: "‖",
  waiting: "…",
  collapsed: "✕",
  diverged: "✕",
  failed: "✕"
};
// The runs of a rule, those of one state together.
function outcomes(rule) {
  const groups = new Map();
  for (const found of rule.runs.map(outcome))
    groups.set(found.state, [...(groups.get(found.state) || []), found]);
  return [...groups].map(([state, found]) => {
    const bad = ["collapsed", "diverged", "failed"].includes(state),
          steps = finite(found.map((one) => one.step));
    const many = rule.runs.length > 1 ? ` ${found.length} of ${rule.runs.length}` : "";
    const when =
        steps.length ? `${steps.length > 1 ? ", first" : ""} at ${count(least(steps))}` : "";
    return make(
        "span", {
          class: `badge ${bad ? "bad" : state}`,
          title: found.map((one) => one.words).filter(Boolean).join("\n")
        },
        make("span", {"aria-hidden": "true"}, `${badges[state] || "·"} `),
        `${state}${many}${when}`);
  });
}

// Every seed a mark on one scale for all rules: which rule is ahead, and whether seeds agree, is
// seen at once.
function dotPlot(rule, scale) {
  const plot = make("svg", {class: "dots", viewBox: "0 0 120 16", "aria-hidden": "true"});
  const at = rule.runs.map((run) => run.figures && run.figures.last_loss)
                 .filter((v) => v !== null && v !== undefined)
                 .map((v) => 6 + 108 * Math.max(0, Math.min(1, scale.to(v))));
  plot.append(make("line", {class: "rail", x1: 0, x2: 120, y1: 8, y2: 8}));
  if (at.length > 1)
    plot.append(make("line", {
      x1: least(at),
      x2: most(at),
      y1: 8,
      y2: 8,
      stroke: colour(rule.index),
      "stroke-width": 3,
      opacity: 0.45
    }));
  for (const x of at)
    plot.append(make("path", {d: markPath(rule.index, x, 8, 4), fill: colour(rule.index)}));
  return plot;
}

const figure = (rule, name) => finite(rule.runs.map((run) => run.figures && run.figures[name]));
function ranged(values, format) {
  if (!values.length) return "–";
  if (values.length === 1) return format(values[0]);
  const [low, middle, high] =
      [least(values), median(values), most(values)].map((value) => format(value));
  return make(
      "span", {}, middle,
      low === high ? null : make("span", {class: "quiet range"}, ` ${low} to ${high}`));
}
const cell = (label, ...content) => make("td", {"data-label": label}, ...content);
const one = (label, ...content) => make("td", {"data-label": label, class: "nowrap"}, ...content);

function overviewRow(rule, scale, base) {
  const seconds = median(figure(rule, "seconds")),
        alarms = rule.runs.flatMap((run) => run.alarms || []);
  const alarmWords =
      alarmOrder.map((level) => [alarms.filter((alarm) => alarm.level === level).length, level])
          .filter(([n]) => n)
          .map(([n, level]) => `${n} ${level}${n > 1 ? "s" : ""}`);
  const ratio = base && seconds && rule.index > 0 ?
      make("span", {class: "quiet"}, ` ${number(seconds / base, 3)} ×`) :
      null;
  return make(
      "tr", {}, make("th", {scope: "row"}, swatch(rule.index), make("code", {}, rule.name)),
      cell("outcome", make("div", {}, ...outcomes(rule))),
      cell(
          "loss",
          make(
              "div", {class: manySeeds ? "withdots many" : "withdots"},
              ranged(figure(rule, "last_loss"), number),
              rules.length > 1 && scale ? dotPlot(rule, scale) : null)),
      cell("gradient norm", ranged(figure(rule, "norm"), number)),
      one("largest norm",
          number(figure(rule, "most_norm").length ? most(figure(rule, "most_norm")) : null)),
      one("time a step", make("span", {}, time(seconds), ratio)),
      one("memory", bytes(median(rule.runs.map((run) => run.memory_bytes)))),
      one("parameters", count(median(rule.runs.map((run) => run.parameters)))),
      cell("alarms", make("div", {}, ...(alarmWords.length ? alarmWords : [
                                       "none"
                                     ]).map((words) => make("div", {class: "nowrap"}, words)))));
}

function overview() {
  const losses = runs.map((run) => run.figures && run.figures.last_loss);
  const low = least(losses), high = most(losses);
  const scale = finite(losses).length ? scaleOf(low, high, low > 0 && high / low > 8, 3) : null;
  const base = rules.length ? median(figure(rules[0], "seconds")) : null;
  const titles = [
    data.noun, "outcome", "loss", "gradient norm", "largest norm", "time a step", "memory",
    "parameters", "alarms"
  ];
  const table = make(
      "table", {class: "overview"},
      make(
          "thead", {}, make("tr", {}, ...titles.map((title) => make("th", {scope: "col"}, title)))),
      make("tbody", {}, ...rules.map((rule) => overviewRow(rule, scale, base))));
  const words = "Loss and gradient norm are means over the last tenth of the steps" +
      (manySeeds ? ", given as the median over seeds and their range" : "") +
      "; time is the median step" +
      (rules.length > 1 ? ` and its ratio to that of the first ${data.noun}` : "") +
      "; memory is what the plan takes on the device.";
  const notes =
      runs.filter((run) => run.note)
          .map(
              (run) =>
                  make("p", {class: "remark"}, make("strong", {}, `${seedText(run)}: `), run.note));
  section(
      "overview", rules.length > 1 ? `Which ${data.noun} trains` : "The run",
      make("div", {class: "scroll"}, table), ...notes, make("p", {class: "quiet"}, words));
}

// --- curves ---

// The lines of all rules that are shown, by a function from run to curve.
function linesOf(curve) {
  const lines = [];
  for (const rule of rules.filter((r) => r.shown)) {
    if (manySeeds && choice("seeds", "spread") === "each") {
      for (const run of rule.runs)
        lines.push({label: seedText(run), index: rule.index, curve: curve(run)});
    } else {
      lines.push({label: rule.name, index: rule.index, curve: spread(rule.runs.map(curve))});
    }
  }
  return lines;
}
// In points of the curve: a fiftieth and a fifteenth of what 500 points cover.
const smoothing = () => ({off: 0, some: 3, much: 12})[choice("smooth", "off")];
const alarmsShown = () => shownRuns().flatMap(
    (run) => (run.alarms || []).map((alarm) => ({...alarm, index: run.of.index})));

function curves() {
  const wanted = [
    ["loss", "Loss", number, true], ["grad_norm", "Gradient norm", number, true],
    ["lr", "Learning rate", number, false], ["seconds", "Time a step", time, false]
  ];
  const there = wanted.filter(([name]) => runs.some((run) => curveOfRun(run, name)));
  if (!there.length) return;
  const grid = make("div", {class: "charts"});
  section("curves", "Curves", grid);
  for (const [name, title, format, main] of there) {
    const card = make("div", {class: main ? "card wide" : "card"}, make("h3", {}, title));
    grid.append(card);
    new Chart(
        card, title, () => ({
                       lines: linesOf((run) => curveOfRun(run, name)),
                       format,
                       alarms: main ? alarmsShown() : [],
                       smoothing: name === "seconds" ? 12 :
                           main                      ? smoothing() :
                                                       0,
                       clipped: name === "seconds",
                       scale: main ? choice("scale", "auto") : "linear"
                     }),
        main ? (name === "loss" ? 300 : 220) : 150);
  }
}

// --- diagnostics ---

// What a table of a known name shows (docs/diagnostics.md); others are shown without a sentence.
const meanings = {
  gradient: "L2 norm of the gradient of each family of weights, before clipping.",
  "gradient.outer": "The same of the weights outside stacks.",
  "writer.deep":
      "Medians of g_mean, g_ctr and their ratio over the deep layers that are looked at.",
  rho:
      "ρ = ‖mean(X)‖ / ‖centred(X)‖: how far the tokens' common part outweighs what tells them apart.",
  tcs: "Token cosine similarity: mean over pairs of tokens. 1 means that all tokens say the same.",
  g_mean: "G_mean: Frobenius norm of the writer's gradient through the mean token.",
  g_ctr: "G_ctr: Frobenius norm of the writer's gradient through centred tokens.",
  r_tr: "r_TR = RMS(F) / RMS(X): size of the branch beside the stream it joins.",
  var_gain: "‖centred(F)‖ / ‖centred(X)‖: how much of what tells tokens apart a branch adds.",
  mu_eff: "μ_eff = ‖P A P‖₂: what attention leaves of the differences between tokens.",
  row_div: "‖A − JA‖ / ‖A‖: how different the rows of the attention matrix are.",
  ratio: "Gradient norm of the writers over that of the queries.",
  dynamics:
      "Gradient norms of writers, queries and keys: of the model, of its deep layers and by stage.",
  amplification:
      "Squared norm of the summed gradient of a writer over the sum of the tokens' own: above 1, tokens push the same way.",
  coherence:
      "How much tokens agree in what a writer reads and in the gradient at its output; bounds how far amplification is from 1.",
  gain_mean: "Mean of each learned gain.",
  gain_max: "Largest of each learned gain.",
  ret: "Share of the centred signal that attention retains.",
  leak: "Share of the centred signal that attention turns into a common part.",
};

// "rho.image" is rho of the segment called image.
function meaningOf(name) {
  const [whole, segment] = name.split(".");
  if (meanings[name] || !segment || !meanings[whole]) return meanings[name] || "";
  return `${meanings[whole]} Of the segment ${segment} alone.`;
}

function tableNames() {
  const names = [];
  for (const run of runs)
    for (const table of run.tables || [])
      if (!names.includes(table.name)) names.push(table.name);
  return names;
}
// The newest of that name: another choice of layers in a resumed run makes another table.
const tableOf = (run, name) =>
    (run.tables || []).filter((table) => table.name === name).pop() || null;
function siteOf(run, name, site) {
  const table = tableOf(run, name), found = table && table.sites.find((s) => s.name === site);
  return found ? {...table, values: found.values} : null;
}

// One number a step out of all layers.
function overLayers(table, how) {
  const first = table.layers.length > 3 ? Math.floor(0.75 * table.layers.length) : 0;
  return table.step.map((_, at) => {
    const column = table.values.map((row) => row[at]);
    if (how === "deep") return median(column.slice(first));
    if (how === "median") return median(column);
    if (how === "largest") return finite(column).length ? most(column) : null;
    return column[table.layers.indexOf(Number(how))] ?? null;
  });
}

function diagnostic(name) {
  const all = runs.map((run) => tableOf(run, name)).filter(Boolean);
  // A gain that one rule alone has stands behind what can be compared.
  const having = (site) => all.filter((table) => table.sites.some((s) => s.name === site)).length;
  const sites = [...new Set(all.flatMap((table) => table.sites.map((site) => site.name)))];
  sites.sort((a, b) => having(b) - having(a));
  const layers = [...new Set(all.flatMap((table) => table.layers))].sort((a, b) => a - b);
  const controls = make("div", {class: "controls"});
  const siteKey = `site ${name}`, layerKey = `layer ${name}`;
  if (sites.length > 1)
    controls.append(
        select(siteKey, "of", sites.map((site) => [site, site || "the model"]), sites[0]));
  if (layers.length > 1)
    controls.append(select(
        layerKey, "curve over",
        [
          ["deep", "deepest quarter, median"], ["median", "all layers, median"],
          ["largest", "all layers, largest"],
          ...layers.map((layer) => [String(layer), `layer ${layer}`])
        ],
        "deep"));
  const site = () => choice(siteKey, sites[0]);
  const how = () => (layers.length > 1 ? choice(layerKey, "deep") : "median");
  const curve = (run) => {
    const table = siteOf(run, name, site());
    return table && {step: table.step, middle: overLayers(table, how()), low: null, high: null};
  };
  const block = make("article", {class: layers.length > 1 ? "diagnostic" : "diagnostic lone"});
  const left = make("div", {}), right = make("div", {class: "maps"});
  block.append(
      make("h3", {}, make("code", {}, name)), make("p", {class: "quiet"}, meaningOf(name)),
      controls, make("div", {class: "pair"}, left, layers.length > 1 ? right : null));
  diagnosticsHost.append(block);
  new Chart(
      left, name,
      () => ({lines: linesOf(curve), scale: choice("scale", "auto"), smoothing: 0, alarms: []}),
      200);
  if (layers.length > 1) maps(right, name, site);
}

// A map a rule (or a run, where every seed is shown), all with the same colours and the same steps.
function maps(host, name, site) {
  let drawn = [], state = "";
  const draw = () => {
    const each = choice("seeds", "spread") === "each";
    const wanted =
        rules.filter((rule) => rule.shown)
            .flatMap(
                (rule) => (each ? rule.runs : [rule.runs.find((run) => siteOf(run, name, site()))]))
            .filter((run) => run && siteOf(run, name, site()));
    const now = JSON.stringify([site(), wanted.map((run) => run.name)]);
    if (now === state) return;
    state = now;
    drawn.forEach((map) => map.gone());
    const tables = wanted.map((run) => siteOf(run, name, site()));
    const scale = mapScale(tables.flatMap((table) => table.values.flat()));
    host.replaceChildren();
    if (!scale) return;
    const first = least(tables.map((table) => table.step[0])),
          last = most(tables.map((table) => table.step[table.step.length - 1]));
    const grid = make("div", {class: "grid"});
    grid.style.setProperty("--across", wanted.length === 4 ? 2 : Math.min(3, wanted.length));
    host.append(scaleLegend(scale, number), grid);
    drawn = wanted.map(
        (run, k) => new HeatMap(
            grid,
            each || run.of.runs.length === 1 ? seedText(run) : `${run.rule}, seed ${run.seed}`,
            run.of.index, tables[k], scale, first, last, number,
            site() ? `${name} of ${site()}` : name));
  };
  draw();
  onChange(draw);
}

let diagnosticsHost = null;
function diagnostics() {
  const names = tableNames();
  if (!names.length) return;
  diagnosticsHost = make("div", {class: "diagnostics"});
  section(
      "diagnostics", "Diagnostics",
      make(
          "p", {class: "contents"},
          ...names.map((name) => make("a", {href: `#diagnostic-${name}`}, name))),
      diagnosticsHost);
  names.forEach((name) => {
    diagnostic(name);
    diagnosticsHost.lastElementChild.id = `diagnostic-${name}`;
  });
}

// --- pictures, settings, alarms ---

// samples-900 is of step 900; any other name is no number.
const pictureStep = (name) => Number((/^samples-(\d+)$/.exec(name) || [])[1] ?? Infinity);
const pictureTitle = (name) =>
    (Number.isFinite(pictureStep(name)) ? `step ${count(pictureStep(name))}` : `${name}.png`);

// One picture with the words under it; a run that has none of that step keeps its place.
function pictureOf(run, name) {
  const picture = (run.pictures || []).find((one) => one.name === name);
  const step = Number.isFinite(pictureStep(name)) ? `, ${pictureTitle(name)}` : "";
  const words = seedText(run) + step;
  return make(
      "figure", {"data-rule": run.of.index},
      picture ?
          make("img", {src: `data:image/png;base64,${picture.png}`, alt: `Samples of ${words}`}) :
          make("p", {class: "none"}, "no samples"),
      make("figcaption", {}, swatch(run.of.index), make("span", {}, words)));
}

// What stands in one grid is to be compared: of one run all steps are, else all runs of one step,
// seed by seed, so that the rules of one seed stand side by side.
function pictureGrids(names) {
  if (runs.length === 1) return [{pictures: names.map((name) => pictureOf(runs[0], name))}];
  const has = (name) => (run) => (run.pictures || []).some((one) => one.name === name);
  return names.map((name) => ({
    name,
    pictures: seeds.map((seed) => rules.flatMap(
                       (rule) => rule.runs.filter((run) => run.seed === seed)))
                  .filter((group) => group.some(has(name)))
                  .flatMap((group) => group.map((run) => pictureOf(run, name)))
  }));
}

// Of several steps the newest is shown first: pages with ten steps of ten rules are long.
function pictures() {
  const names = [...new Set(runs.flatMap((run) => (run.pictures || []).map((one) => one.name)))];
  names.sort((a, b) => pictureStep(a) - pictureStep(b) || (a < b ? -1 : 1));
  if (!names.length) return;
  const grids = pictureGrids(names).map(
      ({name, pictures}) => ({name, pictures, grid: make("div", {class: "pictures"}, ...pictures)}));
  const several = grids.length > 1, newest = names[names.length - 1];
  const options = [...names.map((name) => [name, pictureTitle(name)]), ["all", "all of them"]];
  // As many side by side as there are rules, where a row can hold them; else rows that are equally
  // full.
  const show = () => {
    const kept = choice("samples", newest);
    const wanted = options.some(([name]) => name === kept) ? kept : newest;
    const there = rules.filter((rule) => rule.shown).length,
          lines = Math.max(1, Math.ceil(there / 5));
    for (const {name, pictures, grid} of grids) {
      grid.hidden = several && wanted !== "all" && wanted !== name;
      pictures.forEach((child) => {
        child.hidden = !rules[child.dataset.rule].shown;
      });
      const across = there === 1 ? pictures.length : Math.ceil(there / lines);
      grid.style.setProperty("--across", Math.max(1, Math.min(5, across)));
    }
  };
  onChange(show);
  section(
      "samples", "Samples",
      several ? make("div", {class: "controls"}, select("samples", "of", options, newest)) : null,
      make("div", {class: "rows"}, ...grids.map((one) => one.grid)));
  show();
}

// Recorded numbers have 17 digits, so that a resumed run computes with the same; people need fewer.
const plain = (value) => value.replace(
    /\d+\.\d{12,}(e-?\d+)?/g, (digits) => String(Number(Number(digits).toPrecision(12))));

function settingRows() {
  const facts = [
    ["model", (run) => run.model], ["residual", (run) => run.residual],
    ["parameters", (run) => count(run.parameters)], ["memory", (run) => bytes(run.memory_bytes)],
    ["device", (run) => run.device], ["compiled by", (run) => run.version && `mvcc ${run.version}`]
  ];
  // What the programs were compiled with, then what the trainer was told.
  const texts = (list, mark) =>
      [...new Set(runs.flatMap((run) => Object.keys(run[list] || {})))].map(
          (name) => [mark + name,
                     (run) => run[list] && run[list][name] && plain(run[list][name])]);
  return [...facts, ...texts("settings", ""), ...texts("options", "--")]
      .map(([name, of]) => ({
             name,
             values: rules.map(
                 (rule) => [...new Set(rule.runs.map((run) => of(run) ?? "–"))].join(", "))
           }))
      .filter((row) => row.values.some((value) => value !== "–"));
}

function settings() {
  const rows = settingRows(), same = rows.filter((row) => new Set(row.values).size === 1),
        differ = rows.filter((row) => !same.includes(row));
  const body = section("settings", rules.length > 1 ? "Settings and how they differ" : "Settings");
  if (differ.length)
    body.append(make(
        "div", {class: "scroll", tabindex: 0, role: "group", "aria-label": "Settings that differ"},
        make(
            "table", {class: "settings"},
            make(
                "thead", {},
                make(
                    "tr", {}, make("th", {}),
                    ...rules.map(
                        (rule) => make(
                            "th", {scope: "col"}, swatch(rule.index),
                            make("code", {}, rule.name))))),
            make(
                "tbody", {},
                ...differ.map(
                    (row) => make(
                        "tr", {}, make("th", {scope: "row"}, row.name),
                        ...row.values.map((value) => make("td", {}, value))))))));
  const list = make(
      "dl", {class: "same"},
      ...same.map(
          (row) => make("div", {}, make("dt", {}, row.name), make("dd", {}, row.values[0]))));
  body.append(
      rules.length > 1 ? make(
                             "details", {open: true},
                             make("summary", {}, `The same for all: ${same.length}`), list) :
                         list);
}

function alarms() {
  const all = runs.flatMap((run) => (run.alarms || []).map((alarm) => ({...alarm, run})));
  if (!all.length) return;
  const limit = 200;
  all.sort((a, b) => alarmOrder.indexOf(a.level) - alarmOrder.indexOf(b.level) || a.step - b.step);
  const row = (alarm) => make(
      "tr", {},
      cell(
          "level",
          make(
              "span", {class: `badge ${alarm.level === "collapse" ? "bad" : alarm.level}`},
              alarm.level)),
      cell("step", count(alarm.step)),
      cell("run", make("span", {}, swatch(alarm.run.of.index), seedText(alarm.run))),
      cell("rule", make("code", {}, alarm.rule)),
      cell("what was seen", make("span", {}, alarm.text)));
  const table = (list) => make(
      "table", {class: "overview"},
      make(
          "thead", {},
          make(
              "tr", {},
              ...["level", "step", "run", "rule", "what was seen"].map(
                  (title) => make("th", {scope: "col"}, title)))),
      make("tbody", {}, ...list.slice(0, limit).map(row)));
  const grave = all.filter((alarm) => alarm.level !== "note"),
        notes = all.filter((alarm) => alarm.level === "note");
  const body = section("alarms", "Alarms");
  if (grave.length) body.append(table(grave));
  if (grave.length > limit)
    body.append(make("p", {class: "quiet"}, `and ${count(grave.length - limit)} warnings more`));
  if (notes.length)
    body.append(make(
        "details", {open: !grave.length},
        make(
            "summary", {},
            notes.length > limit ?
                `${count(notes.length)} notes, of which these are the first ${limit}` :
                `${count(notes.length)} notes`),
        table(notes)));
}

// A page of a run that goes on loads itself anew, unless the reader is just reading values.
function followRun() {
  if (!data.live) return;
  setInterval(() => {
    if (cursor.step === null && !document.hidden) location.reload();
  }, 15000);
}

head();
legend();
overview();
curves();
diagnostics();
pictures();
alarms();
settings();
followRun();
