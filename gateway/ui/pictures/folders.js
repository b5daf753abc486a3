// Which collections have a folder of pictures. Until one picture of a collection was there, its tiles ask one after the
// other, and after a few failures none asks: a collection without a folder costs three requests, not one for each tile.
// All this holds until a collection is opened, again or anew.

import { withKey } from "../keys.js";

const MOST_TRIED = 3;
const folders = new Map(); // collection → { open, tried, turn }
const gone = new Set(); // addresses at which there was nothing

export function forgetFolders() {
  folders.clear();
  gone.clear();
}

export function missing(address) {
  gone.add(address);
}

export const isGone = (address) => gone.has(address);

// Whether to ask for a picture at `address`, which belongs to the collection.
export async function reachable(collection, address) {
  if (gone.has(address)) return false;
  if (!folders.has(collection)) folders.set(collection, { open: false, tried: 0, turn: Promise.resolve() });
  const folder = folders.get(collection);
  if (!folder.open) await (folder.turn = folder.turn.then(() => tryOne(folder, address)));
  return folder.open && !gone.has(address);
}

async function tryOne(folder, address) {
  if (folder.open || folder.tried >= MOST_TRIED) return;
  folder.tried += 1;
  folder.open = await isThere(address);
}

// Whether there is something at an address: asked for once.
export async function isThere(address) {
  if (gone.has(address)) return false;
  const response = await fetch(address, { method: "HEAD", headers: withKey() }).catch(() => null);
  if (!response?.ok) gone.add(address);
  return !gone.has(address);
}
