// What a reader does: chooses each strategy, zooms, sorts, and turns the light off. `plots` names the plots.
const found = { strategies: [] };
const painted = (name) => document.querySelectorAll(
  `#plot-${name} .js-line, #plot-${name} .points path, #plot-${name} .hm image, #plot-${name} .barlayer path, #plot-${name} .scatterlayer path`).length;
for (const chosen of document.getElementById("chosen").options) {
  document.getElementById("chosen").value = chosen.value;
  document.getElementById("chosen").dispatchEvent(new Event("change"));
  await new Promise((go) => setTimeout(go, 300));
  found.strategies.push({
    verdict: document.getElementById("verdict").textContent, painted: Object.fromEntries(plots.map((name) => [name, painted(name)])),
    bold: [...document.querySelectorAll("tr.chosen td:first-child")].map((td) => td.textContent),
    drawdowns: [...document.querySelectorAll("#table-drawdowns tbody tr")].map((tr) => [...tr.cells].map((td) => td.textContent)),
    equity: document.getElementById("plot-equity").data.map((trace) => trace.name),
    last: document.getElementById("plot-equity").data.filter((trace) => !trace.yaxis).pop().y.slice(-1)[0],
  });
}
document.querySelector("button[data-years='1']").click();
await new Promise((go) => setTimeout(go, 500));
found.ranges = ["equity", "rolling", "weights", "trades", "turnover"].map((name) => document.getElementById(`plot-${name}`).layout.xaxis.range.map(Number));
document.getElementById("chosen").value = "0";  // a switch keeps the span
document.getElementById("chosen").dispatchEvent(new Event("change"));
await new Promise((go) => setTimeout(go, 500));
found.kept = document.getElementById("plot-equity").layout.xaxis.range.map(Number);
document.querySelector("button[data-years='0']").click();
await new Promise((go) => setTimeout(go, 500));
found.whole = document.getElementById("plot-equity").layout.xaxis.range.map(Number);
found.sharpe = [...document.querySelectorAll(".strategies th")].find((th) => th.textContent === "Sharpe");
found.sharpe.click();
found.sorted = [...found.sharpe.closest("table").tBodies[0].rows].map((row) => parseFloat(row.cells[found.sharpe.cellIndex].textContent));
delete found.sharpe;
const ground = () => getComputedStyle(document.body).backgroundColor;
found.light = ground();
document.getElementById("theme").click();
await new Promise((go) => setTimeout(go, 300));
found.dark = ground();
found.section = document.querySelectorAll("#plot-section-0 .barlayer path").length;
found.shaded = document.querySelectorAll("#plot-equity .shapelayer path").length;
found.wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".wide, .plot, .figure, svg")).map((e) => e.outerHTML.slice(0, 80));
return found;
