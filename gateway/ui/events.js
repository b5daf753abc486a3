// Server-sent events as the answer to a POST, which the browser's EventSource can't send.

import { ask, refusal } from "./api.js";

const END = "[DONE]";

// Yields each event's data; an error among them is thrown. Leaving the loop, or `signal`, ends the work for it.
export async function* events(path, { body, signal }) {
  const response = await ask(path, { method: "POST", body, signal });
  if (!response.ok) throw refusal(response, await response.json().catch(() => null));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw refusal(response, { error: { message: "the answer broke off" } });
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const { event, data } of blocks.map(eventOf)) {
        if (data === END) return;
        const told = JSON.parse(data);
        if (event === "error") throw refusal(response, told);
        yield told;
      }
    }
  } finally {
    reader.cancel().catch(() => null);
  }
}

// A block of lines such as `event: error` and `data: {…}`.
export const eventOf = (block) => Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
