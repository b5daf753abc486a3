// The search page: whenever the state changes, ask the gateway and draw what it answers.

import { ApiError, describeCollection, listCollections } from "./api.js";
import { watchAsking } from "./asking/asking.js";
import { drawMenu, watchMenu } from "./collection/menu.js";
import { drawComposer, watchComposer } from "./composer.js";
import { copyWith } from "./copying.js";
import { watchConfirm } from "./confirm.js";
import { $, element } from "./dom.js";
import { watchDropping } from "./dropping.js";
import { drawFilters, forgetFacets, loadFacets, watchFilters } from "./filters.js";
import { digits, plural, sentence } from "./format.js";
import { drawResults, drawSkeletons, results, setTotal, watchResults } from "./grid/results.js";
import { watchJobs } from "./jobs/jobs.js";
import { watchJobsPanel } from "./jobs/panel.js";
import { watchKeyboard } from "./keyboard.js";
import { watchKey } from "./keys.js";
import { choices, isChoice, labelOf, noteCollections } from "./library/across.js";
import { watchActions } from "./library/actions.js";
import { Pager } from "./library/pager.js";
import { isSearch } from "./library/query.js";
import { clearSelection } from "./library/selection.js";
import { askAhead, forgetAhead, sourceOf } from "./library/source.js";
import { forgetTotals, totalOf } from "./library/totals.js";
import { forgetGuidance, sayWeak } from "./library/weak.js";
import { nameOfLiked } from "./liked.js";
import { watchLive } from "./live.js";
import { clearNotices, fail, sayEmpty } from "./notices.js";
import { forgetFolders } from "./pictures/folders.js";
import { drawOrder, drawReranking, watchReranking } from "./reranking/reranking.js";
import { bestOf, noteMetrics } from "./scores.js";
import { recognise } from "./library/recognise.js";
import { keepScroll, restoreScroll, stayHere } from "./scrolling.js";
import { change, fromAddress, onChange, state, toAddress } from "./state.js";
import { toast } from "./toast.js";
import { openUpload, watchUpload } from "./upload/upload.js";
import { drawPlace, drawViewer, watchViewer } from "./viewer/viewer.js";

const UNKNOWN = [400, 404, 422]; // also of a name that no collection can have
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
    let answer = {};
    const source = await sourceOf(state, (first) => (answer = first), mine.signal);
    const pager = new Pager(source);
    mine.signal.addEventListener("abort", () => pager.stop());
    const total = totalOf(state, isSearch(state));
    total.catch(() => undefined); // the listing says what is wrong
    await pager.reach(0);
    if (running === mine) await draw(pager, answer, total);
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
  $("results").classList.toggle("waiting", on && results.count > 0);
  stale(on);
  if (on && !results.count) {
    clearNotices();
    drawSkeletons();
  }
}

// From the moment that something else is asked for, typing included, until its answer is drawn.
function stale(on) {
  $("results").setAttribute("aria-busy", String(on && results.count > 0));
}

let several = false; // collections of several models

function optionText({ name, count, model, model_status }) {
  const about = model_status === "not_served" ? `, waits for ${model}` : several ? `, ${model}` : "";
  return `${name} (${count}${about})`;
}

async function loadCollections(fresh = false) {
  try {
    forgetTotals();
    if (fresh) forgetGuidance();
    const collections = await listCollections();
    clearNotices();
    noteMetrics(collections);
    noteCollections(collections);
    names = collections.map(({ name }) => name);
    several = new Set(collections.map(({ model }) => model)).size > 1;
    const options = [...collections.map((each) => [each.name, optionText(each)]), ...choices()];
    $("collection").replaceChildren(...options.map(([value, textContent]) => element("option", { value, textContent })));
    if (!names.length && !state.collection) return nothingYet();
    const wanted = state.collection || (collections.find(({ model_status }) => model_status !== "not_served")?.name ?? names[0]);
    if (!names.includes(wanted) && !isChoice(wanted) && !(await isAlias(wanted))) return unknownCollection(wanted, collections);
    if (fresh) loadFacets(wanted, true);
    return change({ collection: wanted });
  } catch (error) {
    forgetAhead();
    return failed(error, loadCollections);
  }
}

// An alias is a second name of a collection: it can be shown, and is not in the list.
async function isAlias(name) {
  try {
    const described = await describeCollection(name);
    $("collection").append(element("option", { value: name, textContent: optionText({ ...described, name }) }));
    return true;
  } catch (error) {
    if (UNKNOWN.includes(error.status)) return false;
    throw error;
  }
}

// ---------------------------------------------------------------- drawing

async function draw(pager, answer, total) {
  clearNotices();
  drawResults(pager);
  drawReranking(answer.rerank);
  sayWeak(bestOf(pager.items), () => results.items === pager.items);
  drawComposer();
  drawHeading();
  drawStatus(answer, { shown: pager.length, of: pager.length });
  if (!pager.items.length) nothingFound();
  drawViewer();
  const known = await total.catch(() => null);
  if (known && pager.items.length && !pager.ended) setTotal(known.shown);
  drawStatus(answer, pager.ended || !known ? { shown: pager.length, of: pager.length } : known);
  drawPlace();
  restoreScroll();
  recognise(pager.items[0]);
}

function drawHeading() {
  const { text, negative, picture, pictureId, like, collection } = state;
  const parts = [
    text.trim() && `“${text.trim()}”`,
    picture ? "your picture" : pictureId && `the picture “${pictureId}”`,
    like && `more like “${nameOfLiked(like)}”`,
  ].filter(Boolean);
  const without = negative.trim() ? ` without “${negative.trim()}”` : "";
  $("heading").textContent = parts.length ? sentence(parts.join(" and ") + without) : without ? sentence(without.trim()) : labelOf(collection);
  document.title = parts.length ? `${parts.join(" and ")} – CLIP search` : "CLIP search";
}

function drawStatus({ timing, truncated }, { shown, of }) {
  const among = of > shown + 1 ? `best ${shown.toLocaleString("en")} of ${of.toLocaleString("en")}` : plural(shown, timing ? "result" : "picture");
  const count = element("b", { textContent: among });
  if (!timing) return $("status").replaceChildren(...(isChoice(state.collection) ? [] : [count]));
  const { total_ms: total, encode_ms: encode, search_ms: index } = timing;
  const stages = element("span", { className: "stages", textContent: ` · encode ${digits(encode)}, index ${digits(index)}` });
  const cut = truncated ? " · the end of the text was too long to be read" : "";
  return $("status").replaceChildren(count, ` in ${digits(total)} ms`, stages, cut);
}

function nothingFound() {
  if (isChoice(state.collection) && !isSearch(state)) {
    return sayEmpty(labelOf(state.collection), "Describe a picture, or drop one here, to search them all at once.");
  }
  if (Object.keys(state.filters).length) {
    const action = { label: "Remove the filters", run: () => change({ filters: {} }, { push: true }) };
    return sayEmpty("Nothing fits these filters", "Remove one of them, or all.", action);
  }
  if (isSearch(state)) return sayEmpty("Nothing found", "The collection has no item that fits.");
  return sayEmpty("This collection is empty", "Add the first pictures to it.", { label: "Add pictures", run: () => openUpload(names) });
}

function nothingYet() {
  drawResults(null);
  drawMenu(false);
  $("heading").textContent = "Pictures";
  sayEmpty("There is no collection yet", "Make one by adding pictures.", { label: "Add pictures", run: () => openUpload(names) });
}

function unknownCollection(name, collections) {
  drawResults(null);
  drawMenu(false);
  $("heading").textContent = "Pictures";
  $("status").textContent = "";
  $("collection").selectedIndex = -1;
  const links = collections.map((each) => [`${each.name} (${each.count.toLocaleString("en")})`, toAddress({ ...fromAddress(""), collection: each.name })]);
  const text = links.length ? "It may have been deleted or renamed. There are these:" : "There is none yet.";
  sayEmpty(`There is no collection “${name}”`, text, { label: "Add pictures", run: () => openUpload(names) }, links);
}

function failed(error, retry = run) {
  if (!(error instanceof ApiError)) throw error;
  drawResults(null);
  drawReranking(undefined);
  $("status").textContent = "";
  const again = error.status === 400 || error.status === 413 ? null : () => (names.length ? retry() : loadCollections());
  fail(error, again);
}

// ---------------------------------------------------------------- the state and the page

function follow(patch, { wait = 0, quiet = false }) {
  drawComposer();
  drawOrder();
  $("collection").value = state.collection;
  if (quiet) return drawViewer();
  drawMenu();
  if (patch.collection) {
    forgetFolders();
    clearSelection();
  }
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

// Items were added or deleted: everything is asked for again, and the page stays where it is.
function refresh() {
  stayHere();
  loadCollections(true);
}

// A collection was deleted: the page goes on with those that are left.
function goOn(name) {
  if (state.collection === name) forgetShown();
  loadCollections(true);
}

function forgetShown() {
  clearTimeout(timer);
  running?.abort();
  clearSelection();
  forgetFacets();
  drawResults(null);
  drawReranking(undefined);
  $("status").textContent = "";
  change({ ...fromAddress(""), picture: null }, { quiet: true });
}

function showCollection(name) {
  change({ collection: name, text: "", negative: "", picture: null, pictureId: null, like: null, filters: {}, item: null }, { push: true });
  loadCollections(true);
}

function share() {
  copyWith($("share"), location.href);
  if (state.picture && !state.pictureId) toast("The link leaves your picture out: the collection does not have it");
}

function start() {
  onChange(follow);
  for (const watch of [watchAsking, watchComposer, watchConfirm, watchDropping, watchFilters, watchJobsPanel, watchKeyboard, watchLive, watchReranking, watchResults, watchViewer]) watch();
  watchKey(() => {
    loadCollections();
    watchJobs();
  });
  watchUpload(showCollection);
  watchMenu(goOn);
  watchActions({ names: () => names, changed: refresh });
  $("collection").addEventListener("change", () => change({ collection: $("collection").value, filters: {}, like: null, pictureId: null, item: null }, { push: true }));
  $("add").addEventListener("click", () => openUpload(names));
  $("share").addEventListener("click", share);
  window.addEventListener("popstate", () => change({ ...fromAddress(location.search), picture: null }));
  keepScroll();
  Object.assign(state, fromAddress(location.search));
  askAhead(state);
  drawComposer();
  drawOrder();
  drawSkeletons();
  loadCollections();
  watchJobs();
}

start();
