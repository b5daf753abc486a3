// The search form: words, what to push away, a picture, and a slider for each part of a mix.

import { $, element, icon, show } from "./dom.js";
import { placeOf } from "./library/across.js";
import { nameOfLiked } from "./liked.js";
import { fail } from "./notices.js";
import { ApiError, getItem } from "./api.js";
import { pictureOf } from "./pictures/pictures.js";
import { readPicture } from "./pictures/shrink.js";
import { partsOf } from "./library/query.js";
import { change, setWeight, state } from "./state.js";

const TYPING_MS = 220;
const NAMES = { text: "Words", picture: "Picture", like: "Like", negative: "Without" };
const BLANK = "/ui/icon.svg";
let drawn = "";
let pickedId = null; // the item that the picture is of

export function drawComposer() {
  for (const id of ["text", "negative"]) if ($(id).value !== state[id]) $(id).value = state[id];
  drawPicked(state);
  $("text").placeholder = state.picture || state.pictureId || state.like ? "Add words to it" : "Describe a picture, or drop one here";
  drawMix();
}

// The picture that was given; or, behind a link, what the page shows of the item.
async function drawPicked({ picture, pictureId, collection }) {
  show($("picked"), Boolean(picture || pictureId));
  if (picture) [$("picked-image").src, pickedId] = [picture, null];
  if (picture || !pictureId || pickedId === pictureId) return;
  pickedId = pictureId;
  $("picked-image").src = BLANK;
  const [home, id] = placeOf(pictureId, collection);
  const address = await getItem(home, id).then((item) => pictureOf(item, home), () => null);
  if (address && state.pictureId === pictureId && !state.picture) $("picked-image").src = address;
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
  return { text: state.text.trim(), negative: state.negative.trim(), picture: state.picture ? "the one you gave" : state.pictureId, like: state.like && nameOfLiked(state.like) }[name];
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
  const empty = name === "text" || name === "negative" ? "" : null;
  change({ [name]: empty, ...(name === "picture" ? { pictureId: null } : {}) }, { push: true });
  $("text").focus();
}

export async function pick(file) {
  if (!file) return;
  try {
    change({ picture: await readPicture(file), pictureId: null, like: null }, { push: true });
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
