// Background jobs that fill collections: shown above the results while they run, and their end once.

import { call } from "../api.js";
import { $, element, show } from "../dom.js";
import { digits, plural } from "../format.js";

const EVERY_MS = 2000;
const IDLE_MS = 15000;
const RUNNING = ["queued", "running"];
let seen = new Set(); // jobs that were running while this page looked
let timer = 0;

const jobPath = (id) => `/v1/jobs/${encodeURIComponent(id)}`;

// `again()` is called once the job was cancelled, or begun again.
export function row(job, again) {
  const { total, processed, failed } = job.progress;
  const bar = element("progress", { max: total || 1, value: processed, ariaLabel: `Progress of filling ${job.collection}` });
  if (!total && RUNNING.includes(job.state)) bar.removeAttribute("value");
  const text = element("span", { textContent: lineOf(job) });
  const made = element("li", { className: "job" }, element("b", { textContent: job.collection }), text, button(job, again), bar);
  made.classList.toggle("bad", job.state === "failed" || failed > 0);
  return made;
}

function lineOf({ state, progress: { total, processed, unchanged, skipped, failed }, rate, eta_s: left, error, message }) {
  const parts = [
    total ? `${processed.toLocaleString("en")} of ${plural(total, "item")}` : plural(processed, "item"),
    RUNNING.includes(state) ? rate && `${digits(rate)} a second` : state,
    left && `${digits(left)} s left`,
    unchanged && `${unchanged.toLocaleString("en")} unchanged`,
    skipped && `${skipped.toLocaleString("en")} skipped`,
    failed && `${failed} set aside`,
    error?.message ?? message,
  ];
  return parts.filter(Boolean).join(" · ");
}

function button(job, changed) {
  const running = RUNNING.includes(job.state);
  const made = element("button", { type: "button", className: "plain", textContent: running ? "Cancel" : "Try again" });
  made.setAttribute("aria-label", `${made.textContent}: filling ${job.collection}`);
  made.hidden = !running && job.progress.failed === 0 && job.state !== "failed" && job.state !== "cancelled";
  made.addEventListener("click", async () => {
    await (running ? call(jobPath(job.id), { method: "DELETE" }) : call(`${jobPath(job.id)}/retry`, { method: "POST" })).catch(() => null);
    changed();
  });
  return made;
}

// A gateway without jobs, or a key that may not see them, is asked no more.
async function look() {
  clearTimeout(timer);
  if (document.hidden) return again(IDLE_MS);
  let jobs;
  try {
    ({ jobs } = await call("/v1/jobs"));
  } catch (error) {
    return error.status === 0 || error.status >= 429 ? again(IDLE_MS) : undefined;
  }
  const running = jobs.filter(({ state }) => RUNNING.includes(state));
  for (const { id } of running) seen.add(id);
  draw(jobs.filter(({ id }) => seen.has(id)));
  return again(running.length ? EVERY_MS : IDLE_MS);
}

function again(wait) {
  timer = setTimeout(look, wait);
}

function draw(jobs) {
  $("jobs").replaceChildren(...jobs.map((job) => row(job, look)));
  show($("jobs"), jobs.length > 0);
}

// Begins anew: another key may see other jobs.
export function watchJobs() {
  seen = new Set();
  look();
}
