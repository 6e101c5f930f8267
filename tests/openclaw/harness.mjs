// What every check of the end-to-end run needs: a folder, processes that end with it, and words about what was found.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** How long anything may take on a busy machine. Only checks that fail wait so long. */
const PATIENCE = 120_000;

const began = performance.now();

/** One line of the report, with the time since the beginning. */
export function say(text) {
  console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
}

export let failures = 0;

/** How to end each process that runs. */
const running = new Set();

/** OPENCLAW_E2E_ONLY: a pattern for the names of the checks to run, besides those that everything else needs. */
const only = new RegExp(process.env.OPENCLAW_E2E_ONLY ?? "");

/** Runs one check and reports it; what it returns is a remark. */
export async function check(name, run, isNeeded = false) {
  if (!isNeeded && !only.test(name)) return;
  const before = new Set(running);
  try {
    const note = await run();
    say(`ok      ${name}${note ? ` (${note})` : ""}`);
  } catch (error) {
    failures += 1;
    // What it had started is not to disturb the others.
    await Promise.all([...running].filter((kill) => !before.has(kill)).map((kill) => kill("SIGKILL")));
    say(`FAILED  ${name}\n${String(error.stack ?? error).replace(/^/gm, "            ")}`);
  }
}

export async function until(what, condition, patience = PATIENCE) {
  const end = performance.now() + patience;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await sleep(100);
  }
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A folder for everything of this run, and the environment of a user who lives in it. */
export function workplace(dir) {
  const work = mkdtempSync(join(dir, "run-"));
  for (const folder of ["home", "state", "tmp"]) mkdirSync(join(work, folder));
  const env = {
    PATH: process.env.PATH,
    HOME: join(work, "home"),
    TMPDIR: join(work, "tmp"),
    OPENCLAW_HOME: join(work, "home"),
    OPENCLAW_STATE_DIR: join(work, "state"),
    OPENCLAW_CONFIG_PATH: join(work, "openclaw.json"),
    NO_PROXY: "*",
  };
  return { work, env, path: (name) => join(work, name) };
}

/** Starts a program whose output goes to a file; it and its children are killed together. */
export function start(log, env, command, args) {
  const file = openSync(log, "a");
  const child = spawn(command, args, { env, detached: true, stdio: ["ignore", file, file] });
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
  return { child, kill, gone, log: () => readFileSync(log, "utf8") };
}

export async function killAll() {
  await Promise.all([...running].map((kill) => kill("SIGKILL")));
}

/** Runs a program to its end: its exit code and what it wrote. */
export async function run(env, command, args) {
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const texts = { out: "", err: "" };
  child.stdout.on("data", (bytes) => (texts.out += bytes));
  child.stderr.on("data", (bytes) => (texts.err += bytes));
  const [code] = await once(child, "close");
  return { code, ...texts };
}

export function writePrivate(file, value) {
  writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value), { mode: 0o600 });
}

// --- What processes cost, on Linux -----------------------------------------------------------------------------------

const TICKS_PER_SECOND = 100;

/** The processor time in ms that a process has used, and that of its children that have ended. */
export function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ").map(Number);
  const [own, children] = [fields[11] + fields[12], fields[13] + fields[14]];
  return { own: (own * 1000) / TICKS_PER_SECOND, children: (children * 1000) / TICKS_PER_SECOND };
}

const KB_PER_MB = 1024;

function kilobytes(pid, name) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, "m"))?.[1] ?? 0);
}

/** The most memory that a process ever had, in MB. */
export const peak = (pid) => Math.round(kilobytes(pid, "VmHWM") / KB_PER_MB);

/** Watches the memory of all descendants of a process together; `stop` gives the most that was seen, in MB. */
export function watchMemory(ancestor) {
  let most = 0;
  const look = () => {
    const parents = new Map();
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        parents.set(Number(pid), Number(readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")[1]));
      } catch {
        // It has ended meanwhile.
      }
    }
    const descends = (pid) => pid === ancestor || (parents.has(pid) && descends(parents.get(pid)));
    let sum = 0;
    for (const pid of parents.keys()) {
      try {
        if (pid !== ancestor && descends(pid)) sum += kilobytes(pid, "VmRSS");
      } catch {
        // It has ended meanwhile.
      }
    }
    most = Math.max(most, sum);
  };
  const timer = setInterval(look, 50);
  return {
    stop() {
      clearInterval(timer);
      return Math.round(most / KB_PER_MB);
    },
  };
}
