// Items into another collection, with their vectors and metadata: nothing is encoded again.

import { addItems, createCollection, getItem } from "../api.js";
import { inFlight } from "../flight.js";

const READS = 6; // items read at a time
const BATCH = 100;

// Returns the failures as [id, reason]; `progress(done)` is told as it goes.
export async function addTo(target, source, items, progress, signal) {
  await createCollection(target);
  const failures = [];
  for (let from = 0; from < items.length; from += BATCH) {
    const batch = items.slice(from, from + BATCH);
    const whole = (await inFlight(batch, READS, (item) => read(source, item, failures, signal))).filter(Boolean);
    const { results } = whole.length ? await addItems(target, whole, signal) : { results: [] };
    failures.push(...results.filter(({ status }) => status >= 400).map(({ id, error }) => [id, error.message]));
    progress(from + batch.length);
  }
  return failures;
}

async function read(source, { id }, failures, signal) {
  try {
    const { vector, metadata } = await getItem(source, id, { include: "vector", signal });
    return { id, vector, metadata: metadata ?? {} };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    failures.push([id, error.message]);
    return null;
  }
}
