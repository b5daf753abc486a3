// Draws an item's picture into a frame once it has loaded; until then, and when there is none, the frame is quiet.

import { show } from "../dom.js";
import { missing } from "./folders.js";
import { pictureOf } from "./pictures.js";

// `frame` holds an <img>, and a label for the id of an item without a picture.
export async function drawPicture(frame, hit, collection) {
  const image = frame.querySelector("img");
  show(image, false);
  image.removeAttribute("src");
  frame.querySelector(".blank-id").textContent = hit.id;
  const address = await pictureOf(hit, collection);
  if (!address) return;
  image.onload = () => show(image, true);
  image.onerror = () => missing(address);
  image.src = address;
}
