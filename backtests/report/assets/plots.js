// The plots, each a function of what is chosen: `state.chosen` and `state.benchmark` (strategies), `state.symbol`.
// Colours are those of Okabe and Ito, which colour-blind readers tell apart; the benchmark is dashed besides.
const narrow = () => innerWidth < 700;
let paper = false; // while the page is printed

function ink() {
  const style = getComputedStyle(document.documentElement), dark = !paper && document.documentElement.dataset.theme === "dark";
  const of = (light, night) => (dark ? night : light);
  return {
    dark, text: of("#1c2733", "#dfe6ec"), soft: of("#54636f", "#9eacb8"), line: of("#e3e8ee", "#2d3742"),
    card: of("#ffffff", "#1d242c"), chosen: of("#0072b2", "#56b4e9"), benchmark: of("#b35900", "#e69f00"),
    others: of("rgba(110,122,134,.35)", "rgba(150,162,174,.3)"), none: of("#ffffff", "#14191f"), family: style.fontFamily,
  };
}

function base(height, more = {}) {
  const c = ink(), small = narrow();
  return {
    height: paper ? Math.round(0.75 * height) : height, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: { family: "system-ui,sans-serif", size: small ? 11 : 12, color: c.text }, colorway: [c.chosen, c.benchmark],
    margin: { l: small ? 44 : 56, r: small ? 6 : 16, t: 30, b: 28 }, hovermode: "x unified", dragmode: small ? false : "zoom",
    hoverlabel: { bgcolor: c.card, bordercolor: c.line, font: { color: c.text } }, modebar: { bgcolor: "rgba(0,0,0,0)", color: c.soft, activecolor: c.chosen },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: small ? 11 : 12 } }, ...more,
  };
}

function axis(more = {}) {
  const c = ink();
  return { gridcolor: c.line, zerolinecolor: c.soft, linecolor: c.line, automargin: false, ...more };
}

const timeAxis = (more = {}) => axis({ type: "date", range: [time(0), time(page.clock.last)], hoverformat: daily ? "%Y-%m-%d" : "%Y-%m-%d %H:%M", ...more });
const title = (text) => ({ text, font: { size: 12 }, standoff: 4 });

// Curves of the chosen strategy and of its benchmark, one style on all plots.
function both(what, format, x = (s) => slowTimes, more = {}) {
  const c = ink(), found = [];
  const draw = (k, line) => {
    const s = strategy(k);
    found.push({ type: "scatter", mode: "lines", name: s.name, x: x(s), y: s[what], line, hovertemplate: format, legendgroup: s.name, ...more });
  };
  if (state.benchmark !== state.chosen) draw(state.benchmark, { color: c.benchmark, width: 1.4, dash: "dash" });
  draw(state.chosen, { color: c.chosen, width: 2 });
  return found;
}

// Regimes behind a plot: one path per regime, of a rectangle per stretch.
function shades() {
  if (!page.regimes) return [];
  const c = ink();
  return page.regimes.names.map((_, label) => ({
    type: "path", xref: "x", yref: "paper", layer: "below", line: { width: 0 },
    fillcolor: page.regimes.colours[label], opacity: c.dark ? 0.07 + 0.3 * depth(label) ** 2 : 0.45 + 0.35 * depth(label),
    path: page.regimes.stretches.filter((s) => s[2] === label)
      .map(([from, to]) => `M${stamp(from)},0L${stamp(to)},0L${stamp(to)},1L${stamp(from)},1Z`).join(""),
  })).filter((shape) => shape.path);
}
const depth = (label) => label / Math.max(page.regimes.names.length - 1, 1); // 1 for the most volatile
const stamp = (offset) => new Date(time(offset)).toISOString().slice(0, 19).replace("T", "_");

const plots = {
  equity() {
    const c = ink(), x = [], y = [];
    for (const k of page.heads.filter((k) => k !== state.chosen && k !== state.benchmark)) {
      const s = strategy(k);
      x.push(...s.times, null);
      y.push(...s.equity, null);
    }
    const others = { type: "scatter", mode: "lines", name: "other strategies", x, y, line: { color: c.others, width: 1 }, hoverinfo: "skip" };
    const since = (s) => s.times;
    return {
      data: [...(x.length ? [others] : []), ...both("equity", "%{y:.2f}×", since),
        ...both("drawdown", "%{y:.1%}", since, { yaxis: "y2", showlegend: false })],
      layout: base(narrow() ? 430 : 540, {
        shapes: shades(), xaxis: timeAxis({ anchor: "y2" }), yaxis: axis({ type: "log", domain: [0.36, 1], title: title("equity, start = 1 (log)"), ...ticks() }),
        yaxis2: axis({ domain: [0, 0.3], tickformat: ".0%", title: title("drawdown") }),
      }),
    };
  },

  rolling: () => ({
    data: [...both("sharpe", "%{y:.2f}"), ...both("volatility", "%{y:.1%}", undefined, { yaxis: "y2", showlegend: false }),
      ...both("beta", "%{y:.2f}", undefined, { yaxis: "y3", showlegend: false })],
    layout: base(narrow() ? 430 : 480, {
      shapes: shades(), xaxis: timeAxis({ anchor: "y3" }), yaxis: axis({ domain: [0.67, 1], title: title("Sharpe ratio") }),
      yaxis2: axis({ domain: [0.31, 0.63], tickformat: ".0%", rangemode: "tozero", title: title("volatility") }),
      yaxis3: axis({ domain: [0, 0.27], title: title("beta") }),
    }),
  }),

  weights() {
    const c = ink(), s = strategy(state.chosen), symbols = page.prices.map((p) => literal(p.symbol));
    const high = Math.max(1e-6, ...s.weights.flat().map((w) => Math.abs(w ?? 0)));
    const short = s.weights.flat().some((w) => w < -1e-4);
    const scale = short ? [[0, c.benchmark], [0.5, c.none], [1, c.chosen]] : [[0, c.none], [1, c.chosen]];
    const heights = narrow() ? 12 : 16, whole = 150 + heights * symbols.length, top = 100 / whole;
    return {
      data: [
        { type: "scatter", mode: "lines", name: "gross", x: slowTimes, y: s.gross, line: { color: c.chosen, width: 1.6 }, hovertemplate: "%{y:.1%}", yaxis: "y2" },
        { type: "scatter", mode: "lines", name: "net", x: slowTimes, y: s.net, line: { color: c.benchmark, width: 1.4, dash: "dot" }, hovertemplate: "%{y:.1%}", yaxis: "y2" },
        { type: "heatmap", x: cellTimes, y: symbols, z: s.weights, zmin: short ? -high : 0, zmax: high, colorscale: scale, hoverongaps: false,
          hovertemplate: "%{y} %{x|%Y-%m-%d}: %{z:.1%}<extra></extra>", showscale: !narrow(),
          colorbar: { tickformat: ".0%", thickness: 10, len: 1 - top, y: 0, yanchor: "bottom", outlinewidth: 0, title: { text: "weight", side: "right" } } },
      ],
      layout: base(whole, {
        hovermode: "closest", xaxis: timeAxis(), yaxis: axis({ domain: [0, 1 - top - 0.03], autorange: "reversed", type: "category", dtick: 1, tickfont: { size: narrow() ? 9 : 11 } }),
        yaxis2: axis({ domain: [1 - top, 1], tickformat: ".0%", rangemode: "tozero", title: title("gross, net") }),
      }),
    };
  },

  trades() {
    const c = ink(), s = strategy(state.chosen), t = s.trades[state.symbol], p = page.prices[state.symbol];
    const largest = Math.max(...t.sizes.map(Math.abs), 1e-9);
    const marks = (sign, name, symbol, color) => {
      const at = t.sizes.map((v, i) => i).filter((i) => t.sizes[i] * sign > 0);
      return {
        type: "scatter", mode: "markers", name, x: at.map((i) => t.times[i]), y: at.map((i) => t.prices[i]), customdata: at.map((i) => Math.abs(t.sizes[i])),
        marker: { symbol, color, size: at.map((i) => 7 + 7 * Math.sqrt(Math.abs(t.sizes[i]) / largest)), line: { width: 1, color: c.none } },
        hovertemplate: `${name.slice(0, -1)} %{customdata:.1%} of equity at %{y:.4~g}`,
      };
    };
    document.getElementById("trades-count").textContent = t.of <= 1 ? (t.of ? "One trade." : "No trades.") : t.of === t.times.length ? `All ${t.of.toLocaleString("en")} trades.`
      : `The ${t.times.length.toLocaleString("en")} largest of ${t.of.toLocaleString("en")} trades.`;
    return {
      data: [
        { type: "scatter", mode: "lines", name: literal(p.symbol), x: times(p.times), y: values(p.price), line: { color: c.soft, width: 1.2 }, hovertemplate: "%{y:.4~g}" },
        marks(1, "buys", "triangle-up", c.chosen), marks(-1, "sells", "triangle-down", c.benchmark),
        { type: "scatter", mode: "lines", name: "weight", x: cellTimes, y: s.weights[state.symbol], yaxis: "y2", fill: "tozeroy", showlegend: false,
          line: { color: c.chosen, width: 1, shape: "hv" }, hovertemplate: "%{y:.1%} held" },
      ],
      layout: base(narrow() ? 380 : 440, {
        xaxis: timeAxis({ anchor: "y2" }), yaxis: axis({ type: "log", domain: [0.32, 1], title: title("price (log)"), ...ticks() }),
        yaxis2: axis({ domain: [0, 0.26], tickformat: ".0%", rangemode: "tozero", title: title("weight") }),
      }),
    };
  },

  turnover: () => ({
    data: [...both("turnover", "%{y:.1f}×"), ...both("costs", "%{y:.1%}", undefined, { yaxis: "y2", showlegend: false })],
    layout: base(narrow() ? 340 : 380, {
      xaxis: timeAxis({ anchor: "y2" }), yaxis: axis({ domain: [0.53, 1], rangemode: "tozero", ticksuffix: "×", title: title("turnover per year") }),
      yaxis2: axis({ domain: [0, 0.47], tickformat: ".0%", rangemode: "tozero", title: title("costs so far") }),
    }),
  }),

  months() {
    const c = ink(), s = strategy(state.chosen), size = narrow() ? 8 : 11, all = s.months.values.flat().filter((v) => v !== null);
    const sorted = all.map(Math.abs).sort((a, b) => a - b), high = sorted[Math.floor(0.98 * (sorted.length - 1))] || 0.01;
    return {
      data: [{
        type: "heatmap", x: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], y: s.months.years.map(String), z: s.months.values,
        zmin: -high, zmax: high, colorscale: [[0, c.dark ? "#b3781f" : "#e69f4a"], [0.5, c.none], [1, c.dark ? "#2f7fb0" : "#6bb1de"]], showscale: false, xgap: 1, ygap: 1, hoverongaps: false,
        text: s.months.values.map((row) => row.map((v) => (v === null ? "" : (100 * v).toFixed(1)))), texttemplate: "%{text}", textfont: { size, color: c.text },
        hovertemplate: "%{x} %{y}: %{z:.2%}<extra></extra>",
      }],
      layout: base(60 + 20 * s.months.years.length, {
        hovermode: "closest", margin: { l: 44, r: 8, t: 24, b: 8 }, dragmode: false,
        xaxis: axis({ side: "top", showgrid: false, fixedrange: true }), yaxis: axis({ autorange: "reversed", type: "category", dtick: 1, showgrid: false, fixedrange: true }),
      }),
    };
  },

  years() {
    const c = ink(), bars = (k, color) => {
      const s = strategy(k);
      return { type: "bar", name: s.name, x: s.years.map((y) => y[0]), y: s.years.map((y) => y[1]), marker: { color }, hovertemplate: "%{y:.1%}" };
    };
    const found = [bars(state.chosen, c.chosen)];
    if (state.benchmark !== state.chosen) found.push(bars(state.benchmark, c.benchmark));
    return {
      data: found,
      layout: base(narrow() ? 260 : 300, { bargap: 0.25, xaxis: axis({ dtick: strategy(state.chosen).years.length > 15 && narrow() ? 5 : 1, tickangle: narrow() ? 0 : -45, type: "linear", tickformat: "d" }),
        yaxis: axis({ tickformat: ".0%", title: title("return of the year") }), margin: { l: narrow() ? 44 : 56, r: 8, t: 30, b: 44 } }),
    };
  },

  distribution() {
    const c = ink(), h = page.histograms, n = h.counts[0].length, width = (2 * h.edge) / n;
    const x = Array.from({ length: n }, (_, i) => -h.edge + (i + 0.5) * width);
    const share = (k) => { const total = h.counts[k].reduce((a, b) => a + b, 0); return h.counts[k].map((v) => v / total); };
    const k = state.chosen, bell = x.map((v) => (h.std[k] ? (width / (h.std[k] * Math.sqrt(2 * Math.PI))) * Math.exp(-0.5 * ((v - h.mean[k]) / h.std[k]) ** 2) : 0));
    const data = [
      { type: "bar", name: strategy(k).name, x, y: share(k), width, marker: { color: c.chosen, opacity: 0.75 }, hovertemplate: "%{y:.2%} of bars" },
      { type: "scatter", mode: "lines", name: "normal", x, y: bell.map((v) => (v > 3e-5 ? v : null)), line: { color: c.text, width: 1.2, dash: "dot" }, hovertemplate: "%{y:.2%}" },
    ];
    for (const [name, loss, dash] of [["VaR 5 %", h.risk[k], "solid"], ["expected shortfall 5 %", h.shortfall[k], "dashdot"]])
      if (loss !== null && loss < h.edge) data.push({ type: "scatter", mode: "lines", name: `${name}: ${(100 * loss).toFixed(1)}%`, x: [-loss, -loss], y: [3e-5, 0.2], line: { color: c.text, width: 1.2, dash }, hoverinfo: "skip" });
    if (state.benchmark !== k) data.push({ type: "scatter", mode: "lines", name: strategy(state.benchmark).name, x, y: share(state.benchmark).map((v) => v || null), line: { color: c.benchmark, width: 1.4, dash: "dash", shape: "hvh" }, hovertemplate: "%{y:.2%} of bars" });
    return {
      data,
      layout: base(narrow() ? 320 : 360, { bargap: 0, xaxis: axis({ tickformat: ".1%", title: title("return per bar") }), yaxis: axis({ type: "log", tickformat: "~%", title: title("share of bars (log)") }), margin: { l: narrow() ? 52 : 64, r: 8, t: 30, b: 44 } }),
    };
  },
};

// Ticks of a log axis: plotly's own leave an axis of less than a decade with one number.
function ticks() {
  return { dtick: "D2", minor: { showgrid: false }, tickformat: "~g" };
}

function draw(name) {
  const { data, layout } = plots[name]();
  return Plotly.react(`plot-${name}`, data, layout, { displaylogo: false, responsive: true, displayModeBar: narrow() ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "sendChartToCloud"], toImageButtonOptions: { filename: name, scale: 2 } });
}
