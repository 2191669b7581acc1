
// The worker's view, the form, and what begins it all.

const EXAMPLE = `import time

def count(steps):
    for step in range(1, steps + 1):
        print(f"step {step} of {steps}")
        time.sleep(0.5)
    return {"steps": steps}
`;

async function refreshWorker() {
  const [worker, { environments }] = await Promise.all([read("worker"), read("environments")]);
  facts($("facts"), [
    ["version", `${worker.version}, Python ${worker.python}`],
    ["up", duration(worker.uptimeMs)],
    ["calls at a time", worker.concurrency],
    ["running", worker.running],
    ["memory", size(worker.memoryBytes)],
    ["queue", worker.durable ? `on disk, ${size(worker.payloadBytes)}` : `in memory, ${size(worker.payloadBytes)}`],
  ]);
  $("processes").replaceChildren(...worker.runners.map((runner) => {
    const row = element("tr");
    row.append(element("td", `${runner.name} ${runner.pid}`), element("td", runner.state), element("td", size(runner.memoryBytes)));
    return row;
  }));
  $("no-environments").hidden = environments.length > 0;
  $("environments").replaceChildren(...environments.map((environment) => {
    const row = element("li", environment.requirements.join(" "));
    const note = [`Python ${environment.python}`, size(environment.bytes), `built in ${environment.buildSeconds.toFixed(1)} s`];
    if (environment.inUse) note.push("in use");
    row.append(element("br"), element("small", `${note.join(" · ")} · ${environment.key.slice(0, 12)}`));
    return row;
  }));
}

function show(view) {
  $("jobs").hidden = view !== "jobs";
  $("worker").hidden = view !== "worker";
  $("show-jobs").setAttribute("aria-pressed", String(view === "jobs"));
  $("show-worker").setAttribute("aria-pressed", String(view === "worker"));
  if (view === "worker") refreshWorker().catch(() => setState("gone", "not reachable"));
}

/** The job that the form describes. */
function jobOfForm() {
  const given = JSON.parse($("arguments").value.trim() || "[]");
  if (given === null || typeof given !== "object") throw new Error("arguments are a JSON array, or an object of keywords");
  const input = {
    execution_type: "function", function_name: $("function").value.trim(), function_code: $("code").value,
    serialization_format: "json", args: Array.isArray(given) ? given : [], kwargs: Array.isArray(given) ? {} : given,
  };
  const packages = $("packages").value.split(",").map((name) => name.trim()).filter(Boolean);
  if (packages.length > 0) input.dependencies = packages;
  const policy = {};
  if (Number($("timeout").value) > 0) policy.executionTimeout = Number($("timeout").value) * 1000;
  if ($("low").checked) policy.lowPriority = true;
  return { input, policy };
}

async function submit(event) {
  event.preventDefault();
  $("form-error").hidden = true;
  try {
    const { id } = await post("run", jobOfForm());
    $("form").close();
    show("jobs");
    await refresh();
    select(id);
  } catch (error) {
    $("form-error").hidden = false;
    $("form-error").textContent = error instanceof SyntaxError ? `arguments are not JSON: ${error.message}` : error.message;
  }
}

function open() {
  if (!$("code").value) {
    $("code").value = EXAMPLE;
    $("function").value = "count";
    $("arguments").value = "[10]";
  }
  $("form-error").hidden = true;
  $("form").showModal();
}

/** The last function that the code defines at its top is most likely the one meant. */
function guessFunction() {
  const names = [...$("code").value.matchAll(/^(?:async )?def (\w+)/gm)].map((match) => match[1]);
  if (names.length > 0 && !names.includes($("function").value.trim())) $("function").value = names.at(-1);
}

$("endpoint").textContent = document.body.dataset.endpoint;
$("show-jobs").addEventListener("click", () => show("jobs"));
$("show-worker").addEventListener("click", () => show("worker"));
$("new").addEventListener("click", open);
$("form-cancel").addEventListener("click", () => $("form").close());
$("form").querySelector("form").addEventListener("submit", submit);
$("code").addEventListener("input", guessFunction);
$("back").addEventListener("click", () => select(""));
$("cancel").addEventListener("click", () => change("cancel"));
$("retry").addEventListener("click", () => change("retry"));
$("copy").addEventListener("click", () => navigator.clipboard?.writeText(selected));
$("more").addEventListener("click", () => { rowsWanted += PAGE_ROWS * 2; refresh(); });
let typing;
$("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(refresh, 150); });
$("key-form").addEventListener("cancel", (event) => event.preventDefault());
addEventListener("hashchange", () => select(location.hash.slice(1)));
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && selected && !document.querySelector("dialog[open]")) select("");
});

setInterval(() => {
  if (document.hidden || document.querySelector("#key-form[open]")) return;
  refresh();
  if (!$("worker").hidden) refreshWorker().catch(() => {});
}, LIST_PAUSE_MS);
refresh();
if (location.hash.length > 1) select(location.hash.slice(1));
