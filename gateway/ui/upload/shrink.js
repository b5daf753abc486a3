// A file of the user's → what is sent: the picture, scaled down where it is too large, and a preview of a few bytes.

import { dataUri } from "../pictures/files.js";
import { previewOf } from "./preview.js";

const MOST_BYTES = 12e6; // of a file that is sent as it is; the gateway takes 16 MiB, in letters a third more
const MOST_PIXELS = 40e6;
export const SCALED_PX = 2048; // the longer side of one that is scaled down: many times what any model looks at
const SHOWN_PX = 320;

// A file → { image, preview, shown }: the data URI to send; a blurred picture for the metadata; a small one to show in
// this tab, as a Blob. What the browser cannot decode goes as it is: the server may be able to.
// `most`: at most so many pixels of the longer side, for a picture that the server found too large.
export async function readForUpload(file, most = Infinity) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return { image: await dataUri(file) };
  const large = file.size > MOST_BYTES || bitmap.width * bitmap.height > MOST_PIXELS;
  const side = Math.min(most, large ? SCALED_PX : Infinity);
  const image = await dataUri(side < Infinity ? await blobOf(drawn(bitmap, side), 0.92) : file);
  const made = { image, preview: previewOf(bitmap), shown: await blobOf(drawn(bitmap, SHOWN_PX), 0.8) };
  bitmap.close();
  return made;
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
