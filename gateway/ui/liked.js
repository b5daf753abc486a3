// The item that “more like this” was asked of: what it is called, once the page has seen it.

import { captionOf } from "./format.js";

let liked = null;

// `key`: what names the item in the state.
export function rememberLiked(item, key) {
  liked = { item, key };
}

export const nameOfLiked = (key) => (liked?.key === key ? captionOf(liked.item) : key);
