// The item that “more like this” was asked of: what it is called, once the page has seen it.

import { captionOf } from "./format.js";

let liked = null;

export function rememberLiked(item) {
  liked = item;
}

export const nameOfLiked = (id) => (liked?.id === id ? captionOf(liked) : id);
