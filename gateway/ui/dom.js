// Small helpers over the DOM. Text always goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const icon = (name) => svg("svg", { "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

export function show(node, visible) {
  node.hidden = !visible;
}

// Whether someone is typing, so that single-letter shortcuts must wait.
export function isTyping() {
  const node = document.activeElement;
  return node?.matches("input:not([type=range]):not([type=file]), select, textarea") ?? false;
}
