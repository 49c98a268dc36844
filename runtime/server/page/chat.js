// A conversation, and how it goes on: requests to the server, and what their streams say.

import { eventsOf } from "./stream.js";

/** What the server said no with. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function refusalOf(response) {
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message ?? message;
  } catch {
    // Not ours: a proxy's, say.
  }
  return new Refused(message, response.status);
}

function headers(key) {
  const json = { "Content-Type": "application/json" };
  return key ? { ...json, Authorization: `Bearer ${key}` } : json;
}

/** What the server has: its model's name and context. Throws Refused. */
export async function describe(key) {
  const response = await fetch("/v1/models", { headers: headers(key) });
  if (!response.ok) throw await refusalOf(response);
  return (await response.json()).data[0];
}

/** How the server is: ready, loading, or lost. It takes no key to ask. */
export async function health() {
  try {
    const response = await fetch("/health", { signal: AbortSignal.timeout(10_000) });
    return response.ok ? "ready" : "loading";
  } catch {
    return "lost";
  }
}

/** Why the text is no list of tools, or nothing if it is one. What JSON cannot tell, the server does. */
export async function wrongTools(text, key) {
  if (!text.trim()) return "";
  let tools;
  try {
    tools = JSON.parse(text);
  } catch (error) {
    return `This is not JSON: ${error.message}`;
  }
  if (!Array.isArray(tools)) return "This is no list of tools: it has to begin with [ and end with ].";
  try {
    const body = JSON.stringify({ messages: [{ role: "user", content: "" }], tools });
    const signal = AbortSignal.timeout(5_000);
    const response = await fetch("/apply-template", { method: "POST", headers: headers(key), body, signal });
    return response.status === 400 ? (await refusalOf(response)).message : "";
  } catch {
    return ""; // A server that is not there says nothing of tools.
  }
}

/** The fields of a request; what is not set is left to the server. */
export function fieldsOf(messages, settings) {
  const system = settings.system ? [{ role: "system", content: settings.system }] : [];
  const number = (text) => (text ? Number(text) : undefined);
  const tools = settings.tools?.trim() ? JSON.parse(settings.tools) : undefined;
  return {
    messages: [...system, ...messages.map(toSend)],
    stream: true,
    stream_options: { include_usage: true },
    chat_template_kwargs: { enable_thinking: Boolean(settings.reasoning) },
    reasoning_budget: settings.reasoning ? number(settings.budget) : undefined,
    temperature: number(settings.temperature),
    max_tokens: number(settings.maxTokens),
    tools: tools?.length ? tools : undefined,
  };
}

function toSend({ role, content, reasoning_content, tool_calls, tool_call_id }) {
  return { role, content, reasoning_content, tool_calls, tool_call_id };
}

/** An empty answer, to be filled by `add`. */
export function newAnswer() {
  return { role: "assistant", content: "", stats: { thoughts: 0 } };
}

/** What a message may leave out. */
const EMPTY = { reasoning_content: undefined, tool_calls: undefined };

/** Put a chunk of a stream into an answer. */
export function add(answer, chunk) {
  if (chunk.error) throw new Refused(chunk.error.message, 500);
  if (chunk.timings) answer.stats = { ...answer.stats, ...chunk.timings };
  if (chunk.usage) answer.stats.thoughts = chunk.usage.completion_tokens_details.reasoning_tokens;
  const choice = chunk.choices?.[0];
  if (!choice) return;
  const { delta, finish_reason, exaone4 } = choice;
  if (exaone4) Object.assign(answer, EMPTY, exaone4.message, { content: exaone4.message.content ?? "" });
  if (finish_reason) answer.stats.finish = finish_reason;
  if (delta.content) answer.content += delta.content;
  if (delta.reasoning_content) {
    answer.reasoning_content = (answer.reasoning_content ?? "") + delta.reasoning_content;
    answer.stats.thoughts += 1;
  }
  for (const piece of delta.tool_calls ?? []) addCall(answer, piece);
}

function addCall(answer, piece) {
  answer.tool_calls ??= [];
  const call = (answer.tool_calls[piece.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
  if (piece.id) call.id = piece.id;
  if (piece.function?.name) call.function.name = piece.function.name;
  call.function.arguments += piece.function?.arguments ?? "";
}

/** Ask for an answer; `changed` is called whenever there is more of it. Throws Refused, or AbortError. */
export async function ask(fields, answer, { key, signal, changed }) {
  const body = JSON.stringify(fields);
  const response = await fetch("/v1/chat/completions", { method: "POST", headers: headers(key), body, signal });
  if (!response.ok) throw await refusalOf(response);
  for await (const chunk of eventsOf(response)) {
    add(answer, chunk);
    changed();
  }
}
