// Stand-ins for everything around OpenClaw and the dispatcher: a model, a chat, OGraph, and a wire that can break.

import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";

const listen = (server) =>
  new Promise((ready) => server.listen(0, "127.0.0.1", () => ready(`http://127.0.0.1:${server.address().port}`)));

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
};

function json(response, value, status = 200) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

/** An OpenAI-compatible model that says "done." at once, or when it is released. */
export async function startModel() {
  const asked = [];
  let waiting = [];
  let held = false;
  const server = createServer(async (request, response) => {
    if (request.method === "GET") return json(response, { data: [{ id: "stub", object: "model" }] });
    const { messages = [], stream } = parsed(await body(request));
    // What was said since its last answer: the rest is history.
    const answered = messages.findLastIndex(({ role }) => role === "assistant");
    asked.push(JSON.stringify(messages.slice(answered + 1)));
    if (held) await new Promise((release) => waiting.push(release));
    const base = { id: "c", created: 1, model: "stub" };
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    if (!stream) {
      const choice = { index: 0, message: { role: "assistant", content: "done." }, finish_reason: "stop" };
      return json(response, { ...base, object: "chat.completion", choices: [choice], usage });
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const chunk = (choice, more) =>
      response.write(`data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices: [choice], ...more })}\n\n`);
    chunk({ index: 0, delta: { role: "assistant", content: "done." }, finish_reason: null });
    chunk({ index: 0, delta: {}, finish_reason: "stop" }, { usage });
    response.end("data: [DONE]\n\n");
  });
  return {
    url: await listen(server),
    /** How often it was asked something that contains all of these texts. */
    count: (...texts) => asked.filter((last) => texts.every((text) => last.includes(text))).length,
    hold: () => (held = true),
    release() {
      held = false;
      for (const release of waiting) release();
      waiting = [];
    },
  };
}

/** Telegram's Bot API, as far as a bot needs it that sends. */
export async function startChat() {
  const sent = [];
  const server = createServer(async (request, response) => {
    const method = request.url.split("?")[0].split("/").at(-1);
    const params = parsed(await body(request));
    const answer = (result) => json(response, { ok: true, result });
    switch (method) {
      case "getUpdates":
        return void setTimeout(() => answer([]), 2000);
      case "getMe":
        return answer({ id: 1, is_bot: true, first_name: "stub", username: "stub_bot" });
      case "sendMessage":
        sent.push(JSON.stringify(params.text ?? ""));
        return answer({ message_id: sent.length, date: 1, chat: { id: 12345, type: "private" }, text: params.text });
      default:
        return answer(true);
    }
  });
  return { url: await listen(server), count: (...texts) => sent.filter((message) => texts.every((text) => message.includes(text))).length };
}

/** OGraph with one projection. */
export async function startOgraph() {
  const state = { value: "baseline", polls: 0 };
  const server = createServer((request, response) => {
    if (request.url === "/health") return json(response, { status: "ok" });
    if (!request.url.startsWith("/projections/")) return json(response, { error: { message: "Not Found" } }, 404);
    state.polls += 1;
    json(response, { value: state.value });
  });
  return { url: await listen(server), state };
}

/** A wire to `port` that, once armed, holds back the next answer that matches `pattern` and reports it. */
export async function startWire(port) {
  let armed;
  const server = createTcpServer((near) => {
    const far = connect(port(), "127.0.0.1");
    const end = () => {
      near.destroy();
      far.destroy();
    };
    near.on("error", end).on("close", end);
    far.on("error", end).on("close", end);
    near.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes) => {
      if (armed?.pattern.test(bytes.toString("latin1"))) {
        const { caught } = armed;
        armed = undefined;
        caught();
        end();
      } else {
        near.write(bytes);
      }
    });
  });
  const url = await listen(server);
  return { url, breakAt: (pattern) => new Promise((caught) => (armed = { pattern, caught })) };
}
