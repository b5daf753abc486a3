// What a collection's scores are: cosines, or inner products, which have no bounds.

const metrics = new Map();

export function noteMetrics(collections) {
  for (const { name, metric } of collections) metrics.set(name, metric);
}

export const scoreName = (collection) => (metrics.get(collection) === "dot" ? "inner product" : "cosine similarity");

export const isCosine = (collection) => metrics.get(collection) !== "dot";

// How much of a bar a score fills: for inner products, its share of the best one.
export function filled(score, collection, best) {
  const share = metrics.get(collection) === "dot" ? score / (Math.abs(best) || 1) : score;
  return Math.max(0, Math.min(1, share));
}
