// What is known of an item: its metadata as filters, text, links or JSON, and where its original is.

import { element } from "../dom.js";
import { chip } from "../filters.js";
import { captionOf } from "../format.js";

const LONGEST_CHIP = 60; // characters
const NOT_FOR_PEOPLE = ["digest", "thumbnail"];
const LINKS = { link: "Open the link", url: "Open the link", image_url: "Open the original" };

const isAddress = (value) => typeof value === "string" && /^https?:\/\//i.test(value) && URL.canParse(value);

// Rows for a <dl>: the id, then every field that tells people something, but for what the title says already.
export function factRows(item) {
  const title = captionOf(item);
  const fields = Object.entries(item.metadata ?? {}).filter(([name, value]) => !NOT_FOR_PEOPLE.includes(name) && value !== title);
  const home = item.collection === undefined ? [] : [["collection", element("span", { textContent: item.collection })]];
  return [["id", element("span", { textContent: item.id })], ...home, ...fields.map(([name, value]) => [name, valueOf(name, value)])].flatMap(([name, value]) => [
    element("dt", { textContent: name }),
    element("dd", {}, value),
  ]);
}

function valueOf(name, value) {
  if (isAddress(value)) return outside(value, value);
  if (value !== null && typeof value === "object") return element("pre", { textContent: JSON.stringify(value, null, 1) });
  const short = value !== null && String(value).length <= LONGEST_CHIP && name !== "file";
  return short ? chip(name, value) : element("span", { textContent: String(value) });
}

// [label, address] of each link of the item; `original` is the address of the picture as it is, if the gateway has it.
export function linksOf({ metadata }, original) {
  const named = Object.entries(LINKS).filter(([field]) => isAddress(metadata?.[field]));
  const found = named.map(([field, label]) => [label, metadata[field]]);
  const own = original && !found.some(([label]) => label === LINKS.image_url);
  return own ? [[LINKS.image_url, original], ...found] : found;
}

export const outside = (textContent, href) => element("a", { textContent, href, target: "_blank", rel: "noopener noreferrer" });
