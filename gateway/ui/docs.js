// The API reference, drawn from /openapi.json.

const make = (name, className, ...children) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
};

const resolve = (schema, all) => (schema?.$ref ? all[schema.$ref.split("/").pop()] : schema) ?? {};

function typeOf(schema, all) {
  if (schema.$ref) return typeOf(resolve(schema, all), all);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.filter((one) => one.type !== "null").map((one) => typeOf(one, all)).join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {}, all)}`;
  return schema.type ?? "any";
}

function fieldTable(schema, all) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const required = (schema.required ?? []).includes(name);
    const notes = [required ? "Required." : "", field.description ?? "", defaultOf(field)].filter(Boolean).join(" ");
    return make("tr", "", make("td", "", name), make("td", "", typeOf(field, all)), make("td", "", notes));
  });
  return make("table", "", make("tbody", "", ...rows));
}

function defaultOf(field) {
  return field.default === undefined || field.default === null ? "" : `Default ${JSON.stringify(field.default)}.`;
}

function curl(method, path, example) {
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${location.origin}${path}`];
  if (spec.security && path.startsWith("/v1/")) lines.push('  -H "Authorization: Bearer $KEY"');
  if (example) lines.push(`  -H 'Content-Type: application/json'`, `  -d '${JSON.stringify(example)}'`);
  return lines.join(" \\\n");
}

function section(title, ...content) {
  return [make("h3", "", title), ...content];
}

function bodyOf(method, path, operation, all) {
  const body = resolve(operation.requestBody?.content["application/json"]?.schema, all);
  const form = resolve(operation.requestBody?.content["multipart/form-data"]?.schema, all);
  const answer = resolve(operation.responses?.["200"]?.content?.["application/json"]?.schema, all);
  const parts = section("Try it", make("pre", "", curl(method, path, body.examples?.[0])));
  const parameters = (operation.parameters ?? []).map(({ name, schema, description, required }) => [name, { ...schema, description, required }]);
  if (parameters.length) parts.push(...section("Parameters", fieldTable({ properties: Object.fromEntries(parameters) }, all)));
  if (body.properties) parts.push(...section("Body", fieldTable(body, all)));
  if (form.properties) parts.push(...section("Or as a form (multipart/form-data)", fieldTable(form, all)));
  if (answer.properties) parts.push(...section("Answer", fieldTable(answer, all)));
  if (answer.examples) parts.push(...section("For example", make("pre", "", JSON.stringify(answer.examples[0], null, 2))));
  return make("div", "body", ...parts);
}

function operationOf(method, path, operation, all) {
  const summary = make("summary", "", make("span", `verb ${method}`, method.toUpperCase()), make("span", "path", path));
  summary.append(make("span", "summary", operation.description ?? operation.summary ?? ""));
  return make("details", "operation", summary, bodyOf(method, path, operation, all));
}

const spec = await (await fetch("/openapi.json")).json();
const all = spec.components.schemas;
document.getElementById("title").textContent = `${spec.info.title} API`;
document.getElementById("description").textContent = spec.info.description;
const groups = new Map();
for (const [path, operations] of Object.entries(spec.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const tag = operation.tags?.[0] ?? "more";
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push(operationOf(method, path, operation, all));
  }
}
for (const [tag, cards] of groups) document.getElementById("operations").append(make("h2", "", tag), ...cards);
