// Where an item's picture comes from. To add a place, such as thumbnails that the server keeps: one entry of PLACES.

import { withKey } from "../keys.js";
import { missing, reachable } from "./folders.js";
import { recent } from "./recent.js";

const THUMBNAIL = /^data:image\/(bmp|jpeg|png|webp);base64,/;
const MOST_KEPT = 400;
const PLACES = [recentOne, file, thumbnail];
const kept = new Map(); // address → object URL, for pictures that need the key

// The address to show, or null when the item has no picture that can be shown.
export async function pictureOf(item, collection) {
  for (const find of PLACES) {
    const address = await find(item.metadata ?? {}, collection, item.id);
    if (address) return address;
  }
  return null;
}

function recentOne(_, collection, id) {
  return recent(collection, id);
}

// A small picture in the metadata; the page itself writes previews of at most 200 characters.
function thumbnail({ thumbnail: made }) {
  return typeof made === "string" && THUMBNAIL.test(made) ? made : null;
}

// The gateway's folder of pictures, if the collection has one.
async function file({ file: name }, collection) {
  if (typeof name !== "string") return null;
  const address = `/images/${encodeURIComponent(collection)}/${name.split("/").map(encodeURIComponent).join("/")}`;
  return (await reachable(collection, address)) ? withinReach(address) : null;
}

// An <img> sends no key, so with one the picture is fetched and shown as a blob.
async function withinReach(address) {
  if (!withKey().Authorization) return address;
  if (!kept.has(address)) {
    const response = await fetch(address, { headers: withKey() }).catch(() => null);
    if (!response?.ok) {
      missing(address);
      return null;
    }
    forgetOldest();
    kept.set(address, URL.createObjectURL(await response.blob()));
  }
  return kept.get(address);
}

function forgetOldest() {
  if (kept.size < MOST_KEPT) return;
  const [address, url] = kept.entries().next().value;
  URL.revokeObjectURL(url);
  kept.delete(address);
}
