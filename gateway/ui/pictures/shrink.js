// A file of the user's → what is sent: the picture, scaled down where it is too large.

import { dataUri, decode } from "./files.js";

const MOST_BYTES = 12e6; // of a file that is sent as it is; the gateway takes 16 MiB, in letters a third more
const MOST_PIXELS = 40e6;
export const SCALED_PX = 2048; // the longer side of one that is scaled down: many times what any model looks at

// A file → the data URI to send. What the browser cannot decode goes as it is: the server may be able to, but for HEIC
// and AVIF.
// `most`: at most so many pixels of the longer side, for a picture that the server found too large.
export async function readForUpload(file, most = Infinity) {
  if (!file.size) throw new Error("the file is empty");
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (bitmap) return readDecoded(file, bitmap, most);
  if (await isContainer(file)) throw new Error("this browser cannot read HEIC or AVIF files such as this one; clipserve ingest converts them");
  return dataUri(file);
}

// The same of a picture to search with. Rejects what the browser cannot decode as a picture.
export async function readPicture(file) {
  return readDecoded(file, await decode(file), Infinity);
}

async function readDecoded(file, bitmap, most) {
  const large = file.size > MOST_BYTES || bitmap.width * bitmap.height > MOST_PIXELS;
  const side = Math.min(most, large ? SCALED_PX : Infinity);
  const image = await dataUri(side < Infinity || (await isContainer(file)) ? await blobOf(drawn(bitmap, side), 0.92) : file);
  bitmap.close();
  return image;
}

// AVIF or HEIC, which the gateway does not take, whatever the file's name says.
async function isContainer(file) {
  return (await file.slice(4, 8).text()) === "ftyp";
}

function drawn(bitmap, side) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const paper = canvas.getContext("2d");
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.imageSmoothingQuality = "high";
  paper.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

const blobOf = (canvas, quality) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
