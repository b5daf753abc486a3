// Calls to the gateway: adds the key, turns error envelopes into ApiError.

import { withKey } from "./keys.js";

export class ApiError extends Error {
  constructor(status, message, { code = null, retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds, 0 when the gateway named none
  }
}

// The response, whatever its status.
export function ask(path, { method = "GET", body, signal } = {}) {
  const headers = withKey(body === undefined ? {} : { "Content-Type": "application/json" });
  const options = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  return fetch(path, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The gateway does not answer. Is it still running?");
  });
}

export async function call(path, how = {}) {
  const response = await ask(path, how);
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw refusal(response, answer);
}

export function refusal(response, answer) {
  const message = answer?.error?.message ?? `The gateway answered ${response.status}.`;
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  return new ApiError(response.status, message, { code: answer?.error?.code, retryAfter });
}

const collectionPath = (name) => `/v1/collections/${encodeURIComponent(name)}`;
// An id's slashes are encoded, too: the browser would resolve `..` between them.
export const itemPath = (collection, id) => `${collectionPath(collection)}/items/${encodeURIComponent(id)}`;

// None at all, where some may be missing, is no answer.
export async function listCollections(signal) {
  const { collections, incomplete } = await call("/v1/collections", { signal });
  if (incomplete && !collections.length) throw new ApiError(503, `${incomplete}.`, { retryAfter: 1 });
  return collections;
}

// For the default model unless another is named; one that is there keeps its own.
export const createCollection = (name, model) => call(collectionPath(name), { method: "PUT", body: model ? { model } : {} });
export const describeCollection = (name, signal) => call(collectionPath(name), { signal });
// Deletes it with all its items.
export const deleteCollection = (name) => call(collectionPath(name), { method: "DELETE" });
export const listAliases = async (signal) => (await call("/v1/aliases", { signal })).aliases;
// Of one call.
export const getLimits = async (signal) => (await call("/v1/models", { signal })).limits;
export const search = (body, signal) => call("/v1/search", { method: "POST", body, signal });
export const getStats = (signal) => call("/v1/stats", { signal });

export const getGuidance = (name) => call(`${collectionPath(name)}/score_guidance`);

// With `include` "vector" the item's vector comes too.
export const getItem = (collection, id, { include, signal } = {}) =>
  call(`${itemPath(collection, id)}${include ? `?include=${include}` : ""}`, { signal });

export const addItems = (collection, items, signal) =>
  call(`${collectionPath(collection)}/items`, { method: "POST", body: { items }, signal });

// Items of the collection `from`, with their vectors: a result for each.
export const copyItems = (collection, from, ids, signal) =>
  call(`${collectionPath(collection)}/items/copy`, { method: "POST", body: { from, ids }, signal });

// How many of these ids there were: { deleted }.
export const deleteItems = (collection, ids) => call(`${collectionPath(collection)}/items/delete`, { method: "POST", body: { ids } });

// The fields whose values repeat: `values` of each, the most frequent first, counted over the whole collection.
export const getFacets = async (collection, values) => (await call(`${collectionPath(collection)}/facets?values=${values}`)).facets;

// The values of one field, counted over the items that `filter` lets through.
export async function countUnder(collection, field, filter) {
  const query = new URLSearchParams({ field, values: 1000, filter: JSON.stringify(filter) });
  return (await call(`${collectionPath(collection)}/facets?${query}`)).facets;
}

// `limit` items after the id `after`, of those that `filter` lets through; `next` is the id to go on with, null at the end.
export function listItems(collection, { limit, after, filter, signal }) {
  const query = new URLSearchParams({ limit, ...(after ? { after } : {}), ...(filter ? { filter: JSON.stringify(filter) } : {}) });
  return call(`${collectionPath(collection)}/items?${query}`, { signal });
}
