// The routes, apart from OpenClaw: `call(method, params)` reaches the gateway, as `dispatchGatewayMethod` does.

import { message } from "./message.js";

const LANE = "main";
const MAX_BODY = 1024 * 1024;
const BODY_TIMEOUT_MS = 10_000;
const RETRY_AFTER_S = "15";

/** A refusal that the client is told. */
class Refusal extends Error {
  constructor(status, text, headers = {}) {
    super(text);
    this.status = status;
    this.headers = headers;
  }
}

export function createHandlers(call, config = {}) {
  const maxBody = config.maxBodyBytes ?? MAX_BODY;
  return {
    status: handler("GET", async () => [200, await status(call)]),
    dispatch: handler("POST", async (request) => dispatch(call, config, await readBody(request, maxBody))),
  };
}

/** Checks the method, and answers whatever happens with JSON. Always `true`: the request was handled here. */
function handler(method, answer) {
  return async (request, response) => {
    try {
      const asked = request.method ?? "GET";
      if (asked !== method && !(method === "GET" && asked === "HEAD")) {
        throw new Refusal(405, `only ${method} is served here`, { Allow: method });
      }
      const [code, body] = await answer(request);
      send(response, code, body);
    } catch (error) {
      if (error instanceof Refusal) {
        send(response, error.status, { ok: false, error: { message: error.message } }, error.headers);
      } else {
        send(response, 500, { ok: false, error: { message: "the plugin failed" } });
      }
    }
    return true;
  };
}

function send(response, code, body, headers = {}) {
  if (response.headersSent || response.destroyed) return;
  response.statusCode = code;
  response.setHeader("Cache-Control", "no-store");
  response.setHeader("Content-Type", "application/json; charset=utf-8");
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(JSON.stringify(body));
}

/** The result of a gateway method; a refusal of ours if there is none. */
async function ask(call, method, params) {
  const answer = await call(method, params);
  if (answer?.ok) return answer.payload ?? {};
  throw refusalFor(method, answer?.error);
}

function refusalFor(method, error) {
  const code = error?.code ?? "UNAVAILABLE";
  const text = `${method}: ${error?.message ?? "no answer"}`;
  if (code === "INVALID_REQUEST") return new Refusal(400, text);
  if (code === "UNAVAILABLE") return new Refusal(503, text, { "Retry-After": RETRY_AFTER_S });
  return new Refusal(500, text);
}

const count = (value) => (Number.isSafeInteger(value) && value > 0 ? value : 0);

/**
 * `available` is what is left of the lane in which agents run. Lane and sessions lag behind each other for a few seconds,
 * each in its own direction: the larger one counts.
 */
async function status(call) {
  const [{ lanes }, sessions] = await Promise.all([
    ask(call, "diagnostics.lanes", {}),
    ask(call, "sessions.list", { activeOnly: true }),
  ]);
  const main = Array.isArray(lanes) ? lanes.find((lane) => lane?.lane === LANE) : undefined;
  if (!Number.isSafeInteger(main?.maxConcurrent)) {
    throw new Refusal(503, "OpenClaw does not tell the size of its main lane", { "Retry-After": RETRY_AFTER_S });
  }
  const max = count(main.maxConcurrent);
  const queued = count(main.queuedCount);
  const active = Math.max(count(main.activeCount) + queued, count(sessions.count));
  const available = main.draining === true ? 0 : Math.max(0, max - active);
  return {
    ok: true,
    available,
    max,
    active,
    busy: available === 0,
    queued,
    sessions: {
      active: count(sessions.count),
      list: (Array.isArray(sessions.sessions) ? sessions.sessions : []).map((session) => ({
        key: session?.key,
        status: session?.status,
      })),
    },
    lanes: lanes.map((lane) => ({
      lane: lane?.lane,
      active: count(lane?.activeCount),
      queued: count(lane?.queuedCount),
      max: count(lane?.maxConcurrent),
    })),
    queue: { main: queued, total: lanes.reduce((sum, lane) => sum + count(lane?.queuedCount), 0) },
  };
}

async function dispatch(call, config, body) {
  const { actor, batchId } = validated(body);
  const params = {
    message: message(body),
    sessionKey: config.sessionKey ?? `ograph:${actor}`,
    idempotencyKey: batchId,
    deliver: false,
  };
  // A repeated batch has its answer even when everything is busy.
  const known = await call("agent.wait", { runId: batchId, timeoutMs: 0 });
  const ended = known?.ok ? known.payload?.status : undefined;
  if (ended === "ok" || ended === "error") return [200, { ok: true, runId: batchId, status: ended }];
  const { available } = await status(call);
  if (available === 0) throw new Refusal(429, "every slot is taken", { "Retry-After": RETRY_AFTER_S });
  const run = await ask(call, "agent", params);
  return [200, { ok: true, runId: run.runId ?? batchId, status: run.status ?? "accepted" }];
}

const ID = /^[\w.:@-]{1,128}$/;

function validated(body) {
  const nonsense = (text) => new Refusal(400, text);
  if (body === null || typeof body !== "object" || Array.isArray(body)) throw nonsense("the body is not an object");
  // OGraph's ids are integers.
  const actor = Number.isSafeInteger(body.actor) ? String(body.actor) : body.actor;
  if (typeof actor !== "string" || !ID.test(actor)) throw nonsense("`actor` is missing or neither a name nor an id");
  if (typeof body.batchId !== "string" || !ID.test(body.batchId)) throw nonsense("`batchId` is missing or not an id");
  if (body.version !== 1) throw nonsense("`version` is not 1");
  if (!Array.isArray(body.changes) || body.changes.length === 0) throw nonsense("`changes` is missing or empty");
  for (const change of body.changes) {
    if (change === null || typeof change !== "object" || typeof change.projection !== "string") {
      throw nonsense("a change has no `projection`");
    }
  }
  return { actor, batchId: body.batchId };
}

/** A number that JavaScript cannot hold, such as a large id, keeps the digits that it was sent with. */
const lossless = (_key, value, context) =>
  typeof value === "number" && !Number.isSafeInteger(value) && context && String(value) !== context.source && JSON.rawJSON
    ? JSON.rawJSON(context.source)
    : value;

/** Reads the body, no more of it than `max` bytes and no longer than ten seconds. */
async function readBody(request, max) {
  const tooLarge = () => new Refusal(413, `the body is larger than ${max} bytes`, { Connection: "close" });
  if (Number(request.headers?.["content-length"]) > max) throw tooLarge();
  const bytes = await new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    const late = () => reject(new Refusal(408, "the body did not come in time", { Connection: "close" }));
    const timer = setTimeout(late, BODY_TIMEOUT_MS);
    const done = (settle) => (value) => {
      clearTimeout(timer);
      settle(value);
    };
    request.on("data", (chunk) => {
      size += chunk.length;
      if (size > max) done(reject)(tooLarge());
      else chunks.push(chunk);
    });
    request.on("end", () => done(resolve)(Buffer.concat(chunks)));
    request.on("error", () => done(reject)(new Refusal(400, "the body broke off")));
    request.on("aborted", () => done(reject)(new Refusal(400, "the body broke off")));
  });
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes), lossless);
  } catch {
    throw new Refusal(400, "the body is not JSON");
  }
}
