// A full tool loop with OpenAI's own JavaScript client, by its runner: node tool_loop.mjs URL FIRST SECOND
import OpenAI from "openai";

const [url, ...faces] = process.argv.slice(2);

// The runner writes a tool's parameters before its description. The prompt shows a tool as it is given, and the bundled
// model knows this one by heart, in the usual order.
const inOrder = (key, value) => {
  if (!value?.name || !value.parameters) return value;
  const { name, description, parameters } = value;
  return { name, description, parameters };
};
const ordered = (address, init) =>
  fetch(address, { ...init, body: JSON.stringify(JSON.parse(init.body), inOrder) });
const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0, fetch: ordered });
const rolled = [];

const tool = {
  type: "function",
  function: {
    name: "roll_dice",
    description: "Roll one die.",
    parameters: {
      type: "object",
      properties: { sides: { type: "integer", description: "How many sides the die has." } },
      required: ["sides"],
    },
    parse: JSON.parse,
    function: ({ sides }) => {
      rolled.push(sides);
      return faces[rolled.length - 1];
    },
  },
};

const asked = { model: "any", temperature: 0, messages: [{ role: "user", content: "Roll D6 twice!" }], tools: [tool] };
const whole = await client.chat.completions.runTools(asked).finalContent();
rolled.length = 0;
const pieces = [];
const runner = client.chat.completions.runTools({ ...asked, stream: true }).on("content", (piece) => pieces.push(piece));
const streamed = await runner.finalContent();

let refused;
try {
  await client.chat.completions.create({ ...asked, tools: undefined, temperature: "hot" });
} catch (error) {
  refused = [error.constructor.name, error.status, error.param];
}
console.log(JSON.stringify({ whole, streamed, pieces: pieces.length, rolled, refused }));
