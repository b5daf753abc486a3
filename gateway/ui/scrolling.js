// Where the page stood, kept with each entry of the history: “back” returns to the place, not to the top.

const SETTLE_MS = 150;
let wanted = null;
let timer = 0;

const keep = () => history.replaceState({ ...history.state, top: Math.round(scrollY) }, "");

// Browsers refuse to write many entries in a row, so it is written when the scrolling rests.
export function keepScroll() {
  history.scrollRestoration = "manual";
  wanted = history.state?.top ?? null;
  addEventListener("popstate", (event) => (wanted = event.state?.top ?? 0));
  addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(keep, SETTLE_MS);
  }, { passive: true });
}

// Before another entry is made: this one's place.
export function keepNow() {
  clearTimeout(timer);
  keep();
}

// Once the results are drawn, as high as they are going to be. What was asked for anew begins at the top.
export function restoreScroll() {
  if (scrollY !== (wanted ?? 0)) scrollTo({ top: wanted ?? 0, behavior: "instant" });
  wanted = null;
}

// The next results are the same ones again.
export function stayHere() {
  wanted = scrollY;
}
