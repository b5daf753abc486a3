// A grid of any number of tiles, of which only those near the view are in the document.

import { heightOf, layoutOf, positionOf, spanOf } from "./layout.js";

const EXTRA_ROWS = 1;

export class VirtualGrid {
  #node;
  #make;
  #looked;
  #tiles = new Map(); // place → element
  #layout = null;
  #frame = 0;
  #count = 0;

  // `make(place)` → the <li> of a place; `looked({ first, end })` is told which places are near the view.
  constructor(node, { make, looked }) {
    this.#node = node;
    this.#make = make;
    this.#looked = looked;
    addEventListener("scroll", () => this.#later(), { passive: true });
    new ResizeObserver(() => this.#resized()).observe(node);
  }

  get columns() {
    return this.#layout?.columns ?? 1;
  }

  get tiles() {
    return this.#tiles;
  }

  // How many places there are; tiles that are drawn stay.
  set count(count) {
    this.#count = count;
    this.#measure();
    this.draw();
  }

  // Draws every tile again: all places may hold something else now.
  redraw(count) {
    this.#count = count;
    this.#measure();
    const { first, end } = this.#span();
    const made = new Map();
    for (let place = first; place < end; place += 1) made.set(place, this.#placed(place));
    this.#tiles = made;
    this.#node.replaceChildren(...made.values());
    this.#looked({ first, end });
  }

  draw() {
    if (!this.#layout) return;
    const { first, end } = this.#span();
    for (const [place, tile] of this.#tiles) if (place < first || place >= end) this.#drop(place, tile);
    let before = null;
    for (let place = end - 1; place >= first; place -= 1) before = this.#tiles.get(place) ?? this.#add(place, before);
    this.#looked({ first, end });
  }

  // The tiles of these places are made again, if they are drawn: what they show has come or changed.
  renew(first, end) {
    for (const [place, tile] of this.#tiles) {
      if (place < first || place >= end) continue;
      const made = this.#placed(place);
      if (made !== tile) tile.replaceWith(made);
      this.#tiles.set(place, made);
    }
  }

  // Scrolls until the whole tile is in view, no further than needed; returns it.
  show(place) {
    if (!this.#layout || place < 0 || place >= this.#count) return null;
    const top = this.#node.getBoundingClientRect().top + positionOf(place, this.#layout).top;
    const bottom = top + this.#layout.row;
    const head = this.#layout.gapY / 2;
    const foot = innerHeight - (Number.parseFloat(getComputedStyle(this.#node).scrollMarginBottom) || 0);
    if (top < head) scrollBy({ top: top - head, behavior: "instant" });
    else if (bottom > foot) scrollBy({ top: Math.min(bottom - foot, top - head), behavior: "instant" });
    this.draw();
    return this.#tiles.get(place) ?? null;
  }

  #span() {
    const top = -this.#node.getBoundingClientRect().top;
    return spanOf({ top, height: innerHeight, count: this.#count, extra: EXTRA_ROWS }, this.#layout);
  }

  #add(place, before) {
    const made = this.#placed(place);
    this.#node.insertBefore(made, before);
    this.#tiles.set(place, made);
    return made;
  }

  #drop(place, tile) {
    this.#tiles.delete(place);
    if (tile.contains(document.activeElement)) this.#node.focus({ preventScroll: true });
    tile.remove();
  }

  #placed(place) {
    const made = this.#make(place);
    this.#put(place, made);
    return made;
  }

  #put(place, tile) {
    const { left, top } = positionOf(place, this.#layout);
    tile.style.width = `${this.#layout.tile}px`;
    tile.style.transform = `translate(${left}px, ${top}px)`;
  }

  #later() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }

  // Another width: what was at the top of the view stays there.
  #resized() {
    const before = this.#layout;
    const first = before && Math.floor(-this.#node.getBoundingClientRect().top / before.row) * before.columns;
    this.#measure();
    if (before && (before.columns !== this.#layout.columns || before.tile !== this.#layout.tile)) {
      for (const [place, tile] of this.#tiles) this.#put(place, tile);
      if (first > 0) this.show(first);
    }
    this.draw();
  }

  #measure() {
    const style = getComputedStyle(this.#node);
    const read = (name) => Number.parseFloat(style.getPropertyValue(name)) || 0;
    const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    const [gapX, gapY] = [read("--gap-x"), read("--gap-y")];
    this.#layout = layoutOf({ width: this.#node.clientWidth, least: read("--least"), gapX, gapY, below: read("--below") * rem });
    this.#node.dataset.columns = this.#layout.columns;
    this.#node.style.height = `${heightOf(this.#count, this.#layout)}px`;
  }
}
