// The items that are selected, by id: one by one, in ranges from the last one touched, or many at once. All are of one
// collection: hits of a search of several are not taken.

const chosen = new Map(); // id → item
const listeners = [];
let anchor = 0; // the place that a range begins at

export const selection = {
  get size() {
    return chosen.size;
  },
  get items() {
    return [...chosen.values()];
  },
  has: (id) => chosen.has(id),
};

// `listener()` is told after each change.
export const onSelection = (listener) => listeners.push(listener);

function tell() {
  for (const listener of listeners) listener();
}

// The item at `place` in `items`, if it has come.
export function toggle(items, place) {
  const item = items[place];
  if (!item || item.collection) return;
  anchor = place;
  if (!chosen.delete(item.id)) chosen.set(item.id, item);
  tell();
}

// Everything from the last one touched to `place`, in either direction; without one, from the place `from`.
export function extendTo(items, place, from = place) {
  if (!chosen.size) anchor = from;
  selectMany(items.slice(Math.min(anchor, place), Math.max(anchor, place) + 1));
}

export function selectMany(items) {
  for (const item of items) if (!item.collection) chosen.set(item.id, item);
  tell();
}

export function clearSelection() {
  if (!chosen.size) return;
  chosen.clear();
  tell();
}
