// A tree of claims: what the query was taken apart into, and how the first picture fits each, beside the one that was
// first before.

import { element } from "../dom.js";
import { plural } from "../format.js";

const WORDS = { noun: "thing", color: "colour", binding: "which is which", absent: "is not there", excluded: "is not", setting: "background" };
const MOST = 12; // of a log-odds

export function drawTree(tree) {
  const [first] = tree.candidates;
  const before = tree.candidates.find(({ plain_rank: rank }) => rank === 1);
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
  return `${said.join("; ")}.`;
}

function legend(first, compared) {
  const now = first && element("span", { className: "claim-now", textContent: `now first: ${first.id}` });
  const then = compared && element("span", { className: "claim-then", textContent: `first before: ${compared.id}` });
  return element("p", { className: "claim-legend" }, ...[now, then].filter(Boolean));
}

function leaf(node, value, other, children) {
  const kind = element("span", { className: "claim-kind", textContent: !node.against.length ? "says" : (WORDS[node.kind] ?? node.kind) });
  const against = node.against.length ? `against: ${node.against.join("; ")}` : node.claims.join("; ");
  const line = element("div", { className: "claim", title: against }, kind, element("span", { className: "claim-label", textContent: node.label }));
  line.append(bar(node, value, "claim-now"), ...(other === undefined ? [] : [bar(node, other, "claim-then")]));
  return element("li", {}, line, ...(children.length ? [element("ul", {}, ...children)] : []));
}

// Log-odds to the right where the claim is likelier than what stands against it; of a clause only the number.
function bar(node, value, side) {
  if (value === null || value === undefined) return element("span", { className: `claim-value ${side} unasked`, textContent: "not asked" });
  const made = element("span", { className: `claim-value ${side}`, textContent: value.toFixed(1) });
  if (!node.against.length) return made;
  made.style.setProperty("--share", `${Math.min(100, (Math.abs(value) / MOST) * 100)}%`);
  made.classList.add(value < 0 ? "against" : "for");
  return made;
}
