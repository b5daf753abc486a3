// What can be done with the selection: the bar above the grid.

import { deleteItems } from "../api.js";
import { confirmed } from "../confirm.js";
import { $, element, show } from "../dom.js";
import { plural } from "../format.js";
import { selectAll } from "../grid/results.js";
import { fail } from "../notices.js";
import { state } from "../state.js";
import { toast } from "../toast.js";
import { download, toCsv, toJson } from "./export.js";
import { addTo } from "./moving.js";
import { clearSelection, onSelection, selection } from "./selection.js";

const DELETED = 1000; // ids a call

function drawBar() {
  show($("selection"), selection.size > 0);
  $("selection-count").textContent = `${selection.size.toLocaleString("en")} selected`;
  $("results").classList.toggle("selecting", selection.size > 0);
}

async function removeSelected(changed) {
  const ids = selection.items.map(({ id }) => id);
  if (!ids.length) return;
  const title = `Delete ${plural(ids.length, "item")} from “${state.collection}”?`;
  if (!(await confirmed({ title, text: "They are gone for good.", action: "Delete" }))) return;
  try {
    let deleted = 0;
    for (let from = 0; from < ids.length; from += DELETED) deleted += (await deleteItems(state.collection, ids.slice(from, from + DELETED))).deleted;
    toast(`${plural(deleted, "item")} deleted`);
    clearSelection();
  } catch (error) {
    fail(error);
    scrollTo({ top: 0 });
  }
  changed();
}

function save(extension, type, format) {
  download(`${state.collection}-${selection.size}.${extension}`, type, format(selection.items));
}

function openAdd(names) {
  $("add-names").replaceChildren(...names.filter((name) => name !== state.collection).map((value) => element("option", { value })));
  $("add-title").textContent = `Add ${plural(selection.size, "item")} to another collection`;
  $("add-status").textContent = "";
  $("add-failed").replaceChildren();
  $("add-to").showModal();
}

async function addSelected(changed) {
  const target = $("add-collection").value.trim();
  if (!$("add-form").reportValidity()) return;
  const items = selection.items;
  $("add-go").disabled = true;
  try {
    const failures = await addTo(target, state.collection, items, (done) => ($("add-status").textContent = `${done} of ${plural(items.length, "item")}`));
    const added = plural(items.length - failures.length, "item");
    $("add-failed").replaceChildren(...failures.map(([id, reason]) => element("li", {}, element("b", { textContent: id }), " ", element("span", { textContent: reason }))));
    $("add-status").textContent = failures.length ? `${added} added, ${failures.length} not` : "";
    if (!failures.length) {
      $("add-to").close();
      toast(`${added} added to “${target}”`);
      clearSelection();
    }
    changed();
  } catch (error) {
    $("add-status").textContent = error.message;
  } finally {
    $("add-go").disabled = false;
  }
}


// `names()` are the collections; `changed()` is told when one of them has other items than before.
export function watchActions({ names, changed }) {
  onSelection(drawBar);
  $("selection-clear").addEventListener("click", clearSelection);
  $("selection-all").addEventListener("click", () => selectAll().catch(fail));
  $("selection-json").addEventListener("click", () => save("json", "application/json", toJson));
  $("selection-csv").addEventListener("click", () => save("csv", "text/csv", toCsv));
  $("selection-delete").addEventListener("click", () => removeSelected(changed));
  $("selection-add").addEventListener("click", () => openAdd(names()));
  $("add-close").addEventListener("click", () => $("add-to").close());
  $("add-form").addEventListener("submit", (event) => {
    event.preventDefault();
    addSelected(changed);
  });
}
