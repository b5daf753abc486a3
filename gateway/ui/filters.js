// Filter chips from metadata: fields with a few repeated values, counted by the index over the whole collection.

import { getFacets } from "./api.js";
import { $, element, icon, show } from "./dom.js";
import { isFact } from "./format.js";
import { isChoice } from "./library/across.js";
import { state, toggleFilter, valuesOf } from "./state.js";

const MOST_VALUES = 12;
const MOST_FIELDS = 7;
let facets = [];
let loaded = null;

export async function loadFacets(collection, fresh = false) {
  if (loaded === collection && !fresh) return drawFilters();
  loaded = collection;
  const counted = isChoice(collection) ? [] : await getFacets(collection, MOST_VALUES);
  if (loaded !== collection) return undefined;
  facets = facetsOf(counted);
  return drawFilters();
}

// The fields that one can filter the collection by, as far as they are loaded.
export const facetFields = (collection) => (loaded === collection ? facets.map(({ field }) => field) : []);

export function forgetFacets() {
  facets = [];
  loaded = null;
  drawFilters();
}

// [{ field, values }] with the values sorted; a field that says nothing, or says too much, is left out.
export function facetsOf(counted) {
  const useful = counted.filter(({ field, distinct, values }) => isFact(field, values[0]?.value) && distinct > 1 && distinct <= MOST_VALUES && repeats(values));
  return useful.slice(0, MOST_FIELDS).map(({ field, values }) => ({ field, values: values.map(({ value }) => value).sort(byValue) }));
}

const repeats = (values) => values.some(({ count }) => count > 1);
const byValue = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));

export function drawFilters() {
  $("filters").replaceChildren(...facets.map(group));
  const active = Object.entries(state.filters).flatMap(([field, values]) => values.map((value) => activeChip(field, value)));
  $("active").replaceChildren(...active);
  show($("active"), active.length > 0);
  show($("filters-toggle"), facets.length > 0);
}

function group({ field, values }) {
  const chips = element("ul", { className: "chips" }, ...values.map((value) => element("li", {}, chip(field, value))));
  const title = element("h2", { textContent: field });
  chips.setAttribute("aria-label", field);
  return element("section", { className: "facet" }, title, chips);
}

// A toggle for one value; in front of a colour's name its colour.
export function chip(field, value) {
  const made = element("button", { type: "button", className: "chip", ariaPressed: String(isChosen(field, value)) });
  made.append(...swatch(value), element("span", { textContent: String(value) }));
  made.dataset.facet = `${field}=${value}`;
  made.addEventListener("click", () => {
    toggleFilter(field, value);
    document.querySelector(`.filters [data-facet="${CSS.escape(made.dataset.facet)}"]`)?.focus();
  });
  return made;
}

function activeChip(field, value) {
  const made = element("button", { type: "button", className: "chip", ariaLabel: `Remove the filter ${field}: ${value}` });
  made.append(element("span", { textContent: `${field}: ${value}` }), icon("close"));
  made.addEventListener("click", () => toggleFilter(field, value));
  return element("li", {}, made);
}

function swatch(value) {
  if (typeof value !== "string" || !/^[a-z]+$/.test(value) || !CSS.supports("color", value)) return [];
  const dot = element("span", { className: "dot" });
  dot.style.background = value;
  return [dot];
}

const isChosen = (field, value) => valuesOf(state.filters, field).includes(value);

export function watchFilters() {
  $("filters-toggle").addEventListener("click", () => {
    const open = $("filters").classList.toggle("open");
    $("filters-toggle").setAttribute("aria-expanded", String(open));
  });
}
