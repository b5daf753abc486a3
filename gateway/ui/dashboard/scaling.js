// What a scaler decided for one endpoint: demand, forecast with its band, sizes, and why.

import { $, element, show } from "../dom.js";
import { sentence } from "../format.js";
import { Chart } from "./chart.js";
import { SCALING, busy, clock } from "./figures.js";

const FEW = 12;
const COLUMNS = ["demand", "point", "upper", "size", "ready"];
const charts = SCALING.map((about) => new Chart(about));
let chosen = "";

export const chosenEndpoint = () => chosen;

export function watchScaling(again) {
  $("scaling-charts").append(...charts.map((chart) => chart.node));
  $("scaling-endpoint").addEventListener("change", () => {
    chosen = $("scaling-endpoint").value;
    again();
  });
}

export function redrawScaling() {
  for (const chart of charts) chart.redraw();
}

// `span`: seconds that the time axis has.
export function drawScaling({ sizes, endpoint, decisions, problems }, span) {
  show($("scaling"), sizes.length > 0 || problems.length > 0);
  show($("scaling-problem"), problems.length > 0);
  $("scaling-problem").textContent = problems.map((problem) => `${sentence(problem)}.`).join(" ");
  drawChoice(sizes, endpoint);
  const size = sizes.find((each) => each.endpoint === endpoint);
  $("scaling-now").textContent = size ? `${size.size} desired${size.ready === null ? "" : `, ${size.ready} ready`}: ${size.reason}.` : "";
  show($("scaling-charts"), decisions.length > 0);
  if (decisions.length) drawCharts(decisions, span);
  drawChanges(decisions);
}

function drawChoice(sizes, endpoint) {
  const select = $("scaling-endpoint");
  const names = sizes.map((each) => each.endpoint);
  if (document.activeElement === select || names.join() === [...select.options].map((option) => option.value).join()) return;
  select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name, selected: name === endpoint })));
}

function drawCharts(decisions, span) {
  const end = decisions.at(-1).at;
  const columns = Object.fromEntries(COLUMNS.map((name) => [name, decisions.map((each) => each[name] ?? null)]));
  for (const chart of charts) chart.update(decisions.map((each) => each.at), columns, [end - span, end]);
}

// The newest first; `before` each is the size that it replaced.
export function changesOf(decisions) {
  return decisions.flatMap((each, at) => (at && each.size !== decisions[at - 1].size ? [{ ...each, before: decisions[at - 1].size }] : [])).reverse();
}

function drawChanges(decisions) {
  const changes = changesOf(decisions).slice(0, FEW);
  show($("scaling-none"), !changes.length);
  $("scaling-changes").replaceChildren(...changes.map(change));
}

function change({ at, before, size, reason, demand, upper }) {
  const figures = `demand ${busy(demand)}, forecast ${busy(upper)} at most`;
  return element("li", {}, element("span", { className: "soft", textContent: clock(at) }), element("b", { textContent: ` ${before} → ${size} ` }), `${reason} `, element("span", { className: "soft", textContent: `(${figures})` }));
}
