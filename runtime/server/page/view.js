// How a conversation looks: a turn of the user, an answer with its thoughts and calls, an error.

import { button, element } from "./dom.js";
import { codeBlock, copied, Markdown } from "./markdown.js";

/** What the user said. */
export function userTurn(message, actions) {
  const text = element("div", { className: "said", textContent: message.content });
  const copy = button("Copy", (made) => copied(made, message.content));
  const foot = element("div", { className: "actions" }, button("Edit", actions.edit), copy);
  return element("article", { className: "turn user" }, hidden("You"), text, foot);
}

function hidden(text) {
  return element("h2", { className: "hidden", textContent: text });
}

/** An answer, drawn again as it grows. */
export class AnswerView {
  #answer;
  #actions;
  #thoughts = new Thoughts();
  #text = element("div", { className: "text" });
  #markdown = new Markdown(this.#text);
  #calls = element("div", { className: "calls" });
  #cards = [];
  #foot = element("div", { className: "actions" });

  constructor(answer, actions) {
    this.#answer = answer;
    this.#actions = actions;
    const parts = [this.#thoughts.root, this.#text, this.#calls, this.#foot];
    this.root = element("article", { className: "turn answer" }, hidden("Answer"), ...parts);
  }

  /** Show what there is; `busy` while there may be more. */
  draw(busy) {
    const { content, reasoning_content, tool_calls, stats } = this.#answer;
    const answering = Boolean(content || tool_calls);
    this.root.setAttribute("aria-busy", String(busy));
    this.root.classList.toggle("waiting", busy && !answering && !reasoning_content);
    this.#thoughts.draw(reasoning_content ?? "", stats, busy && !answering);
    this.#markdown.show(content ?? "");
    this.#text.classList.toggle("growing", busy && answering);
    this.#drawCalls(tool_calls ?? [], busy);
    if (!busy) this.#end();
  }

  /** A card for each call; fewer than before where calls turned out to be thoughts. */
  #drawCalls(calls, busy) {
    if (calls.length < this.#cards.length) {
      this.#cards = [];
      this.#calls.replaceChildren();
    }
    calls.forEach((call, i) => this.#card(i).draw(call, busy));
  }

  #card(i) {
    if (!this.#cards[i]) {
      this.#cards[i] = new CallCard(() => this.#resultsChanged());
      this.#calls.append(this.#cards[i].root);
    }
    return this.#cards[i];
  }

  /** Results that were given before, when a conversation is shown again. */
  fill(results) {
    results.forEach((result, i) => this.#cards[i]?.fill(result));
    this.#foot.replaceChildren();
  }

  /** What stands below a complete answer. */
  #end() {
    const { content, stats } = this.#answer;
    const give = () => this.#actions.results(this.#cards.map((card) => card.result));
    const parts = this.#cards.length ? [button("Send results", give, "primary")] : [];
    parts.push(button("Retry", this.#actions.retry));
    if (content) parts.push(button("Copy", (made) => copied(made, content)));
    parts.push(element("span", { className: "quiet", textContent: summary(stats) }));
    this.#foot.replaceChildren(...parts);
    this.#resultsChanged();
  }

  #resultsChanged() {
    const send = this.#foot.querySelector(".primary");
    if (send) send.disabled = !this.#cards.every((card) => card.result);
  }
}

function summary({ predicted_n, predicted_per_second, finish }) {
  const words = [];
  if (predicted_n) words.push(`${predicted_n} tokens`, `${predicted_per_second.toFixed(1)} tokens/s`);
  if (finish === "length") words.push("cut off at the limit");
  if (finish === "stopped") words.push("stopped");
  return words.join(" · ");
}

/** The thoughts: open while they come, closed when the answer begins, and the reader's to open and close. */
class Thoughts {
  #title = element("span");
  #text = element("div", { className: "thoughts-text" });
  #touched = false;

  constructor() {
    const title = element("summary", {}, this.#title);
    title.addEventListener("click", () => (this.#touched = true));
    this.root = element("details", { className: "thoughts", hidden: true }, title, this.#text);
  }

  draw(text, { thoughts }, thinking) {
    this.root.hidden = !text;
    const count = `${thoughts} ${thoughts === 1 ? "token" : "tokens"}`;
    this.#title.textContent = thinking ? `Thinking · ${count}` : `Thought · ${count}`;
    this.root.classList.toggle("thinking", thinking);
    if (this.#text.textContent !== text) this.#text.textContent = text;
    if (!this.#touched) this.root.open = thinking;
  }
}

/** A call: the tool's name, its arguments, and a field for what it gave. */
class CallCard {
  #name = element("strong");
  #arguments = element("div");
  #shown = "";
  #result = element("textarea", { rows: 1, placeholder: "What the tool gives, as JSON or text" });

  constructor(changed) {
    this.#result.addEventListener("input", changed);
    const label = element("label", {}, element("span", { textContent: "Result" }), this.#result);
    const verb = element("span", { className: "quiet", textContent: "calls" });
    const title = element("div", { className: "call-title" }, verb, this.#name);
    this.root = element("section", { className: "call" }, title, this.#arguments, label);
  }

  get result() {
    return this.#result.value.trim();
  }

  draw({ function: { name, arguments: text } }, busy) {
    this.#name.textContent = name;
    this.root.setAttribute("aria-label", `Call of ${name}`);
    this.#result.disabled = busy;
    const pretty = busy ? text : indented(text);
    if (pretty !== this.#shown) this.#arguments.replaceChildren(codeBlock(pretty, "arguments"));
    this.#shown = pretty;
  }

  fill(result) {
    this.#result.value = result;
    this.#result.disabled = true;
  }
}

function indented(text) {
  try {
    const value = JSON.parse(text);
    return text.length < 60 && !text.includes("\n") ? text : JSON.stringify(value, null, 2);
  } catch {
    return text;
  }
}

/** What went wrong, with a way on. */
export function problem(message, retry) {
  const text = element("p", { textContent: message });
  return element("div", { className: "turn problem", role: "alert" }, text, button("Try again", retry));
}
