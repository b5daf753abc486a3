// From what is asked for to what the gateway is sent.

import { getItem } from "../api.js";
import { rememberLiked } from "../liked.js";
import { membersOf, placeOf } from "./across.js";

// The parts that a search would have, by the name of their weight.
export function partsOf({ text, negative, picture, pictureId, like }) {
  const given = { text: text.trim(), picture: picture || pictureId, like, negative: negative.trim() };
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
  if (name === "picture") return picturePart(state, signal);
  if (name === "like") return likePart(state, signal);
  return { text: state[name].trim() };
}

// The file that was given, or the vector of the item that it is: the same hits either way.
async function picturePart({ collection, picture, pictureId }, signal) {
  return picture ? { image: picture } : { vector: (await getItem(...placeOf(pictureId, collection), { include: "vector", signal })).vector };
}

// The gateway knows the item's vector and leaves the item out; what it is called is asked for here. Over several
// collections it takes the vector only, and finds the item, too.
async function likePart({ collection, like }, signal) {
  const several = membersOf(collection) !== null;
  const item = await getItem(...placeOf(like, collection), { include: several ? "vector" : undefined, signal });
  rememberLiked(item, like);
  return several ? { vector: item.vector } : { like };
}

// One positive part goes alone, which is the shortest way through the models; more become a weighted mix.
export async function requestOf(state, signal) {
  const names = countedParts(state);
  const collections = membersOf(state.collection);
  const common = { ...(collections ? { collections } : { collection: state.collection }), filter: filterOf(state.filters) };
  const contents = await Promise.all(names.map((name) => content(name, state, signal)));
  if (names.length === 1 && names[0] !== "negative") return { ...common, ...contents[0] };
  const weightOf = (name) => (name === "negative" ? -1 : 1) * (names.length > 1 ? state.weights[name] : 1);
  const query = contents.map((part, place) => ({ ...part, weight: weightOf(names[place]) }));
  return { ...common, query };
}
