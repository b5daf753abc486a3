// What a collection is, in words.

import { bytes, plural } from "../format.js";

const EXACT = ["exact", "certified"];
const STORES = { embedded: "the index service", milvus: "a Milvus server" };
const NUMBER_BYTES = 4; // vectors are float32

// [name, text] of each row, from the gateway's description; what is not known has no row. `aliases` are the names that
// lead to it, `fields` those that one can filter by, `limits` those of one call.
export function rowsOf(described, { aliases = null, fields = [], limits = null } = {}) {
  const rows = [
    ["Model", modelOf(described)],
    ["Scores", described.metric === "dot" ? "inner products, without bounds" : "cosine similarities, 1 at most"],
    ["Kept in", STORES[described.store] ?? described.store],
    ["Engine", engineOf(described)],
    ["Recall", recallOf(described)],
    ["Items", itemsOf(described)],
    ["Memory", memoryOf(described)],
    ["Aliases", aliases && (aliases.join(", ") || "none")],
    ["Filters", fields.join(", ")],
    ["Limits", limits && limitsOf(limits)],
    ["Made", dateOf(described.created)],
    ["Notes", notesOf(described.metadata)],
    ["Trouble", troubleOf(described.merge_failure)],
  ];
  return rows.filter(([, text]) => text);
}

function modelOf({ model, model_status: status }) {
  return status === "not_served" ? `${model}, which is not served now: searches by vectors only` : model;
}

const named = (engine, factory) => (factory ? `${engine}, ${factory}` : engine);

function engineOf({ engine, factory, segment }) {
  const asked = named(engine, factory);
  const used = segment && named(segment.engine, segment.factory);
  if (!used || used === asked) return asked;
  return used.startsWith(`${asked}, `) ? used : `${asked}; now ${used}`;
}

function recallOf({ recall = [], recall_target: wanted, segment }) {
  if (EXACT.includes(segment?.engine)) return "1: nothing is missed";
  const built = segment?.calibration;
  const target = built?.recall_target ?? wanted;
  const live = recall.filter(({ engine }) => engine === segment?.engine);
  const parts = [
    target && `target ${target}`,
    built && `${built.recall} of the best ${built.k} when it was built${built.reached ? "" : ", which misses the target"}`,
    ...live.map(({ k, recall: found, samples }) => `${found} of the best ${k} in ${plural(samples, "live search", "live searches")}`),
  ].filter(Boolean);
  return built || live.length ? parts.join("; ") : [...parts, "not measured yet"].join("; ");
}

function itemsOf({ count, segment }) {
  const { delta = 0, tombstones = 0 } = segment ?? {};
  const waiting = [delta && `${delta.toLocaleString("en")} new`, tombstones && `${tombstones.toLocaleString("en")} replaced or deleted`].filter(Boolean);
  return count.toLocaleString("en") + (waiting.length ? `; ${waiting.join(" and ")} until the next merge` : "");
}

function memoryOf({ count, dim, store }) {
  const held = store === "milvus" ? ", held by Milvus" : "";
  return `about ${bytes(count * dim * NUMBER_BYTES).join(" ")} for vectors of ${dim} numbers${held}`;
}

function limitsOf({ max_items: items, max_body_bytes: body, max_image_bytes: picture }) {
  return `${items.toLocaleString("en")} items or ${bytes(body).join(" ")} in one call; ${bytes(picture).join(" ")} a picture`;
}

const dateOf = (created) => created && new Date(created).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });

const notesOf = (metadata) => Object.keys(metadata ?? {}).length > 0 && JSON.stringify(metadata, null, 1);

const troubleOf = (failure) => failure && `merging failed ${plural(failure.failures, "time")}: ${failure.error}`;
