// All background jobs, newest first, with what they set aside; read again every few seconds while it is open.

import { call } from "../api.js";
import { $, element, show } from "../dom.js";
import { askForKey } from "../keys.js";
import { failuresOf, leftOut } from "./failures.js";
import { row } from "./jobs.js";

const EVERY_MS = 4000;
const MOST = 50;
let timer = 0;
let rows = new Map(); // id → { drawn, node, failures }

async function draw() {
  clearTimeout(timer);
  try {
    const { jobs } = await call(`/v1/jobs?limit=${MOST}`);
    rows = new Map(jobs.map((job) => [job.id, kept(job)]));
    $("all-jobs").replaceChildren(...[...rows.values()].map(({ node }) => node));
    $("no-jobs").textContent = "There are no jobs yet. One begins with POST /v1/jobs: it fills a collection from a folder, a tar, a Parquet file or URLs.";
    show($("no-jobs"), jobs.length === 0);
  } catch (error) {
    if (error.status === 401) askForKey(error.message);
    $("no-jobs").textContent = error.message;
    show($("no-jobs"), true);
  }
  if (!$("jobs-panel").hidden) timer = setTimeout(draw, EVERY_MS);
}

// A job that stands as before keeps its row, and one whose failures are looked at keeps them.
function kept(job) {
  const [drawn, before] = [JSON.stringify(job), rows.get(job.id)];
  if (before?.drawn === drawn) return before;
  const same = before?.failed === leftOut(job);
  const failures = leftOut(job) ? ((same && before.failures) || failuresOf(job)) : null;
  const node = row(job, draw);
  node.append(element("time", { className: "soft", dateTime: job.created, textContent: new Date(job.created).toLocaleString("en") }));
  if (failures) node.append(failures);
  return { drawn, node, failures, failed: leftOut(job) };
}

export function watchJobsPanel() {
  $("jobs-toggle").addEventListener("click", () => {
    const open = $("jobs-panel").hidden;
    show($("jobs-panel"), open);
    $("jobs-toggle").setAttribute("aria-expanded", String(open));
    if (open) draw();
    else clearTimeout(timer);
  });
}
