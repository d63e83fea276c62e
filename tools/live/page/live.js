// Shows what the server sends: once who it is about, then what is new. Every text goes into the page as text.

"use strict";

const KEPT_POINTS = 5000;
const KEPT_ALERTS = 60;

const element = id => document.getElementById(id);
const number = value => value === null || value === undefined ? "–" : value.toLocaleString("en");
let map = null, last = null, fresh = false;

function made(tag, text, className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function hello(about) {
  fresh = true;
  last = null;
  if (map) map.close();
  map = null;
  element("feed").replaceChildren();
  if (!about.title) return;
  document.title = `${about.title}, live`;
  element("title").textContent = about.title;
  element("place").textContent = about.place;
  for (const { name, title, read_from: from } of about.stages) {
    for (const node of document.querySelectorAll(`[data-title="${name}"]`)) {
      node.textContent = title;
      node.title = from;
    }
  }
  element("where").hidden = !about.has_map;
  if (about.has_map) map = new EventMap(element("map"), about.outline, KEPT_POINTS);
  element("severities").replaceChildren(EventMap.legend(about.severities));
}

function card({ subject, details, text, rank, count, at, latency_ms: latency }) {
  const item = made("li", "");
  item.style.setProperty("--colour", `var(--severity-${rank})`);
  item.title = text;
  item.append(made("strong", subject));
  if (details) item.append(made("div", details, "details"));
  const when = made("div", "", "when");
  when.append(made("span", at));
  if (count > 1) when.append(made("span", `${number(count)} in one`));
  when.append(made("span", latency === null ? "" : `after ${seconds(latency)}`));
  item.append(when);
  return item;
}

function seconds(ms) {
  if (ms < 1000) return `${ms} ms`;
  return ms < 100000 ? `${(ms / 1000).toFixed(1)} s` : `${number(Math.round(ms / 1000))} s`;
}

function news({ points = [], alerts = [] }) {
  if (map) map.add(points, !fresh);
  const feed = element("feed");
  for (const alert of alerts) {
    const item = card(alert);
    if (!fresh) item.classList.add("new");
    feed.prepend(item);
  }
  while (feed.children.length > KEPT_ALERTS) feed.lastChild.remove();
  element("none").hidden = feed.children.length > 0;
  fresh = false;
}

function summary(state) {
  last = state;
  status(state.problem === null ? "live" : "problem", state.problem ?? `live, ${state.now} UTC`);
  document.body.classList.toggle("stale", state.problem !== null);
  if (!state.counts) return;
  for (const node of document.querySelectorAll("[data-count]")) {
    const { count = null, behind = null } = state.counts[node.dataset.count] ?? {};
    node.textContent = number(count);
    node.dataset.value = count ?? "";
    if (behind > 0) node.dataset.behind = node.title = `${number(behind)} behind`;
    else { delete node.dataset.behind; node.title = ""; }
  }
  duration(element("half"), state.within.p50);
  element("most").textContent = state.within.p99 === null ? "–" : seconds(state.within.p99);
  element("rate").textContent = number(state.rate);
  element("unplaced").textContent = state.unplaced > 0 ? `${number(state.unplaced)} without a place on the map` : "";
  draw();
}

// A time as a large number with a small unit.
function duration(node, ms) {
  const [value, unit] = ms === null ? ["–", ""] : seconds(ms).split(" ");
  node.replaceChildren(value, made("small", unit));
}

function draw() {
  // The library is large, and may come after the first numbers.
  if (!last || !last.figures || !window.Plotly) return;
  for (const [name, figure] of Object.entries(last.figures)) {
    const compact = structuredClone(figure);
    delete compact.layout.xaxis?.title;
    delete compact.layout.yaxis?.title;
    delete compact.layout.annotations; // they are among the large numbers
    drawFigure(name, compact, { l: 36, r: 8, t: 24, b: 24 });
  }
}

function status(kind, text) {
  element("status").className = kind;
  element("status").lastChild.textContent = text;
}

document.querySelector("script[src='plotly.js']").addEventListener("load", draw);
onTheme(() => { draw(); if (map) map.draw(); });

// The browser connects again by itself, and then gets everything.
const source = new EventSource("events");
for (const [name, take] of Object.entries({ hello, news, summary })) {
  source.addEventListener(name, event => take(JSON.parse(event.data)));
}
source.onerror = () => {
  status("problem", "the server of this page does not answer; it may have ended");
  document.body.classList.add("stale");
};
