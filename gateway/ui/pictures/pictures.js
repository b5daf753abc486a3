// Where an item's picture comes from. To add a place: one entry of PLACES.

import { itemPath } from "../api.js";
import { withKey } from "../keys.js";
import { isGone, isThere, missing, reachable } from "./folders.js";
import { mayShow } from "./policy.js";

export const VIEWED = 768; // pixels of the longer side
export const tileSize = () => (devicePixelRatio >= 2 ? 768 : 256);
const DIGEST = /^[0-9a-f]{64}$/;
const WRITTEN = /^data:image\/(bmp|jpeg|png|webp);base64,/;
const NOT_SHOWN = /\.(tiff?|p[gp]m|hei[cf]|hif)$/i; // files that browsers can't show
const MOST_KEPT = 400;
const PLACES = [thumbnail, elsewhere, fromFolder, written];
const kept = new Map(); // address → object URL, for pictures that need the key

// The addresses to try, the best first; the next one is looked for only when it is asked for.
export async function* addressesOf(item, collection, size) {
  for (const find of PLACES) {
    const address = await find(item.metadata ?? {}, collection, item.id, size);
    if (address) yield address;
  }
}

// The address to show, or null when the item has no picture that can be shown.
export async function pictureOf(item, collection, size = tileSize()) {
  for await (const address of addressesOf(item, collection, size)) return address;
  return null;
}

// The picture as it is, where the gateway has it and the browser can show it.
export async function originalOf({ id, metadata }, collection) {
  const file = metadata?.original_file?.path ?? metadata?.file;
  if (NOT_SHOWN.test(file)) return null;
  if (typeof file !== "string" && !DIGEST.test(metadata?.digest)) return null;
  const address = `${itemPath(collection, id)}/picture${DIGEST.test(metadata.digest) ? `?digest=${metadata.digest}` : ""}`;
  return (await isThere(address)) ? withinReach(address) : null;
}

// Of what the gateway saw when the item was added.
function thumbnail({ digest }, collection, id, size) {
  if (!DIGEST.test(digest)) return null;
  const address = `${itemPath(collection, id)}/thumbnail?size=${size}&digest=${digest}`;
  return isGone(address) ? null : withinReach(address);
}

// On another host, such as a shop's CDN, that the gateway's settings name.
async function elsewhere({ image_url: address }) {
  return typeof address === "string" && !isGone(address) && (await mayShow(address)) ? address : null;
}

// Of a file in a folder of the collection, added without the gateway seeing it.
async function fromFolder({ file, digest }, collection, id, size) {
  if (typeof file !== "string" || DIGEST.test(digest)) return null;
  const address = `${itemPath(collection, id)}/thumbnail?size=${size}`;
  return (await reachable(collection, address)) ? withinReach(address) : null;
}

// A small picture in the metadata, of whoever wrote it.
function written({ thumbnail: made }) {
  return typeof made === "string" && WRITTEN.test(made) ? made : null;
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
