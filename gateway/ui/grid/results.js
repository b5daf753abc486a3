// What was found, on the page: the virtual grid over the pager's items.

import { $, show } from "../dom.js";
import { rememberLiked } from "../liked.js";
import { homeOf, isChoice, keyOf } from "../library/across.js";
import { extendTo, onSelection, selection, selectMany, toggle } from "../library/selection.js";
import { fail } from "../notices.js";
import { bestOf } from "../scores.js";
import { change, state } from "../state.js";
import { card, drawSelected, place, reusable, skeleton } from "./card.js";
import { rove, watchArrows, watchSelecting } from "./keys.js";
import { VirtualGrid } from "./virtual.js";

const AHEAD = 60; // items fetched before one gets there
const MOST_SELECTED = 10_000;
const WAITING = 12; // bones while the first page is under way

let pager = null;
let grid = null;
let old = new Map(); // key → card, of the results before
let best; // the highest score of the first page
let passing = true; // tiles come because the page is scrolled, not because something was asked for

export const results = {
  get items() {
    return pager?.items ?? [];
  },
  get count() {
    return pager?.length ?? 0;
  },
  // Resolves to the item at a place, or undefined beyond the end.
  async at(at) {
    if (at < 0 || !pager) return undefined;
    if (!pager.items[at] && !pager.ended) await pager.reach(at);
    return pager.items[at];
  },
  placeOf: (key) => results.items.findIndex((hit) => keyOf(hit) === key),
};

// Shows the items of `next`, a Pager whose first page is there; the one before is stopped.
export function drawResults(next) {
  const held = document.activeElement?.closest("#results") !== null && document.activeElement !== $("results") ? document.activeElement : null;
  pager?.stop();
  pager = next;
  if (pager) pager.arrived = arrived;
  redraw();
  if (held) (held.isConnected ? held : $("results")).focus({ preventScroll: true });
}

export function redraw() {
  old = new Map([...grid.tiles.values()].filter(({ hit }) => hit).map((one) => [keyOf(one.hit), one]));
  best = bestOf(results.items)?.score;
  $("results").classList.toggle("unscored", results.items[0]?.score === undefined);
  $("results").classList.toggle("several", isChoice(state.collection));
  passing = false;
  grid.redraw(results.count);
  passing = true;
  old.clear();
  rove(tileOf(0) ?? $("results").querySelector(".card:not(.skeleton)"));
}

export function setTotal(total) {
  pager.total = total;
  grid.count = pager.length;
  for (const tile of grid.tiles.values()) tile.setAttribute("aria-setsize", pager.length);
}

export function drawSkeletons() {
  pager?.stop();
  pager = null;
  grid.redraw(WAITING);
}

function make(at) {
  const hit = results.items[at];
  if (!hit) return skeleton();
  const made = reusable(old.get(keyOf(hit)), hit, homeOf(hit)) ?? card(hit, homeOf(hit), { open, select, like: moreLike }, passing);
  drawSelected(made, selection.has(hit.id));
  return place(made, hit, { at, count: results.count, best });
}

function looked({ end }) {
  if (!pager || pager.ended || pager.items.length >= end + AHEAD) return;
  const mine = pager;
  pager.reach(end + AHEAD - 1).catch((error) => mine === pager && error.name !== "AbortError" && fail(error, () => looked({ end })));
}

function arrived(from, end) {
  grid.count = pager.length;
  grid.renew(from, end);
}

function redrawSelected() {
  for (const tile of grid.tiles.values()) if (tile.hit) drawSelected(tile, selection.has(tile.hit.id));
}

// While something is selected a click selects, too; with Shift, a range. Items of several collections are only opened.
function open(hit, event) {
  if (!isChoice(state.collection) && (selection.size || event.ctrlKey || event.metaKey || event.shiftKey)) return select(hit, event);
  return change({ item: keyOf(hit) }, { quiet: true });
}

function select(hit, { shiftKey }) {
  const at = results.placeOf(keyOf(hit));
  if (shiftKey) extendTo(results.items, at);
  else toggle(results.items, at);
}

// Fetches what has not come yet; of a large collection only as many as a search would rank.
export async function selectAll() {
  await results.at(Math.min(MOST_SELECTED, results.count) - 1);
  selectMany(results.items.slice(0, MOST_SELECTED));
}

export function moreLike(hit) {
  rememberLiked(hit, keyOf(hit));
  change({ like: keyOf(hit), text: "", negative: "", picture: null, pictureId: null, item: null }, { push: true });
  window.scrollTo({ top: 0 });
}

const tileOf = (at) => grid.tiles.get(at) ?? null;

// With `from`, the place before, everything from the last one touched on is selected.
export function focusPlace(at, from = null) {
  grid.show(at)?.querySelector(".open")?.focus({ preventScroll: true });
  if (from !== null) extendTo(results.items, at, from);
}

export function focusFirst() {
  focusPlace(0);
}

export function focusCard(key) {
  focusPlace(results.placeOf(key));
}

export function watchResults() {
  onSelection(redrawSelected);
  grid = new VirtualGrid($("results"), { make, looked });
  watchArrows($("results"), { columns: () => grid.columns, count: () => results.count, focus: focusPlace, leave: () => $("text").focus() });
  watchSelecting($("results"), { toggle: (at) => (isChoice(state.collection) ? open(results.items[at]) : toggle(results.items, at)), all: () => selectAll().catch(fail) });
  show($("results"), true);
}
