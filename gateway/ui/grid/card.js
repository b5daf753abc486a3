// One tile of the grid: picture, caption, score; and the bones of one whose item has not come yet.

import { $, element, show } from "../dom.js";
import { captionOf, sentence } from "../format.js";
import { drawPicture } from "../pictures/picture.js";
import { filled, scoreName } from "../scores.js";

const SETTLE_MS = 80; // a tile that scrolls past faster asks for no picture

let template = null;

// The spaces between the template's elements would be a third of the grid's nodes.
function withoutSpaces(node) {
  for (const child of [...node.childNodes]) {
    if (child.nodeType === Node.TEXT_NODE) child.remove();
    else withoutSpaces(child);
  }
  return node;
}

// `on`: { open, select, like } are called with the hit, the first two with the click. `passing`: the page is being
// scrolled, so the tile may be gone in a moment.
export function card(hit, collection, on, passing) {
  template ??= withoutSpaces($("card").content.firstElementChild);
  const made = template.cloneNode(true);
  const caption = captionOf(hit);
  Object.assign(made, { hit, collection });
  made.querySelector(".caption").textContent = caption;
  made.querySelector(".home").textContent = hit.collection ?? "";
  made.querySelector(".open").addEventListener("click", (event) => on.open(hit, event));
  made.querySelector(".select").setAttribute("aria-label", `Select ${caption}`);
  made.querySelector(".select").addEventListener("click", (event) => on.select(hit, event));
  made.querySelector(".similar").setAttribute("aria-label", `More like ${caption}`);
  made.querySelector(".similar").addEventListener("click", () => on.like(hit));
  const draw = () => made.isConnected && drawPicture(made.querySelector(".frame"), hit, collection);
  if (passing) setTimeout(draw, SETTLE_MS);
  else queueMicrotask(draw); // once it is in the document
  return made;
}

// A card that stays on the page keeps its picture, so that typing does not make the grid flicker.
export function reusable(old, hit, collection) {
  const same = old?.collection === collection && JSON.stringify(old.hit.metadata) === JSON.stringify(hit.metadata);
  return same ? old : null;
}

// What depends on where the hit stands: its number among `count`, and its score beside the best one.
export function place(made, hit, { at, count, best }) {
  const caption = captionOf(hit);
  made.hit = hit;
  made.classList.toggle("unscored", hit.score === undefined);
  made.setAttribute("aria-posinset", at + 1);
  made.setAttribute("aria-setsize", count);
  const told = [caption, hit.collection && `in ${hit.collection}`, hit.score !== undefined && `score ${hit.score.toFixed(3)}`];
  made.querySelector(".open").setAttribute("aria-label", told.filter(Boolean).join(", "));
  drawScore(made, hit.score, best);
  return made;
}

export function drawSelected(made, selected) {
  made.classList.toggle("selected", selected);
  made.querySelector(".select").setAttribute("aria-checked", String(selected));
}

function drawScore(made, score, best) {
  const line = made.querySelector(".score");
  show(line, score !== undefined);
  if (score === undefined) return;
  line.title = sentence(scoreName(made.collection));
  line.querySelector(".number").textContent = score.toFixed(3);
  line.querySelector(".fill").style.width = `${filled(score, made.collection, best) * 100}%`;
}

export function skeleton() {
  const bones = [1, 2].map(() => element("span", { className: "bone" }));
  return element("li", { className: "card skeleton", ariaHidden: "true" }, element("span", { className: "frame" }), ...bones);
}
