// The slowest requests of the last hour, with where the time of each went and what that means.

import { copyWith } from "../copying.js";
import { $, element, icon, show } from "../dom.js";
import { clock, took } from "./figures.js";

const FEW = 8;
const STAGES = {
  admission: ["waiting for admission", "It waited for its turn here: as much as may be was under way. More workers or replicas, or fewer calls at once."],
  queue: ["waiting for a worker", "It waited for a worker: the batch before it, or a full queue. More workers, or fewer calls at once."],
  encode: ["encoding", "The model took it: many or large inputs, or a busy machine. The profile below says more."],
  search: ["searching", "The index took it: a rare filter, a large k, or many rows that are not merged yet."],
  store: ["storing", "The index wrote it: many items, a slow disk, or a merge under way."],
  other: ["all else", "It was spent outside of the model and the index: a large body, pictures to fetch or to keep, or a slow caller."],
};
const NAMES = Object.keys(STAGES);
let all = false;
let drawn = "";

export function drawSlow(requests) {
  const text = JSON.stringify([requests, all]);
  if (text === drawn || $("slow-rows").contains(document.activeElement)) return;
  drawn = text;
  show($("slow"), true);
  show($("no-slow"), !requests.length);
  show($("slow-table"), requests.length > 0);
  $("slow-rows").replaceChildren(...requests.slice(0, all ? requests.length : FEW).map((request) => row(request, requests[0].ms)));
  show($("slow-more"), !all && requests.length > FEW);
  $("slow-more").textContent = `Show all ${requests.length}`;
  $("slow-more").onclick = () => {
    all = true;
    drawSlow(requests);
  };
}

export function watchSlow() {
  $("stages").replaceChildren(...NAMES.map((name) => element("li", {}, swatch(name), ` ${STAGES[name][0]}`)));
}

const swatch = (name) => element("i", { className: `swatch stage-${name}` });

// Milliseconds by stage; what no stage tells of is `other`. Stages that ran side by side may be more than the whole.
export function stagesOf({ ms, stages }) {
  const told = NAMES.slice(0, -1).map((name) => [name, stages[name] ?? 0]);
  const sum = told.reduce((total, [, each]) => total + each, 0);
  return [...told, ["other", Math.max(0, ms - sum)]].filter(([, each]) => each > 0.005 * ms);
}

function row(request, most) {
  const stages = stagesOf(request);
  const largest = stages.reduce((best, each) => (each[1] > best[1] ? each : best), ["other", 0])[0];
  const status = request.status === 200 ? "" : ` ${request.status}`;
  const cells = [
    ["Took", element("b", { textContent: took(request.ms) })],
    ["Where the time went", bar(stages, request.ms, most), element("span", { className: "soft", textContent: told(stages) }), element("span", { className: "hint", textContent: STAGES[largest][1] })],
    ["Request", element("code", { textContent: `${request.method} ${request.route}` }), element("span", { className: "bad", textContent: status })],
    ["When", clock(Date.parse(request.time) / 1000)],
    ["Request id", id(request.request_id, "request id"), ...(request.trace_id ? [id(request.trace_id, "trace id")] : [])],
  ];
  return element("tr", {}, ...cells.map(([label, ...content]) => cell(label, content)));
}

function cell(label, content) {
  const made = element("td", {}, ...content);
  made.dataset.label = label;
  return made;
}

// As long as the request took, of the slowest one.
function bar(stages, ms, most) {
  const sum = Math.max(ms, stages.reduce((total, [, each]) => total + each, 0));
  const parts = stages.map(([name, each]) => {
    const part = element("i", { className: `stage-${name}`, title: `${STAGES[name][0]}: ${took(each)}` });
    part.style.width = `${(100 * each) / sum}%`;
    return part;
  });
  const made = element("span", { className: "bar-of", ariaHidden: "true" }, ...parts);
  made.style.width = `${Math.max(4, (100 * ms) / most)}%`;
  return made;
}

const told = (stages) => stages.map(([name, ms]) => `${STAGES[name][0]} ${took(ms)}`).join(" · ");

function id(value, what) {
  const button = element("button", { type: "button", className: "copy-id", title: value, ariaLabel: `Copy the ${what} ${value}` }, icon("copy"), element("span", { textContent: `${value.slice(0, 8)}…` }));
  button.addEventListener("click", () => copyWith(button, value));
  return button;
}
