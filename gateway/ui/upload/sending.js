// One batch of files to the gateway: read, sent, tried again where that helps. Every failure has its file's name.

import { addItems, ApiError } from "../api.js";
import { readForUpload, SCALED_PX } from "../pictures/shrink.js";

const BUSY = [429, 503];
const TRIES = 5;

const captionFrom = (name) => name.split("/").at(-1).replace(/\.[^.]+$/, "").replace(/[-_]+/g, " ").trim() || name;

// `entries`: { file, id } each. Returns the failures as [id, reason].
export async function send(entries, collection, signal) {
  const failures = await attempt(entries, collection, signal);
  const large = failures.filter(({ code }) => code === "image_too_large").map(({ entry }) => entry);
  const others = failures.filter(({ code }) => code !== "image_too_large");
  const again = large.length ? await attempt(large, collection, signal, SCALED_PX / 2) : [];
  return [...others, ...again].map(({ entry, reason }) => [entry.id, reason]);
}

async function attempt(entries, collection, signal, most) {
  const failures = [];
  const read = await Promise.all(entries.map((entry) => readForUpload(entry.file, most).catch((error) => void failures.push({ entry, reason: error.message }))));
  const ready = entries.map((entry, place) => ({ entry, image: read[place] })).filter(({ image }) => image);
  if (!ready.length) return failures;
  const items = ready.map(({ entry: { id }, image }) => ({ id, image, metadata: { caption: captionFrom(id) } }));
  const { results } = await patiently(() => addItems(collection, items, signal), signal);
  results.forEach(({ status, error }, place) => {
    if (status >= 400) failures.push({ entry: ready[place].entry, reason: error.message, code: error.code });
  });
  return failures;
}

// A gateway that is busy is asked again when it says so.
async function patiently(call, signal) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ApiError) || !BUSY.includes(error.status) || tried === TRIES || signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || tried)));
    }
  }
}
