// Which other hosts' pictures this page may show: its own Content-Security-Policy says so, and the browser obeys it.

let sources = null; // of img-src, once asked for

export async function mayShow(address) {
  sources ??= fetch("/", { method: "HEAD" }).then(imageSources, () => []);
  const url = URL.canParse(address) ? new URL(address) : null;
  return url?.protocol === "https:" && (await sources).some((source) => fits(url, source));
}

function imageSources(response) {
  const policy = response.headers.get("Content-Security-Policy") ?? "";
  return (policy.split(";").find((part) => part.trim().startsWith("img-src ")) ?? "").trim().split(/\s+/).slice(1);
}

// `source` is https: or https://HOST, in which HOST may begin with *.
function fits({ hostname, port }, source) {
  if (source === "https:") return true;
  const host = source.startsWith("https://") && !port ? source.slice("https://".length) : null;
  if (host?.startsWith("*.")) return hostname.endsWith(host.slice(1));
  return hostname === host;
}
