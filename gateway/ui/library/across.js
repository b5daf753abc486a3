// Several collections as one: all of a model. Their items are named by collection and id, COLLECTION/ID.

import { state } from "../state.js";

const MOST = 16; // collections that the gateway searches at once
let groups = new Map(); // *MODEL → the names of its collections

export function noteCollections(collections) {
  groups = new Map();
  for (const alike of largestFirst(collections)) {
    const value = `*${alike[0].model}`;
    if (alike.length > 1 && !groups.has(value)) groups.set(value, alike.map(({ name }) => name));
  }
}

// Those that can be searched together: of one fingerprint and metric.
function largestFirst(collections) {
  const alike = new Map();
  for (const one of collections) {
    const key = `${one.fingerprint} ${one.metric}`;
    alike.set(key, [...(alike.get(key) ?? []), one]);
  }
  return [...alike.values()].sort((a, b) => b.length - a.length);
}

// [value, label] of each choice.
export const choices = () => [...groups.keys()].map((value) => [value, labelOf(value)]);

export function labelOf(value) {
  const names = groups.get(value);
  if (!names) return value;
  const number = names.length > MOST ? `first ${MOST} of ${names.length}` : names.length;
  return `${groups.size > 1 ? `All of ${value.slice(1)}` : "All collections"} (${number})`;
}

export const isChoice = (value) => groups.has(value);

// The names to search for a choice of several, null for one collection.
export const membersOf = (collection) => groups.get(collection)?.slice(0, MOST) ?? null;

// A hit of a search of several says where it is.
export const homeOf = (hit) => hit.collection ?? state.collection;
export const keyOf = ({ collection, id }) => (collection === undefined ? id : `${collection}/${id}`);

// [collection, id] of a key; a collection's name has no slash.
export function placeOf(key, collection = state.collection) {
  if (!isChoice(collection)) return [collection, key];
  const end = key.indexOf("/");
  return [key.slice(0, end), key.slice(end + 1)];
}
