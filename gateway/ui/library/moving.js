// Items into another collection, with their vectors and metadata: nothing is encoded again.

import { copyItems, createCollection, describeCollection } from "../api.js";

const BATCH = 1000;

// Returns the failures as [id, reason]; `progress(done)` is told as it goes.
export async function addTo(target, source, items, progress, signal) {
  const { model } = await describeCollection(source, signal); // the vectors are of this one
  await createCollection(target, model);
  const failures = [];
  for (let from = 0; from < items.length; from += BATCH) {
    const ids = items.slice(from, from + BATCH).map(({ id }) => id);
    const { results } = await copyItems(target, source, ids, signal);
    failures.push(...results.filter(({ status }) => status >= 400).map(({ id, error }) => [id, error.message]));
    progress(from + ids.length);
  }
  return failures;
}
