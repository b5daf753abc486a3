// How many items a collection has, or how many of them fit the filters; asked for once until something changes.

import { countUnder, describeCollection } from "../api.js";
import { membersOf } from "./across.js";
import { filterOf } from "./query.js";

const MOST_RANKED = 10_000; // the depth of a search
const FRESH_MS = 30_000; // others may add and delete, too
const known = new Map();

export function forgetTotals() {
  known.clear();
}

// Of a search { shown, of }: as many of the best as the gateway ranks.
export async function totalOf({ collection, filters, like }, searching) {
  const counts = await Promise.all((membersOf(collection) ?? [collection]).map((name) => count(name, filters)));
  const of = counts.reduce((sum, each) => sum + each, 0);
  return { of, shown: searching ? Math.min(MOST_RANKED, Math.max(0, of - (like ? 1 : 0))) : of };
}

function count(collection, filters) {
  const key = JSON.stringify([collection, filters]);
  if (!known.has(key)) {
    const asked = ask(collection, filters);
    known.set(key, asked);
    asked.then(() => setTimeout(() => known.delete(key), FRESH_MS), () => known.delete(key));
  }
  return known.get(key);
}

// What fits has one of the chosen values in each of the fields, so counting any one field counts it all.
async function ask(collection, filters) {
  const [field] = Object.keys(filters);
  if (field === undefined) return (await describeCollection(collection)).count;
  const [{ values }] = await countUnder(collection, field, filterOf(filters));
  return values.reduce((sum, { count: each }) => sum + each, 0);
}
