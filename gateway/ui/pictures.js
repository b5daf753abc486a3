// Where an item's picture comes from: a thumbnail in its metadata, or the gateway's folder of pictures.

import { withKey } from "./keys.js";

const THUMBNAIL = /^data:image\/(jpeg|png|webp);base64,/;
const THUMBNAIL_PX = 320;
const THUMBNAIL_MOST = 32_000; // characters, of a picture that is nothing but noise
const QUALITIES = [0.8, 0.5, 0.2];
const MOST_KEPT = 400;
const kept = new Map(); // address → object URL, for pictures that need the key

// The address to show, or null when the item has no picture.
export async function pictureOf(item, collection) {
  const { thumbnail, file } = item.metadata ?? {};
  if (typeof thumbnail === "string" && THUMBNAIL.test(thumbnail)) return thumbnail;
  if (typeof file !== "string") return null;
  return withinReach(`/images/${encodeURIComponent(collection)}/${file.split("/").map(encodeURIComponent).join("/")}`);
}

// An <img> sends no key, so with one the picture is fetched and shown as a blob.
async function withinReach(address) {
  if (!withKey().Authorization) return address;
  if (!kept.has(address)) {
    const response = await fetch(address, { headers: withKey() }).catch(() => null);
    if (!response?.ok) return null;
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

// A file → its data: URI. Rejects what the browser cannot decode as a picture.
export async function readPicture(file) {
  const bitmap = await decode(file);
  bitmap.close();
  return dataUri(file);
}

// A file → { image, thumbnail }: the file as it is, and a small JPEG of it to show in results.
export async function readForUpload(file) {
  const bitmap = await decode(file);
  const thumbnail = shrink(bitmap);
  bitmap.close();
  return { image: await dataUri(file), thumbnail };
}

async function decode(file) {
  return createImageBitmap(file).catch(() => {
    throw new Error(`“${file.name}” is not a picture that this browser can read.`);
  });
}

function shrink(bitmap) {
  const scale = Math.min(1, THUMBNAIL_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const paper = canvas.getContext("2d");
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const tries = QUALITIES.map((quality) => () => canvas.toDataURL("image/jpeg", quality));
  return tries.reduce((best, make) => (best && best.length <= THUMBNAIL_MOST ? best : make()), null);
}

function dataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(new Error(`“${file.name}” cannot be read.`)));
    reader.readAsDataURL(file);
  });
}
