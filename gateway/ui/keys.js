// The API key: kept for this tab only, in sessionStorage, and asked for when the gateway wants one.

import { $, show } from "./dom.js";

const KEPT = "clipserve-key";

export const currentKey = () => sessionStorage.getItem(KEPT);

export const withKey = (headers = {}) => (currentKey() ? { ...headers, Authorization: `Bearer ${currentKey()}` } : headers);

export function askForKey(reason) {
  $("key-title").textContent = reason ? "An API key is needed" : "API key";
  $("key-reason").textContent = currentKey() && reason ? reason : "It is kept in this tab only.";
  show($("key-forget"), Boolean(currentKey()));
  show($("key-panel"), true);
  $("key").focus();
}

export function hideKeyPanel() {
  show($("key-panel"), false);
}

export function watchKey(changed) {
  $("key-open").addEventListener("click", () => ($("key-panel").hidden ? askForKey() : hideKeyPanel()));
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEPT, $("key").value.trim());
    $("key").value = "";
    hideKeyPanel();
    changed();
  });
  $("key-forget").addEventListener("click", () => {
    sessionStorage.removeItem(KEPT);
    hideKeyPanel();
    changed();
  });
}
