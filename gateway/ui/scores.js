// What a collection's scores are: cosines, or inner products, which have no bounds.

const metrics = new Map();

export function noteMetrics(collections) {
  for (const { name, metric } of collections) metrics.set(name, metric);
}

export const scoreName = (collection) => (metrics.get(collection) === "dot" ? "inner product" : "cosine similarity");

export const isCosine = (collection) => metrics.get(collection) !== "dot";

// The hit with the highest score, which is not the first one in a better order than the search's.
export const bestOf = (hits) => hits.reduce((best, hit) => (best && !(hit.score > best.score) ? best : hit), undefined);

// How much of a bar a score fills: for inner products, its share of the best one.
export function filled(score, collection, best) {
  const share = metrics.get(collection) === "dot" ? score / (Math.abs(best) || 1) : score;
  return Math.max(0, Math.min(1, share));
}
