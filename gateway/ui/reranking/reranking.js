// A better order of what words found: by the captioner, by a tree of claims, or by a language model.

import { $, element, show } from "../dom.js";
import { digits, plural, sentence } from "../format.js";
import { isChoice } from "../library/across.js";
import { countedParts } from "../library/query.js";
import { change, state } from "../state.js";
import { drawTree } from "./tree.js";

// Pictures are compared with words, within one collection.
export const canRerank = (wanted) => !isChoice(wanted.collection) && countedParts(wanted).join() === "text";

export function rerankOf(wanted) {
  return wanted.rerank && canRerank(wanted) ? { by: wanted.rerank, explain: wanted.rerank === "tree" } : undefined;
}

export function drawOrder() {
  $("rerank").value = state.rerank;
  show($("order"), canRerank(state));
}

// `told` is what the gateway says of it; none for a search in its own order.
export function drawReranking(told) {
  show($("reranking"), Boolean(told));
  if (!told) return $("reranking-tree").replaceChildren();
  const { scored, candidates, ms } = told;
  $("reranking-said").replaceChildren(element("b", { textContent: headline(told) }), ` · ${scored} of ${plural(candidates, "candidate")} in ${digits(ms)} ms`);
  $("reranking-note").textContent = notes(told).map(sentence).join(". ");
  $("reranking-tree").replaceChildren(...(told.tree ? drawTree(told.tree) : []));
  return undefined;
}

const NAMES = { captioner: "Ordered by the captioner", tree: "Ordered by a tree of claims", llm: "Ordered by the language model" };

function headline({ by, applied }) {
  return applied ? NAMES[by] : "In the order of the search";
}

const LONG_MS = 100;

function notes({ note, missing, budget_spent: spent, without_picture: blind, parsed_by: parsedBy, quality }) {
  const misfit = missing?.length && `nothing here fits all of it: the first picture does not fit ${missing.map((label) => `“${label}”`).join(", ")}`;
  const early = spent && `the budget (${spent}) was spent: this is the best order so far`;
  const kept = blind && `${plural(blind, "item")} without a picture ${blind === 1 ? "keeps its place" : "keep their places"}`;
  const byModel = parsedBy === "llm" && "the language model took the words apart";
  const first = quality?.waited_ms > LONG_MS && `${digits(quality.waited_ms)} ms of that were for measuring the captioner, which is done once`;
  return [note, misfit, early, kept, byModel, first].filter(Boolean);
}

export function watchReranking() {
  $("rerank").addEventListener("change", () => change({ rerank: $("rerank").value }, { push: true }));
}
