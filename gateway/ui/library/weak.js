// Says so when even the best hit fits no better than a text without meaning for pictures would.

import { getGuidance } from "../api.js";
import { $, show } from "../dom.js";
import { state } from "../state.js";
import { homeOf } from "./across.js";
import { countedParts } from "./query.js";

const least = new Map(); // collection → the score that such texts reach, once asked for

export function forgetGuidance() {
  least.clear();
}

// Of a search by words alone, as that is what was measured; `shown()` tells whether `best` is still on the page.
export async function sayWeak(best, shown) {
  if (best?.score === undefined || countedParts(state).join() !== "text") return;
  const score = await leastOf(homeOf(best));
  if (score === null || best.score >= score || !shown()) return;
  $("weak").textContent = `Nothing here fits well: nonsense reaches ${score.toFixed(2)} too.`;
  show($("weak"), true);
}

// null where it can't be measured.
function leastOf(collection) {
  if (!least.has(collection)) least.set(collection, getGuidance(collection).then(({ suggested_min_score: score }) => score ?? null, () => null));
  return least.get(collection);
}
