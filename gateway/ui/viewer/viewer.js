// One picture, opened: large, with its facts, its neighbours, and “more like this”.

import { getItem } from "../api.js";
import { $, element } from "../dom.js";
import { chip } from "../filters.js";
import { captionOf, factsOf } from "../format.js";
import { focusCard, moreLike, results } from "../grid/results.js";
import { fail } from "../notices.js";
import { drawPicture } from "../pictures/picture.js";
import { scoreName } from "../scores.js";
import { change, state } from "../state.js";

let shown = null;

const place = () => results.placeOf(state.item);

// Follows state.item: opens, changes or closes. An item that is no result is asked for.
export async function drawViewer() {
  if (!state.item) return close();
  const hit = results.items[place()] ?? (await fetchItem(state.item));
  if (!hit || hit.id !== state.item) return undefined;
  if (shown !== hit) fill(hit);
  if (!$("viewer").open) $("viewer").showModal();
  return undefined;
}

async function fetchItem(id) {
  try {
    return await getItem(state.collection, id);
  } catch (error) {
    change({ item: null }, { quiet: true });
    fail(error);
    return null;
  }
}

function fill(hit) {
  shown = hit;
  const caption = captionOf(hit);
  $("viewer-title").textContent = caption;
  $("viewer-image").alt = caption;
  $("viewer-score").replaceChildren(...(hit.score === undefined ? [] : [element("b", { textContent: hit.score.toFixed(3) }), ` ${scoreName(state.collection)}`]));
  const facts = factsOf(hit).flatMap(([field, value]) => [element("dt", { textContent: field }), element("dd", {}, chip(field, value))]);
  $("viewer-facts").replaceChildren(element("dt", { textContent: "id" }), element("dd", { textContent: hit.id }), ...facts);
  $("viewer-previous").disabled = place() <= 0;
  $("viewer-next").disabled = place() < 0 || place() >= results.count - 1;
  drawPicture($("viewer-picture"), hit, state.collection);
}

function close() {
  if (!$("viewer").open) return;
  $("viewer").close();
}

// The next page is fetched when it is needed.
async function step(by) {
  const from = place();
  const next = from < 0 ? undefined : await results.at(from + by);
  if (next && place() === from) change({ item: next.id }, { quiet: true });
}

export function watchViewer() {
  $("viewer").addEventListener("close", () => {
    const id = shown?.id;
    shown = null;
    if (state.item) change({ item: null }, { quiet: true });
    focusCard(id);
  });
  $("viewer").addEventListener("click", (event) => {
    if (event.target === $("viewer")) $("viewer").close(); // the backdrop
    if (event.target.closest(".chip")) $("viewer").close();
  });
  $("viewer").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  $("viewer-close").addEventListener("click", () => $("viewer").close());
  $("viewer-previous").addEventListener("click", () => step(-1));
  $("viewer-next").addEventListener("click", () => step(1));
  $("viewer-similar").addEventListener("click", () => moreLike(shown));
}
