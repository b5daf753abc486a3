// The menu of the collection that is shown: what it is, exporting it, deleting it.

import { describeCollection, getLimits, listAliases } from "../api.js";
import { $, element, show } from "../dom.js";
import { facetFields } from "../filters.js";
import { sentence } from "../format.js";
import { isChoice } from "../library/across.js";
import { fail } from "../notices.js";
import { state } from "../state.js";
import { toast } from "../toast.js";
import { deleteTyped, drawDeleting, hideDeleting, sayRefused, watchDeleting, whyNot } from "./deleting.js";
import { drawExporting, exportAll } from "./exporting.js";
import { rowsOf } from "./facts.js";

let opened = null; // of the dialog while it is open

// One collection has a menu. Where there is none, the focus goes to its neighbour.
export function drawMenu(there = true) {
  const shown = there && state.collection !== "" && !isChoice(state.collection);
  if (!shown && document.activeElement === $("about-open")) $("collection").focus();
  show($("about-open"), shown);
}

async function open() {
  const mine = (opened = { asked: state.collection, described: null, known: {}, missing: false, saving: false, stop: new AbortController() });
  const { signal } = mine.stop;
  $("about-title").textContent = mine.asked;
  $("about-facts").replaceChildren();
  for (const id of ["about-export", "about-large"]) show($(id), false);
  hideDeleting();
  say("Looking …");
  $("about").showModal();
  learn(mine, "aliases", listAliases(signal));
  learn(mine, "limits", getLimits(signal));
  const reason = whyNot(signal);
  try {
    mine.described = await describeCollection(mine.asked, signal);
    draw(mine);
    const told = await reason;
    if (mine === opened && !mine.missing) drawDeleting(mine.described.name, told);
  } catch (error) {
    failed(error, mine);
  }
}

// What comes from another call, and is left out where that fails.
async function learn(mine, name, asked) {
  mine.known[name] = await asked.catch(() => null);
  if (mine.described) drawFacts(mine);
}

function draw(mine) {
  if (mine !== opened) return;
  say("");
  $("about-title").textContent = mine.described.name;
  drawFacts(mine);
  drawExporting(mine.described);
}

function drawFacts(mine) {
  if (mine !== opened) return;
  const { asked, described, known } = mine;
  const aliases = known.aliases?.filter(({ collection }) => collection === described.name).map(({ name }) => name);
  const rows = rowsOf(described, { aliases, limits: known.limits, fields: facetFields(asked) });
  $("about-facts").replaceChildren(...rows.flatMap(([name, text]) => [element("dt", { textContent: name }), element("dd", { textContent: text })]));
}

function say(text) {
  $("about-status").textContent = text;
}

// `tell(error)` says what has no way of its own; after the dialog was closed, a toast does.
function failed(error, mine, tell = ({ message }) => say(`${sentence(message)}.`)) {
  if (error.name === "AbortError") return undefined;
  if (mine !== opened) return toast(`${sentence(error.message)}.`);
  if (error.status === 404) return missing(error, mine);
  if (error.status !== 401) return tell(error);
  $("about").close();
  return fail(error);
}

// Somebody else deleted it: nothing can be done with it here.
function missing(error, mine) {
  mine.missing = true;
  hideDeleting();
  show($("about-export"), false);
  say(`${sentence(error.message)}.`);
  $("about-close").focus();
}

async function save(extension) {
  const mine = opened;
  if (mine.saving) return;
  mine.saving = true;
  try {
    await exportAll(mine.described, extension, (text) => mine === opened && say(text), mine.stop.signal);
  } catch (error) {
    failed(error, mine);
  } finally {
    mine.saving = false;
  }
}

async function remove(gone) {
  const mine = opened;
  const { name } = mine.described;
  try {
    if (!(await deleteTyped(name))) return;
    if (mine === opened) $("about").close();
    toast(`“${name}” was deleted`);
    gone(mine.asked);
  } catch (error) {
    failed(error, mine, sayRefused);
  }
}

// `gone(name)` is told of a collection that is no more, by the name that the page shows it under.
export function watchMenu(gone) {
  watchDeleting();
  $("about-open").addEventListener("click", open);
  $("about-close").addEventListener("click", () => $("about").close());
  $("about").addEventListener("close", () => {
    const { asked, missing: left, stop } = opened;
    opened = null;
    stop.abort();
    if (left) gone(asked);
  });
  $("about-json").addEventListener("click", () => save("json"));
  $("about-csv").addEventListener("click", () => save("csv"));
  $("about-form").addEventListener("submit", (event) => {
    event.preventDefault();
    remove(gone);
  });
}
