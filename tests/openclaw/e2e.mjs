// The dispatcher against the real OpenClaw; started by run.sh. Prints one line per check and fails if one fails.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  check, cpu, failures, freePort, killAll, peak, run, say, start, until, watchMemory, workplace, writePrivate,
} from "./harness.mjs";
import { startChat, startModel, startOgraph, startWire } from "./stubs.mjs";

const [dir, binary] = process.argv.slice(2).map((path) => resolve(path));
const { work, env, path } = workplace(dir);
const GW = "gateway-token-0123456789abcdef";
const HOOK = "hook-token-0123456789abcdef";
const SLOTS = 4;

// --- OpenClaw --------------------------------------------------------------------------------------------------------

const [model, chat, ograph] = [await startModel(), await startChat(), await startOgraph()];
const port = await freePort();
const base = `http://127.0.0.1:${port}`;
const wire = await startWire(() => port);

/** As a user has it who has never heard of us. */
const OPENCLAW_JSON = `// a comment of the user's own\n${JSON.stringify(
  {
    gateway: { mode: "local", bind: "loopback", port, auth: { mode: "token", token: GW } },
    hooks: { enabled: true, token: HOOK },
    logging: { file: path("openclaw.log") },
    agents: { defaults: { model: { primary: "stub/stub" }, maxConcurrent: SLOTS } },
    models: {
      providers: {
        stub: { baseUrl: `${model.url}/v1`, apiKey: "none", api: "openai-completions", models: [{ id: "stub", name: "stub" }] },
      },
    },
    channels: { telegram: { enabled: true, botToken: "1:stub", apiRoot: chat.url, dmPolicy: "open", allowFrom: ["*"] } },
  },
  null,
  2,
)}\n`;
writePrivate(env.OPENCLAW_CONFIG_PATH, OPENCLAW_JSON);

let gateway;

async function startGateway() {
  gateway = start(path("gateway.log"), env, "openclaw", ["gateway", "run", "--port", String(port)]);
  const ready = async () => {
    assert.equal(gateway.child.exitCode, null, "the gateway ended; see gateway.log");
    return (await fetch(`${base}/readyz`, { signal: AbortSignal.timeout(5000) }).catch(() => ({}))).status === 200;
  };
  await until("the gateway is ready", ready, 240_000);
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
  const file = path(`${name}.json`);
  const quick = { watcherIdle: 250, watcherActive: 250, schedulerIdle: 500, schedulerActive: 500, cooldownAfterPush: 500 };
  const whole = {
    ograph: { endpoint: ograph.url, token: "none", projections: ["tasks"] },
    intervals: quick,
    control: { listen: null },
    state: { dir: path(`${name}.state`) },
    ...config,
    push: { dispatchFile: path(`${name}.dispatch.json`), openclaw: { enabled: false }, ...config.push },
  };
  writePrivate(file, whole);
  return start(path(`${log}.log`), { ...env, OGRAPH_CONFIG_FILE: file, RUST_LOG: "info" }, binary, ["run"]);
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
      await Promise.race([caught, sleep(120_000).then(() => Promise.reject(new Error("no answer was seen")))]);
      dispatcher = startDispatcher(file, mode.config, `${file}-again`);
      await until("the delivery is repeated", () => DELIVERED.test(dispatcher.log()));
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

/** Our program as a user calls it, in a terminal that knows where the configuration is. */
const ours = (line, more = {}) => run({ ...env, OGRAPH_STATE_DIR: path("user.state"), ...more }, binary, line.split(" "));

/** What `doctor` finds: its exit code, and level and message by name. */
async function doctor(config, more = {}) {
  const { code, out, err } = await ours(`--config ${config} doctor --json`, more);
  assert.equal(err, "");
  const { checks } = JSON.parse(out);
  for (const { level, remedy, message } of checks) assert.equal(level === "ok", remedy === null, `${message}: ${remedy}`);
  for (const secret of [GW, HOOK]) assert.ok(!out.includes(secret), "a secret is shown");
  return { code, found: Object.fromEntries(checks.map(({ name, level, message }) => [name, `${level}: ${message}`])) };
}

async function installThePlugin() {
  const shown = await ours("openclaw install-plugin");
  assert.equal(shown.code, 0, shown.err);
  assert.equal(readFileSync(env.OPENCLAW_CONFIG_PATH, "utf8"), OPENCLAW_JSON, "nothing is edited without --apply");
  const { code, out, err } = await ours("openclaw install-plugin --apply --json");
  assert.equal(code, 0, err);
  const { backup, folder } = JSON.parse(out);
  assert.equal(readFileSync(backup, "utf8"), OPENCLAW_JSON);
  const edited = readFileSync(env.OPENCLAW_CONFIG_PATH, "utf8");
  assert.ok(edited.startsWith("// a comment of the user's own\n") && edited.includes(folder), edited);
  assert.equal(statSync(env.OPENCLAW_CONFIG_PATH).mode & 0o777, 0o600);
}

async function initFindsIt() {
  const [config, token] = [path("init.json"), path("ograph.token")];
  writePrivate(token, "none\n");
  const line = `init --path ${config} --endpoint ${ograph.url} --token-file ${token} --projection tasks`;
  const { code, out, err } = await ours(line);
  assert.equal(code, 0, err);
  assert.match(out, /found OpenClaw: .*openclaw\.json; its gateway, ws:.*its agent is told.*its token was not copied/s);
  assert.ok(!readFileSync(config, "utf8").includes(GW), "the token was copied without a word");
  const copied = await ours(`${line.replace("init.json", "copied.json")} --copy-openclaw-token`);
  assert.match(copied.out, /its token was COPIED/);
  // Both work as they are; the dispatch file alone is put where nobody else has one.
  const environment = { OGRAPH_DISPATCH_FILE: path("init.dispatch.json"), OGRAPH_CONTROL_LISTEN: "127.0.0.1:0" };
  for (const [file, more] of [[config, { OPENCLAW_GATEWAY_TOKEN: GW }], [path("copied.json"), {}]]) {
    const { found } = await doctor(file, { ...environment, ...more });
    assert.match(found.gateway, /^ok: .* is OpenClaw 2026\.9\.6; \d+ lanes read, in main \d of 4 taken/);
    assert.match(found.availability, /^ok: .*by lanes and sessions, as \d free slots?; 2 needed/);
  }
  ograph.state.value = "init-baseline";
  const more = { ...environment, OPENCLAW_GATEWAY_TOKEN: GW };
  const user = { ...env, OGRAPH_STATE_DIR: path("user.state"), ...more };
  const dispatcher = start(path("init.log"), user, binary, ["--config", config, "run"]);
  await polled(1);
  ograph.state.value = "init-told";
  const flushed = await ours(`--config ${config} flush --json`, more);
  assert.equal(flushed.code, 0, flushed.err);
  assert.equal(JSON.parse(readFileSync(environment.OGRAPH_DISPATCH_FILE, "utf8")).changes[0].new, "init-told");
  await until("the agent is told", () => model.count("init-told") === 1);
  await dispatcher.kill("SIGTERM");
}

/** Every receiver on one dispatcher; those with a text of their own are told apart by it. */
const everything = [
  { type: "oc-plugin", name: "plugin", url: `${wire.url}/plugins/ograph/dispatch`, secret: GW, actor: "everything" },
  { type: "oc-gateway", name: "agent", url: wire.url, token: GW, mode: "agent", message: "via-agent {json}" },
  { type: "oc-gateway", name: "chat", url: wire.url, token: GW, mode: "send", channel: "telegram", to: "12345", message: "via-chat {json}" },
  { type: "oc-hook", name: "hook", url: wire.url, token: HOOK, mode: "agent", timeout: 30_000, message: "via-hook {json}" },
  { type: "oc-hook", name: "wake", url: wire.url, token: HOOK, mode: "wake", timeout: 30_000, message: "via-wake {json}" },
];
const told = {
  plugin: (marker) => model.count(marker, "OGraph: projections changed since"),
  agent: (marker) => model.count(marker, "via-agent"),
  chat: (marker) => chat.count(marker, "via-chat"),
  hook: (marker) => model.count(marker, "via-hook"),
  wake: (marker) => model.count(marker, "via-wake"),
};
const whoWasTold = (marker) => Object.keys(told).filter((name) => told[name](marker) > 0);

/** Everybody has heard it, but for the main session: it has been woken, and OpenClaw may put off what comes of that. */
async function everybodyKnows(marker, { log }, wakesBefore) {
  const hasHeard = () => Object.keys(told).every((name) => name === "wake" || told[name](marker) > 0);
  await until(`everybody is told ${marker}`, hasHeard).catch((error) => {
    throw new Error(`${error.message}; it was told to ${whoWasTold(marker)}`);
  });
  await until(`OpenClaw is told to wake for ${marker}`, () => wakes(log()) > wakesBefore);
}

const wakes = (log) => log.match(/delivered .* to wake/g)?.length ?? 0;

async function doctorShowsEverything() {
  const [good, bad] = [path("doctor.json"), path("doctor-wrong.json")];
  const config = (gw, hook, channel) => ({
    ograph: { endpoint: ograph.url, token: "none", projections: ["tasks"] },
    oc: { ...viaStatus, gateway: { url: base, token: gw } },
    push: {
      dispatchFile: path("doctor.dispatch.json"),
      openclaw: { channel, target: "12345" },
    },
    agents: everything.map((agent) => ({
      ...agent,
      ...(agent.secret ? { secret: gw } : { token: agent.type === "oc-hook" ? hook : gw }),
      ...(agent.channel ? { channel } : {}),
    })),
  });
  writePrivate(good, config(GW, HOOK, "telegram"));
  const healthy = await doctor(good);
  assert.equal(healthy.code, 0, JSON.stringify(healthy.found, null, 2));
  for (const [name, words] of [
    ["gateway", /^ok: .* is OpenClaw 2026\.9\.6; \d+ lanes read/],
    ["availability", /^ok: /],
    ["status route", /^ok: .*answers 200/],
    ["receiver plugin", /^ok: /],
    ["receiver agent", /^ok: .*takes the token/],
    ["receiver chat", /^ok: .*takes the token/],
    ["channel of receiver chat", /^ok: telegram is configured and runs/],
    ["receiver hook", /^ok: .*\/hooks\/agent takes the token/],
    ["receiver wake", /^ok: .*\/hooks\/wake takes the token/],
    ["openclaw command", /^ok: .*2026\.9\.6/],
    ["channel of the openclaw command", /^ok: telegram is configured and runs/],
  ]) {
    assert.match(healthy.found[name] ?? "nothing", words, name);
  }
  // Heartbeats of OpenClaw's own ask the model as well.
  const ofOurs = () => ["via-", "OGraph"].flatMap((text) => [model.count(text), chat.count(text)]);
  const before = ofOurs();
  writePrivate(bad, config("wrong-gateway-token", "wrong-hook-token", "signal"));
  const { code, found } = await doctor(bad);
  assert.equal(code, 1);
  for (const [name, words] of [
    ["gateway", /^fail: .*token was refused/],
    ["receiver plugin", /^fail: .*refuses the secret \(401\)/],
    ["receiver agent", /^fail: .*token was refused/],
    ["receiver hook", /^fail: .*refuses the token \(401\)/],
  ]) {
    assert.match(found[name] ?? "nothing", words, name);
  }
  writePrivate(bad, config(GW, HOOK, "signal"));
  const elsewhere = await doctor(bad);
  assert.match(elsewhere.found["channel of receiver chat"], /^fail: "signal" is not configured; .*telegram/);
  assert.match(elsewhere.found["channel of the openclaw command"], /^fail: "signal" is not configured/);
  assert.deepEqual(ofOurs(), before, "doctor delivers nothing");
}

async function theGatewayRestartsAmidDeliveries() {
  ograph.state.value = "all-baseline";
  const dispatcher = startDispatcher("everything", { oc: viaGateway, agents: everything });
  await polled();
  ograph.state.value = "all-first";
  await everybodyKnows("all-first", dispatcher, 0);
  ograph.state.value = "all-amid";
  await until("somebody is told", () => whoWasTold("all-amid").length > 0);
  await gateway.kill("SIGTERM");
  const before = whoWasTold("all-amid").length;
  ograph.state.value = "all-last";
  await polled(8);
  assert.equal(whoWasTold("all-last").length, 0);
  const woken = wakes(dispatcher.log());
  await startGateway();
  await everybodyKnows("all-last", dispatcher, woken);
  assert.equal(dispatcher.child.exitCode, null, "the dispatcher ended");
  await dispatcher.kill("SIGTERM");
  return `${before} of ${everything.length} had been told when it went down`;
}

/** OpenClaw sends a chat one message a second; a push that waits for that would look slow. */
const CHAT_PAUSE = 1500;

/** What one push costs: `pushes` of them, each by a flush, so that nothing else is waited for. */
async function cost(name, pushes, config) {
  ograph.state.value = `cost-${name}-baseline`;
  const slow = { watcherIdle: 3_600_000, watcherActive: 3_600_000, schedulerIdle: 3_600_000, schedulerActive: 3_600_000, cooldownAfterPush: 1 };
  const control = { listen: "127.0.0.1:0" };
  const whole = { oc: viaGateway, intervals: slow, control, ...config, push: { dispatchFile: null, ...config.push } };
  const dispatcher = startDispatcher(`cost-${name}`, whole);
  await polled(1);
  const { url, token } = JSON.parse(readFileSync(path(`cost-${name}.state/control.json`), "utf8"));
  const call = async (method, where) => (await fetch(`${url}${where}`, { method, headers: bearer(token) })).json();
  const push = async (value) => {
    ograph.state.value = value;
    const { batches } = await call("POST", "/v1/flush");
    assert.deepEqual(batches.map(({ outcome }) => outcome), ["delivered"], JSON.stringify(batches));
  };
  // The first one opens the connection.
  await push(`cost-${name}-first`);
  const memory = watchMemory(dispatcher.child.pid);
  const before = [cpu(dispatcher.child.pid), cpu(gateway.child.pid)];
  for (let number = 0; number < pushes; number += 1) {
    await sleep(CHAT_PAUSE);
    await push(`cost-${name}-${number}`);
  }
  const after = [cpu(dispatcher.child.pid), cpu(gateway.child.pid)];
  const took = (await call("GET", `/v1/deliveries?limit=${pushes}`)).deliveries.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  const spent = (index, whose) => ((after[index][whose] - before[index][whose]) / pushes).toFixed(1);
  const children = memory.stop();
  await dispatcher.kill("SIGTERM");
  return (
    `of ${pushes} pushes, each: ${took[0]} to ${took.at(-1)} ms, median ${took[pushes >> 1]} ms; processor ` +
    `${spent(0, "own")} ms of ours, ${spent(0, "children")} ms of its children, ${spent(1, "own")} ms of OpenClaw's gateway; ` +
    `up to ${children} MB in children, ${peak(gateway.child.pid)} MB in the gateway`
  );
}

async function main() {
  await check("install-plugin --apply edits OpenClaw's configuration and keeps the comment and the old file", installThePlugin, true);
  await check("OpenClaw starts with our plugin", startGateway, true);
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

  await check("init finds it and writes a configuration that works", initFindsIt);
  await check("doctor shows everything, with a remedy for what is wrong, and delivers nothing", doctorShowsEverything);
  await check("the library's own checks", async () => {
    // The whole workspace, so that nothing is compiled for other features than before.
    const args = ["test", "--quiet", "--workspace", "--test", "real_openclaw", "--", "--ignored", "--test-threads=1"];
    const named = { OPENCLAW_E2E_URL: base, OPENCLAW_E2E_TOKEN: GW, OPENCLAW_E2E_HOOK_TOKEN: HOOK };
    const library = start(path("library.log"), { ...process.env, ...named }, "cargo", args);
    assert.equal(await library.gone, 0, library.log());
  });

  for (const [name, mode] of Object.entries(modes)) await checkMode(name, mode);

  await check("with every receiver at once, the gateway restarts amid deliveries and nothing is lost", theGatewayRestartsAmidDeliveries);

  const viaCli = { enabled: true, bin: "openclaw", channel: "telegram", target: "12345", timeout: 90_000 };
  await check("a push through the openclaw CLI", () => cost("cli", 3, { push: { openclaw: viaCli } }));
  const viaSend = { type: "oc-gateway", url: base, token: GW, mode: "send", channel: "telegram", to: "12345" };
  await check("a push through the gateway", () => cost("gateway", 20, { agents: [viaSend] }));
}

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await killAll();
    process.exit(1);
  });
}

try {
  await main();
} catch (error) {
  await check("the run itself", () => Promise.reject(error), true);
} finally {
  await killAll();
}
say(failures ? `${failures} checks failed; logs are in ${work}` : "all checks passed");
process.exit(failures ? 1 : 0);
