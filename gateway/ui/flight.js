// Work on many things with a few under way.

// `work(thing)` of each, at most `width` at a time; the results in order. The first that rejects ends it.
export async function inFlight(things, width, work) {
  const results = new Array(things.length);
  let next = 0;
  const lane = async () => {
    while (next < things.length) {
      const at = next++;
      results[at] = await work(things[at], at);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, things.length) }, lane));
  return results;
}
