// Numbers and names as people read them.

const CAPTION_FIELDS = ["caption", "title", "text", "description", "name"];
const HIDDEN_FIELDS = new Set([...CAPTION_FIELDS, "file", "digest", "original_file", "image_url", "link", "thumbnail"]);

export const digits = (value) => (value < 10 ? value.toFixed(1) : String(Math.round(value)));

export const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

// The gateway's messages begin small, as parts of a sentence.
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function bytes(n) {
  if (n < 1e6) return [String(Math.round(n / 1e3)), "kB"];
  return n < 1e9 ? [String(Math.round(n / 1e6)), "MB"] : [(n / 1e9).toFixed(2), "GB"];
}

// What an item is called: the first caption-like field, else its id.
export function captionOf(item) {
  const field = CAPTION_FIELDS.find((name) => typeof item.metadata?.[name] === "string" && item.metadata[name]);
  return field ? item.metadata[field] : item.id;
}

// Whether one can filter by it: a string, number or boolean.
export const isFact = (name, value) => !HIDDEN_FIELDS.has(name) && ["string", "number", "boolean"].includes(typeof value);
