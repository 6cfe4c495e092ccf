// Keeps the page fresh. The server renders; this fetches the page again when something was published and swaps the
// sections that differ, so that open folds, focus and scroll stay, and a screen reader hears each revision once.
"use strict";

const STALE_MS = 30000; // nothing heard for this long: say so
const GAP_MS = 500; // between two fetches; the first after a pause goes at once
const $ = (selector) => document.querySelector(selector);

let heardAt = Date.now();
let fetchedAt = 0;
let isPaused = false;
let isFetching = false;
let isWanted = false;
let title = document.title;
let icon = $("#icon").getAttribute("href");

function connect(after) {
  const source = new EventSource("/events?after=" + after);
  for (const kind of ["change", "cell", "visibility", "claim", "work", "tick", "reset"]) {
    source.addEventListener(kind, () => {
      heardAt = Date.now();
      tell();
      refresh();
    });
  }
  source.onerror = () => {
    // The browser resumes by itself, but not after a refusal.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => connect(document.body.dataset.sequence), 3000 + Math.random() * 4000);
    }
  };
}

async function refresh() {
  if (isPaused || isFetching) {
    isWanted = true;
    return;
  }
  isFetching = true;
  isWanted = false;
  const wait = fetchedAt + GAP_MS - Date.now();
  if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  fetchedAt = Date.now();
  try {
    const signal = AbortSignal.timeout(10000);
    const response = await fetch(location.pathname + location.search, { headers: { "x-fragment": "1" }, cache: "no-store", signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (response.ok && !isPaused) show(page);
  } catch {
    // The coordinator is away: the stale line says so, and the next event tries again.
  }
  isFetching = false;
  if (isWanted) refresh();
}

function show(page) {
  const focus = path(document.activeElement);
  const { scrollX, scrollY } = window;
  for (const fold of page.querySelectorAll("details[id]")) {
    const now = document.getElementById(fold.id);
    if (now) fold.open = now.open;
  }
  const fresh = [...page.querySelector("main").children];
  const main = $("main");
  for (const part of fresh) {
    const now = part.id && document.getElementById(part.id);
    if (now?.contains(document.activeElement) && document.activeElement.localName === "input") {
      continue; // somebody is typing
    } else if (!now) {
      main.append(part);
    } else if (part.dataset.key !== undefined && part.dataset.key === now.dataset.key) {
      const ages = part.querySelectorAll("[data-age]");
      now.querySelectorAll("[data-age]").forEach((age, i) => age.replaceWith(ages[i]));
    } else if (part.id === "verdict") {
      // The live region itself must stay for its change to be announced.
      now.dataset.key = part.dataset.key;
      now.replaceChildren(...part.childNodes);
    } else if (!part.isEqualNode(now)) {
      now.replaceWith(part);
    }
  }
  $("#updated").replaceWith(page.querySelector("#updated"));
  title = page.title;
  icon = page.querySelector("#icon").getAttribute("href");
  document.body.className = page.body.className;
  document.body.dataset.sequence = page.body.dataset.sequence;
  tell();
  if (focus && document.activeElement === document.body) $(focus)?.focus({ preventScroll: true });
  window.scrollTo(scrollX, scrollY);
}

// How to find the focused element again in a fresh page.
function path(element) {
  const home = element?.closest("main [id]");
  if (!home || home === element) return home && "#" + CSS.escape(home.id);
  const href = element.getAttribute("href");
  return "#" + CSS.escape(home.id) + " " + element.localName + (href ? `[href="${CSS.escape(href)}"]` : "");
}

function tell() {
  const isStale = Date.now() - heardAt > STALE_MS;
  document.body.classList.toggle("stale", isStale);
  const last = $("#updated time")?.textContent ?? "unknown";
  const words = isStale ? `Last update ${last}, reconnecting` : isPaused ? "Paused" : "Live";
  if ($("#live span").textContent !== words) $("#live span").textContent = words;
  // A tab in the background must not go on saying what nobody looked at.
  const [tab, shape] = isStale ? [`░ no updates · ${title}`, $("#icon").dataset.stale] : [title, icon];
  if (document.title !== tab) document.title = tab;
  if ($("#icon").getAttribute("href") !== shape) $("#icon").setAttribute("href", shape);
}

const button = document.createElement("button");
button.type = "button";
button.textContent = "Pause updates";
button.addEventListener("click", () => {
  isPaused = !isPaused;
  button.textContent = isPaused ? "Resume updates" : "Pause updates";
  tell();
  if (!isPaused) refresh();
});
$("#live").append(document.createElement("span"), button);
tell();
setInterval(tell, 1000);
connect(document.body.dataset.sequence);
