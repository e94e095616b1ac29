// The review page: shows one item at a time and sends decisions.
// Text from the data set only ever becomes text nodes and attributes, never HTML.

import { $, make } from "/dom.js";
import { chooseClass } from "/relabel.js";

const DONE = {
  keep: "kept",
  relabel: "relabelled",
  drop: "dropped",
  same: "put together",
  different: "set apart",
};
const GROUP_ACTIONS = ["same", "different"];

// Only the first opening of the page contains the token; this tab, and no other, keeps it on reload.
const given = document.querySelector("meta[name=review-token]").content;
if (given) sessionStorage.setItem("review-token", given);
const token = given || sessionStorage.getItem("review-token") || "";

let classes = [];
let items = []; // short descriptions, highest score first
let shown = []; // those that pass the filters, as indices of items
let place = 0; // index of shown
let item = null; // the item on the screen, in full
let picked = 0; // index of the photo of the item that is selected
let busy = false;

// ---- talking to the server

async function ask(path, body) {
  const sent = body && {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Review-Token": token },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, sent).catch(() => {
    throw new Error("rs-toolkit review no longer runs: start it again. Only what was confirmed is saved.");
  });
  if (response.status === 403) throw new Error(await response.text());
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const say = (text) => ($("status").textContent = text);

// One task at a time: a key pressed meanwhile would decide about a photo that is not shown yet.
async function alone(task) {
  if (busy) return;
  busy = true;
  try {
    await task();
  } catch (error) {
    say(error.message);
  } finally {
    busy = false;
  }
}

// ---- the queue

const worst = (brief, flag) => (flag ? brief.flags[flag] : Math.max(...Object.values(brief.flags)));

function filter() {
  const flag = $("flag").value;
  const label = $("class").value;
  shown = items
    .map((brief, number) => [number, brief])
    .filter(([, brief]) => (!flag || flag in brief.flags) && (!label || brief.labels.includes(label)))
    .sort(([, one], [, other]) => worst(other, flag) - worst(one, flag))
    .map(([number]) => number);
  return show(Math.max(0, nextUndecided(-1)));
}

function nextUndecided(from) {
  for (let step = 1; step <= shown.length; step += 1) {
    const next = (from + step) % shown.length;
    if (!items[shown[next]].decided) return next;
  }
  return -1;
}

function fillSelect(id, all, keys) {
  const counts = new Map();
  for (const key of items.flatMap(keys)) counts.set(key, (counts.get(key) ?? 0) + 1);
  const options = [...counts].sort(([one], [other]) => one.localeCompare(other));
  $(id).replaceChildren(
    make("option", { value: "" }, `${all} (${items.length})`),
    ...options.map(([value, n]) => make("option", { value }, `${spaced(value)} (${n})`)),
  );
}

// ---- the screen

const spaced = (flag) => flag.replaceAll("_", " ");

async function show(next) {
  if (next !== place) scrollTo(0, 0);
  place = next;
  picked = 0;
  item = shown.length ? await ask(`/api/items/${shown[place]}`) : null;
  draw();
}

function draw() {
  const decided = shown.filter((number) => items[number].decided).length;
  $("count").textContent = shown.length
    ? `${place + 1} of ${shown.length}, ${decided} decided`
    : "0 to decide";
  $("bar").max = Math.max(1, shown.length);
  $("bar").value = decided;
  for (const node of document.querySelectorAll(".of-group")) node.hidden = !item?.group;
  document.body.classList.toggle("group", Boolean(item?.group));
  $("title").textContent = item ? question() : "Nothing to review here";
  $("subject").replaceChildren(...(item?.photos ?? []).map(card));
  $("examples").replaceChildren(...(item?.examples ?? []).map(strip));
}

function question() {
  if (item.group) return `Are these ${item.photos.length} the same animal at the same time?`;
  const isUnreadable = item.photos[0].findings.some(({ flag }) => flag === "unreadable");
  return isUnreadable ? "This photo cannot be read." : `Is this ${item.photos[0].label}?`;
}

function card(photo, number) {
  const alt = `${photo.name}, labelled ${photo.label}`;
  const image = make("img", { src: `/photos/${photo.n}/large`, alt, loading: "lazy" });
  const caption = make(
    "figcaption",
    {},
    make("p", {}, make("strong", {}, photo.label), " ", ...verdict(photo)),
    make("p", { className: "quiet" }, [photo.name, ...photo.facts].join(" · ")),
    ...photo.findings.map(reason),
  );
  if (!item.group) return make("figure", {}, image, caption);
  const frame = make("button", { type: "button", className: "frame" }, image);
  frame.setAttribute("aria-pressed", String(number === picked));
  frame.addEventListener("click", () => pick(number));
  return make("figure", {}, frame, caption);
}

function verdict(photo) {
  const texts = [];
  if (photo.apart) texts.push("set apart");
  if (photo.decision) texts.push(outcome(photo.decision));
  return texts.map((text) => make("span", { className: "verdict" }, text));
}

const outcome = ({ action, label }) => (label ? `${DONE[action]} ${label}` : DONE[action]);

function reason(finding) {
  const better = finding.suggested ? ` → ${finding.suggested}` : "";
  return make(
    "p",
    {},
    make("span", { className: "flag" }, `${spaced(finding.flag)} ${finding.score.toFixed(2)}`),
    better,
    make("span", { className: "quiet" }, finding.detail && ` ${finding.detail}`),
  );
}

function strip(example) {
  const images = example.photos.map((n) =>
    make("img", { src: `/photos/${n}/small`, alt: `typical ${example.label}`, loading: "lazy" }),
  );
  return make(
    "section",
    {},
    make("h3", {}, `Typical ${example.label} `, make("span", { className: "quiet" }, example.title)),
    images.length
      ? make("div", { className: "strip" }, ...images)
      : make("p", { className: "quiet" }, "No other photo of this class."),
  );
}

function pick(number) {
  picked = Math.min(item.photos.length - 1, Math.max(0, number));
  const frames = [...document.querySelectorAll(".frame")];
  frames.forEach((frame, n) => frame.setAttribute("aria-pressed", String(n === picked)));
  frames[picked].focus();
}

// ---- deciding

async function decide(action, label) {
  if (!item || (GROUP_ACTIONS.includes(action) && !item.group)) return;
  const photo = item.photos[picked];
  const note = $("note").value || undefined;
  const row = { item: shown[place], photo: photo.n, action, label, note };
  const answer = await ask("/api/decide", row);
  $("note").value = "";
  takeIn(answer);
  // In a group, a photo's label is not the question.
  const isAnswer = !item.group || GROUP_ACTIONS.includes(action);
  const next = isAnswer && items[shown[place]].decided ? nextUndecided(place) : place;
  const keepPicked = next === place ? picked : 0;
  await show(next < 0 ? place : next);
  if (keepPicked) pick(keepPicked);
  say(`${answer.name}: ${outcome({ action, label })}.${next < 0 ? " All decided." : ""}`);
}

async function undo() {
  const answer = await ask("/api/undo", {});
  takeIn(answer);
  if (answer.item !== null && !shown.includes(answer.item)) {
    $("flag").value = $("class").value = "";
    await filter();
  }
  await show(answer.item === null ? place : shown.indexOf(answer.item));
  say(`${answer.name}: no longer ${outcome(answer)}.`);
}

function takeIn(answer) {
  for (const [number, decided] of Object.entries(answer.decided)) items[number].decided = decided;
}

async function go(step) {
  const next = place + step;
  if (next < 0 || next >= shown.length) return say(step < 0 ? "This is the first." : "This is the last.");
  await show(next);
  say(`${place + 1}: ${item.photos[0].name}`);
}

async function relabel() {
  if (!item) return;
  const suggested = item.photos[picked].findings.map((finding) => finding.suggested);
  const label = await chooseClass(classes, suggested);
  if (label) await decide("relabel", label);
}

const KEYS = {
  k: () => decide("keep"),
  d: () => decide("drop"),
  s: () => decide("same"),
  n: () => decide("different"),
  r: relabel,
  u: undo,
  ArrowLeft: () => go(-1),
  ArrowRight: () => go(1),
};

// ---- keys and buttons

for (const id of ["flag", "class"]) {
  $(id).addEventListener("change", (event) => {
    // After a choice by mouse, the list would keep the focus and receive the keys.
    if (!event.target.matches(":focus-visible")) event.target.blur();
    alone(filter);
  });
}

for (const button of document.querySelectorAll("[data-key]")) {
  button.addEventListener("click", () => alone(KEYS[button.dataset.key]));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || $("relabel").open) return;
  if (event.target.matches("input")) {
    if (["Enter", "Escape"].includes(event.key)) event.target.blur();
    return;
  }
  if (event.target.matches("select")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (step && item?.group) pick(picked + step);
  else if (KEYS[key] && (!event.repeat || key.startsWith("Arrow"))) alone(KEYS[key]);
  else return;
  event.preventDefault();
});

alone(async () => {
  // The ticket is used up, and need not stay in the history.
  history.replaceState(null, "", "/");
  ({ classes, items } = await ask("/api/queue"));
  fillSelect("flag", "all", (brief) => Object.keys(brief.flags));
  fillSelect("class", "all", (brief) => brief.labels);
  await filter();
});
