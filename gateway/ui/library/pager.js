// Items by their place: pages fetched one after the other over a cursor, as far as someone looks.

export const FIRST = 60; // items of the first page
const MOST = 500; // a page is as large as all before it, but for this

export class Pager {
  items = [];
  ended = false;
  #cursor = null;
  #fetch;
  #abort = new AbortController();
  #wanted = 0;
  #running = null;
  #total = null;

  // `fetchPage({ cursor, limit, signal })` → { items, cursor }; the cursor is null at the end.
  constructor(fetchPage) {
    this.#fetch = fetchPage;
  }

  // How many there are, as far as it is known: told, or counted at the end.
  set total(total) {
    this.#total = total;
  }

  get length() {
    return this.ended ? this.items.length : Math.max(this.#total ?? this.items.length, this.items.length);
  }

  // Resolves once the item at `place` is there, or the end is; rejects when a page does not come. One page at a time:
  // a place that is wanted meanwhile is fetched with the next one.
  reach(place) {
    this.#wanted = Math.max(this.#wanted, place + 1);
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
      this.#wanted = 0;
    });
    return this.#running;
  }

  // Told of each page that came: `arrived(from, end)`.
  arrived = () => undefined;

  stop() {
    this.#abort.abort();
  }

  // Takes out items that were deleted.
  remove(ids) {
    const before = this.items.length;
    this.items = this.items.filter(({ id }) => !ids.has(id));
    if (this.#total !== null) this.#total -= before - this.items.length;
  }

  async #run() {
    while (!this.ended && this.items.length < this.#wanted) {
      const from = this.items.length;
      const limit = Math.min(MOST, Math.max(FIRST, from));
      const { items, cursor } = await this.#fetch({ cursor: this.#cursor, limit, signal: this.#abort.signal });
      this.items.push(...items);
      this.#cursor = cursor;
      this.ended = cursor === null;
      this.arrived(from, this.items.length);
    }
  }
}
