// The dispatcher against the real OpenClaw; started by run.sh. Prints one line per check and fails if one fails.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startChat, startModel, startOgraph, startWire } from "./stubs.mjs";

const [dir, binary] = process.argv.slice(2).map((path) => resolve(path));
const plugin = resolve(import.meta.dirname, "../../config/openclaw-plugin");
const work = mkdtempSync(join(dir, "run-"));
const GW = "gateway-token-0123456789abcdef";
const HOOK = "hook-token-0123456789abcdef";
const SLOTS = 4;

const began = performance.now();
const seconds = () => ((performance.now() - began) / 1000).toFixed(1).padStart(6);
let failures = 0;

async function check(name, run) {
  try {
    const note = await run();
    console.log(`${seconds()} s  ok      ${name}${note ? ` (${note})` : ""}`);
  } catch (error) {
    failures += 1;
    console.log(`${seconds()} s  FAILED  ${name}\n${String(error.stack ?? error).replace(/^/gm, "            ")}`);
  }
}

async function until(what, condition, patience = 60_000) {
  const end = performance.now() + patience;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await sleep(100);
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

// --- OpenClaw --------------------------------------------------------------------------------------------------------

const [model, chat, ograph] = [await startModel(), await startChat(), await startOgraph()];
const port = await freePort();
const base = `http://127.0.0.1:${port}`;
const wire = await startWire(() => port);

for (const folder of ["home", "state", "tmp"]) mkdirSync(join(work, folder));
const env = {
  PATH: process.env.PATH,
  HOME: join(work, "home"),
  OPENCLAW_HOME: join(work, "home"),
  OPENCLAW_STATE_DIR: join(work, "state"),
  OPENCLAW_CONFIG_PATH: join(work, "openclaw.json"),
  TMPDIR: join(work, "tmp"),
};
writeFileSync(
  env.OPENCLAW_CONFIG_PATH,
  JSON.stringify({
    gateway: { mode: "local", bind: "loopback", port, auth: { mode: "token", token: GW } },
    hooks: { enabled: true, token: HOOK },
    logging: { file: join(work, "openclaw.log") },
    agents: { defaults: { model: { primary: "stub/stub" }, maxConcurrent: SLOTS } },
    models: {
      providers: {
        stub: { baseUrl: `${model.url}/v1`, apiKey: "none", api: "openai-completions", models: [{ id: "stub", name: "stub" }] },
      },
    },
    channels: { telegram: { enabled: true, botToken: "1:stub", apiRoot: chat.url, dmPolicy: "open", allowFrom: ["*"] } },
    plugins: { load: { paths: [plugin] }, entries: { ograph: { enabled: true } } },
  }),
);

/** Starts a program whose output goes to a file; it and its children are killed together. */
function start(name, command, args, more = {}) {
  const log = openSync(join(work, `${name}.log`), "a");
  const child = spawn(command, args, { env: { ...env, ...more }, detached: true, stdio: ["ignore", log, log] });
  const gone = new Promise((settle) => child.once("exit", settle).once("error", settle));
  const kill = async (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // It is gone already.
    }
    await gone;
  };
  running.add(kill);
  gone.then(() => running.delete(kill));
  return { child, kill, gone };
}

const running = new Set();
let gateway;

async function startGateway() {
  gateway = start("gateway", "openclaw", ["gateway", "run", "--port", String(port)]);
  const ready = async () => {
    assert.equal(gateway.child.exitCode, null, "the gateway ended; see gateway.log");
    return (await fetch(`${base}/readyz`, { signal: AbortSignal.timeout(5000) }).catch(() => ({}))).status === 200;
  };
  await until("the gateway is ready", ready, 180_000);
}

const bearer = (token) => (token ? { authorization: `Bearer ${token}` } : {});
const status = async (token = GW) => fetch(`${base}/plugins/session-status/status`, { headers: bearer(token) });
const dispatch = async (body, token = GW) =>
  fetch(`${base}/plugins/ograph/dispatch`, { method: "POST", headers: bearer(token), body: JSON.stringify(body) });
const available = async () => (await (await status()).json()).available;
const batch = (actor, batchId, value) => ({
  actor,
  version: 1,
  batchId,
  changes: [{ projection: "tasks", kind: "changed", old: 0, new: value, merged: 1 }],
});

let runs = 0;
/** Real turns in all slots, which end when the model is released. */
async function fillTheSlots() {
  await until("every slot is free", async () => (await available()) === SLOTS);
  model.hold();
  // Something of OpenClaw's own, such as a heartbeat, may have taken one meanwhile: then it says 429.
  await until("every slot is taken", async () => {
    if ((await available()) === 0) return true;
    runs += 1;
    const { status } = await dispatch(batch(`filler-${runs}`, `filler-${runs}`, "filler"));
    assert.ok([200, 429].includes(status), `a filler got ${status}`);
    return false;
  });
}

// --- The dispatcher ----------------------------------------------------------------------------------------------------

/** Starts it with this state, OpenClaw and receivers. */
function startDispatcher(name, config, log = name) {
  const file = join(work, `${name}.json`);
  const quick = { watcherIdle: 250, watcherActive: 250, schedulerIdle: 500, schedulerActive: 500, cooldownAfterPush: 500 };
  const whole = {
    ograph: { endpoint: ograph.url, token: "none", projections: ["tasks"] },
    intervals: quick,
    control: { listen: null },
    state: { dir: join(work, `${name}.state`) },
    ...config,
    push: { dispatchFile: join(work, `${name}.dispatch.json`), openclaw: { enabled: false }, ...config.push },
  };
  writeFileSync(file, JSON.stringify(whole), { mode: 0o600 });
  const started = start(log, binary, ["run"], { OGRAPH_CONFIG_FILE: file, RUST_LOG: "info", NO_PROXY: "*" });
  return { ...started, log: () => readFileSync(join(work, `${log}.log`), "utf8") };
}

async function polled(times = 3) {
  const { polls } = ograph.state;
  await until("OGraph is polled", () => ograph.state.polls >= polls + times);
}

const viaGateway = { minAvailable: 2, gateway: { url: wire.url, token: GW } };
const viaStatus = { minAvailable: 2, statusEndpoint: `${base}/plugins/session-status/status`, statusToken: GW };
const data = "{batchId} {json}";
const modes = {
  "oc-plugin": {
    config: { oc: viaStatus, agents: [{ type: "oc-plugin", url: `${wire.url}/plugins/ograph/dispatch`, secret: GW, actor: "main" }] },
    told: model.count,
  },
  "oc-gateway agent": {
    config: { oc: viaGateway, agents: [{ type: "oc-gateway", url: wire.url, token: GW, mode: "agent", sessionKey: "ograph" }] },
    told: model.count,
  },
  "oc-gateway send": {
    config: {
      oc: viaGateway,
      agents: [{ type: "oc-gateway", url: wire.url, token: GW, mode: "send", channel: "telegram", to: "12345", message: data }],
    },
    told: chat.count,
  },
  "oc-hook agent": {
    config: { oc: viaGateway, agents: [{ type: "oc-hook", url: wire.url, token: HOOK, mode: "agent", timeout: 30_000 }] },
    told: model.count,
  },
  "oc-hook wake": {
    config: { oc: viaGateway, agents: [{ type: "oc-hook", url: wire.url, token: HOOK, mode: "wake", message: data }] },
    told: model.count,
    // OpenClaw has no key for a wake.
    atLeastOnce: true,
  },
  "openclaw CLI": {
    // Its text names projections only, not their values.
    config: {
      oc: viaStatus,
      push: { openclaw: { enabled: true, bin: "openclaw", channel: "telegram", target: "12345", message: "cli-told {names} {batchId}", timeout: 90_000 } },
    },
    told: () => chat.count("cli-told"),
    bestEffort: true,
  },
};

/** A real answer to a delivery, in all modes. */
const ANSWER = /"status":"accepted"|"messageId"|"runId":"|"eventOutcome"/;

/** The dispatcher's word for an agent or a chat that was told; the dispatch file is told as well. */
const DELIVERED = /delivered .* to oc-/;

async function toldOnce(mode, marker) {
  await until(`${marker} arrives`, () => mode.told(marker) >= 1);
  // Time for a second one to show up.
  await sleep(3000);
  if (mode.atLeastOnce) assert.ok(mode.told(marker) >= 1);
  else assert.equal(mode.told(marker), 1, `${marker} was told more than once`);
}

async function checkMode(name, mode) {
  const file = name.replaceAll(" ", "-");
  let dispatcher;
  ograph.state.value = `baseline-${file}`;
  await check(`${name}: nothing is pushed while real turns fill the slots`, async () => {
    await fillTheSlots();
    dispatcher = startDispatcher(file, mode.config);
    await polled();
    ograph.state.value = `first-${file}`;
    await polled(8);
    await sleep(2000);
    assert.equal(mode.told(`first-${file}`), 0);
    assert.equal(dispatcher.child.exitCode, null, "the dispatcher ended");
  });
  await check(`${name}: it is pushed once when they end`, async () => {
    model.release();
    await toldOnce(mode, `first-${file}`);
  });
  if (!mode.bestEffort) {
    await check(`${name}: killed between push and acknowledgement, it is ${mode.atLeastOnce ? "told again" : "still told once"}`, async () => {
      await until("every slot is free", async () => (await available()) === SLOTS);
      const caught = wire.breakAt(ANSWER).then(() => dispatcher.kill("SIGKILL"));
      ograph.state.value = `second-${file}`;
      await Promise.race([caught, sleep(60_000).then(() => Promise.reject(new Error("no answer was seen")))]);
      dispatcher = startDispatcher(file, mode.config, `${file}-again`);
      await until("the delivery is repeated", () => DELIVERED.test(dispatcher.log()), 60_000);
      await toldOnce(mode, `second-${file}`);
    });
  }
  if (name === "oc-gateway agent") {
    await check(`${name}: what changes while the gateway is down is told when it is back`, async () => {
      await gateway.kill("SIGTERM");
      ograph.state.value = `third-${file}`;
      await polled(8);
      await startGateway();
      await toldOnce(mode, `third-${file}`);
    });
  }
  await dispatcher?.kill("SIGTERM");
}

// --- The checks ----------------------------------------------------------------------------------------------------------

async function main() {
  await check("OpenClaw starts with our plugin", startGateway);
  if (failures) return;

  await check("plugin routes: the right token is served", async () => {
    const body = await (await status()).json();
    assert.deepEqual([body.available, body.max, body.active, body.busy], [SLOTS, SLOTS, 0, false]);
    assert.ok(Array.isArray(body.lanes) && body.sessions && body.queue);
  });
  await check("plugin routes: a wrong and no token are refused", async () => {
    for (const token of ["wrong", null]) {
      assert.equal((await status(token)).status, 401);
      assert.equal((await dispatch(batch("x", "refused", 1), token)).status, 401);
    }
  });
  await check("plugin routes: nonsense and wrong methods are refused", async () => {
    assert.equal((await dispatch({ actor: "x" })).status, 400);
    assert.equal((await fetch(`${base}/plugins/ograph/dispatch`, { headers: bearer(GW) })).status, 405);
    const post = { method: "POST", headers: bearer(GW) };
    assert.equal((await fetch(`${base}/plugins/session-status/status`, post)).status, 405);
  });
  await check("plugin routes: a repeated batch is one turn, and a full OpenClaw says when to come back", async () => {
    for (const expected of ["accepted", "in_flight"]) {
      assert.equal((await (await dispatch(batch("twice", "batch-twice", "twice-marker"))).json()).status, expected);
    }
    await until("its turn runs", () => model.count("twice-marker") === 1);
    await fillTheSlots();
    const full = await dispatch(batch("late", "batch-late", 1));
    assert.deepEqual([full.status, full.headers.get("retry-after")], [429, "15"]);
    const again = await (await dispatch(batch("twice", "batch-twice", "twice-marker"))).json();
    assert.equal(again.status, "ok");
    model.release();
    assert.equal(model.count("twice-marker"), 1);
  });

  await check("the library's own checks", async () => {
    const args = ["test", "--quiet", "--package", "ograph-dispatcher-actors", "--test", "real_openclaw", "--", "--ignored", "--test-threads=1"];
    const library = start("library", "cargo", args, {
      ...process.env,
      OPENCLAW_E2E_URL: base,
      OPENCLAW_E2E_TOKEN: GW,
      OPENCLAW_E2E_HOOK_TOKEN: HOOK,
    });
    assert.equal(await library.gone, 0, readFileSync(join(work, "library.log"), "utf8"));
  });

  for (const [name, mode] of Object.entries(modes)) await checkMode(name, mode);

  const { VmHWM } = Object.fromEntries(
    readFileSync(`/proc/${gateway.child.pid}/status`, "utf8").split("\n").map((line) => line.split(/:\s+/)),
  );
  console.log(`${seconds()} s  the gateway took up to ${VmHWM}`);
}

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    for (const kill of [...running]) await kill("SIGKILL");
    process.exit(1);
  });
}

try {
  await main();
} catch (error) {
  failures += 1;
  console.log(error);
} finally {
  for (const kill of [...running]) await kill("SIGKILL");
}
console.log(failures ? `${failures} checks failed; logs are in ${work}` : "all checks passed");
process.exit(failures ? 1 : 0);
