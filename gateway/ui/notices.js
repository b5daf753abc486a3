// What is said when something fails or nothing is there.

import { $, element, show } from "./dom.js";
import { sentence } from "./format.js";
import { askForKey, hideKeyPanel } from "./keys.js";

const TITLES = {
  0: "The service does not answer",
  400: "That did not work",
  403: "That is not allowed",
  404: "Not found",
  409: "The model has changed",
  413: "That is too large",
  424: "The model failed on this",
  429: "Too many requests",
  503: "A part of the service is not there",
};
const BAD_FILE = "This file is not a picture";
let waiting = 0;

export function clearNotices() {
  clearTimeout(waiting);
  show($("problem"), false);
  show($("empty"), false);
  show($("weak"), false);
  hideKeyPanel();
}

// `retry` is what “Try again” does; a limited rate tries by itself when its time has come.
export function fail(error, retry = null) {
  clearNotices();
  if (error.status === 401) return askForKey(error.message);
  $("problem-title").textContent = error.code === "bad_file" || error.code === "invalid_image" ? BAD_FILE : TITLES[error.status] ?? "Something went wrong";
  $("problem-text").textContent = sentence(error.message);
  show($("retry"), Boolean(retry));
  $("retry").onclick = retry;
  show($("problem"), true);
  if (error.status === 429 && retry) countDown(Math.ceil(error.retryAfter || 2), error.message, retry);
  return undefined;
}

function countDown(seconds, message, retry) {
  if (seconds <= 0) return retry();
  $("problem-text").textContent = `${sentence(message)}. Trying again in ${seconds} s.`;
  waiting = setTimeout(() => countDown(seconds - 1, message, retry), 1000);
  return undefined;
}

// `action`: { label, run }, a button below the text; `links`: [text, address] of each line between them.
export function sayEmpty(title, text, action = null, links = []) {
  $("empty-links").replaceChildren(...links.map(([textContent, href]) => element("li", {}, element("a", { textContent, href }))));
  $("empty-title").textContent = title;
  $("empty-text").textContent = text;
  show($("empty-action"), Boolean(action));
  $("empty-action").textContent = action?.label ?? "";
  $("empty-action").onclick = action?.run ?? null;
  show($("empty"), true);
}
