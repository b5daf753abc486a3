// What the dashboard shows: its charts, and figures as people read them.

import { bytes, digits } from "../format.js";

const rate = (value) => (value && value < 0.1 ? value.toFixed(2) : value ? digits(value) : "0");
const milliseconds = (value) => (value < 1000 ? `${digits(value)} ms` : `${(value / 1000).toFixed(1)} s`);
const whole = (value) => Math.round(value).toLocaleString("en");
const percent = (value) => `${digits(value)} %`;

export const took = milliseconds;
export const clock = (seconds, withSeconds = true) =>
  new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(withSeconds ? { second: "2-digit" } : {}) });

const WORKERS_SILENT = "Nothing was encoded in this time, or the workers do not report it.";

export const busy = (value) => (value === null || value === undefined ? "–" : rate(value));

// `lines`: column, label and colour of each; `band`: the places of two of them, the upper one first, whose room is filled.
// The axis goes from `floor`, 0 unless said, to `most`, or to what there is;
// `captions`: shown only where a model writes them. `whole`: there are no fractions of a thing. `none` is said when nothing is known.
export const CHARTS = [
  {
    title: "Requests",
    unit: "a second",
    format: rate,
    lines: [["requests_per_s", "answered", 1]],
    area: true,
  },
  {
    title: "Latency",
    unit: "from arrival to answer",
    format: milliseconds,
    lines: [["p50_ms", "p50", 1], ["p95_ms", "p95", 2], ["p99_ms", "p99", 3]],
    none: "No requests in this time.",
  },
  {
    title: "Errors",
    unit: "a second",
    format: rate,
    lines: [["server_errors_per_s", "server errors (5xx)", 4], ["throttled_per_s", "throttled (429)", 2], ["client_errors_per_s", "client errors (4xx)", 3]],
  },
  {
    title: "In flight",
    unit: "maximum",
    format: whole,
    whole: true,
    lines: [["in_flight", "requests", 1], ["waiting", "waiting for admission", 2], ["queued", "queued at TorchServe", 3]],
  },
  {
    title: "Waits",
    unit: "p95",
    format: milliseconds,
    lines: [["admission_p95_ms", "for admission", 2], ["queue_p95_ms", "at TorchServe", 3]],
    none: "Nothing went to the workers in this time.",
  },
  {
    title: "Batch size",
    unit: "requests a batch",
    format: rate,
    lines: [["batch_requests", "mean", 1]],
    area: true,
    none: WORKERS_SILENT,
  },
  {
    title: "Cache and batch fill",
    unit: "%",
    format: percent,
    most: 100,
    lines: [["cache_hits_percent", "found in the cache", 1], ["batch_fill_percent", "of a pass was filled", 2]],
    none: WORKERS_SILENT,
  },
  {
    title: "Live recall",
    unit: "lowest of all collections",
    format: (value) => value.toFixed(3),
    floor: 0.9,
    most: 1,
    lines: [["recall", "mean since the index started", 1]],
    none: "No search was checked yet: approximate engines are, now and then.",
  },
  {
    title: "Memory",
    unit: "resident",
    format: (value) => (value ? bytes(value).join(" ") : "0"),
    lines: [["workers_bytes", "workers", 1], ["index_bytes", "index service", 2], ["gateway_bytes", "gateway", 3]],
  },
  {
    title: "Captions",
    unit: "a second",
    format: rate,
    captions: true,
    lines: [["caption_tokens_per_s", "tokens", 1], ["captions_per_s", "captions", 2]],
  },
  {
    title: "Caption sequences",
    unit: "maximum",
    format: whole,
    whole: true,
    captions: true,
    lines: [["caption_rows", "being written", 1], ["caption_waiting", "waiting", 2]],
    extra: ({ caption_cache_bytes: held }) => (held.at(-1) === null ? "" : `${bytes(held.at(-1)).join(" ")} of cache`),
    none: "No captioner reports its sequences.",
  },
  {
    title: "Jobs",
    unit: "entries a second",
    format: rate,
    lines: [["job_entries_per_s", "processed", 1], ["job_failures_per_s", "failed", 4]],
    extra: ({ jobs }) => `${jobs.at(-1) ?? 0} running`,
  },
];

// Of one endpoint, as its scaler saw it.
export const SCALING = [
  {
    title: "Demand and forecast",
    unit: "busy workers",
    format: rate,
    lines: [["demand", "demand", 1], ["point", "expected", 2], ["upper", "at most", 3]],
    band: [2, 1],
    none: "The demand is not known.",
  },
  {
    title: "Workers or replicas",
    unit: "of this endpoint",
    format: whole,
    whole: true,
    lines: [["size", "desired", 2], ["ready", "ready", 1]],
  },
];
