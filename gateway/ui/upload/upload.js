// Adding pictures to a collection, old or new: a few at a time, with progress, and each failure with its reason.

import { ApiError, createCollection } from "../api.js";
import { $, element, show } from "../dom.js";
import { inFlight } from "../flight.js";
import { digits, plural } from "../format.js";
import { isChoice } from "../library/across.js";
import { state } from "../state.js";
import { batches, named, pictures } from "./batches.js";
import { send } from "./sending.js";

const LANES = 3; // batches under way: one is read while others are encoded
let running = null;

async function upload(files) {
  const collection = $("upload-collection").value.trim();
  if (!files.length || !$("upload-form").reportValidity()) return;
  running = new AbortController();
  begin();
  const progress = { done: 0, failed: 0, total: files.length, started: performance.now() };
  try {
    await createCollection(collection);
    const { signal } = running;
    const entries = new Map(named(files).map((entry) => [entry.file, entry]));
    await inFlight(batches(files), LANES, async (batch) => {
      signal.throwIfAborted();
      const failures = await send(batch.map((file) => entries.get(file)), collection, signal);
      progress.done += batch.length;
      progress.failed += failures.length;
      draw(progress, failures);
    });
    finish(progress, collection);
  } catch (error) {
    running.abort(); // the other batches, too
    stop(error, progress);
  }
}

function begin() {
  $("upload-failed").replaceChildren();
  $("upload-progress").value = 0;
  $("upload-status").textContent = "Reading …";
  $("upload-rate").textContent = "";
  show($("upload-run"), true);
  show($("upload-cancel"), true);
  show($("upload-create"), false);
  show($("upload-show"), false);
  show($("upload-zone"), false);
}

function draw({ done, total, started }, failures) {
  $("upload-progress").value = done / total;
  $("upload-status").textContent = `${done.toLocaleString("en")} of ${plural(total, "picture")}`;
  $("upload-rate").textContent = `${digits((done * 1000) / (performance.now() - started))} a second`;
  const lines = failures.map(([name, reason]) => element("li", {}, element("b", { textContent: name }), " ", element("span", { textContent: reason })));
  $("upload-failed").append(...lines);
}

function finish({ total, failed }, collection) {
  const added = plural(total - failed, "picture");
  $("upload-status").textContent = failed ? `${added} added, ${failed} not` : `${added} added`;
  rest();
  show($("upload-show"), total > failed);
  $("upload-show").dataset.collection = collection;
}

function stop(error, { done }) {
  const cancelled = error.name === "AbortError";
  $("upload-status").textContent = cancelled ? `Cancelled after ${plural(done, "picture")}` : "Stopped";
  if (!cancelled) $("upload-failed").append(element("li", {}, element("span", { textContent: reasonOf(error) })));
  rest();
}

function reasonOf(error) {
  if (!(error instanceof ApiError)) return error.message;
  return error.status === 401 ? "An API key is needed: give it with “Key” at the top of the page." : error.message;
}

function rest() {
  running = null;
  for (const id of ["upload-files", "upload-folder"]) $(id).value = "";
  show($("upload-cancel"), false);
  show($("upload-create"), true);
  show($("upload-zone"), true);
}

export function openUpload(names) {
  $("upload-names").replaceChildren(...names.map((name) => element("option", { value: name })));
  if (!running) {
    $("upload-collection").value = state.collection === "demo" || isChoice(state.collection) ? "" : state.collection;
    for (const id of ["upload-run", "upload-show"]) show($(id), false);
  }
  $("upload").showModal();
}

async function createEmpty(shown) {
  if (!$("upload-form").reportValidity()) return;
  try {
    const { name } = await createCollection($("upload-collection").value.trim());
    $("upload").close();
    shown(name);
  } catch (error) {
    begin();
    stop(error, { done: 0 });
  }
}

// `shown(name)` is told which collection to show when the user asks for it.
export function watchUpload(shown) {
  $("upload-files").addEventListener("change", () => upload([...$("upload-files").files]));
  $("upload-close").addEventListener("click", () => $("upload").close());
  $("upload-cancel").addEventListener("click", () => running?.abort());
  $("upload-create").addEventListener("click", () => createEmpty(shown));
  $("upload-form").addEventListener("submit", (event) => event.preventDefault());
  $("upload-show").addEventListener("click", () => {
    $("upload").close();
    shown($("upload-show").dataset.collection);
  });
  $("upload-folder").addEventListener("change", () => upload(pictures([...$("upload-folder").files])));
  watchZone($("upload-zone"));
}

function watchZone(zone) {
  zone.addEventListener("dragover", () => zone.classList.add("over"));
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("over");
    upload([...event.dataTransfer.files]);
  });
}
