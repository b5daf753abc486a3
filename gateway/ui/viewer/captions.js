// A caption of the open picture, written while one looks on: where the collection's model has a captioner.

import { call, describeCollection } from "../api.js";
import { $, show } from "../dom.js";
import { events } from "../events.js";
import { sentence } from "../format.js";
import { homeOf } from "../library/across.js";

let models = null; // a promise: asked for once
const modelsOf = new Map(); // collection → the promise of its model's name
let open = null; // the item that is shown
let running = null;

// Offers to caption this item, and forgets what was written of another one; null: none is open.
export async function offerCaption(item) {
  open = item;
  stop();
  show($("viewer-written"), false);
  show($("viewer-caption"), false);
  const model = item && (await captionerOf(homeOf(item)));
  if (open === item) show($("viewer-caption"), Boolean(model));
}

// The name of the collection's model, if that can write captions.
async function captionerOf(collection) {
  models ??= call("/v1/models").then(({ data }) => data.filter(({ captioner }) => captioner).map(({ id }) => id));
  if (!modelsOf.has(collection)) modelsOf.set(collection, describeCollection(collection).then(({ model }) => model));
  try {
    const [able, model] = await Promise.all([models, modelsOf.get(collection)]);
    return able.includes(model) ? model : null;
  } catch {
    models = null; // a gateway that is away is asked again
    modelsOf.delete(collection);
    return null;
  }
}

function stop() {
  running?.abort();
  running = null;
}

async function write() {
  stop();
  const item = open;
  const mine = (running = new AbortController());
  const model = await captionerOf(homeOf(item));
  const body = { image: { collection: homeOf(item), id: item.id }, model, stream: true };
  say("", true);
  try {
    for await (const told of events("/v1/captions", { body, signal: mine.signal })) {
      if (mine !== running) return;
      if (told.object === "caption") say(told.text, false);
      else say($("viewer-written").textContent + told.delta, true);
    }
  } catch (error) {
    if (mine === running) say(`No caption: ${sentence(error.message)}`, false);
  }
}

// `busy`: more is to come, and only the whole is read out.
function say(text, busy) {
  $("viewer-written").textContent = text;
  $("viewer-written").setAttribute("aria-busy", String(busy));
  show($("viewer-written"), true);
}

export function watchCaption() {
  $("viewer-caption").addEventListener("click", write);
}
