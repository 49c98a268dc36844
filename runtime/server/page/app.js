// The page: one conversation, its settings, and what the buttons do.

import { ask, describe, fieldsOf, health, newAnswer, Refused, wrongTools } from "./chat.js";
import { button, byId } from "./dom.js";
import { AnswerView, problem, userTurn } from "./view.js";

const SETTINGS = "exaone4-gguf.settings";
const CONVERSATION = "exaone4-gguf.conversation";
const KEY = "exaone4-gguf.key";

/** Milliseconds until the server is looked at again, while it is there and while it is not. */
const LOOK = { there: 5000, gone: 1000 };

/** What the page says of the server, by its state. */
const STATES = {
  ready: ["The model is ready", ""],
  loading: ["The model is loading", "The model is loading…"],
  refused: ["The server wants a key", ""],
  lost: ["The server cannot be reached", "The server cannot be reached. The page goes on when it is back."],
};

const EXAMPLES = ["Which is bigger, 3.12 or 3.9?", "안녕하세요!", "¡Hola!", "Roll D6 twice!"];
const TOOLS_EXAMPLE = [
  {
    type: "function",
    function: {
      name: "roll_dice",
      description: "Roll one die.",
      parameters: {
        type: "object",
        properties: { sides: { type: "integer", description: "How many sides the die has." } },
        required: ["sides"],
      },
    },
  },
];

/** Fields of the dialog by the names of the settings. */
const FIELDS = { system: "system", temperature: "temperature", maxTokens: "max-tokens", budget: "budget", theme: "theme", tools: "tools" };

const read = (storage, name, otherwise) => {
  try {
    return JSON.parse(storage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
};
const write = (storage, name, value) => {
  try {
    storage.setItem(name, JSON.stringify(value));
  } catch {
    // Full, or forbidden: it is not remembered.
  }
};

const settings = read(localStorage, SETTINGS, {});
let key = read(sessionStorage, KEY, "");
let messages = read(sessionStorage, CONVERSATION, []);
let running = null;
let contextLength = 0;

const prompt = byId("prompt");
const scroller = byId("scroller");
const transcript = byId("transcript");

// --- the conversation ---

function save() {
  write(sessionStorage, CONVERSATION, messages);
}

function say(text) {
  messages.push({ role: "user", content: text });
  drawAll();
  answer();
}

/** Let go of the answer that is being made, and of what there is of it. */
function interrupt() {
  const before = running;
  running = null;
  before?.abort();
  setBusy(false);
}

async function answer() {
  interrupt();
  const abort = (running = new AbortController());
  const made = newAnswer();
  const view = new AnswerView(made, actionsOf(messages.length));
  transcript.append(view.root);
  scrollDown();
  setBusy(true);
  const drawSoon = oncePerFrame(() => {
    if (running === abort) following(() => view.draw(true));
    announceState(made);
  });
  view.draw(true);
  let failure = null;
  try {
    await ask(fieldsOf(messages, settings), made, { key, signal: abort.signal, changed: drawSoon });
  } catch (error) {
    failure = error;
  }
  if (running !== abort) return;
  running = null;
  setBusy(false);
  end(made, view, failure);
}

/** The answer is complete, or was stopped, or failed. */
function end(made, view, failure) {
  const empty = !(made.content || made.reasoning_content || made.tool_calls);
  const stopped = failure?.name === "AbortError";
  if (failure) made.stats.finish = "stopped";
  if (empty) view.root.remove();
  else following(() => keep(made, view, Boolean(failure)));
  if (failure && !stopped) following(() => transcript.append(problem(told(failure), retry)));
  if (failure instanceof Refused && failure.status === 401) openSettings("api-key");
  if (failure && !stopped && !(failure instanceof Refused)) look();
  announce(stopped ? "Stopped." : failure ? told(failure) : plainText(made));
  showContext(made.stats);
}

function keep(made, view, cutOff) {
  if (cutOff) delete made.tool_calls; // what was cut off in the middle of a call cannot be answered
  messages.push(made);
  save();
  view.draw(false);
}

function told(failure) {
  if (failure instanceof Refused) return failure.message;
  if (failure instanceof SyntaxError) return "The tools in the settings are not JSON.";
  return "The server cannot be reached, or its answer broke off.";
}

function plainText({ content, tool_calls }) {
  const calls = (tool_calls ?? []).map((call) => `The model calls ${call.function.name}.`);
  return [content, ...calls].filter(Boolean).join(" ") || "No answer.";
}

/** Ask again what the last answer answered. */
function retry() {
  while (messages.at(-1)?.role === "assistant") messages.pop();
  drawAll();
  answer();
}

function actionsOf(index) {
  return {
    retry: () => {
      interrupt();
      messages.length = index;
      retry();
    },
    edit: () => {
      interrupt();
      prompt.value = messages[index].content;
      messages.length = index;
      drawAll();
      prompt.focus();
    },
    results: (results) => {
      interrupt();
      messages.length = index + 1;
      messages[index].tool_calls.forEach((call, i) =>
        messages.push({ role: "tool", tool_call_id: call.id, content: results[i] }),
      );
      drawAll();
      answer();
    },
  };
}

function drawAll() {
  save();
  transcript.replaceChildren(...messages.map(drawn).filter(Boolean));
  byId("welcome").hidden = messages.length > 0;
  if (!messages.length) byId("context").textContent = "";
}

function drawn(message, i) {
  if (message.role === "user") return userTurn(message, actionsOf(i));
  if (message.role !== "assistant") return null; // a result: it stands in the card of its call
  const view = new AnswerView(message, actionsOf(i));
  view.draw(false);
  const results = messages.slice(i + 1, i + 1 + (message.tool_calls?.length ?? 0)).filter(({ role }) => role === "tool");
  if (results.length) view.fill(results.map(({ content }) => content));
  return view.root;
}

// --- what the page says and shows ---

function setBusy(busy) {
  byId("stop").hidden = !busy;
  byId("send").hidden = busy;
}

let state = "";
function announceState({ content, reasoning_content }) {
  const now = content ? "Answering." : reasoning_content ? "Thinking." : "";
  if (now !== state) announce((state = now));
}

function announce(text) {
  byId("status").textContent = text;
}

function showContext({ cache_n = 0, prompt_n = 0, predicted_n = 0 }) {
  const used = cache_n + prompt_n + predicted_n;
  if (used && contextLength) byId("context").textContent = `${used.toLocaleString("en")} of ${contextLength.toLocaleString("en")} tokens`;
}

function oncePerFrame(act) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      act();
    });
  };
}

/** Change the transcript, and stay at its end if that was where the reader was. */
function following(change) {
  const follows = atEnd();
  change();
  if (follows) scrollDown();
}

function atEnd() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
}

function scrollDown() {
  scroller.scrollTop = scroller.scrollHeight;
}

// --- settings ---

function openSettings(focus) {
  for (const [name, id] of Object.entries(FIELDS)) byId(id).value = settings[name] ?? "";
  byId("api-key").value = key;
  tellTools("");
  if (!byId("settings").open) byId("settings").showModal();
  if (focus) byId(focus).focus();
}

/** Done: the settings count, unless the tools are none, which is told beside them. */
async function finish() {
  const wrong = await wrongTools(byId("tools").value, byId("api-key").value);
  tellTools(wrong);
  if (wrong) byId("tools").focus();
  else byId("settings").close("done");
}

function tellTools(wrong) {
  byId("tools-wrong").textContent = wrong;
  byId("tools-wrong").hidden = !wrong;
  byId("tools").setAttribute("aria-invalid", String(Boolean(wrong)));
}

/** The dialog is closed. What was not meant to count does not; and what is typed next is a message. */
function leaveSettings() {
  if (byId("settings").returnValue === "done") readSettings();
  byId("settings").returnValue = "";
  prompt.blur(); // Chromium gives the focus back when a dialog closes, but no caret: what is typed would go nowhere.
  prompt.focus();
}

function readSettings() {
  for (const [name, id] of Object.entries(FIELDS)) settings[name] = byId(id).value;
  write(localStorage, SETTINGS, settings);
  document.documentElement.dataset.theme = settings.theme;
  if (byId("api-key").value !== key) {
    key = byId("api-key").value;
    write(sessionStorage, KEY, key);
    byId("health").dataset.state = "";
    look();
  }
}

function showReasoning() {
  byId("reasoning").setAttribute("aria-checked", String(Boolean(settings.reasoning)));
}

// --- the server ---

let nextLook = 0;

/** See how the server is, now and again and again: it may be loading, stop, and come back with another model. */
async function look() {
  clearTimeout(nextLook);
  const before = byId("health").dataset.state;
  const now = await health();
  if (now !== "ready") showServer(now);
  else if (before !== "ready" && before !== "refused") showServer(await greet());
  clearTimeout(nextLook);
  nextLook = setTimeout(look, now === "ready" ? LOOK.there : LOOK.gone);
}

/** Ask the server what it has; the state that it is in. */
async function greet() {
  try {
    const model = await describe(key);
    contextLength = model.meta.n_ctx;
    byId("model").textContent = document.title = model.id;
    byId("model").title = model.meta.name ?? "";
    settings.reasoning ??= model.meta.reasoning;
    showReasoning();
    return "ready";
  } catch (error) {
    if (!(error instanceof Refused)) return "lost";
    if (error.status !== 401) return "loading";
    openSettings("api-key");
    return "refused";
  }
}

function showServer(state) {
  const before = byId("health").dataset.state;
  if (state === before) return;
  const [label, notice] = STATES[state];
  byId("health").dataset.state = state;
  byId("health").setAttribute("aria-label", label);
  byId("server").textContent = notice;
  byId("server").hidden = !notice;
  if (before === "lost" && state === "ready") announce("The server is back.");
}

// --- what the reader does ---

function submit() {
  const text = prompt.value.trim();
  if (!text || running) return;
  prompt.value = "";
  fit();
  say(text);
}

/** Browsers that cannot size the field by its content get help. */
function fit() {
  if (CSS.supports("field-sizing", "content")) return;
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
prompt.addEventListener("keydown", (event) => {
  // While a Korean syllable is being put together, Enter completes it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
prompt.addEventListener("input", fit);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !byId("settings").open) running?.abort();
});
byId("stop").addEventListener("click", () => {
  running?.abort();
  prompt.focus();
});
byId("new").addEventListener("click", () => {
  interrupt();
  messages = [];
  drawAll();
  prompt.focus();
});
byId("reasoning").addEventListener("click", () => {
  settings.reasoning = !settings.reasoning;
  write(localStorage, SETTINGS, settings);
  showReasoning();
});
byId("open-settings").addEventListener("click", () => openSettings());
byId("settings").addEventListener("close", leaveSettings);
byId("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  finish();
});
byId("tools").addEventListener("input", () => tellTools(""));
byId("tools-example").addEventListener("click", () => (byId("tools").value = JSON.stringify(TOOLS_EXAMPLE, null, 2)));
byId("latest").addEventListener("click", scrollDown);
scroller.addEventListener("scroll", () => (byId("latest").hidden = atEnd()));

byId("examples").append(...EXAMPLES.map((text) => button(text, () => say(text), "example")));
showReasoning();
drawAll();
scrollDown();
look();
