"use strict";
// One script, made of several files. Text from jobs goes into the page as text only: never as markup.

const base = `/v2/${document.body.dataset.endpoint}`;
const $ = (id) => document.getElementById(id);
const FINAL = new Set(["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]);
const WORDS = {
  IN_QUEUE: "queued", IN_PROGRESS: "running", COMPLETED: "completed", FAILED: "failed", CANCELLED: "cancelled",
  TIMED_OUT: "timed out",
};

/** An element with text and children. */
function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** A request that carries the key, if there is one; asks for it where the endpoint does. */
async function request(path, options = {}) {
  const headers = { ...options.headers };
  const key = sessionStorage.getItem("key");
  if (key) headers.authorization = `Bearer ${key}`;
  const response = await fetch(`${base}/${path}`, { ...options, headers });
  if (response.status === 401) {
    await askForKey();
    return request(path, options);
  }
  return response;
}

let keyAsked;
function askForKey() {
  keyAsked ??= new Promise((resolve) => {
    const form = $("key-form");
    form.showModal();
    form.addEventListener("close", () => {
      sessionStorage.setItem("key", $("key").value);
      $("key").value = "";
      keyAsked = undefined;
      resolve();
    }, { once: true });
  });
  return keyAsked;
}

async function read(path, options) {
  const response = await request(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? `status ${response.status}`);
  return answer;
}

const post = (path, body) => read(path, { method: "POST", body: body && JSON.stringify(body) });

/** Reads a job's events until it is over, and takes them up again where they were interrupted. */
async function follow(job, signal, tell) {
  let place = "";
  let isOver = false;
  while (!signal.aborted && !isOver) {
    try {
      const headers = place ? { "last-event-id": place } : {};
      const response = await request(`events/${job}`, { headers, signal });
      if (!response.ok) return;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let received = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        received += value;
        const events = received.split("\n\n");
        received = events.pop();
        for (const text of events) {
          const field = (name) => text.split("\n").find((line) => line.startsWith(name))?.slice(name.length);
          const data = field("data: ");
          if (data === undefined) continue;
          place = field("id: ") ?? place;
          const event = field("event: ");
          const parsed = JSON.parse(data);
          tell(event, parsed);
          isOver ||= event === "status" && FINAL.has(parsed.status); // what a cancelled call still prints comes before the end
        }
      }
    } catch {
      // The endpoint is gone; it may come back.
    }
    if (!signal.aborted && !isOver) await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60e3) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3600e3) return `${Math.floor(ms / 60e3)} min ${Math.round(ms / 1000) % 60} s`;
  return `${(ms / 3600e3).toFixed(1)} h`;
}

function ago(at) {
  const seconds = Math.max(0, (Date.now() - at) / 1000);
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(at).toLocaleDateString();
}

function size(bytes) {
  if (bytes < 1 << 20) return `${(bytes / 1024).toFixed(1)} KiB`;
  if (bytes < 1 << 30) return `${(bytes / (1 << 20)).toFixed(1)} MiB`;
  return `${(bytes / (1 << 30)).toFixed(2)} GiB`;
}

/** Fills a list of terms. */
function facts(list, pairs) {
  list.replaceChildren(...pairs.filter(([, value]) => value !== undefined && value !== "").map(([name, value]) => {
    const row = element("div");
    row.append(element("dt", name), element("dd", value));
    return row;
  }));
}
