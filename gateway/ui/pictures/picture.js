// Draws an item's picture into a frame once it has loaded; until then, and when there is none, the frame is quiet.

import { show } from "../dom.js";
import { missing } from "./folders.js";
import { addressesOf, tileSize } from "./pictures.js";

const drawing = new WeakMap(); // frame → the item that is to be in it

// `frame` holds an <img>, and a label for the id of an item without a picture. `size`: pixels of the longer side.
export async function drawPicture(frame, hit, collection, size = tileSize()) {
  const image = frame.querySelector("img");
  drawing.set(frame, hit);
  show(image, false);
  image.removeAttribute("src");
  frame.querySelector(".blank-id").textContent = hit.id;
  for await (const address of addressesOf(hit, collection, size)) {
    if (drawing.get(frame) !== hit) return;
    if (await loads(image, address)) return show(image, true);
    missing(address);
  }
  return undefined;
}

function loads(image, address) {
  return new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = address;
  });
}
