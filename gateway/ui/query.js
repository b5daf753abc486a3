// From what is asked for to what the gateway is sent.

import { getItem, listItems, search } from "./api.js";
import { rememberLiked } from "./liked.js";

const PAGE = 500;
const MOST_PAGES = 4;

// The parts that a search would have, by the name of their weight.
export function partsOf({ text, negative, picture, like }) {
  const given = { text: text.trim(), picture, like, negative: negative.trim() };
  return Object.keys(given).filter((name) => given[name]);
}

// Those that count: in a mix, a part that weighs nothing is left out.
export function countedParts(state) {
  const names = partsOf(state);
  return names.length > 1 ? names.filter((name) => state.weights[name] > 0) : names;
}

export const isSearch = (state) => countedParts(state).length > 0;

export function filterOf(filters) {
  const conditions = Object.entries(filters).map(([field, values]) => [field, { $in: values }]);
  return conditions.length ? Object.fromEntries(conditions) : undefined;
}

async function content(name, state, signal) {
  if (name === "picture") return { image: state.picture };
  if (name === "like") return likePart(state, signal);
  return { text: state[name].trim() };
}

// The gateway knows the item's vector and leaves the item out; what it is called is asked for here.
async function likePart({ collection, like }, signal) {
  rememberLiked(await getItem(collection, like, { signal }));
  return { like };
}

// One positive part goes alone, which is the shortest way through the models; more become a weighted mix.
export async function requestOf(state, signal) {
  const names = countedParts(state);
  const common = { collection: state.collection, k: state.k, filter: filterOf(state.filters) };
  const contents = await Promise.all(names.map((name) => content(name, state, signal)));
  if (names.length === 1 && names[0] !== "negative") return { ...common, ...contents[0] };
  const weightOf = (name) => (name === "negative" ? -1 : 1) * (names.length > 1 ? state.weights[name] : 1);
  const query = contents.map((part, place) => ({ ...part, weight: weightOf(names[place]) }));
  return { ...common, query };
}

// The answer to the search, or the collection's first items when nothing is asked for.
export async function ask(state, signal) {
  if (!isSearch(state)) return { hits: await browse(state, signal) };
  return search(await requestOf(state, signal), signal);
}

async function browse({ collection, filters, k }, signal) {
  if (!Object.keys(filters).length) return (await listItems(collection, { limit: k, signal })).items;
  const fits = (item) => Object.entries(filters).every(([field, values]) => Object.hasOwn(item.metadata ?? {}, field) && values.includes(item.metadata[field]));
  const found = [];
  let after = null;
  for (let page = 0; page < MOST_PAGES && found.length < k; page += 1) {
    const { items, next } = await listItems(collection, { limit: PAGE, after, signal });
    found.push(...items.filter(fits));
    after = next;
    if (!next) break;
  }
  return found.slice(0, k);
}
