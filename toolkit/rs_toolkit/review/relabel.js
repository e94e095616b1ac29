// Choose a class by typing: a combobox over the names of the classes, in a dialog.

import { $, make } from "/dom.js";

const MATCHES = 8;

let classes = [];
let suggested = [];
let matches = [];
let active = 0;
let answer = () => {};

// Resolves to the name of a class, or to undefined where nothing was chosen.
// Names in `preferred` come first until something is typed.
export function chooseClass(names, preferred) {
  [classes, suggested] = [names, preferred];
  $("search").value = "";
  $("relabel").showModal();
  search();
  return new Promise((resolve) => (answer = resolve));
}

function search() {
  const text = $("search").value.trim().toLowerCase();
  const rank = (name) => {
    if (!text) return suggested.includes(name) ? 0 : 1;
    if (name.startsWith(text)) return 0;
    return name.includes(` ${text}`) ? 1 : 2;
  };
  matches = classes
    .filter((name) => name.includes(text))
    .sort((one, other) => rank(one) - rank(other))
    .slice(0, MATCHES);
  draw(0);
}

function draw(next) {
  active = Math.max(0, Math.min(matches.length - 1, next));
  const options = matches.map((name, number) => {
    const option = make("li", { id: `match-${number}`, role: "option" }, name);
    option.setAttribute("aria-selected", String(number === active));
    option.addEventListener("click", () => choose(name));
    return option;
  });
  const nothing = make("li", { className: "quiet" }, "No class has such a name.");
  $("matches").replaceChildren(...(options.length ? options : [nothing]));
  $("search").setAttribute("aria-activedescendant", options.length ? `match-${active}` : "");
}

// Answer at once: the next key may be pressed before the `close` event and before focus returns.
function finish(name) {
  answer(name);
  $("search").blur();
  $("relabel").close();
}

function choose(name) {
  if (name) finish(name);
}

$("search").addEventListener("input", search);
$("search").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.isComposing || (!step && event.key !== "Enter")) return;
  event.preventDefault();
  if (step) draw(active + step);
  else choose(matches[active]);
});
$("cancel").addEventListener("click", () => finish());
$("relabel").addEventListener("cancel", () => finish());
