// What the page holds, read: curves (backtests/report/compact.py packs them), times, and numbers as text.
const page = JSON.parse(document.getElementById("payload").textContent);

function bytes(text) {
  const binary = atob(text), found = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) found[i] = binary.charCodeAt(i);
  return found.buffer;
}

// Values of a packed curve; null where it has none.
function values(curve, change = (v) => v) {
  return Array.from(new Uint16Array(bytes(curve.b)), (u) => (u === 65535 ? null : change(curve.lo + curve.step * u)));
}

const time = (offset) => page.clock.start + page.clock.unit * offset; // milliseconds since 1970, as the market's clocks show

function times(packed) {
  return Array.from(packed.kind === "u4" ? new Uint32Array(bytes(packed.b)) : new Uint16Array(bytes(packed.b)), time);
}

// A flat array in rows of equal length.
function inRows(flat, rows) {
  const length = flat.length / rows;
  return Array.from({ length: rows }, (_, row) => flat.slice(row * length, (row + 1) * length));
}

const daily = page.clock.unit % 86400000 === 0;
const asDate = (ms) => new Date(ms).toISOString().slice(0, daily ? 10 : 16).replace("T", " ");

// Names as plotly is to show them, which takes texts for a kind of HTML.
const literal = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

// Curves of one strategy, unpacked when they are first shown.
const unpacked = new Map();
const slowTimes = times(page.points), cellTimes = times(page.cells);
function strategy(k) {
  if (!unpacked.has(k)) {
    const packed = page.strategies[k];
    unpacked.set(k, {
      name: literal(page.names[k]), months: packed.months, years: packed.years, times: times(packed.times),
      equity: values(packed.equity, (v) => 10 ** v), drawdown: values(packed.drawdown),
      sharpe: values(packed.sharpe), volatility: values(packed.volatility), beta: values(packed.beta), turnover: values(packed.turnover),
      costs: values(packed.costs), gross: values(packed.gross), net: values(packed.net),
      weights: inRows(values(packed.weights), page.prices.length),
      trades: packed.trades.map((t) => ({ times: times(t.times), prices: values(t.prices), sizes: values(t.sizes), of: t.of })),
    });
  }
  return unpacked.get(k);
}
