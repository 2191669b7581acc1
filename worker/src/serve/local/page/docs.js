"use strict";
// Shows openapi.json. Text goes into the page as text only.

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** Text with `code` in it. */
function prose(tag, text) {
  const made = element(tag);
  text.split("`").forEach((part, index) => made.append(index % 2 ? element("code", part) : part));
  return made;
}

function table(title, rows) {
  const section = element("div");
  section.append(element("h3", title));
  const list = element("dl");
  for (const [name, text] of rows) {
    const row = element("div");
    row.append(element("dt", name), prose("dd", text));
    list.append(row);
  }
  section.append(list);
  return section;
}

function describe(path, method, operation) {
  const section = element("section");
  const title = element("h2");
  title.append(element("span", method.toUpperCase(), "method"), element("code", path));
  section.append(title, prose("p", operation.summary));
  if (operation.description) section.append(prose("p", operation.description));
  const parameters = (operation.parameters ?? []).map((parameter) => [parameter.name, parameter.description]);
  if (parameters.length > 0) section.append(table("Parameters", parameters));
  const example = operation.requestBody?.content["application/json"].example;
  if (example) section.append(element("pre", JSON.stringify(example, null, 2)));
  section.append(table("Answers", Object.entries(operation.responses).map(([status, answer]) => [status, answer.description])));
  const answer = operation.responses["200"]?.content?.["application/json"]?.example;
  if (answer) section.append(element("pre", JSON.stringify(answer, null, 2)));
  return section;
}

async function show() {
  const reference = await (await fetch("/openapi.json")).json();
  const main = document.getElementById("docs");
  main.append(prose("p", reference.info.description));
  for (const [path, item] of Object.entries(reference.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      if (method !== "parameters") main.append(describe(path.replace("{endpoint}", document.body.dataset.endpoint), method, operation));
    }
  }
}

show();
