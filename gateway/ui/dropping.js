// A picture dropped on the page or pasted into it. An open dialog has a drop zone of its own.

import { pick } from "./composer.js";
import { $, show } from "./dom.js";

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
const inDialog = () => document.querySelector("dialog[open]") !== null;

export function watchDropping() {
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (!file || inDialog()) return;
    event.preventDefault();
    pick(file);
  });
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show($("drop"), !inDialog());
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) show($("drop"), false);
  });
  document.addEventListener("drop", (event) => {
    show($("drop"), false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (!inDialog()) pick(event.dataTransfer.files[0]);
  });
}
