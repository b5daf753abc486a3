// The search page: reads the form, asks the gateway, draws cards.

import { ApiError, call, key, picture, pictureAddress } from "./api.js";

const DEBOUNCE_MS = 250;
const CAPTION_FIELDS = ["caption", "title", "text", "description", "name"];
const MAX_TAGS = 4;
const $ = (id) => document.getElementById(id);

const state = { image: null, similar: null, running: null, timer: 0 };

// ---------------------------------------------------------------- asking

function request() {
  const common = { collection: $("collection").value, k: Number($("k").value) };
  const text = $("text").value.trim();
  if (state.similar) return { ...common, vector: state.similar.vector };
  if (state.image && text) return { ...common, query: [{ image: state.image }, { text }] };
  if (state.image) return { ...common, image: state.image };
  return text ? { ...common, text } : null;
}

async function run() {
  clearTimeout(state.timer);
  state.running?.abort();
  const running = (state.running = new AbortController());
  if (!$("collection").value) return;
  remember();
  $("results").setAttribute("aria-busy", "true");
  try {
    await (request() ? search(request(), running.signal) : browse(running.signal));
    if (state.running === running) hide("problem", "key-form");
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  } finally {
    if (state.running === running) $("results").setAttribute("aria-busy", "false");
  }
}

async function search(body, signal) {
  const started = performance.now();
  const answer = await call("/v1/search", body, signal);
  showTiming(answer, performance.now() - started);
  draw(answer.hits, headingFor(body));
  if (!answer.hits.length) showEmpty("Nothing found", "The collection has no item that fits.");
}

function showTiming({ hits, timing }, roundTrip) {
  const stages = `encode ${digits(timing.encode_ms)}, index ${digits(timing.search_ms)}`;
  $("status").textContent = `${count(hits.length)} in ${digits(timing.total_ms)} ms (${stages})`;
  $("status").title = `${digits(roundTrip)} ms with the way to the server and back`;
}

async function browse(signal) {
  const collection = $("collection").value;
  const limit = Number($("k").value);
  const answer = await call(`/v1/collections/${encodeURIComponent(collection)}/items?limit=${limit}`, undefined, signal);
  const items = answer.items ?? [];
  $("status").textContent = "";
  draw(items, items.length ? `Some of what is in “${collection}”` : "");
  if (!items.length) showEmpty("This collection is empty", `Add items with POST /v1/collections/${collection}/items.`);
}

async function moreLike(hit) {
  const collection = encodeURIComponent($("collection").value);
  const id = hit.id.split("/").map(encodeURIComponent).join("/");
  try {
    const item = await call(`/v1/collections/${collection}/items/${id}?include=vector`);
    clearPicture();
    $("text").value = "";
    state.similar = { caption: captionOf(hit), vector: item.vector };
    run();
    window.scrollTo({ top: 0, behavior: "smooth" });
  } catch (error) {
    fail(error);
  }
}

async function loadCollections() {
  try {
    const { collections } = await call("/v1/collections");
    hide("problem", "key-form");
    const wanted = $("collection").value || new URLSearchParams(location.search).get("collection");
    const names = collections.map((collection) => collection.name);
    $("collection").replaceChildren(...collections.map(optionOf));
    if (names.includes(wanted)) $("collection").value = wanted;
    if (names.length) return run();
    draw([], "");
    showEmpty("There is no collection yet", "Fill one with “clipserve ingest DIR --collection NAME”, then reload this page.");
  } catch (error) {
    fail(error);
  }
}

// ---------------------------------------------------------------- drawing

function draw(hits, heading) {
  hide("empty");
  $("heading").textContent = heading;
  $("heading").hidden = !heading;
  const collection = $("collection").value;
  $("results").replaceChildren(...hits.map((hit) => cardOf(hit, collection)));
}

function cardOf(hit, collection) {
  const card = $("card").content.cloneNode(true).firstElementChild;
  const caption = captionOf(hit);
  card.querySelector(".caption").textContent = caption;
  card.querySelector(".caption").title = hit.id;
  card.querySelector(".similar").setAttribute("aria-label", `More like ${caption}`);
  card.querySelector(".similar").addEventListener("click", () => moreLike(hit));
  card.querySelector(".tags").replaceChildren(...tagsOf(hit));
  drawScore(card.querySelector(".score"), hit.score);
  if (typeof hit.metadata?.file === "string") drawPicture(card, pictureAddress(collection, hit.metadata.file), caption);
  return card;
}

function drawScore(line, score) {
  line.hidden = score === undefined;
  if (line.hidden) return;
  line.querySelector(".number").textContent = score.toFixed(3);
  line.querySelector(".fill").style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
  line.title = "Cosine similarity";
}

async function drawPicture(card, address, caption) {
  const image = card.querySelector("img");
  image.alt = caption;
  image.addEventListener("load", () => {
    image.hidden = false;
    card.querySelector(".blank").hidden = true;
  });
  try {
    image.src = await picture(address);
  } catch {
    // the placeholder stays
  }
}

function captionOf(hit) {
  const field = CAPTION_FIELDS.find((name) => typeof hit.metadata?.[name] === "string" && hit.metadata[name]);
  return field ? hit.metadata[field] : hit.id;
}

function tagsOf(hit) {
  const shown = Object.entries(hit.metadata ?? {}).filter(
    ([name, value]) => name !== "file" && !CAPTION_FIELDS.includes(name) && ["string", "number", "boolean"].includes(typeof value),
  );
  return shown.slice(0, MAX_TAGS).map(([name, value]) => element("li", `${name}: ${value}`));
}

function headingFor(body) {
  if (state.similar) return `Like “${state.similar.caption}”`;
  if (body.query) return `Like your picture and “${body.query[1].text}”`;
  return body.image ? "Like your picture" : "";
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function optionOf(collection) {
  const option = element("option", `${collection.name} (${collection.count})`);
  option.value = collection.name;
  return option;
}

const digits = (value) => (value < 10 ? value.toFixed(1) : String(Math.round(value)));
const count = (n) => (n === 1 ? "1 result" : `${n} results`);

// ---------------------------------------------------------------- states

function hide(...ids) {
  for (const id of ids) $(id).hidden = true;
}

function showEmpty(title, text) {
  $("empty-title").textContent = title;
  $("empty-text").textContent = text;
  $("empty").hidden = false;
}

const TITLES = {
  400: "That did not work",
  404: "Not found",
  413: "That is too large",
  429: "Too busy at the moment",
  503: "A part of the service is not there",
};

function fail(error) {
  $("status").textContent = "";
  hide("empty", "problem");
  if (error instanceof ApiError && error.status === 401) return askForKey(error);
  draw([], "");
  $("problem-title").textContent = TITLES[error.status] ?? "Something went wrong";
  $("problem-text").textContent = error.message;
  $("problem").hidden = false;
}

function askForKey(error) {
  draw([], "");
  $("key-reason").textContent = key.get() ? error.message : "It is kept in this tab only.";
  $("key-form").hidden = false;
  $("key").focus();
}

function remember() {
  const kept = new URLSearchParams({ collection: $("collection").value });
  const text = $("text").value.trim();
  if (text) kept.set("q", text);
  history.replaceState(null, "", `?${kept}`);
}

// ---------------------------------------------------------------- pictures

function pick(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) return fail(new ApiError(400, `“${file.name}” is not a picture.`));
  const reader = new FileReader();
  reader.addEventListener("load", () => {
    state.image = reader.result;
    state.similar = null;
    $("picked-image").src = reader.result;
    $("picked").hidden = false;
    $("text").placeholder = "Add words to the picture";
    run();
  });
  reader.readAsDataURL(file);
}

function clearPicture() {
  state.image = null;
  $("picked").hidden = true;
  $("file").value = "";
  $("text").placeholder = "Describe a picture, or drop one here";
}

function unpick() {
  clearPicture();
  $("text").focus();
  run();
}

function hasFiles(event) {
  return [...(event.dataTransfer?.types ?? [])].includes("Files");
}

// ---------------------------------------------------------------- events

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  state.similar = null;
  run();
});
$("text").addEventListener("input", () => {
  state.similar = null;
  clearTimeout(state.timer);
  state.timer = setTimeout(run, DEBOUNCE_MS);
});
$("collection").addEventListener("change", () => {
  state.similar = null;
  run();
});
$("k").addEventListener("change", run);
$("file").addEventListener("change", () => pick($("file").files[0]));
$("unpick").addEventListener("click", unpick);
$("retry").addEventListener("click", loadCollections);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("key").value.trim());
  loadCollections();
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) pick(file);
});
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  $("drop").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  $("drop").hidden = true;
  if (!hasFiles(event)) return;
  event.preventDefault();
  pick(event.dataTransfer.files[0]);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement.tagName)) {
    event.preventDefault();
    $("text").focus();
  }
});

$("text").value = new URLSearchParams(location.search).get("q") ?? "";
loadCollections();
