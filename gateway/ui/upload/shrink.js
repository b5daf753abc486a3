// A file of the user's → what is sent: the picture, and a small one to show.

import { dataUri, decode } from "../pictures/files.js";

const THUMBNAIL_PX = 320;
const THUMBNAIL_MOST = 32_000; // characters, of a picture that is nothing but noise
const QUALITIES = [0.8, 0.5, 0.2];

// A file → { image, thumbnail }: the file as it is, and a small JPEG of it to show in results.
export async function readForUpload(file) {
  const bitmap = await decode(file);
  const thumbnail = shrink(bitmap);
  bitmap.close();
  return { image: await dataUri(file), thumbnail };
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
