// One picture, opened: large, to zoom into, with its facts, its neighbours, and “more like this”.

import { getItem } from "../api.js";
import { copyWith } from "../copying.js";
import { $, element, show } from "../dom.js";
import { captionOf } from "../format.js";
import { focusCard, moreLike, results } from "../grid/results.js";
import { homeOf, isChoice, keyOf, placeOf } from "../library/across.js";
import { fail } from "../notices.js";
import { drawPicture } from "../pictures/picture.js";
import { originalOf, VIEWED } from "../pictures/pictures.js";
import { scoreName } from "../scores.js";
import { change, state } from "../state.js";
import { offerCaption, watchCaption } from "./captions.js";
import { factRows, linksOf, outside } from "./facts.js";
import { zoomable, zoomByKey } from "./zoom.js";

let shown = null;
let zoom = null;

const place = () => results.placeOf(state.item);

// Follows state.item: opens, changes or closes. An item that is no result is asked for.
export async function drawViewer() {
  if (!state.item) return close();
  const hit = results.items[place()] ?? (await fetchItem(state.item));
  if (!hit || keyOf(hit) !== state.item) return undefined;
  if (shown !== hit) fill(hit);
  if (!$("viewer").open) $("viewer").showModal();
  return undefined;
}

async function fetchItem(key) {
  const [collection, id] = placeOf(key);
  try {
    const item = await getItem(collection, id);
    return isChoice(state.collection) ? { ...item, collection } : item;
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
  $("viewer-score").replaceChildren(...scoreLine(hit));
  $("viewer-facts").replaceChildren(...factRows(hit));
  zoom.reset();
  offerCaption(hit);
  drawPlace();
  drawLarge(hit);
}

function scoreLine(hit) {
  const { score } = hit;
  return score === undefined ? [] : [element("b", { textContent: score.toFixed(3) }), ` ${scoreName(homeOf(hit))}`];
}

// Where it stands among the results: again when their number is known.
export function drawPlace() {
  const at = place();
  $("viewer-place").textContent = at < 0 ? "" : `${(at + 1).toLocaleString("en")} of ${results.count.toLocaleString("en")}`;
  $("viewer-previous").disabled = at <= 0;
  $("viewer-next").disabled = at < 0 || at >= results.count - 1;
}

// First what is small and at hand; then the original, once it has loaded.
async function drawLarge(hit) {
  drawLinks(hit, null);
  await drawPicture($("viewer-picture"), hit, homeOf(hit), VIEWED);
  if (shown !== hit) return;
  const original = await originalOf(hit, homeOf(hit));
  if (shown !== hit || !original) return;
  drawLinks(hit, original);
  if (await decodes(original) && shown === hit) sharpen(original);
}

const decodes = (address) => Object.assign(new Image(), { src: address }).decode().then(() => true, () => false);

function sharpen(address) {
  $("viewer-image").src = address;
  show($("viewer-image"), true);
}

function drawLinks(hit, original) {
  $("viewer-links").replaceChildren(...linksOf(hit, original).map(([label, address]) => element("li", {}, outside(label, address))));
}

function close() {
  if (!$("viewer").open) return;
  $("viewer").close();
}

// The next page is fetched when it is needed.
async function step(by) {
  const from = place();
  const next = from < 0 ? undefined : await results.at(from + by).catch(() => undefined);
  if (next && place() === from) change({ item: keyOf(next) }, { quiet: true });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (zoomByKey(event, zoom)) return event.preventDefault();
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
  return undefined;
}

export function watchViewer() {
  zoom = zoomable($("viewer-picture"), $("viewer-image"), (scale) => show($("viewer-fit"), scale > 1));
  $("viewer").addEventListener("close", () => {
    const key = shown && keyOf(shown);
    shown = null;
    offerCaption(null);
    if (state.item) change({ item: null }, { quiet: true });
    focusCard(key);
  });
  $("viewer").addEventListener("click", (event) => {
    if (event.target === $("viewer")) $("viewer").close(); // the backdrop
    if (event.target.closest(".chip")) $("viewer").close();
  });
  $("viewer").addEventListener("keydown", onKey);
  $("viewer-close").addEventListener("click", () => $("viewer").close());
  $("viewer-previous").addEventListener("click", () => step(-1));
  $("viewer-next").addEventListener("click", () => step(1));
  $("viewer-in").addEventListener("click", () => zoom.zoom(1.5));
  $("viewer-out").addEventListener("click", () => zoom.zoom(1 / 1.5));
  $("viewer-fit").addEventListener("click", () => zoom.reset());
  $("viewer-copy").addEventListener("click", () => copyWith($("viewer-copy"), shown.id));
  $("viewer-similar").addEventListener("click", () => moreLike(shown));
  watchCaption();
}
