// Keys that work anywhere on the page: / to search, the arrow down into the results, Del for what is selected, Esc to
// leave what is open.

import { $, isTyping } from "./dom.js";
import { hideKeyPanel } from "./keys.js";
import { focusFirst } from "./grid/results.js";
import { clearSelection, selection } from "./library/selection.js";

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "/" && !isTyping()) {
    event.preventDefault();
    $("text").focus();
    $("text").select();
  } else if (event.key === "ArrowDown" && event.target.matches("#text, #negative, body")) {
    event.preventDefault();
    focusFirst();
  } else if (event.key === "Delete" && selection.size && !isTyping()) {
    $("selection-delete").click();
  } else if (event.key === "Escape") {
    leave(event);
  }
}

function leave(event) {
  if (!$("key-panel").hidden) hideKeyPanel();
  else if (selection.size) clearSelection();
  else if (event.target.closest("#results")) $("text").focus();
}

export function watchKeyboard() {
  document.addEventListener("keydown", onKey);
}
