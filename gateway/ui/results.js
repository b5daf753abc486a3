// The grid of results: cards, skeletons while the first ones load, and the arrow keys in it.

import { $, element, show } from "./dom.js";
import { captionOf, sentence } from "./format.js";
import { rememberLiked } from "./liked.js";
import { pictureOf } from "./pictures.js";
import { filled, scoreName } from "./scores.js";
import { change, state } from "./state.js";

export const results = { hits: [] };

export function drawResults(hits) {
  const held = document.activeElement?.closest("#results") && document.activeElement;
  const kept = new Map([...$("results").children].filter(({ hit }) => hit).map((one) => [one.hit.id, one]));
  results.hits = hits;
  $("results").replaceChildren(...hits.map((hit, place) => placed(reusable(kept.get(hit.id), hit) ?? card(hit), hit, place)));
  rove($("results").querySelector(".open"));
  if (held) (held.isConnected ? held : $("results")).focus({ preventScroll: true });
}

// A card that stays on the page keeps its picture, so that typing does not make the grid flicker.
function reusable(old, hit) {
  const same = old && old.collection === state.collection && JSON.stringify(old.hit.metadata) === JSON.stringify(hit.metadata);
  old?.classList.toggle("kept", Boolean(same));
  return same ? old : null;
}

function placed(made, hit, place) {
  const caption = captionOf(hit);
  made.style.setProperty("--place", place);
  made.classList.toggle("unscored", hit.score === undefined);
  made.querySelector(".open").setAttribute("aria-label", hit.score === undefined ? caption : `${caption}, score ${hit.score.toFixed(3)}`);
  drawScore(made.querySelector(".score"), hit.score);
  return made;
}

export function drawSkeletons(count) {
  results.hits = [];
  $("results").replaceChildren(...Array.from({ length: count }, skeleton));
}

function skeleton() {
  const bones = [1, 2].map(() => element("span", { className: "bone" }));
  return element("li", { className: "card skeleton", ariaHidden: "true" }, element("span", { className: "frame" }), ...bones);
}

function card(hit) {
  const made = $("card").content.cloneNode(true).firstElementChild;
  const caption = captionOf(hit);
  const [open, similar] = [made.querySelector(".open"), made.querySelector(".similar")];
  Object.assign(made, { hit, collection: state.collection });
  made.querySelector(".caption").textContent = caption;
  open.addEventListener("click", () => change({ item: hit.id }, { quiet: true }));
  open.addEventListener("focus", () => rove(open));
  similar.setAttribute("aria-label", `More like ${caption}`);
  similar.addEventListener("click", () => moreLike(hit));
  similar.tabIndex = 0;
  drawPicture(made.querySelector("img"), hit);
  return made;
}

function drawScore(line, score) {
  show(line, score !== undefined);
  if (score === undefined) return;
  line.title = sentence(scoreName(state.collection));
  line.querySelector(".number").textContent = score.toFixed(3);
  line.querySelector(".fill").style.width = `${filled(score, state.collection, results.hits[0].score) * 100}%`;
}

// Shown once it has loaded; until then, and when there is none, the placeholder stands in its place.
export async function drawPicture(image, hit) {
  image.hidden = true;
  const address = await pictureOf(hit, state.collection);
  if (!address) return;
  image.addEventListener("load", () => show(image, true), { once: true });
  image.loading = "eager"; // a hidden picture is never “near the viewport”
  image.src = address;
}

export function moreLike(hit) {
  rememberLiked(hit);
  change({ like: hit.id, text: "", negative: "", picture: null, item: null }, { push: true });
  window.scrollTo({ top: 0, behavior: "smooth" });
}

// ---------------------------------------------------------------- keys

// One card at a time is a tab stop; the arrows move it.
function rove(open) {
  for (const other of $("results").querySelectorAll(".open[tabindex='0']")) other.tabIndex = -1;
  if (open) open.tabIndex = 0;
}

export function focusFirst() {
  $("results").querySelector(".open")?.focus();
}

export function focusCard(id) {
  const place = results.hits.findIndex((hit) => hit.id === id);
  $("results").children[place]?.querySelector(".open")?.focus();
}

function columns() {
  return getComputedStyle($("results")).gridTemplateColumns.split(" ").length;
}

function stepOf(key, place, count) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -place, End: count - 1 - place };
  return steps[key];
}

export function watchResults() {
  $("results").addEventListener("keydown", (event) => {
    const cards = [...$("results").children];
    const place = cards.indexOf(event.target.closest(".card"));
    const step = stepOf(event.key, place, cards.length);
    if (step === undefined || place < 0) return;
    event.preventDefault();
    if (event.key === "ArrowUp" && place + step < 0) return $("text").focus();
    cards[place + step]?.querySelector(".open")?.focus();
  });
}
