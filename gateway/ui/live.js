// The live panel: requests, latency, batches, cache and memory, read from the gateway every two seconds while open.

import { getStats } from "./api.js";
import { $, element, show, svg } from "./dom.js";
import { bytes, digits } from "./format.js";
import { askForKey } from "./keys.js";
import { latestRate, percentiles, share } from "./samples.js";

const EVERY_MS = 2000;
const MOST_SAMPLES = 31; // a minute
const [WIDTH, HEIGHT] = [120, 26];
let samples = [];
let timer = 0;

const TILES = [
  ["Requests", requestsTile],
  ["Latency", latencyTile],
  ["Batch fill", batchTile],
  ["Cache hits", cacheTile],
  ["Memory", memoryTile],
];

const series = (read) => samples.slice(1).map((sample, place) => read(samples[place], sample));

function requestsTile(last) {
  const { total, errors, in_flight: running } = last.requests;
  const note = `${total.toLocaleString("en")} in all, ${errors} failed, ${running} running`;
  return { figure: digits(latestRate(samples)), unit: "a second", note, line: series((a, b) => latestRate([a, b])) };
}

function latencyTile(last) {
  const { p50, p95, p99 } = percentiles(samples[0], last);
  const line = series((a, b) => percentiles(a, b).p95 ?? 0);
  if (p50 === null) return { figure: "–", unit: "", note: "no requests in the last minute", line };
  return { figure: digits(p50), unit: "ms, p50", note: `p95 ${digits(p95)} · p99 ${digits(p99)}`, line };
}

function batchTile(last) {
  if (!last.batches) return unknown("the workers do not report it");
  const { requests, batches, items, capacity } = last.batches;
  const line = series((a, b) => share(a.batches, b.batches, "items", "capacity") ?? 0);
  const note = batches ? `${digits(requests / batches)} requests in a batch` : "no batch yet";
  return { figure: capacity ? digits((100 * items) / capacity) : "–", unit: capacity ? "%" : "", note, line };
}

function cacheTile(last) {
  if (!last.cache) return unknown("the workers do not report it");
  const { hits, misses, bytes: held } = last.cache;
  const line = series((a, b) => share(a.cache, b.cache, "hits", "looks") ?? 0);
  const asked = hits + misses;
  return { figure: asked ? digits((100 * hits) / asked) : "–", unit: asked ? "%" : "", note: `${hits} of ${asked}, ${bytes(held).join(" ")} held`, line };
}

function memoryTile(last) {
  const { gateway_bytes: gateway, workers_bytes: workers } = last.memory;
  const [figure, unit] = bytes(gateway + (workers ?? 0));
  const note = workers === null ? "the gateway alone" : `gateway ${bytes(gateway).join(" ")} · workers ${bytes(workers).join(" ")}`;
  return { figure, unit, note, line: samples.map(({ memory }) => memory.gateway_bytes + (memory.workers_bytes ?? 0)) };
}

const unknown = (note) => ({ figure: "–", unit: "", note, line: [] });

function tile([title, read]) {
  const { figure, unit, note, line } = read(samples.at(-1));
  const large = element("p", { className: "figure" }, figure, element("small", { textContent: unit }));
  const small = element("p", { className: "note", textContent: note, title: note });
  return element("div", { className: "tile" }, element("h3", { textContent: title }), large, small, sparkline(line));
}

function sparkline(values) {
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (values.length < 2) return picture;
  const most = Math.max(...values, 1e-9);
  const step = WIDTH / (values.length - 1);
  const points = values.map((value, place) => `${(place * step).toFixed(1)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1)}`);
  const area = `M0,${HEIGHT} L${points.join(" L")} L${WIDTH},${HEIGHT}Z`;
  picture.append(svg("path", { class: "area", d: area }), svg("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
  return picture;
}

async function tick() {
  clearTimeout(timer);
  if (document.hidden) {
    timer = setTimeout(tick, EVERY_MS); // nobody looks, so nothing is asked
    return;
  }
  try {
    const stats = await getStats();
    samples = [...samples, { ...stats, at: performance.now() }].slice(-MOST_SAMPLES);
    $("live").replaceChildren(...TILES.map(tile));
  } catch (error) {
    $("live").replaceChildren(element("p", { className: "live-note", textContent: error.message }));
    if (error.status === 401) askForKey(error.message);
  }
  if (!$("live").hidden) timer = setTimeout(tick, EVERY_MS);
}

export function watchLive() {
  $("live-toggle").addEventListener("click", () => {
    const open = $("live").hidden;
    show($("live"), open);
    $("live-toggle").setAttribute("aria-expanded", String(open));
    clearTimeout(timer);
    if (open) tick();
  });
}
