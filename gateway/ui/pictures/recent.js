// Pictures that were uploaded in this tab: shown as they are until the page is left. The server keeps only a preview.

const MOST_KEPT = 2000;
const kept = new Map(); // collection and id → object URL

const keyOf = (collection, id) => `${collection}/${id}`;

export function remember(collection, id, blob) {
  if (!blob) return;
  if (kept.size >= MOST_KEPT) forget(kept.keys().next().value);
  forget(keyOf(collection, id));
  kept.set(keyOf(collection, id), URL.createObjectURL(blob));
}

function forget(key) {
  if (kept.has(key)) URL.revokeObjectURL(kept.get(key));
  kept.delete(key);
}

export const recent = (collection, id) => kept.get(keyOf(collection, id)) ?? null;
