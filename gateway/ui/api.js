// Calls to the gateway: adds the key, turns error envelopes into ApiError.

const KEY = "clipserve-key";
const pictures = new Map(); // address → object URL, for pictures that need the key

export class ApiError extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
};

function withKey(headers = {}) {
  return key.get() ? { ...headers, Authorization: `Bearer ${key.get()}` } : headers;
}

export async function call(path, body, signal) {
  const options = { headers: withKey(), signal };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = withKey({ "Content-Type": "application/json" });
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The gateway does not answer. Is it still running?");
  });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const error = answer?.error ?? { message: `The gateway answered ${response.status}.` };
  throw new ApiError(response.status, error.message, error.code);
}

// An <img> sends no key, so with one the picture is fetched and shown as a blob.
export async function picture(address) {
  if (!key.get()) return address;
  if (!pictures.has(address)) {
    const response = await fetch(address, { headers: withKey() });
    if (!response.ok) throw new ApiError(response.status, "no picture");
    pictures.set(address, URL.createObjectURL(await response.blob()));
  }
  return pictures.get(address);
}

export function pictureAddress(collection, file) {
  return `/images/${encodeURIComponent(collection)}/${file.split("/").map(encodeURIComponent).join("/")}`;
}
