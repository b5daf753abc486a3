// The search page: whenever the state changes, ask the gateway and draw what it answers.

import { ApiError, listCollections } from "./api.js";
import { drawComposer, watchComposer } from "./composer.js";
import { $, element } from "./dom.js";
import { watchDropping } from "./dropping.js";
import { drawFilters, loadFacets, watchFilters } from "./filters.js";
import { digits, plural, sentence } from "./format.js";
import { watchJobs } from "./jobs.js";
import { watchKeyboard } from "./keyboard.js";
import { watchKey } from "./keys.js";
import { nameOfLiked } from "./liked.js";
import { watchLive } from "./live.js";
import { clearNotices, fail, sayEmpty } from "./notices.js";
import { ask, isSearch } from "./query.js";
import { drawResults, drawSkeletons, results, watchResults } from "./results.js";
import { noteMetrics } from "./scores.js";
import { change, fromAddress, onChange, state } from "./state.js";
import { openUpload, watchUpload } from "./upload.js";
import { drawViewer, watchViewer } from "./viewer.js";

const SKELETONS = 12;
let running = null;
let timer = 0;
let names = [];

// ---------------------------------------------------------------- asking

// Only the newest search may draw; the ones before it are broken off.
async function run() {
  clearTimeout(timer);
  timer = 0;
  running?.abort();
  const mine = (running = new AbortController());
  if (!state.collection) return;
  busy(true);
  try {
    const answer = await ask(state, mine.signal);
    if (running === mine) draw(answer);
  } catch (error) {
    if (error.name !== "AbortError" && running === mine) failed(error);
  } finally {
    if (running === mine) {
      busy(false);
      stale(timer > 0); // while it ran, something else was typed
    }
  }
}

function busy(on) {
  $("search").classList.toggle("busy", on);
  $("results").classList.toggle("waiting", on && results.hits.length > 0);
  stale(on);
  if (on && !results.hits.length) {
    clearNotices();
    drawSkeletons(SKELETONS);
  }
}

// From the moment that something else is asked for, typing included, until its answer is drawn.
function stale(on) {
  $("results").setAttribute("aria-busy", String(on && results.hits.length > 0));
}

async function loadCollections(fresh = false) {
  try {
    const collections = await listCollections();
    clearNotices();
    noteMetrics(collections);
    names = collections.map(({ name }) => name);
    $("collection").replaceChildren(...collections.map(({ name, count }) => element("option", { value: name, textContent: `${name} (${count})` })));
    if (!names.length) return nothingYet();
    const wanted = names.includes(state.collection) ? state.collection : names[0];
    if (fresh) loadFacets(wanted, true);
    return change({ collection: wanted });
  } catch (error) {
    return failed(error, loadCollections);
  }
}

// ---------------------------------------------------------------- drawing

function draw(answer) {
  clearNotices();
  drawResults(answer.hits);
  drawComposer();
  drawHeading();
  drawStatus(answer);
  if (!answer.hits.length) nothingFound();
  drawViewer();
}

function drawHeading() {
  const { text, negative, picture, like, collection } = state;
  const parts = [
    text.trim() && `“${text.trim()}”`,
    picture && "your picture",
    like && `more like “${nameOfLiked(like)}”`,
  ].filter(Boolean);
  const without = negative.trim() ? ` without “${negative.trim()}”` : "";
  $("heading").textContent = parts.length ? sentence(parts.join(" and ") + without) : without ? sentence(without.trim()) : collection;
  document.title = parts.length ? `${parts.join(" and ")} – CLIP search` : "CLIP search";
}

function drawStatus({ hits, timing, truncated }) {
  const count = element("b", { textContent: plural(hits.length, "result") });
  if (!timing) return $("status").replaceChildren(element("b", { textContent: plural(hits.length, "picture") }));
  const { total_ms: total, encode_ms: encode, search_ms: index } = timing;
  const stages = element("span", { className: "stages", textContent: ` · encode ${digits(encode)}, index ${digits(index)}` });
  const cut = truncated ? " · the end of the text was too long to be read" : "";
  return $("status").replaceChildren(count, ` in ${digits(total)} ms`, stages, cut);
}

function nothingFound() {
  if (Object.keys(state.filters).length) {
    const action = { label: "Remove the filters", run: () => change({ filters: {} }, { push: true }) };
    return sayEmpty("Nothing fits these filters", "Remove one of them, or all.", action);
  }
  if (isSearch(state)) return sayEmpty("Nothing found", "The collection has no item that fits.");
  return sayEmpty("This collection is empty", "Add the first pictures to it.", { label: "Add pictures", run: () => openUpload(names) });
}

function nothingYet() {
  drawResults([]);
  $("heading").textContent = "Pictures";
  sayEmpty("There is no collection yet", "Make one by adding pictures.", { label: "Add pictures", run: () => openUpload(names) });
}

function failed(error, retry = run) {
  if (!(error instanceof ApiError)) throw error;
  drawResults([]);
  $("status").textContent = "";
  const again = error.status === 400 || error.status === 413 ? null : () => (names.length ? retry() : loadCollections());
  fail(error, again);
}

// ---------------------------------------------------------------- the state and the page

function follow(patch, { wait = 0, quiet = false }) {
  drawComposer();
  $("collection").value = state.collection;
  $("k").value = String(state.k);
  if (quiet) return drawViewer();
  if (patch.collection || patch.filters) facets();
  clearTimeout(timer);
  if (!wait) return run();
  stale(true);
  timer = setTimeout(run, wait);
  return undefined;
}

function facets() {
  drawFilters();
  loadFacets(state.collection).catch(() => undefined); // the search itself reports what is wrong
}

function showCollection(name) {
  change({ collection: name, text: "", negative: "", picture: null, like: null, filters: {}, item: null }, { push: true });
  loadCollections(true);
}

async function copyLink() {
  const label = $("share").querySelector("span");
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  label.textContent = copied ? "Copied" : "Copy it from the address bar";
  setTimeout(() => (label.textContent = "Copy link"), 2000);
}

function start() {
  onChange(follow);
  for (const watch of [watchComposer, watchDropping, watchFilters, watchKeyboard, watchLive, watchResults, watchViewer]) watch();
  watchKey(() => {
    loadCollections();
    watchJobs();
  });
  watchUpload(showCollection);
  $("collection").addEventListener("change", () => change({ collection: $("collection").value, filters: {}, like: null, item: null }, { push: true }));
  $("k").addEventListener("change", () => change({ k: Number($("k").value) }));
  $("add").addEventListener("click", () => openUpload(names));
  $("share").addEventListener("click", copyLink);
  window.addEventListener("popstate", () => change({ ...fromAddress(location.search), picture: null }));
  Object.assign(state, fromAddress(location.search));
  drawComposer();
  drawSkeletons(SKELETONS);
  loadCollections();
  watchJobs();
}

start();
