// Where the items on the page come from, as pages for a Pager: a search, best first, or the collection, by id.

import { listItems, search } from "../api.js";
import { isSearch, requestOf } from "./query.js";

const SCANNED = 1000; // items a call, when the page itself has to look for those that fit

// `answered(answer)` is told of the first page of a search: its timing, whether the text was cut.
export async function sourceOf(state, answered, signal) {
  if (!isSearch(state)) return browse(state);
  const request = await requestOf(state, signal);
  return async ({ cursor, limit, signal: halt }) => {
    const answer = await search({ ...request, k: limit, ...(cursor ? { cursor } : {}) }, halt);
    if (!cursor) answered(answer);
    return { items: answer.hits, cursor: answer.next_cursor ?? null };
  };
}

function browse({ collection, filters }) {
  const wanted = Object.entries(filters);
  if (wanted.length) return scan(collection, wanted);
  return async ({ cursor, limit, signal }) => {
    const { items, next } = await listItems(collection, { limit, after: cursor, signal });
    return { items, cursor: next ?? null };
  };
}

// The listing takes no filter, so pages are read until enough of their items fit.
function scan(collection, wanted) {
  const fits = ({ metadata }) => wanted.every(([field, values]) => Object.hasOwn(metadata ?? {}, field) && values.includes(metadata[field]));
  return async ({ cursor, limit, signal }) => {
    const found = [];
    let after = cursor;
    do {
      const { items, next } = await listItems(collection, { limit: SCANNED, after, signal });
      found.push(...items.filter(fits));
      after = next ?? null;
    } while (after !== null && found.length < limit);
    return { items: found, cursor: after };
  };
}
