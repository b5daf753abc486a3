// A line at the bottom of the page that says what was done, and leaves by itself.

import { $, show } from "./dom.js";

const STAYS_MS = 6000;
let timer = 0;

export function toast(text) {
  clearTimeout(timer);
  $("toast").textContent = text;
  show($("toast"), true);
  timer = setTimeout(() => show($("toast"), false), STAYS_MS);
}
