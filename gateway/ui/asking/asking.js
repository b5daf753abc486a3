// A question about the collection's pictures: the answer while it comes, then the pictures that show it.

import { $, element, icon, show } from "../dom.js";
import { events } from "../events.js";
import { captionOf, plural, sentence } from "../format.js";
import { askForKey } from "../keys.js";
import { isChoice } from "../library/across.js";
import { filterOf } from "../library/query.js";
import { drawPicture } from "../pictures/picture.js";
import { change, state } from "../state.js";

let running = null;

async function answer() {
  running?.abort();
  const mine = (running = new AbortController());
  const { collection } = state;
  say("Looking at the pictures …", true);
  let text = "";
  $("cited").replaceChildren();
  if (isChoice(collection)) return say("Choose one collection to ask about.", false);
  const body = { question: $("question").value.trim(), collection, filter: filterOf(state.filters), stream: true };
  try {
    for await (const told of events("/v1/ask", { body, signal: mine.signal })) {
      if (mine !== running) return undefined;
      if (told.object === "answer.delta") say((text += told.delta), true);
      if (told.object === "answer") drawAnswer(told, collection);
    }
  } catch (error) {
    if (mine !== running || error.name === "AbortError") return undefined;
    if (error.status === 401) askForKey(error.message);
    say(`No answer: ${sentence(error.message)}`, false);
  }
  return undefined;
}

// `busy`: more is to come, and only the whole is read out.
function say(text, busy) {
  $("answer").textContent = text;
  $("answer").setAttribute("aria-busy", String(busy));
}

function stop() {
  running?.abort();
  if ($("answer").getAttribute("aria-busy") === "true") say("", false);
}

function drawAnswer(told, collection) {
  say(told.answer, false);
  $("answered-by").textContent = about(told);
  const metadata = new Map(told.hits.map((hit) => [hit.id, hit.metadata]));
  $("cited").replaceChildren(...told.citations.map(({ id, score }) => tile({ id, score, metadata: metadata.get(id) }, collection)));
}

function about({ by, hits, usage, timing }) {
  const cost = usage.cost_usd ? `, ${usage.cost_usd.toFixed(4)} USD` : "";
  const who = by === "offline" ? "Without a language model" : `By ${by}`;
  return `${who}, from ${plural(hits.length, "picture")} in ${Math.round(timing.total_ms)} ms${cost}`;
}

function tile(hit, collection) {
  const caption = captionOf(hit);
  const blank = element("span", { className: "blank", ariaHidden: "true" }, icon("picture"), element("span", { className: "blank-id" }));
  const frame = element("span", { className: "frame" }, element("img", { alt: "", hidden: true, decoding: "async" }), blank);
  const button = element("button", { type: "button", title: caption, ariaLabel: `Open ${caption}` }, frame);
  button.addEventListener("click", () => change({ item: hit.id }, { push: true, quiet: true }));
  drawPicture(frame, hit, collection);
  return element("li", {}, button);
}

export function watchAsking() {
  $("asking-toggle").addEventListener("click", () => {
    const open = $("asking").hidden;
    show($("asking"), open);
    $("asking-toggle").setAttribute("aria-expanded", String(open));
    if (open) $("question").focus();
    else stop();
  });
  $("asking-form").addEventListener("submit", (event) => {
    event.preventDefault();
    $("answered-by").textContent = "";
    answer();
  });
}
