
// The list of jobs: asked for once a second while somebody looks.

const LIST_PAUSE_MS = 1000;
const PAGE_ROWS = 50;
let statusFilter = "";
let rowsWanted = PAGE_ROWS;
let selected = "";
const rowOf = new Map();

function showCounts(counts) {
  const chips = [["", "all", Object.values(counts).reduce((sum, count) => sum + count, 0)]];
  for (const [status, word] of Object.entries(WORDS)) {
    if (counts[status] > 0 || status === statusFilter) chips.push([status, word, counts[status] ?? 0]);
  }
  const group = $("counts");
  const isSame = group.children.length === chips.length
    && chips.every(([status], index) => group.children[index].dataset.status === status);
  if (!isSame) {
    group.replaceChildren(...chips.map(([status, word]) => {
      const chip = element("button", `${word} `);
      chip.type = "button";
      chip.dataset.status = status;
      chip.append(element("b"));
      chip.addEventListener("click", () => {
        statusFilter = status;
        rowsWanted = PAGE_ROWS;
        refresh();
      });
      return chip;
    }));
  }
  chips.forEach(([status, , count], index) => {
    const chip = group.children[index];
    chip.lastChild.textContent = count.toLocaleString();
    chip.setAttribute("aria-pressed", String(status === statusFilter));
  });
}

function makeRow(id) {
  const row = element("li");
  const button = element("button");
  button.type = "button";
  button.append(element("span", undefined, "dot"), element("span", undefined, "name"), element("span", undefined, "time"), element("span", undefined, "note"));
  button.addEventListener("click", () => select(id));
  row.append(button);
  return row;
}

function fillRow(row, job) {
  const button = row.firstChild;
  const [dot, name, time, note] = button.children;
  dot.dataset.status = job.status;
  name.textContent = job.name || "(no function)";
  const isOver = FINAL.has(job.status);
  const since = job.status === "IN_PROGRESS" ? Date.now() - job.startedAt : job.executionTime;
  time.textContent = job.status === "IN_QUEUE" ? ago(job.createdAt) : duration(Math.max(0, since));
  const parts = [WORDS[job.status]];
  if (job.delayTime >= 1000 || job.status === "IN_QUEUE") parts.push(`waited ${duration(job.delayTime)}`);
  if (job.attempts > 1) parts.push(`attempt ${job.attempts}`);
  if (job.retries > 0) parts.push(`run again ${job.retries}×`);
  if (isOver) parts.push(ago(job.finishedAt));
  note.replaceChildren(element("span", parts.join(" · ")));
  if (job.error && job.status !== "CANCELLED") note.append(element("span", job.error, "error"));
  button.setAttribute("aria-current", String(job.id === selected));
  button.title = job.id;
}

function showRows(jobs) {
  const list = $("rows");
  const rows = jobs.map((job) => {
    if (!rowOf.has(job.id)) rowOf.set(job.id, makeRow(job.id));
    const row = rowOf.get(job.id);
    fillRow(row, job);
    return row;
  });
  const ids = new Set(jobs.map((job) => job.id));
  for (const id of rowOf.keys()) if (!ids.has(id)) rowOf.delete(id);
  const isSame = rows.length === list.children.length && rows.every((row, index) => row === list.children[index]);
  if (!isSame) list.replaceChildren(...rows);
}

function showNothing(isNothing) {
  $("empty").hidden = !isNothing;
  if (!isNothing) return;
  const isFiltered = statusFilter || $("search").value;
  $("empty-text").textContent = isFiltered ? "No job matches." : "No jobs yet. Run a function here, or from a shell:";
  $("empty-example").hidden = Boolean(isFiltered);
  $("empty-example").textContent = "farcall run code.py::add --args '[1, 2]'";
}

let refreshing = 0;
async function refresh() {
  const turn = ++refreshing;
  const query = new URLSearchParams({ limit: String(Math.min(rowsWanted, 1000)) });
  if (statusFilter) query.set("status", statusFilter);
  const search = $("search").value.trim();
  if (search) query.set("search", search);
  let answers;
  try {
    answers = await Promise.all([read(`jobs?${query}`), read("health")]);
  } catch {
    if (turn === refreshing) setState("gone", "not reachable");
    return;
  }
  if (turn !== refreshing) return; // a later one is under way
  const [listed, health] = answers;
  showState(health.workers);
  showCounts(listed.counts);
  showRows(listed.jobs);
  showNothing(listed.jobs.length === 0);
  $("more").hidden = listed.next === null || rowsWanted >= 1000;
}

function showState(workers) {
  if (workers.unhealthy > 0) setState("unhealthy", "unhealthy");
  else if (workers.initializing > 0) setState("starting", "starting");
  else setState("ready", workers.running > 0 ? `${workers.running} of ${workers.ready} running` : "ready");
}

function setState(state, text) {
  $("state").dataset.state = state;
  if ($("state").textContent !== text) $("state").textContent = text;
}
