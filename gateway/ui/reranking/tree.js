// A tree of claims: what the query was taken apart into, and how the first picture fits each, beside the one that was
// first before.

import { element } from "../dom.js";
import { plural } from "../format.js";

const WORDS = { noun: "thing", color: "colour", binding: "which is which", absent: "is not there", excluded: "is not", setting: "background" };
const NAMES = { "claim-now": "now first", "claim-then": "first before" };
const MOST = 12; // of a log-odds

export function drawTree(tree) {
  const [first] = tree.candidates;
  const before = tree.candidates.find(({ retrieval_rank: rank }) => rank === 1);
  const compared = before && before !== first ? before : null;
  const branch = (parent) => {
    const places = tree.nodes.map((_, place) => place).filter((place) => tree.nodes[place].parent === parent);
    return places.map((place) => leaf(tree.nodes[place], first?.values[place], compared?.values[place], branch(place)));
  };
  return [element("p", { className: "soft", textContent: stages(tree) }), legend(first, compared), element("ul", { className: compared ? "claims compared" : "claims" }, ...branch(null))];
}

function stages({ stages: asked, pruned, readings }) {
  const said = [`Stages asked ${asked.join(" → ")} candidates`];
  if (pruned) said.push(`${plural(pruned, "question")} left out, since what they depend on is not there`);
  if (readings > 1) said.push(`${readings} readings of the words, the best counts`);
  return `${said.join("; ")}. Open a claim to read what it was weighed against; above 0 the picture fits it better than that.`;
}

function legend(first, compared) {
  const now = first && element("span", { className: "claim-now", textContent: `${NAMES["claim-now"]}: ${first.id}` });
  const then = compared && element("span", { className: "claim-then", textContent: `${NAMES["claim-then"]}: ${compared.id}` });
  return element("p", { className: "claim-legend" }, ...[now, then].filter(Boolean));
}

function leaf(node, value, other, children) {
  const kind = element("span", { className: "claim-kind", textContent: !node.counterfactuals.length ? "says" : (WORDS[node.kind] ?? node.kind) });
  const line = element("summary", { className: "claim" }, kind, element("span", { className: "claim-label", textContent: node.label }));
  line.append(bar(node, value, "claim-now"), ...(other === undefined ? [] : [bar(node, other, "claim-then")]));
  const claim = element("details", {}, line, sentences(node));
  return element("li", {}, claim, ...(children.length ? [element("ul", {}, ...children)] : []));
}

function sentences({ claims, counterfactuals }) {
  const part = (title, texts) => (texts.length ? [element("dt", { textContent: title }), ...texts.map((text) => element("dd", { textContent: text }))] : []);
  return element("dl", { className: "claim-sentences" }, ...part("claim", claims), ...part("against", counterfactuals));
}

// Log-odds to the right where the claim is likelier than what stands against it; of a clause only the number.
function bar(node, value, side) {
  const named = element("span", { className: "hidden", textContent: `${NAMES[side]}: ` });
  if (value === null || value === undefined) return element("span", { className: `claim-value ${side} unasked` }, named, "not asked");
  const made = element("span", { className: `claim-value ${side}` }, named, value.toFixed(1));
  if (!node.counterfactuals.length) return made;
  made.style.setProperty("--share", `${Math.min(100, (Math.abs(value) / MOST) * 100)}%`);
  made.classList.add(value < 0 ? "against" : "for");
  return made;
}
