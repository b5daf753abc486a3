// Deleting a whole collection, once its name has been typed.

import { call, deleteCollection } from "../api.js";
import { $, show } from "../dom.js";
import { sentence } from "../format.js";

// Why the key may not delete, as the gateway says it; empty where it may. Jobs are read with the scope that this needs.
export async function whyNot(signal) {
  try {
    await call("/v1/jobs?limit=1", { signal });
    return "";
  } catch (error) {
    return error.code === "scope_missing" ? error.message : "";
  }
}

export function hideDeleting() {
  show($("about-delete"), false);
  show($("about-may-not"), false);
}

// `reason`: why the key may not.
export function drawDeleting(name, reason) {
  $("about-delete").open = false;
  $("about-named").textContent = name;
  $("about-name").value = "";
  refuse("");
  show($("about-delete"), !reason);
  $("about-may-not").textContent = `It can't be deleted with this key: ${reason}.`;
  show($("about-may-not"), Boolean(reason));
}

export function refuse(text) {
  $("about-refused").textContent = text;
  $("about-name").ariaInvalid = String(Boolean(text));
  if (!text) return;
  $("about-name").focus();
  bringIntoView();
}

// The dialog scrolls where the window is small.
const bringIntoView = () => $("about-go").scrollIntoView({ block: "nearest" });

export function watchDeleting() {
  $("about-delete").addEventListener("toggle", () => $("about-delete").open && bringIntoView());
}

// Whether it was deleted; false where another name was typed. Raises what the gateway refuses.
export async function deleteTyped(name) {
  const fits = $("about-name").value.trim() === name;
  refuse(fits ? "" : `Nothing was deleted: that is not its name, ${name}.`);
  if (!fits) return false;
  $("about-go").disabled = true;
  try {
    await deleteCollection(name);
    return true;
  } finally {
    $("about-go").disabled = false;
  }
}

export const sayRefused = ({ message }) => refuse(`${sentence(message)}.`);
