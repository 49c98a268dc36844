// Markdown as it streams in, to DOM nodes. Text becomes text nodes only: nothing in it can become an element of its own.

import { button, element } from "./dom.js";

const SAFE = new Set(["http:", "https:", "mailto:"]);
const DEEPEST = 12;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(?:\s+(.*)|)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** LaTeX, which stays as it is written. A dollar sign opens as in pandoc; bold text is no formula. */
const FORMULA =
  /^(?:\\\([^]*?\\\)|\\\[[^]*?\\\]|\$\$[^]+?\$\$|\$(?![\s$])(?:(?!\*\*)[^$\n])*?(?<![\s\\])\$(?!\d)|\\begin\{(\w+\*?)\}[^]*?\\end\{\1\})/;
const FORMULA_BEGINS = /^ {0,3}(?:\\\[|\$\$|\\begin\{\w+\*?\})/;

/** Shows Markdown in an element; `show` may be called again and again with more text, and redraws only what changed. */
export class Markdown {
  #root;
  #shown = [];

  constructor(root) {
    this.#root = root;
  }

  show(text) {
    const blocks = blocksOf(text.split("\n"));
    const sources = blocks.map((block) => JSON.stringify(block));
    let same = 0;
    while (same < sources.length && sources[same] === this.#shown[same]) same += 1;
    while (this.#root.childNodes.length > same) this.#root.lastChild.remove();
    this.#root.append(...blocks.slice(same).map((block) => drawn(block, 0)));
    this.#shown = sources;
  }
}

/** The blocks of some lines, as data. */
function blocksOf(lines, depth = 0) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const [block, next] = blockAt(lines, at, depth);
    blocks.push(block);
    at = next;
  }
  return blocks;
}

function blockAt(lines, at, depth) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return codeAt(lines, at, fence);
  const formula = formulaEnd(lines, at);
  if (formula) return [{ kind: "paragraph", text: lines.slice(at, formula).join("\n") }, formula];
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, text: heading[2] }, at + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (depth < DEEPEST) {
    if (QUOTE.test(line)) return quoteAt(lines, at, depth);
    if (ITEM.test(line)) return listAt(lines, at, depth);
  }
  if (line.includes("|") && TABLE_RULE.test(lines[at + 1] ?? "")) return tableAt(lines, at);
  return paragraphAt(lines, at);
}

/** Behind the lines of a formula that begins a line, so that a sign in it begins no list; it may still be growing. */
function formulaEnd(lines, at) {
  if (!FORMULA_BEGINS.test(lines[at])) return 0;
  for (let end = at; end < lines.length; end += 1) {
    if (!lines[end].trim()) return 0; // No formula has a blank line in it.
    if (FORMULA.test(lines.slice(at, end + 1).join("\n").trim())) return end + 1;
  }
  return lines.length;
}

function codeAt(lines, at, [, mark, language]) {
  const indent = lines[at].search(/\S/);
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "");
  while (end < lines.length && !closes(lines[end])) end += 1;
  const code = lines.slice(at + 1, end).map((line) => line.slice(Math.min(indent, Math.max(line.search(/\S/), 0))));
  return [{ kind: "code", language, text: code.join("\n") }, end + 1];
}

function quoteAt(lines, at, depth) {
  const inside = [];
  while (at < lines.length && QUOTE.test(lines[at])) inside.push(QUOTE.exec(lines[at++])[1]);
  return [{ kind: "quote", blocks: blocksOf(inside, depth + 1) }, at];
}

function listAt(lines, at, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const items = [];
  while (at < lines.length) {
    const found = ITEM.exec(lines[at]);
    if (!found || found[1].length > indent.length + 1 || found[1].length < indent.length) break;
    if (/\d/.test(found[2]) !== ordered || RULE.test(lines[at])) break;
    const [inside, next] = itemAt(lines, at, found);
    items.push(blocksOf(inside, depth + 1));
    at = next;
  }
  return [{ kind: "list", ordered, start: parseInt(mark, 10) || 1, items }, at];
}

/** An item's own lines: those that are indented, and those that go on with its paragraph. */
function itemAt(lines, at, [, indent, , text]) {
  const inside = [text ?? ""];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const depth = line.search(/\S/);
    if (depth < 0) {
      if ((lines[end + 1] ?? "").search(/\S/) <= indent.length) break;
      inside.push("");
    } else if (depth > indent.length + 1) {
      inside.push(line.slice(Math.min(depth, indent.length + 2)));
    } else if (ITEM.test(line) || startsBlock(line) || !lines[end - 1].trim()) {
      break;
    } else {
      inside.push(line);
    }
  }
  while (end < lines.length && !lines[end].trim() && ITEM.test(lines[end + 1] ?? "")) end += 1;
  return [inside, end];
}

function tableAt(lines, at) {
  const head = cellsOf(lines[at]);
  const align = cellsOf(lines[at + 1]).map((cell) => (/:$/.test(cell) ? (/^:/.test(cell) ? "center" : "right") : ""));
  const rows = [];
  for (at += 2; at < lines.length && lines[at].includes("|"); at += 1) rows.push(cellsOf(lines[at]));
  return [{ kind: "table", head, align, rows }, at];
}

function cellsOf(line) {
  const cells = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return cells.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function paragraphAt(lines, at) {
  let end = at + 1;
  const goesOn = (line) => line.trim() && !startsBlock(line) && !ITEM.test(line) && !FORMULA_BEGINS.test(line);
  while (end < lines.length && goesOn(lines[end])) end += 1;
  return [{ kind: "paragraph", text: lines.slice(at, end).join("\n") }, end];
}

function startsBlock(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);
}

const DRAW = {
  heading: ({ level, text }) => element(`h${Math.min(level + 2, 6)}`, {}, ...inline(text)),
  rule: () => element("hr"),
  code: ({ language, text }) => codeBlock(text, language),
  quote: ({ blocks }, depth) => element("blockquote", {}, ...blocks.map((block) => drawn(block, depth + 1))),
  list: drawnList,
  table: drawnTable,
  paragraph: ({ text }) => element("p", {}, ...inline(text)),
};

function drawn(block, depth) {
  return DRAW[block.kind](block, depth);
}

function drawnList({ ordered, start, items }, depth) {
  const list = element(ordered ? "ol" : "ul");
  if (ordered && start !== 1) list.start = start;
  const tight = (blocks) => blocks.length > 0 && blocks[0].kind === "paragraph";
  for (const blocks of items) {
    const first = tight(blocks) ? inline(blocks[0].text) : [];
    const rest = (tight(blocks) ? blocks.slice(1) : blocks).map((block) => drawn(block, depth + 1));
    list.append(element("li", {}, ...first, ...rest));
  }
  return list;
}

function drawnTable({ head, align, rows }) {
  const row = (cells, tag) =>
    element("tr", {}, ...head.map((_, i) => element(tag, { className: align[i] }, ...inline(cells[i] ?? ""))));
  const body = rows.map((cells) => row(cells, "td"));
  const table = element("table", {}, element("thead", {}, row(head, "th")), element("tbody", {}, ...body));
  return element("div", { className: "table", tabIndex: 0 }, table);
}

/** Code with its language and a button that copies it. */
export function codeBlock(text, language) {
  const copy = button("Copy", (made) => copied(made, text));
  const caption = element("figcaption", {}, element("span", { textContent: language || "text" }), copy);
  const code = element("code", { textContent: text });
  return element("figure", { className: "code" }, caption, element("pre", { tabIndex: 0 }, code));
}

/** Copy a text, and say so on the button. */
export async function copied(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

const MARKS = [
  ["**", "strong"],
  ["__", "strong"],
  ["~~", "del"],
  ["*", "em"],
  ["_", "em"],
];
const URL_START = /^https?:\/\/[^\s<>"'`]+/;
const LINK = /^!?\[((?:[^[\]\\]|\\.){0,500})\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+"[^"]*")?\s*\)/;

/** Text with its emphasis, code and links, as nodes. */
function inline(text, depth = 0) {
  const nodes = [];
  const missing = new Set();
  let plain = "";
  const flush = () => {
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
  };
  for (let at = 0; at < text.length; ) {
    const found = depth < DEEPEST ? spanAt(text, at, depth, missing) : null;
    if (found) {
      flush();
      nodes.push(found.node);
      at += found.length;
    } else if (text[at] === "\\" && /[!-'*-/:-@\\^-`|~]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else if (text[at] === "\n") {
      flush();
      nodes.push(element("br"));
      at += 1;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  flush();
  return nodes;
}

function spanAt(text, at, depth, missing) {
  switch (text[at]) {
    case "\\":
    case "$":
      return formulaAt(text, at);
    case "`":
      return codeSpan(text, at, missing);
    case "[":
    case "!":
      return linkAt(text, at, depth);
    case "h":
      return urlAt(text, at);
    case "*":
    case "_":
    case "~":
      return markedAt(text, at, depth, missing);
    default:
      return null;
  }
}

function formulaAt(text, at) {
  const found = FORMULA.exec(text.slice(at, at + 4096));
  return found && { node: element("span", { className: "formula", textContent: found[0] }), length: found[0].length };
}

function codeSpan(text, at, missing) {
  const ticks = /^`+/.exec(text.slice(at, at + 32))[0];
  if (missing.has(ticks)) return null;
  const end = text.indexOf(ticks, at + ticks.length);
  if (end < 0) {
    missing.add(ticks);
    return null;
  }
  const code = text.slice(at + ticks.length, end).replaceAll("\n", " ");
  return { node: element("code", { textContent: code.trim() || code }), length: end + ticks.length - at };
}

function linkAt(text, at, depth) {
  const found = LINK.exec(text.slice(at, at + 4096));
  if (!found) return null;
  const node = link(found[2], inline(found[1] || found[2], depth + 1));
  return node && { node, length: found[0].length };
}

function urlAt(text, at) {
  const found = URL_START.exec(text.slice(at, at + 2048));
  if (!found || /\w/.test(text[at - 1] ?? "")) return null;
  const url = found[0].replace(/[.,;:!?*_~)\]]+$/, "");
  const node = link(url, [document.createTextNode(url)]);
  return node && { node, length: url.length };
}

/** A link, if it leads to the web or to a mailbox; pictures are links as well, as nothing is loaded from elsewhere. */
function link(target, children) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return null;
  }
  if (!SAFE.has(url.protocol)) return null;
  return element("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

function markedAt(text, at, depth, missing) {
  for (const [mark, tag] of MARKS) {
    if (!text.startsWith(mark, at) || missing.has(mark)) continue;
    if (/\s/.test(text[at + mark.length] ?? " ")) continue;
    if (mark[0] === "_" && /\w/.test(text[at - 1] ?? "")) continue;
    const end = closing(text, at + mark.length, mark);
    if (end < 0) {
      missing.add(mark);
      continue;
    }
    const inside = inline(text.slice(at + mark.length, end), depth + 1);
    return { node: element(tag, {}, ...inside), length: end + mark.length - at };
  }
  return null;
}

/** Where a mark closes: behind something that is no blank, and for _ not within a word. */
function closing(text, from, mark) {
  for (let end = text.indexOf(mark, from + 1); end > 0; end = text.indexOf(mark, end + 1)) {
    const doubled = mark.length === 1 && (text[end + 1] === mark || text[end - 1] === mark);
    const inWord = mark[0] === "_" && /\w/.test(text[end + mark.length] ?? "");
    if (!doubled && !inWord && !/\s/.test(text[end - 1])) return end;
  }
  return -1;
}
