// Where the items on the page come from, as pages for a Pager: a search, best first, or the collection, by id.

import { listItems, search } from "../api.js";
import { rerankOf } from "../reranking/reranking.js";
import { keyOf, membersOf } from "./across.js";
import { FIRST } from "./pager.js";
import { filterOf, isSearch, requestOf } from "./query.js";

let ahead = null; // the first page of a collection, asked for while the page still looks which ones there are

// Of the collection that the address names. What goes wrong is found again when the page is asked for.
export function askAhead(state) {
  if (!state.collection || state.collection.startsWith("*") || isSearch(state)) return;
  const asked = { collection: state.collection, filter: filterOf(state.filters), limit: FIRST };
  ahead = { key: JSON.stringify(asked), page: listItems(asked.collection, asked) };
  ahead.page.catch(forgetAhead);
}

export function forgetAhead() {
  ahead = null;
}

// `answered(answer)` is told of the first page of a search: its timing, whether the text was cut.
export async function sourceOf(state, answered, signal) {
  if (!isSearch(state)) return membersOf(state.collection) ? nothing : browse(state);
  const rerank = rerankOf(state);
  const request = { ...(await requestOf(state, signal)), ...(rerank && { rerank }) };
  return async ({ cursor, limit, signal: halt }) => {
    const answer = await search({ ...request, k: limit, ...(cursor ? { cursor } : {}) }, halt);
    if (!cursor) answered(answer);
    return { items: answer.hits.filter((hit) => keyOf(hit) !== state.like), cursor: answer.next_cursor ?? null };
  };
}

// Several collections have no order but by score.
const nothing = async () => ({ items: [], cursor: null });

function browse({ collection, filters }) {
  const filter = filterOf(filters);
  return async ({ cursor, limit, signal }) => {
    const page = !cursor && ahead?.key === JSON.stringify({ collection, filter, limit }) ? ahead.page : null;
    forgetAhead();
    const { items, next } = await (page ?? listItems(collection, { limit, after: cursor, filter, signal }));
    return { items, cursor: next ?? null };
  };
}
