// Text to the clipboard, also where the page is served without TLS and browsers offer no clipboard of their own.

import { element } from "./dom.js";

export async function copied(text) {
  const written = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  return written || copiedFromField(text);
}

function copiedFromField(text) {
  const held = document.activeElement;
  const field = element("textarea", { value: text, className: "hidden", ariaHidden: "true" });
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  held?.focus({ preventScroll: true });
  return done;
}

// The button says for a moment whether it worked.
export async function copyWith(button, text) {
  const label = button.querySelector("span");
  const before = label.textContent;
  const done = await copied(text);
  label.textContent = done ? "Copied" : "Not copied";
  setTimeout(() => (label.textContent = before), 2000);
}
