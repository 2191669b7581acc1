
// One job: its output as it prints, its end, its request.

let following;

/** Shows a job, or none. */
function select(id) {
  following?.abort();
  selected = id;
  if (location.hash.slice(1) !== id) history.replaceState(null, "", id ? `#${id}` : location.pathname);
  $("detail").hidden = !id;
  $("jobs").classList.toggle("split", Boolean(id));
  for (const [job, row] of rowOf) row.firstChild.setAttribute("aria-current", String(job === id));
  if (!id) return;
  $("name").textContent = rowOf.get(id)?.querySelector(".name").textContent ?? "";
  $("job-id").textContent = id;
  $("output").replaceChildren();
  for (const part of ["error", "result", "live", "cancel", "retry"]) $(part).hidden = true;
  $("request").open = false;
  $("times").replaceChildren();
  $("detail").scrollTop = 0;
  following = new AbortController();
  const { signal } = following;
  const chunks = [];
  follow(id, signal, (event, data) => {
    if (signal.aborted) return;
    if (event === "output") print(data.text);
    if (event === "progress") showProgress(data);
    if (event === "chunk") {
      if (data.index === 0) chunks.length = 0;
      chunks.push(data);
      showChunks(chunks);
    }
    if (event === "status") {
      showDocument(data, chunks);
      refresh(); // the list shall not say something else
    }
  });
  showRequest(id, signal);
}

/** Adds to the output, and stays at its end for those who are there. */
function print(text) {
  const output = $("output");
  const isAtEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
  output.append(text);
  if (isAtEnd) output.scrollTop = output.scrollHeight;
}

function showProgress(value) {
  showResult("Progress", JSON.stringify(value, null, 2));
}

function showChunks(chunks) {
  const lines = chunks.map((chunk) => chunk.error ?? ("json_result" in chunk ? JSON.stringify(chunk.json_result) : "(a pickle)"));
  showResult(`Yielded ${chunks.length}`, lines.join("\n"));
}

function showResult(title, text) {
  $("result").hidden = false;
  $("result-title").textContent = title;
  $("result-text").textContent = text;
}

function showDocument(job, chunks) {
  const isOver = FINAL.has(job.status);
  $("status").textContent = WORDS[job.status];
  $("status").dataset.status = job.status;
  $("live").hidden = job.status !== "IN_PROGRESS";
  $("cancel").hidden = isOver;
  $("retry").hidden = !isOver || job.status === "COMPLETED";
  facts($("times"), [
    ["waited", job.delayTime === undefined ? undefined : duration(job.delayTime)],
    ["ran", job.executionTime === undefined ? undefined : duration(job.executionTime)],
  ]);
  $("error").hidden = !job.error;
  $("error-text").textContent = job.error ?? "";
  if (!isOver) return;
  const answer = job.output;
  if (answer && typeof answer === "object" && !Array.isArray(answer) && "success" in answer) {
    if (!$("output").hasChildNodes() && answer.stdout) print(answer.stdout);
    if (answer.json_result !== null && answer.json_result !== undefined) showResult("Result", JSON.stringify(answer.json_result, null, 2));
    else if (answer.result) showResult("Result", `a pickle of ${size(answer.result.length * 0.75)}`);
    else if (job.status === "COMPLETED" && chunks.length === 0) showResult("Result", "null");
  } else if (answer !== undefined && chunks.length === 0) {
    showResult("Result", JSON.stringify(answer, null, 2));
  }
}

async function showRequest(id, signal) {
  try {
    const request = await read(`request/${id}`, { signal });
    if (signal.aborted) return;
    const code = request.function_code ?? request.class_code ?? "";
    const name = request.execution_type === "class" ? `${request.class_name}.${request.method_name}` : request.function_name;
    $("name").textContent = name ?? "(no function)";
    const isPlain = request.serialization_format === "json";
    facts($("request-fields"), [
      ["arguments", isPlain ? short(request.args) : "pickled"],
      ["keywords", isPlain && Object.keys(request.kwargs ?? {}).length > 0 ? short(request.kwargs) : undefined],
      ["packages", (request.dependencies ?? []).join(" ")],
      ["system packages", (request.system_dependencies ?? []).join(" ")],
    ]);
    $("request-text").textContent = code || JSON.stringify(request, null, 2);
  } catch {
    $("request-text").textContent = "";
  }
}

function short(value) {
  const text = JSON.stringify(value ?? []);
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

async function change(action) {
  const id = selected;
  try {
    await post(`${action}/${id}`);
    if (action === "retry" && id === selected) select(id);
  } catch (error) {
    $("error").hidden = false;
    $("error-text").textContent = error.message;
  }
  refresh();
}
