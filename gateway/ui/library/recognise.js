// Whether a picture that the user gave is in the collection: then a link can name it by its id.

import { isCosine } from "../scores.js";
import { change, state } from "../state.js";
import { homeOf, keyOf } from "./across.js";
import { countedParts } from "./query.js";

const SAME = 0.9995; // the cosine of a picture and itself, after it was encoded twice and stored

export function recognise(first) {
  const alone = countedParts(state).join() === "picture" && state.picture && !state.pictureId;
  if (alone && first?.score >= SAME && isCosine(homeOf(first))) change({ pictureId: keyOf(first) }, { quiet: true });
}
