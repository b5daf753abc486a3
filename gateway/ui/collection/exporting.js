// A whole collection as a file: ids and metadata of all items, by id.

import { listItems } from "../api.js";
import { $, show } from "../dom.js";
import { plural } from "../format.js";
import { cleaned, download, toCsv, toJson } from "../library/export.js";

const PAGE = 1000;
const MOST = 100_000; // what a browser tab holds with ease

export function drawExporting({ name, count }) {
  show($("about-export"), count > 0 && count <= MOST);
  show($("about-large"), count > MOST);
  $("about-large").textContent = `It is too large for a file made here: clipserve index export ${name} ${name}.parquet writes it with its vectors.`;
}

async function allItems(name, told, signal) {
  const items = [];
  let after = null;
  do {
    const page = await listItems(name, { limit: PAGE, after, signal });
    for (const item of page.items) items.push(cleaned(item));
    after = page.next ?? null;
    told(items.length);
  } while (after !== null);
  return items;
}

const FORMATS = { json: ["application/json", toJson], csv: ["text/csv", toCsv] };

// `told(text)` is told how far it is; the signal ends it.
export async function exportAll({ name, count }, extension, told, signal) {
  const [type, format] = FORMATS[extension];
  told("Reading …");
  const items = await allItems(name, (done) => told(`${done.toLocaleString("en")} of ${plural(Math.max(count, done), "item")}`), signal);
  download(`${name}-${items.length}.${extension}`, type, format(items));
  told(`${plural(items.length, "item")} in ${name}-${items.length}.${extension}`);
}
