// What a job set aside, and why: fetched when one asks for it, a page at a time.

import { call } from "../api.js";
import { element } from "../dom.js";
import { plural } from "../format.js";

const PAGE = 100;

// How many items failed or were skipped.
export const leftOut = ({ progress: { skipped = 0, failed } }) => skipped + failed;

export function failuresOf(job) {
  const list = element("ul", { className: "failed", ariaLabel: `Failures of filling ${job.collection}` });
  const more = element("button", { type: "button", className: "plain", textContent: "Show more", hidden: true });
  const summary = element("summary", { textContent: `${plural(leftOut(job), "item")} ${job.progress.skipped ? "not in" : "set aside"}` });
  const made = element("details", { className: "failures" }, summary, list, more);
  let after = -1;
  const load = async () => {
    more.hidden = true;
    try {
      const { failures, next } = await call(`/v1/jobs/${encodeURIComponent(job.id)}/failures?limit=${PAGE}&after=${after}`);
      list.append(...failures.map(({ id, error }) => line(id, error.message)));
      after = next;
      more.hidden = next === null;
    } catch (error) {
      list.append(line("", error.message));
    }
  };
  made.addEventListener("toggle", load, { once: true });
  more.addEventListener("click", load);
  return made;
}

const line = (id, reason) => element("li", {}, element("b", { textContent: id }), " ", element("span", { textContent: reason }));
