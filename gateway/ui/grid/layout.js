// Where the tiles of a grid stand: plain arithmetic in CSS pixels.

// As many columns as fit of at least `least` each; `tile` is the side of a tile, `row` the distance of two rows.
export function layoutOf({ width, least, gapX, gapY, below }) {
  const columns = Math.max(1, Math.floor((width + gapX) / (least + gapX)));
  const tile = (width - gapX * (columns - 1)) / columns;
  return { columns, tile, gapX, gapY, row: tile + below + gapY };
}

export function heightOf(count, { columns, row, gapY }) {
  return count ? Math.ceil(count / columns) * row - gapY : 0;
}

export function positionOf(place, { columns, tile, gapX, row }) {
  return { left: (place % columns) * (tile + gapX), top: Math.floor(place / columns) * row };
}

// The places [first, end) of the tiles in a view of `height` that begins at `top`, with `extra` rows around it.
export function spanOf({ top, height, count, extra }, { columns, row }) {
  const first = Math.max(0, Math.floor(top / row) - extra);
  const last = Math.max(0, Math.ceil((top + height) / row) + extra);
  return { first: Math.min(count, first * columns), end: Math.min(count, last * columns) };
}
