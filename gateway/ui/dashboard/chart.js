// One chart: its plot, a legend that shows the figures of the moment pointed at, and arrow keys that move through time.

import { element } from "../dom.js";
import { clock } from "./figures.js";

const HEIGHT = 168;
const LEGEND_OF_NOW = null;
const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 1e5, 1e6];
let made = 0;

export class Chart {
  constructor(about) {
    this.about = about;
    this.data = [[], ...about.lines.map(() => [])];
    this.at = LEGEND_OF_NOW;
    this.range = [0, 1];
    this.node = this.#build();
  }

  // `time` in seconds, `columns` by name; `range` is what the time axis spans.
  update(time, columns, range) {
    this.range = range;
    this.data = [time, ...this.about.lines.map(([column]) => columns[column])];
    const empty = this.data.slice(1).every((values) => values.every((value) => value === null));
    this.none.hidden = !empty;
    this.unit.textContent = [this.about.unit, this.about.extra?.(columns)].filter(Boolean).join(" · ");
    if (!this.plot) this.#draw();
    else this.plot.setData(this.data);
    this.at = this.at === null ? null : Math.min(this.at, time.length - 1);
    this.#say();
  }

  redraw() {
    this.plot?.redraw(false);
  }

  #build() {
    const id = `chart-${++made}`;
    this.swatches = this.about.lines.map(([, , colour]) => element("i", { className: `swatch series-${colour}` }));
    this.values = this.about.lines.map(() => element("b"));
    this.unit = element("span", { className: "unit" });
    this.none = element("p", { className: "none", textContent: this.about.none ?? "Nobody tells it.", hidden: true });
    this.tip = element("div", { className: "tip", hidden: true });
    this.frame = element("div", { className: "plot", tabIndex: 0, role: "slider" }, this.tip);
    this.frame.setAttribute("aria-label", `${this.about.title}: moment`);
    this.frame.addEventListener("keydown", (event) => this.#onKey(event));
    this.frame.addEventListener("blur", () => this.#point(null));
    this.frame.addEventListener("pointerleave", () => (this.tip.hidden = true));
    const legend = element("ul", { className: "legend" }, ...this.about.lines.map((line, place) => this.#legendItem(line, place)));
    const head = element("div", { className: "chart-head" }, element("h2", { id, textContent: this.about.title }), this.unit);
    const card = element("section", { className: "chart panel" }, head, legend, element("div", { className: "plot-box" }, this.frame, this.none));
    card.setAttribute("aria-labelledby", id);
    return card;
  }

  #legendItem([, label], place) {
    const toggle = element("button", { type: "button", className: "key-of" }, this.swatches[place], ` ${label} `, this.values[place]);
    toggle.setAttribute("aria-pressed", "true");
    if (this.about.lines.length === 1) toggle.disabled = true;
    toggle.addEventListener("click", () => {
      const shown = toggle.getAttribute("aria-pressed") === "false";
      toggle.setAttribute("aria-pressed", String(shown));
      this.plot?.setSeries(place + 1, { show: shown });
    });
    return element("li", {}, toggle);
  }

  #draw() {
    this.plot = new uPlot(this.#options(), this.data, this.frame);
    new ResizeObserver(() => {
      if (this.frame.clientWidth) this.plot.setSize({ width: this.frame.clientWidth, height: HEIGHT });
    }).observe(this.frame);
  }

  #options() {
    const color = (node, of = "color") => getComputedStyle(node)[of];
    const axis = {
      stroke: () => color(this.unit),
      grid: { stroke: () => color(this.node, "borderTopColor"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    const lines = this.about.lines.map(([, label], place) => this.#line(label, () => color(this.swatches[place])));
    return {
      width: this.frame.clientWidth,
      height: HEIGHT,
      padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, sync: { key: "dashboard" }, y: false, points: { size: 7 } },
      scales: { x: { time: true, range: () => this.range }, y: { range: (_, __, most) => this.#yRange(most) } },
      axes: [
        { ...axis, size: 30, space: 50, values: (_, moments) => moments.map((each) => clock(each, each % 60 > 0)) },
        { ...axis, size: 62, space: 34, ...(this.about.whole ? { incrs: WHOLE_STEPS } : {}), values: (_, ticks) => ticks.map((each) => this.about.format(each).replace(/\.0(?!\d)/, "")) },
      ],
      series: [{}, ...lines],
      bands: this.about.band ? [this.#band(this.about.band, color)] : [],
      hooks: { setCursor: [(plot) => this.#follow(plot)] },
    };
  }

  #line(label, stroke) {
    const fill = (plot, place) => translucent(stroke(plot, place));
    return { label, stroke, width: 1.75, ...(this.about.area ? { fill } : {}), points: { show: true, size: 4, fill: stroke, filter: alone } };
  }

  #band([upper, lower], color) {
    return { series: [upper + 1, lower + 1], fill: () => translucent(color(this.swatches[upper])) };
  }

  #yRange(most) {
    const floor = this.about.floor ?? 0;
    const least = this.about.floor ? Math.min(floor, ...this.data.slice(1).flat().filter((value) => value !== null)) : 0;
    const above = 1.12 * (most ?? 0);
    return [least, this.about.most ?? (this.about.whole ? Math.max(4, above) : above || 1)];
  }

  // The cursor moved, here or in another chart.
  #follow(plot) {
    this.at = plot.cursor.idx ?? LEGEND_OF_NOW;
    this.#say();
    const here = this.frame.matches(":hover, :focus-visible");
    this.tip.hidden = this.at === null || !here || plot.cursor.left < 0;
    if (!this.tip.hidden) this.#placeTip(plot);
  }

  #placeTip(plot) {
    this.tip.replaceChildren(...this.#told(this.at));
    const left = plot.valToPos(this.data[0][this.at], "x") + plot.bbox.left / devicePixelRatio;
    const after = left + 14 + this.tip.offsetWidth < this.frame.clientWidth;
    this.tip.style.left = `${Math.max(0, after ? left + 14 : left - 14 - this.tip.offsetWidth)}px`;
  }

  #told(at) {
    const rows = this.about.lines.map(([, label], place) => element("span", {}, element("i", { className: this.swatches[place].className }), ` ${label} `, element("b", { textContent: this.#text(place, at) })));
    return [element("span", { className: "soft", textContent: clock(this.data[0][at]) }), ...rows];
  }

  #text(place, at) {
    const value = this.data[place + 1][at];
    return value === null || value === undefined ? "–" : this.about.format(value);
  }

  #say() {
    const last = this.data[0].length - 1;
    const at = this.at ?? last;
    this.values.forEach((node, place) => (node.textContent = this.#text(place, at)));
    const figures = this.about.lines.map(([, label], place) => `${label} ${this.#text(place, at)}`).join(", ");
    const said = { valuemin: 0, valuemax: Math.max(0, last), valuenow: Math.max(0, at), valuetext: last < 0 ? "nothing yet" : `${clock(this.data[0][at])}: ${figures}` };
    for (const [name, value] of Object.entries(said)) this.frame.setAttribute(`aria-${name}`, value);
  }

  #onKey(event) {
    const last = this.data[0].length - 1;
    const at = this.at ?? last;
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageDown: at - 10, PageUp: at + 10, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.#point(null);
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.#point(Math.max(0, Math.min(last, to)));
  }

  #point(at) {
    if (!this.plot) return;
    const left = at === null ? -10 : this.plot.valToPos(this.data[0][at], "x");
    this.plot.setCursor({ left, top: at === null ? -10 : 10 }, true, true); // in all charts
  }
}

const translucent = (rgb) => rgb.replace("rgb(", "rgba(").replace(")", ", .12)");

// Points that no line reaches: what is not known before and after them.
function alone(plot, series) {
  const values = plot.data[series];
  return values.flatMap((value, at) => (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? [at] : []));
}
