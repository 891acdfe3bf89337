// anatomy.html: draws the bytes of an engine, and explains the one that is pointed at or selected.
//
// The data is JSON in the page: operations, places (lines of source), engines with their units. A unit is one
// instruction, datum or header field; a byte is one cell. The fragment #engine=NAME&byte=OFFSET names what is selected.
"use strict";

const { operations, places, engines } = JSON.parse(document.getElementById("data").textContent);
const [tabs, view, legend, grid, panel] =
  ["tabs", "view", "legend", "grid", "panel"].map(id => document.getElementById(id));
const phone = matchMedia("(max-width: 36rem)");
const narrow = matchMedia("(max-width: 56rem)");

let engine = engines[0];
let bytes = [];         // of the engine: {unit, place in it, text, offset, index, cell, row, column}
let rows = [];          // of the grid: lists of bytes
let selected = 0;       // index in bytes
let pressed = null;     // the operation that is toggled in the legend
let referenceOpen = !narrow.matches;

/** A new element with attributes and children; what is undefined or empty is left out. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter(child => child));
  return element;
}

const hex = (number, digits) => number.toString(16).padStart(digits, "0");
const plural = count => `${count} ${count === 1 ? "byte" : "bytes"}`;
const unitBytes = unit => unit.bytes.match(/../g);
const swatch = name => make("span", { class: `swatch op-${name}`, "aria-hidden": "true" }, operations[name].code);

function countOf(units, name) {
  return units.filter(unit => !name || unit.operation === name).reduce((sum, unit) => sum + unit.bytes.length / 2, 0);
}

// --- Engines ---

function drawTabs() {
  engines.forEach((each, place) => {
    const tab = make("button", { role: "tab", id: `tab-${each.name}`, "aria-controls": "view" }, each.name,
      make("span", {}, `${countOf(each.units)}`));
    tab.addEventListener("click", () => { show(each, 0); store(); });
    tab.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -place, End: engines.length - 1 - place }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const next = (place + step + engines.length) % engines.length;
      tabs.children[next].focus();
      tabs.children[next].click();
    });
    tabs.append(tab);
  });
}

function show(next, index) {
  engine = next;
  [...tabs.children].forEach((tab, place) => {
    const active = engines[place] === engine;
    tab.setAttribute("aria-selected", active);
    tab.tabIndex = active ? 0 : -1;
  });
  view.setAttribute("aria-labelledby", `tab-${engine.name}`);
  bytes = engine.units.flatMap(unit =>
    unitBytes(unit).map((text, place) => ({ unit, place, text, offset: unit.offset + place })));
  selected = 0;
  drawLegend();
  drawGrid();
  select(Math.min(index, bytes.length - 1));
}

// --- Operations ---

function drawLegend() {
  legend.replaceChildren(...Object.entries(operations).map(([name, operation]) => {
    const count = countOf(engine.units, name);
    const button = make("button", { type: "button", "aria-pressed": pressed === name, "data-operation": name },
      swatch(name), operation.title, make("span", { class: "bytes" }, `${count}`));
    button.setAttribute("aria-label", `${operation.title}: ${plural(count)}`);
    button.addEventListener("pointerenter", event => { if (event.pointerType === "mouse") highlight(name); });
    button.addEventListener("pointerleave", () => highlight(pressed));
    button.addEventListener("click", () => press(pressed === name ? null : name));
    return button;
  }));
  highlight(pressed);
}

function press(name) {
  pressed = name;
  for (const button of legend.children) button.setAttribute("aria-pressed", button.dataset.operation === pressed);
  highlight(pressed);
}

function highlight(name) {
  grid.classList.toggle("highlighting", name !== null);
  for (const { cell, unit } of bytes) cell?.classList.toggle("lit", unit.operation === name);
}

// --- Bytes ---

/** Rows begin at multiples of their length; bytes that are not counted are left out, with a word about it. */
function drawGrid() {
  const columns = phone.matches ? 8 : 16;
  grid.replaceChildren();
  grid.style.setProperty("--columns", columns);
  grid.setAttribute("aria-label", `${plural(bytes.length)} of ${engine.name}`);
  rows = [];
  let line = null;
  bytes.forEach((byte, index) => {
    const before = bytes[index - 1];
    const gap = before ? byte.offset - before.offset - 1 : 0;
    if (gap > 0) grid.append(make("div", { class: "gap", role: "none" }, `${plural(gap)} that are not counted`));
    if (!line || gap > 0 || byte.offset % columns === 0) {
      line = make("div", { class: "row", role: "row" },
        make("span", { class: "offset", role: "rowheader" }, hex(byte.offset - byte.offset % columns, 3)));
      grid.append(line);
      rows.push([]);
    }
    byte.row = rows.length - 1;
    byte.index = index;
    byte.column = byte.offset % columns;
    rows[byte.row].push(byte);
    byte.cell = makeCell(byte, index);
    line.append(byte.cell);
  });
  highlight(pressed);
}

function makeCell(byte, index) {
  const { unit, place, text } = byte;
  const { code, title } = operations[unit.operation];
  const ends = (place === 0 ? " first" : "") + (place === unit.bytes.length / 2 - 1 ? " last" : "");
  const cell = make("span", {
    class: `cell op-${unit.operation}${ends}`, role: "gridcell", tabindex: -1, "aria-selected": "false",
    "aria-label": `${hex(byte.offset, 3)}: ${text}, ${title}, ${unit.instruction}`,
    "data-offset": byte.offset, "data-operation": unit.operation,
  }, make("span", { class: "hex" }, text), make("small", {}, code));
  cell.style.gridColumn = byte.column + 2;
  cell.addEventListener("pointerenter", event => { if (event.pointerType === "mouse") explain(byte); });
  cell.addEventListener("click", () => { select(index); store(); cell.focus({ preventScroll: true }); });
  cell.addEventListener("focus", () => { if (selected !== index) { select(index); store(); } });
  return cell;
}

function select(index) {
  const old = bytes[selected].cell;
  old.tabIndex = -1;
  old.setAttribute("aria-selected", "false");
  selected = index;
  bytes[index].cell.tabIndex = 0;
  bytes[index].cell.setAttribute("aria-selected", "true");
  explain(bytes[index]);
}

grid.addEventListener("pointerleave", () => explain(bytes[selected]));

grid.addEventListener("keydown", event => {
  const { row, column } = bytes[selected];
  const last = bytes.length - 1;
  const inRow = target => {
    const cells = rows[Math.max(0, Math.min(rows.length - 1, target))];
    const away = byte => Math.abs(byte.column - column);
    return cells.reduce((best, byte) => away(byte) < away(best) ? byte : best).index;
  };
  const target = {
    ArrowLeft: () => Math.max(0, selected - 1), ArrowRight: () => Math.min(last, selected + 1),
    ArrowUp: () => inRow(row - 1), ArrowDown: () => inRow(row + 1),
    PageUp: () => inRow(row - 5), PageDown: () => inRow(row + 5),
    Home: () => event.ctrlKey ? 0 : rows[row][0].index, End: () => event.ctrlKey ? last : rows[row].at(-1).index,
  }[event.key];
  if (!target || event.altKey || event.metaKey) return;
  event.preventDefault();
  bytes[target()].cell.focus();
});

document.addEventListener("keydown", event => { if (event.key === "Escape") press(null); });

// --- The panel ---

function explain(byte) {
  const { unit, place } = byte;
  for (const each of bytes) each.cell.classList.toggle("unit", each.unit === unit);
  const { title, reference } = operations[unit.operation];
  const count = unit.bytes.length / 2;
  const end = unit.offset + count - 1;
  const range = count === 1 ? `offset ${hex(unit.offset, 3)}h` : `offsets ${hex(unit.offset, 3)}h to ${hex(end, 3)}h`;
  panel.replaceChildren(
    make("div", { class: "where" }, make("span", {}, range), make("span", {}, `${unit.kind}, ${plural(count)}`)),
    make("div", { class: "instruction" }, unit.instruction),
    make("div", { class: "hexes" },
      ...unitBytes(unit).flatMap((text, i) => [make(i === place ? "b" : "span", {}, text), " "])),
    make("div", { class: "operation" }, swatch(unit.operation), make("span", {}, title),
      make("span", {}, `${countOf(engine.units, unit.operation)} of ${bytes.length} bytes`)),
    ...sources(unit.places.map(number => places[number])),
    ...(reference.length ? [make("h3", {}, "In the readable engine")] : []),
    ...reference.map(drawReference));
  panel.scrollTop = 0;
}

function sources(list) {
  if (!list.length) return [];
  const items = list.map(({ file, line, text, comment }) => make("li", {},
    make("span", { class: "file" }, `${file}:${line}`),
    make("code", { class: "text" }, text), comment && make("p", { class: "comment" }, comment)));
  return [make("h3", {}, list.length > 1 ? "Source, from the inside out" : "Source"), make("ol", {}, ...items)];
}

function drawReference({ name, file, line, comment, source }) {
  const details = make("details", referenceOpen ? { open: "" } : {},
    make("summary", {}, make("code", {}, name), " ", make("span", { class: "file" }, `${file}:${line}`)),
    comment && make("p", { class: "comment" }, comment), make("pre", {}, ...source.split("\n").map(drawLine)));
  details.addEventListener("toggle", () => { referenceOpen = details.open; });
  return details;
}

/** A line of code; its indentation is a margin, half as deep. */
function drawLine(line) {
  const code = line.trimStart();
  const element = make("div", {}, code);
  element.style.setProperty("--depth", (line.length - code.length) / 2);
  return element;
}

// --- The fragment ---

function store() {
  history.replaceState(null, "", `#engine=${engine.name}&byte=${bytes[selected].offset}`);
}

function restore() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const next = engines.find(each => each.name === wanted.get("engine")) ?? engines[0];
  show(next, 0);
  const found = bytes.findIndex(byte => byte.offset === Number(wanted.get("byte") ?? NaN));
  if (found > 0) {
    select(found);
    bytes[found].cell.scrollIntoView({ block: "center" });
  }
}

phone.addEventListener("change", () => { drawGrid(); select(selected); });
addEventListener("hashchange", restore);
drawTabs();
restore();
