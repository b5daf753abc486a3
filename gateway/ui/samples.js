// Arithmetic over the samples of /v1/stats: counters only grow, so what happened lately is a difference.

// Requests a second between the last two samples.
export function latestRate(samples) {
  if (samples.length < 2) return 0;
  const [before, last] = samples.slice(-2);
  return Math.max(0, (last.requests.total - before.requests.total) * 1000) / Math.max(1, last.at - before.at);
}

// { p50, p95, p99 } in milliseconds of what came between two samples, or null; of all there was when they are one.
export function percentiles(first, last) {
  const start = first === last ? last.latency.counts.map(() => 0) : first.latency.counts;
  const counts = last.latency.counts.map((count, place) => count - start[place]);
  const at = (part) => quantile(last.latency.bounds_s, counts, part);
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

// Linear within a bucket, as Prometheus' histogram_quantile; `counts` is cumulative, its last one beyond all bounds.
export function quantile(bounds, counts, part) {
  const total = counts.at(-1);
  if (!total) return null;
  const rank = part * total;
  const place = counts.findIndex((count) => count >= rank);
  if (place >= bounds.length) return bounds.at(-1) * 1000;
  const [low, under] = place ? [bounds[place - 1], counts[place - 1]] : [0, 0];
  return (low + ((bounds[place] - low) * (rank - under)) / Math.max(1, counts[place] - under)) * 1000;
}

// The percentage that one counter grew by of what another did; “looks” are hits and misses together.
export function share(before, last, part, whole) {
  if (!before || !last) return null;
  const of = (one) => (whole === "looks" ? one.hits + one.misses : one[whole]);
  const grown = of(last) - of(before);
  return grown > 0 ? (100 * (last[part] - before[part])) / grown : null;
}
