// Arrow keys in the grid. One tile at a time is a tab stop, with its buttons; the arrows move it.

const stops = (tile) => tile.querySelectorAll("button");
export const placeOf = (tile) => Number(tile.getAttribute("aria-posinset")) - 1;
let active = null;

export function rove(tile) {
  if (active !== tile) for (const stop of active ? stops(active) : []) stop.tabIndex = -1;
  active = tile;
  for (const stop of tile ? stops(tile) : []) stop.tabIndex = 0;
}

// Steps from a place, kept within the grid but for those that leave it.
export function stepOf(key, { place, count, columns, rows }) {
  const steps = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: Math.min(columns, Math.max(0, count - 1 - place)),
    PageUp: -Math.min(rows, Math.floor(place / columns)) * columns,
    PageDown: Math.min(rows * columns, Math.max(0, count - 1 - place)),
    Home: -place,
    End: count - 1 - place,
  };
  return steps[key];
}

// `on`: { columns(), count(), focus(place, from), leave() }: `from` with Shift, the last one for the arrow up in the first row.
export function watchArrows(grid, on) {
  let place = 0;
  grid.addEventListener("focusin", (event) => {
    const tile = event.target.closest(".card");
    if (!tile) return;
    place = placeOf(tile);
    rove(tile);
  });
  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = Math.max(1, Math.floor(innerHeight / (grid.firstElementChild?.offsetHeight || innerHeight)));
    const step = stepOf(event.key, { place, count: on.count(), columns: on.columns(), rows });
    if (step === undefined) return;
    event.preventDefault();
    if (event.key === "ArrowUp" && place + step < 0) return on.leave();
    if (place + step >= 0 && place + step < on.count()) on.focus(place + step, event.shiftKey ? place : null);
  });
}

// Space or x selects, Ctrl A all. `on`: { toggle(place), all() }.
export function watchSelecting(grid, on) {
  grid.addEventListener("keydown", (event) => {
    const tile = event.target.closest(".card");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a") {
      event.preventDefault();
      on.all();
    } else if (tile && !event.ctrlKey && !event.metaKey && !event.altKey && (event.key === "x" || (event.key === " " && event.target.matches(".open")))) {
      event.preventDefault();
      on.toggle(placeOf(tile));
    }
  });
  grid.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.matches(".open")) event.preventDefault(); // it would open the picture
  });
}
