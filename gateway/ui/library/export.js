// Items as files: ids and metadata, as JSON or CSV.

import { element } from "../dom.js";

const LEFT_OUT = "thumbnail"; // a picture in letters is of no use in a table

export const cleaned = ({ id, metadata }) => ({ id, metadata: Object.fromEntries(Object.entries(metadata ?? {}).filter(([name]) => name !== LEFT_OUT)) });

export const toJson = (items) => JSON.stringify(items.map(cleaned), null, 1);

// A column for each field that any of the items has. As RFC 4180 has it: quoted where needed, lines end with CR LF.
// A text that a spreadsheet would take for a formula gets an apostrophe in front.
export function toCsv(items) {
  const rows = items.map(cleaned);
  const fields = [...new Set(rows.flatMap(({ metadata }) => Object.keys(metadata)))];
  const lines = rows.map(({ id, metadata }) => [id, ...fields.map((field) => (Object.hasOwn(metadata, field) ? metadata[field] : ""))]);
  return [["id", ...fields], ...lines].map((cells) => `${cells.map(quoted).join(",")}\r\n`).join("");
}

function quoted(value) {
  const plain = value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "");
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(plain) ? `'${plain}` : plain;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function download(name, type, text) {
  const href = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}
