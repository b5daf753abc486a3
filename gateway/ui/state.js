// What is asked for, and its form in the address bar. A dropped picture is too large for the address: there it is the
// id of the item that it is, when the collection has it.

import { keepNow } from "./scrolling.js";

export const WEIGHTS = { text: 1, picture: 1, like: 1, negative: 0.5 };

const EMPTY = { collection: "", text: "", negative: "", like: null, pictureId: null, filters: {}, item: null, rerank: "" };

const ORDERS = ["captioner", "tree", "llm"];

export const state = { ...EMPTY, weights: { ...WEIGHTS }, picture: null };
const listeners = [];
let pending = 0; // the timer of an address that is still to be written

export const onChange = (listener) => listeners.push(listener);

// Applies `patch` and tells everyone; `how`: { push: a new entry in the history, wait: ms before searching,
// quiet: nothing to search for }.
export function change(patch, how = {}) {
  if (pending && !how.wait) writeAddress();
  clearTimeout(pending);
  Object.assign(state, patch);
  if (how.wait) pending = setTimeout(writeAddress, how.wait);
  else writeAddress(how.push);
  for (const listener of listeners) listener(patch, how);
}

// Browsers refuse to write hundreds of addresses in a row, as a moving slider would.
function writeAddress(push = false) {
  clearTimeout(pending);
  pending = 0;
  const address = toAddress(state);
  if (address === location.search) return;
  if (!push) return history.replaceState(history.state, "", address);
  keepNow();
  history.pushState(null, "", address);
}

export function setWeight(name, weight) {
  change({ weights: { ...state.weights, [name]: weight } }, { wait: 150 });
}

// The chosen values of a field; a field may have any name, `constructor` too.
export const valuesOf = (filters, field) => (Object.hasOwn(filters, field) ? filters[field] : []);

export function toggleFilter(field, value) {
  const chosen = valuesOf(state.filters, field);
  const values = chosen.includes(value) ? chosen.filter((one) => one !== value) : [...chosen, value];
  const { [field]: _, ...others } = state.filters;
  change({ filters: values.length ? { ...others, [field]: values } : others }, { push: true });
}

export function toAddress({ collection, text, negative, like, pictureId, filters, item, weights, rerank }) {
  const kept = new URLSearchParams();
  const set = (name, value) => value && kept.set(name, value);
  set("collection", collection);
  set("q", text.trim());
  set("not", negative.trim());
  set("like", like);
  set("picture", pictureId);
  const moved = Object.keys(WEIGHTS).filter((name) => weights[name] !== WEIGHTS[name]);
  set("weights", moved.map((name) => `${name}:${weights[name]}`).join(","));
  if (Object.keys(filters).length) set("filter", JSON.stringify(filters));
  set("rerank", rerank);
  set("item", item);
  return `?${kept}`;
}

export function fromAddress(address) {
  const given = new URLSearchParams(address);
  return {
    collection: given.get("collection") ?? "",
    text: given.get("q") ?? "",
    negative: given.get("not") ?? "",
    like: given.get("like"),
    pictureId: given.get("picture"),
    weights: readWeights(given.get("weights") ?? ""),
    filters: readFilters(given.get("filter")),
    item: given.get("item"),
    rerank: ORDERS.includes(given.get("rerank")) ? given.get("rerank") : "",
  };
}

function readWeights(text) {
  const pairs = text.split(",").map((pair) => pair.split(":"));
  const good = pairs.filter(([name, weight]) => Object.hasOwn(WEIGHTS, name) && Number(weight) >= 0 && Number(weight) <= 2);
  return { ...WEIGHTS, ...Object.fromEntries(good.map(([name, weight]) => [name, Number(weight)])) };
}

function readFilters(text) {
  try {
    const read = Object.entries(JSON.parse(text ?? "{}"));
    return Object.fromEntries(read.filter(([, values]) => Array.isArray(values) && values.length));
  } catch {
    return {};
  }
}
