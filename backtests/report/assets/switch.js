// What a reader chooses, and what follows: every plot and table of one strategy, one time axis for all, light, dark and paper.
const state = { chosen: page.chosen, benchmark: page.benchmark, symbol: 0, span: null }; // the span of time, null for all
const at = (id) => document.getElementById(id);
const timed = ["equity", "rolling", "weights", "trades", "turnover"];

function fill(id, heads, rows) {
  const cells = (tag, row) => { const tr = document.createElement("tr"); for (const text of row) tr.appendChild(document.createElement(tag)).textContent = text; return tr; };
  const head = document.createElement("thead"), body = document.createElement("tbody");
  head.append(cells("th", heads));
  body.append(...rows.map((row) => cells("td", row)));
  at(id).replaceChildren(head, body);
}

// Rows of the tables of strategies, and the strategy of each, in whatever order they are sorted.
const places = new Map();
for (const body of document.querySelectorAll(".strategies tbody")) [...body.rows].forEach((row, k) => places.set(row, k));

// By a column: the largest first, then the smallest, then the order in which they came.
function sort(head) {
  const body = head.closest("table").tBodies[0], column = head.cellIndex, order = { "": -1, "-1": 1, "1": 0 }[head.dataset.order || ""];
  const key = (row) => { const text = row.cells[column].textContent, value = parseFloat(text.replace(/,/g, "")); return Number.isNaN(value) ? text : value; };
  const missing = (v) => v === "–";
  const compare = (a, b) => (missing(a) || missing(b) ? missing(a) - missing(b) : order * (typeof a === "string" ? a.localeCompare(b) : a - b));
  for (const other of head.parentElement.cells) delete other.dataset.order;
  if (order) head.dataset.order = order;
  body.append(...[...body.rows].sort((a, b) => (order ? compare(key(a), key(b)) : 0) || places.get(a) - places.get(b)));
}

function show() {
  for (const id of ["chosen", "benchmark", "symbol"]) at(id).value = state[id];
  for (const [row, k] of places) { row.classList.toggle("chosen", k === state.chosen); row.classList.toggle("against", k === state.benchmark); }
  at("verdict").textContent = page.verdicts[state.chosen];
  for (const span of document.querySelectorAll(".name")) span.textContent = page.names[state.chosen];
  for (const [id, table] of Object.entries(page.tables)) {
    const rows = table.rows[state.chosen];
    fill(`table-${id}`, table.heads, rows);
    at(`none-${id}`).hidden = rows.length > 0;
    at(`table-${id}`).hidden = rows.length === 0;
  }
  for (const name of Object.keys(plots)) draw(name);
  if (state.span) zoomed({ "xaxis.range": state.span });
}

// Zooming one plot over time zooms the others; heights follow what is seen.
let zooming = false;
function zoomed(event) {
  const range = event["xaxis.range"] || (event["xaxis.range[0]"] !== undefined ? [event["xaxis.range[0]"], event["xaxis.range[1]"]] : null);
  if (zooming || (!range && !event["xaxis.autorange"])) return;
  zooming = true;
  state.span = range;
  const span = range || [time(0), time(page.clock.last)];
  Promise.all(timed.map((name) => Plotly.relayout(`plot-${name}`, { "xaxis.range": span, ...heights(name, span) }))).then(() => { zooming = false; });
}

function heights(name, span) {
  const [from, to] = span.map((t) => (typeof t === "number" ? t : Date.parse(t.replace(" ", "T") + (t.length > 10 ? "Z" : ""))));
  const found = {};
  const shown = at(`plot-${name}`);
  for (const key of Object.keys(shown.layout).filter((key) => key.startsWith("yaxis"))) {
    const id = key.replace("axis", "");
    if (name === "weights" && id === "y") continue;
    let low = Infinity, high = -Infinity;
    for (const trace of shown.data) {
      if ((trace.yaxis || "y") !== id || !trace.x) continue;
      trace.x.forEach((x, i) => { const v = trace.y[i]; if (x >= from && x <= to && v !== null) { low = Math.min(low, v); high = Math.max(high, v); } });
    }
    if (!(high >= low)) continue;
    if (shown.layout[key].rangemode === "tozero") { low = Math.min(low, 0); high = Math.max(high, 0); }
    if (shown.layout[key].type === "log") [low, high] = [Math.log10(low), Math.log10(high)];
    const edge = 0.05 * (high - low || 1);
    found[`${key}.range`] = [low < 0 || shown.layout[key].rangemode !== "tozero" ? low - edge : low, high + edge];
  }
  return found;
}

function years(count) {
  const end = time(page.clock.last);
  zoomed(count ? { "xaxis.range": [Math.max(end - count * 31557600000, time(0)), end] } : { "xaxis.autorange": true });
}

for (const id of ["chosen", "benchmark", "symbol"]) at(id).addEventListener("change", (event) => { state[id] = Number(event.target.value); show(); });
for (const button of document.querySelectorAll("button[data-years]")) button.addEventListener("click", () => years(Number(button.dataset.years)));
for (const [row, k] of places) row.addEventListener("click", () => { state.chosen = k; show(); });
for (const head of document.querySelectorAll(".strategies th")) head.addEventListener("click", () => sort(head));
show();
for (const name of timed) at(`plot-${name}`).on("plotly_relayout", zoomed);
addEventListener("themechange", show);
let width = innerWidth;
addEventListener("resize", () => { if ((width < 700) !== narrow()) show(); width = innerWidth; });
function printing(on) {
  paper = on;
  show();
  for (const element of document.querySelectorAll(".js-plotly-plot")) Plotly.relayout(element, on ? { width: 680, autosize: false } : { width: null, autosize: true });
}
addEventListener("beforeprint", () => printing(true));
addEventListener("afterprint", () => printing(false));
