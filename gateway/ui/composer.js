// The search form: words, what to push away, a picture, and a slider for each part of a mix.

import { $, element, icon, show } from "./dom.js";
import { nameOfLiked } from "./liked.js";
import { fail } from "./notices.js";
import { ApiError } from "./api.js";
import { readPicture } from "./pictures/files.js";
import { partsOf } from "./library/query.js";
import { change, setWeight, state } from "./state.js";

const TYPING_MS = 220;
const NAMES = { text: "Words", picture: "Picture", like: "Like", negative: "Without" };
let drawn = "";

export function drawComposer() {
  for (const id of ["text", "negative"]) if ($(id).value !== state[id]) $(id).value = state[id];
  show($("picked"), Boolean(state.picture));
  if (state.picture) $("picked-image").src = state.picture;
  $("text").placeholder = state.picture || state.like ? "Add words to it" : "Describe a picture, or drop one here";
  drawMix();
}

// Rows are made anew only when the parts differ, so that a slider keeps its grip while it moves.
function drawMix() {
  const names = partsOf(state);
  const visible = names.length > 1 || names.includes("like");
  show($("mix"), visible);
  const wanted = visible ? names.map((name) => `${name}=${label(name)}`).join("\n") : "";
  if (wanted === drawn) return;
  drawn = wanted;
  $("mix").replaceChildren($("mix").firstElementChild, ...(visible ? names.map((name) => row(name, names.length > 1)) : []));
}

function label(name) {
  return { text: state.text.trim(), negative: state.negative.trim(), picture: "the one you gave", like: state.like && nameOfLiked(state.like) }[name];
}

function row(name, withSlider) {
  const bold = element("b", { textContent: NAMES[name] });
  const caption = element("span", { className: "part-name", title: label(name) }, bold, label(name));
  const remove = element("button", { type: "button", ariaLabel: `Remove: ${NAMES[name]} ${label(name)}` }, icon("close"));
  remove.addEventListener("click", () => clear(name));
  const shown = element("output", {});
  const made = element("div", { className: `part ${name}` }, caption, shown, remove);
  if (withSlider) made.append(slider(name, shown));
  return made;
}

function slider(name, shown) {
  const made = element("input", { type: "range", min: "0", max: "2", step: "0.1", ariaLabel: `Weight of ${NAMES[name].toLowerCase()}` });
  const draw = () => {
    made.style.setProperty("--at", `${Number(made.value) * 50}%`);
    shown.textContent = `${name === "negative" ? "−" : "×"} ${Number(made.value).toFixed(1)}`;
  };
  made.value = String(state.weights[name]);
  draw();
  made.addEventListener("input", () => {
    draw();
    setWeight(name, Number(made.value));
  });
  return made;
}

function clear(name) {
  change({ [name]: name === "text" || name === "negative" ? "" : null }, { push: true });
  $("text").focus();
}

export async function pick(file) {
  if (!file) return;
  try {
    change({ picture: await readPicture(file), like: null }, { push: true });
  } catch (error) {
    fail(new ApiError(400, error.message, { code: "bad_file" }));
  }
  $("file").value = "";
}

export function watchComposer() {
  for (const id of ["text", "negative"]) $(id).addEventListener("input", () => change({ [id]: $(id).value }, { wait: TYPING_MS }));
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    change({});
  });
  $("file").addEventListener("change", () => pick($("file").files[0]));
  $("unpick").addEventListener("click", () => clear("picture"));
}
