// The dashboard: asks the gateway for its history every few seconds, and draws it.

import { call } from "../api.js";
import { copyWith } from "../copying.js";
import { $, show } from "../dom.js";
import { sentence } from "../format.js";
import { askForKey, watchKey } from "../keys.js";
import { Chart } from "./chart.js";
import { CHARTS, clock } from "./figures.js";
import { chosenEndpoint, drawScaling, redrawScaling, watchScaling } from "./scaling.js";
import { drawSlow, watchSlow } from "./slow.js";

const EVERY_MS = 5000;
const SPANS = { "5m": 300, "15m": 900, "1h": 3600 };
const TITLES = { 0: "The gateway does not answer", 403: "This key may not see the figures" };
const charts = CHARTS.map((about) => new Chart(about));
let timer = 0;
let asked = 0;

const chosen = () => new URLSearchParams(location.search).get("range");
const range = () => (Object.hasOwn(SPANS, chosen() ?? "") ? chosen() : "15m");
const paused = () => $("pause").getAttribute("aria-pressed") === "true";

// Only the newest question may be drawn: an hour's answer may come after that of five minutes.
async function tick() {
  clearTimeout(timer);
  const mine = ++asked;
  if (!document.hidden) await refresh(mine);
  if (mine === asked && !paused()) timer = setTimeout(tick, EVERY_MS);
}

async function refresh(mine) {
  try {
    const [history, slow, scaling] = await Promise.all([call(`/v1/stats/history?range=${range()}`), call("/v1/stats/slow"), askScalers()]);
    if (mine !== asked) return;
    show($("problem"), false);
    drawHistory(history);
    drawScaling(scaling, SPANS[range()]);
    drawSlow(slow.requests);
  } catch (error) {
    if (mine === asked) fail(error);
  }
}

// An endpoint that is scaled no more is as if none were chosen.
async function askScalers() {
  const of = (name) => call(`/v1/stats/scaling?range=${range()}${name ? `&endpoint=${encodeURIComponent(name)}` : ""}`);
  try {
    return await of(chosenEndpoint());
  } catch (error) {
    if (error.status !== 404) throw error;
    return of("");
  }
}

function drawHistory({ time, columns, endpoints, captions, range: name }) {
  const end = time.at(-1) ?? Date.now() / 1000;
  show($("beginning"), !time.length);
  show($("charts"), time.length > 0);
  for (const chart of charts.filter(({ about }) => about.captions)) show(chart.node, captions);
  if (time.length) for (const chart of charts) chart.update(time, columns, [end - SPANS[name], end]);
  $("updated").textContent = time.length ? `${paused() ? "Paused at" : "As of"} ${clock(end)}. Of this gateway, since it started.` : "It has just started.";
  $("profile-command").textContent = `clipserve profile ${endpoints[0] ?? "clip_text"} --batches 20 --seconds 10 --out before`;
  show($("profile"), true);
}

function fail(error) {
  if (error.status === 401 || error.status === 403) for (const name of ["charts", "scaling", "slow", "profile", "beginning"]) show($(name), false);
  if (error.status === 401) {
    show($("problem"), false);
    if ($("key-panel").hidden) askForKey(error.message);
    return;
  }
  $("problem-title").textContent = TITLES[error.status] ?? "Something went wrong";
  $("problem-text").textContent = `${sentence(error.message)}${error.status === 403 ? ". Choose another one above: Key." : ""}`;
  show($("problem"), true);
}

function choose(name) {
  history.replaceState(null, "", name === "15m" ? location.pathname : `?range=${name}`);
  tick();
}

function pause() {
  $("pause").setAttribute("aria-pressed", String(!paused()));
  $("pause").textContent = paused() ? "Go on" : "Pause";
  tick();
}

function redraw() {
  for (const chart of charts) chart.redraw();
  redrawScaling();
}

function start() {
  $("charts").append(...charts.map((chart) => chart.node));
  for (const radio of $("ranges").querySelectorAll("input")) {
    radio.checked = radio.value === range();
    radio.addEventListener("change", () => choose(radio.value));
  }
  $("pause").addEventListener("click", pause);
  $("profile-copy").addEventListener("click", () => copyWith($("profile-copy"), $("profile-command").textContent));
  watchKey(tick);
  watchScaling(tick);
  watchSlow();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  document.addEventListener("visibilitychange", () => !document.hidden && !paused() && tick());
  tick();
}

start();
