"use strict";
(() => {
// ---- words ----
const WORDS = {
  en: {
    skip: "Skip to the content", flush: "Flush now", poll: "Poll", pause: "Pause", resume: "Resume",
    actions: "Actions", conditions: "What needs attention", flow: "The flow from OGraph to the receivers",
    watcher: "Watcher", pending: "Pending", scheduler: "Scheduler", receivers: "Receivers",
    pendingChanges: "Pending changes", activity: "Activity", live: "live", deliveries: "Deliveries",
    gateTitle: "Connect to the dispatcher", gateWhy: "This page needs the control token. The easiest way is the command that opens it:",
    gateLabel: "Or paste the token from control.json", gateButton: "Connect", gateWrong: "The dispatcher refuses this token.",
    on: "live", trying: "reconnecting…", off: "not connected", language: "中文",
    states: { starting: "starting", idle: "idle", waiting: "waiting", pushing: "pushing", cooldown: "cooling down", paused: "paused" },
    headline: {
      starting: () => "Starting up", idle: () => "Everyone is up to date",
      waiting: (n) => `${changes(n)} ${n === 1 ? "waits" : "wait"} for room`,
      retry: (n) => `${changes(n)} ${n === 1 ? "waits" : "wait"} for a receiver`,
      pushing: (who) => `Telling ${who}`, cooldown: (left) => `Cooling down, ${left} left`, paused: () => "Pushing is paused",
      blind: () => "OGraph cannot be read",
    },
    idleSub: "Nothing is pending. The next change is noticed, merged and pushed when there is room.",
    roomSub: (a, m, s) => `${a} of ${m} needed slots free${s ? `, for ${s}` : ""}`, roomUnknown: (e) => `Nobody knows whether there is room: ${e}`,
    pausedSub: (n) => `Watching goes on; ${changes(n)} pending. A flush pushes all the same.`,
    coolSub: (n) => n ? `${changes(n)} pending for the next push` : "Nothing is pending",
    reachable: "reachable", refuses: "refuses the token", failing: (a, b) => `${a} of ${b} failing`, unread: "not read yet",
    answered: (t) => `last answer ${t}`, every: (t) => `every ${t}`, projections: (n) => n === 1 ? "1 projection" : `${n} projections`,
    next: (t) => `next in ${t}`, nowPolling: "looking now", none: "none", oldest: (t) => `oldest ${t}`, nothing: "nothing waits",
    free: (a, m) => `${a} free, ${m} needed`, unknown: "room unknown", left: (t) => `${t} left`,
    upToDate: "up to date", nPending: (n) => `${n} pending`, nobody: "Nobody is told: no receiver is configured.",
    telling: "being told…", cooling: (t) => `cooling down, ${t} left`, retry: (t) => `next attempt in ${t}`, fails: (t) => `failing for ${t}`, toldAt: (t) => `told ${t}`,
    emptyPending: "Nothing is pending. Every receiver knows the latest values.",
    kinds: { changed: "changed", appeared: "appeared", removed: "removed" }, merged: (n) => `${n} changes merged`,
    since: (t) => `for ${t}`, before: "before", after: "now", whole: "Whole values", forWhom: "for", more: (n) => `and ${n} more changes inside`, value: "value", absent: "no value",
    emptyDeliveries: "Nothing has been delivered yet.", columns: ["Time", "Receiver", "Outcome", "Changes", "Details", "Took"],
    outcomes: { delivered: "delivered", failed: "failed", refused: "refused", skipped: "skipped" }, byFlush: "flush", emptyActivity: "Waiting for something to happen.",
    count: changes,
    events: {
      hello: () => "Connected", baseline: () => "First seen", changed: (e) => `${({ changed: "Changed", appeared: "Appeared", removed: "Removed" })[e.kind] || "Changed"}`,
      added: "", mergedIn: "merged into the pending change", cancelled: "back to what is known: nothing to tell",
      pollFailing: () => "Cannot be read", pollRecovered: () => "Can be read again", pushing: (e) => `Telling ${e.receiver}`,
      pushed: (e) => `${e.receiver}: ${({ delivered: "delivered", failed: "failed", refused: "refused", skipped: "skipped" })[e.outcome] || e.outcome}`,
      storeFailing: () => "The state cannot be stored", storeRecovered: () => "The state can be stored again",
      restarted: (e) => `The ${e.actor} was restarted`, paused: (e) => e.paused ? "Pushing paused" : "Pushing resumed",
      reloaded: () => "Configuration reloaded", reloadRefused: () => "Configuration refused",
    },
    did: {
      flush: (r) => r.batches.length ? `Flushed: ${r.delivered} of ${r.batches.length} receivers told.` : "Flushed: nothing was pending.",
      poll: () => "Every projection was polled.", pause: () => "Pushing is paused.", resume: () => "Pushing goes on.",
    },
    failed: (what) => `That did not work: ${what}`, unreachable: "the dispatcher does not answer",
    foot: (s, u) => `ograph-dispatcher ${s.version} · up ${u} · process ${s.pid}`,
    ago: (t) => `${t} ago`, justNow: "just now", units: [" ms", " s", " min", " h", " d"],
  },
  zh: {
    skip: "跳到正文", flush: "立即推送", poll: "轮询", pause: "暂停", resume: "恢复",
    actions: "操作", conditions: "需要留意", flow: "从 OGraph 到接收方的流程",
    watcher: "监视", pending: "待推送", scheduler: "调度", receivers: "接收方",
    pendingChanges: "待推送的变更", activity: "动态", live: "实时", deliveries: "推送记录",
    gateTitle: "连接调度器", gateWhy: "此页面需要控制令牌。最简单的办法是用命令打开它：",
    gateLabel: "或粘贴 control.json 中的令牌", gateButton: "连接", gateWrong: "调度器拒绝了此令牌。",
    on: "实时", trying: "正在重连…", off: "未连接", language: "English",
    states: { starting: "启动中", idle: "空闲", waiting: "等待中", pushing: "推送中", cooldown: "冷却中", paused: "已暂停" },
    headline: {
      starting: () => "正在启动", idle: () => "所有接收方都是最新状态", waiting: (n) => `${n} 项变更等待空位`, retry: (n) => `${n} 项变更等待接收方恢复`,
      pushing: (who) => `正在通知 ${who}`, cooldown: (left) => `冷却中，还剩 ${left}`, paused: () => "推送已暂停", blind: () => "无法读取 OGraph",
    },
    idleSub: "没有待推送的变更。出现变更后会先合并，等有空位时再推送。",
    roomSub: (a, m, s) => `空位 ${a} 个，需要 ${m} 个${s ? `，已持续 ${s}` : ""}`, roomUnknown: (e) => `无法得知是否有空位：${e}`,
    pausedSub: (n) => `监视仍在继续，${n} 项待推送。“立即推送”仍然有效。`, coolSub: (n) => n ? `${n} 项变更等待下次推送` : "没有待推送的变更",
    reachable: "可访问", refuses: "拒绝令牌", failing: (a, b) => `${b} 个中有 ${a} 个失败`, unread: "尚未读取",
    answered: (t) => `最近应答 ${t}`, every: (t) => `每 ${t} 一次`, projections: (n) => `${n} 个投影`,
    next: (t) => `${t}后`, nowPolling: "正在查询", none: "无", oldest: (t) => `最早 ${t}`, nothing: "无等待",
    free: (a, m) => `空位 ${a}，需要 ${m}`, unknown: "空位未知", left: (t) => `还剩 ${t}`,
    upToDate: "最新", nPending: (n) => `${n} 项待推送`, nobody: "未配置接收方，不会通知任何人。",
    telling: "正在通知…", cooling: (t) => `冷却中，还剩 ${t}`, retry: (t) => `${t}后重试`, fails: (t) => `已失败 ${t}`, toldAt: (t) => `${t}已通知`,
    emptyPending: "没有待推送的变更，所有接收方都知道最新值。",
    kinds: { changed: "已变更", appeared: "新出现", removed: "已消失" }, merged: (n) => `合并了 ${n} 次变更`,
    since: (t) => `已 ${t}`, before: "之前", after: "现在", whole: "完整值", forWhom: "通知", more: (n) => `另有 ${n} 处变更`, value: "值", absent: "无值",
    emptyDeliveries: "还没有推送记录。", columns: ["时间", "接收方", "结果", "变更", "详情", "耗时"],
    outcomes: { delivered: "已送达", failed: "失败", refused: "被拒绝", skipped: "已跳过" }, byFlush: "手动", emptyActivity: "等待事件发生。",
    count: (n) => `${n} 项变更`,
    events: {
      hello: () => "已连接", baseline: () => "首次读取", changed: (e) => ({ changed: "已变更", appeared: "新出现", removed: "已消失" })[e.kind] || "已变更",
      added: "", mergedIn: "并入待推送的变更", cancelled: "恢复为已知值，无需通知",
      pollFailing: () => "无法读取", pollRecovered: () => "恢复读取", pushing: (e) => `正在通知 ${e.receiver}`,
      pushed: (e) => `${e.receiver}：${({ delivered: "已送达", failed: "失败", refused: "被拒绝", skipped: "已跳过" })[e.outcome] || e.outcome}`,
      storeFailing: () => "状态无法保存", storeRecovered: () => "状态恢复保存", restarted: (e) => `${e.actor} 已重启`,
      paused: (e) => e.paused ? "推送已暂停" : "推送已恢复", reloaded: () => "配置已重新加载", reloadRefused: () => "配置被拒绝",
    },
    did: {
      flush: (r) => r.batches.length ? `已推送：${r.batches.length} 个接收方中 ${r.delivered} 个已通知。` : "已推送：没有待推送的变更。",
      poll: () => "已轮询所有投影。", pause: () => "推送已暂停。", resume: () => "推送已恢复。",
    },
    failed: (what) => `操作失败：${what}`, unreachable: "调度器没有应答",
    foot: (s, u) => `ograph-dispatcher ${s.version} · 已运行 ${u} · 进程 ${s.pid}`,
    ago: (t) => `${t}前`, justNow: "刚刚", units: [" 毫秒", " 秒", " 分钟", " 小时", " 天"],
  },
};
function changes(n) { return n === 1 ? "1 change" : `${n} changes`; }

const kept = (store, key) => { try { return store.getItem(key); } catch { return null; } };
const keep = (store, key, value) => { try { if (value === null) store.removeItem(key); else store.setItem(key, value); } catch { /* private mode */ } };
let language = kept(localStorage, "language") || ((navigator.language || "").toLowerCase().startsWith("zh") ? "zh" : "en");
let t = WORDS[language] || WORDS.en;

// ---- the document: content only ever becomes text ----
const $ = (id) => document.getElementById(id);
function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value; else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}
function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"), use = document.createElementNS(space, "use");
  svg.setAttribute("aria-hidden", "true"); use.setAttribute("href", `#i-${name}`); svg.append(use);
  return svg;
}
function text(id, value) { const node = $(id); if (node.textContent !== value) node.textContent = value; }
function tone(node, value) { if (value) node.dataset.tone = value; else delete node.dataset.tone; }
function flag(node, name, on) { node.classList.toggle(name, on); }
/* A section is built anew only if what it shows has changed: focus and selection stay where they are. */
const shown = new Map();
function section(id, state, build) {
  const key = JSON.stringify([language, state], (_, value) => value instanceof Raw ? value.source : value);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  const node = $(id), open = new Set([...node.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  node.replaceChildren(...build());
  for (const one of node.querySelectorAll("details")) if (open.has(one.dataset.key)) one.open = true;
}

// ---- values ----
/* A number that this language cannot hold without loss, as it was written. */
class Raw { constructor(source) { this.source = source; } }
function parse(json) {
  return JSON.parse(json, (_, value, context) =>
    typeof value === "number" && context && context.source !== undefined && !same(value, context.source) ? new Raw(context.source) : value);
}
function same(value, source) {
  if (String(value) === source) return true;
  const digits = source.replace(/[-.]|[eE].*$/g, "").replace(/^0+/, "");
  return digits.length <= 15;
}
function written(value, indent = "") {
  if (value === undefined) return "";
  if (value instanceof Raw) return value.source;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}  `;
  const parts = Array.isArray(value) ? value.map((one) => written(one, inner)) : Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${written(one, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!parts.length) return open + close;
  const line = `${open}${parts.join(", ")}${close}`;
  return line.length <= 60 && !line.includes("\n") ? line : `${open}\n${inner}${parts.join(`,\n${inner}`)}\n${indent}${close}`;
}
const brief = (value) => typeof value === "string" ? value : written(value);
function at(value, pointer) {
  for (const step of pointer.split("/").slice(1)) {
    const key = step.replace(/~1/g, "/").replace(/~0/g, "~");
    if (value === null || typeof value !== "object" || value instanceof Raw || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}
const path = (pointer) => pointer.split("/").slice(1).map((step) => step.replace(/~1/g, "/").replace(/~0/g, "~")).join(" › ");

// ---- time ----
let skew = 0;
const now = () => Date.now() + skew;
function span(ms) {
  const [milli, second, minute, hour, day] = t.units, s = Math.floor(ms / 1000);
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}${milli}`;
  if (s < 60) return `${s}${second}`;
  if (s < 3600) return s < 600 && s % 60 ? `${Math.floor(s / 60)}${minute} ${s % 60}${second}` : `${Math.floor(s / 60)}${minute}`;
  if (s < 86400) return `${Math.floor(s / 3600)}${hour} ${Math.floor(s % 3600 / 60)}${minute}`;
  return `${Math.floor(s / 86400)}${day} ${Math.floor(s % 86400 / 3600)}${hour}`;
}
const lasting = (from) => span(Math.max(1000, now() - Date.parse(from)));
const left = (until) => span(Math.max(0, Math.ceil((Date.parse(until) - now()) / 1000)) * 1000 || 1000);
const ago = (from) => now() - Date.parse(from) < 2000 ? t.justNow : t.ago(lasting(from));
const future = (time) => time && Date.parse(time) > now();
function clock(time) {
  const date = new Date(time), today = new Date(now()).toDateString() === date.toDateString();
  return date.toLocaleString(language === "zh" ? "zh-CN" : undefined, today ? { timeStyle: "medium" } : { dateStyle: "short", timeStyle: "short" });
}

// ---- talking to the daemon ----
let token = kept(sessionStorage, "token");
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return false;
  token = given;
  keep(sessionStorage, "token", token);
  history.replaceState(null, "", location.pathname);
  return true;
}
class Refused extends Error {}
async function call(method, url, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(url, { method, headers, body, cache: "no-store", credentials: "omit" });
  if (answer.status === 401) throw new Refused();
  const json = parse(await answer.text());
  if (!answer.ok) throw new Error(json.detail || answer.statusText);
  return json;
}

const state = { status: null, pending: null, deliveries: null, events: [] };
let refreshing = null, again = false;
/* One refresh at a time; what is wished for meanwhile is one more. */
function refresh() {
  if (refreshing) { again = true; return refreshing; }
  refreshing = (async () => {
    const sent = Date.now();
    const [status, pending, deliveries] = await Promise.all([call("GET", "/v1/status"), call("GET", "/v1/pending"), call("GET", "/v1/deliveries?limit=30")]);
    const offset = Date.parse(status.now) - (sent + Date.now()) / 2;
    if (Math.abs(offset - skew) > 400) skew = offset;
    if (state.status && status.watcher.polls > state.status.watcher.polls) once("w-poll");
    Object.assign(state, { status, pending, deliveries });
    draw();
  })().finally(() => {
    refreshing = null;
    if (again) { again = false; soon(); }
  });
  return refreshing;
}
let timer = null;
function soon() {
  if (timer === null) timer = setTimeout(() => { timer = null; refresh().catch(trouble); }, 120);
}
function trouble(error) {
  if (error instanceof Refused) return refusedToken();
  connected("trying");
}

let generation = 0, lastId = null;
async function follow() {
  const mine = ++generation;
  let pause = 500;
  while (mine === generation) {
    const abort = new AbortController();
    let alarm = null;
    const alive = () => { clearTimeout(alarm); alarm = setTimeout(() => abort.abort(), 40_000); };
    try {
      alive();
      const headers = { Authorization: `Bearer ${token}` };
      if (lastId) headers["Last-Event-ID"] = lastId;
      const answer = await fetch("/v1/events", { headers, cache: "no-store", credentials: "omit", signal: abort.signal });
      if (answer.status === 401) throw new Refused();
      if (!answer.ok) throw new Error(answer.statusText);
      await refresh();
      connected("on");
      pause = 500;
      await read(answer.body, alive, mine);
    } catch (error) {
      if (error instanceof Refused && mine === generation) { refusedToken(); return; }
    } finally {
      clearTimeout(alarm);
      abort.abort();
    }
    if (mine !== generation) return;
    connected("trying");
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 1.7, 10_000);
  }
}
async function read(body, alive, mine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done || mine !== generation) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = {};
      for (const line of block.split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
      }
      if (fields.id) lastId = fields.id;
      if (fields.data) happened(fields.event, parse(fields.data));
    }
  }
}
function connected(how) {
  $("link").dataset.state = how;
  text("link-text", t[how]);
}
function refusedToken() {
  generation++;
  const had = token !== null;
  token = null;
  keep(sessionStorage, "token", null);
  connected("off");
  $("main").hidden = true; $("gate").hidden = false;
  text("gate-wrong", had ? t.gateWrong : "");
  $("token").value = "";
  $("token").focus();
}
function enter() {
  $("gate").hidden = true;
  connected("trying");
  follow();
}

// ---- what happens ----
function once(id) {
  const wire = $(id);
  wire.classList.remove("once");
  void wire.offsetWidth;
  wire.classList.add("once");
}
function happened(name, event) {
  if (name === "changed") once("w-change");
  if (name === "pushing") once("w-push");
  if (name !== "hello" && name !== "standing") {
    state.events.unshift({ name, event, fresh: true });
    state.events.length = Math.min(state.events.length, 80);
    drawActivity();
  }
  soon();
}
const EVENT_TONES = { changed: "accent", pollFailing: "bad", storeFailing: "bad", restarted: "bad", reloadRefused: "bad", pushing: "busy", pollRecovered: "good", storeRecovered: "good", reloaded: "good", paused: "warn" };
function drawActivity() {
  section("activity", state.events.map(({ event }) => event.id), () => {
    if (!state.events.length) return [make("li", {}, make("span", {}, t.emptyActivity))];
    return state.events.map((entry) => {
      const { name, event, fresh } = entry;
      entry.fresh = false;
      const words = t.events[name] ? t.events[name](event) : name;
      const effect = name === "changed" ? { merged: t.events.mergedIn, cancelled: t.events.cancelled }[event.effect] : null;
      const detail = effect || event.message || event.detail || event.panic || (event.projections ? t.count(event.projections.length) : "");
      const style = name === "pushed" ? { delivered: "good", failed: "bad", refused: "bad", skipped: "warn" }[event.outcome] : EVENT_TONES[name];
      return make("li", { class: [style, fresh && "fresh"].filter(Boolean).join(" ") },
        make("span", {}, words, event.projection ? make("code", {}, ` ${event.projection}`) : null, detail ? make("small", {}, detail) : null),
        make("time", { datetime: event.at }, clock(event.at)));
    });
  });
}

// ---- the picture ----
function draw() {
  const { status } = state;
  if (!status) return;
  $("main").hidden = false;
  text("version", `v${status.version}`);
  drawConditions(status);
  drawChanges(state.pending.receivers);
  drawDeliveries(state.deliveries.deliveries);
  drawActivity();
  const paused = status.scheduler.state === "paused";
  text("pause-text", paused ? t.resume : t.pause);
  $("pause-icon").setAttribute("href", paused ? "#i-play" : "#i-pause");
  tick();
}
/* Everything that runs with the clock. */
function tick() {
  const { status } = state;
  if (!status) return;
  const { scheduler, watcher, receivers } = status;
  const pending = Math.max(0, ...receivers.map((one) => one.pending));
  drawHeadline(status, pending);
  drawSource(status);
  text("watcher-state", watcher.projections ? t.every(span(watcher.intervalMs)) : t.none);
  const due = watcher.nextPollAt && Date.parse(watcher.nextPollAt) - now();
  text("watcher-more", !watcher.projections ? "" : due > 0 ? t.next(left(watcher.nextPollAt)) : t.nowPolling);
  ring("watch-ring", watcher.projections && due > 0 ? due / watcher.intervalMs : 0);
  tone($("s-watcher").querySelector(".disc"), watcher.projections ? "busy" : "");
  const waits = receivers.filter((one) => one.oldestPendingAt).map((one) => one.oldestPendingAt).sort();
  text("pending-state", pending ? t.count(pending) : t.none);
  text("pending-more", waits.length ? t.oldest(lasting(waits[0])) : t.nothing);
  text("pending-count", String(pending));
  $("pending-count").hidden = !pending;
  tone($("s-pending").querySelector(".disc"), pending ? "accent" : "");
  drawScheduler(scheduler);
  drawReceivers(receivers);
  flag($("w-wait"), "wait", pending > 0 && scheduler.state !== "pushing");
  flag($("w-push"), "busy", scheduler.state === "pushing");
  text("footer", t.foot(status, span(status.uptimeMs + now() - Date.parse(status.now))));
  text("pending-hint", pending ? t.oldest(lasting(waits[0] || status.now)) : "");
}
function ring(id, part) {
  const filled = Math.max(0, Math.min(1, part)) * 100;
  $(id).style.strokeDasharray = `${filled} 100`;
}
const STATE_TONES = { idle: "good", waiting: "warn", pushing: "busy", cooldown: "accent", paused: "warn", starting: "" };
function drawHeadline({ scheduler, receivers, conditions }, pending) {
  const room = scheduler.availability;
  const blind = conditions.find((one) => one.blocks && one.name.startsWith("source."));
  tone($("state"), STATE_TONES[scheduler.state]);
  text("state", t.states[scheduler.state] || scheduler.state);
  const stuck = receivers.filter((one) => one.pending && one.failures);
  const ready = receivers.some((one) => one.pending && !future(one.nextRetryAt) && (one.lastDelivery || {}).outcome !== "refused");
  let head, sub;
  if (blind) [head, sub] = [t.headline.blind(), blind.message];
  else switch (scheduler.state) {
    case "idle": [head, sub] = [t.headline.idle(), t.idleSub]; break;
    case "waiting":
      if (!ready && stuck.length) [head, sub] = [t.headline.retry(pending), stuck.map((one) => `${one.receiver}: ${one.lastError}${future(one.nextRetryAt) ? `, ${t.retry(left(one.nextRetryAt))}` : ""}`).join(" · ")];
      else [head, sub] = [t.headline.waiting(pending), room.error ? t.roomUnknown(room.error) : room.available === null ? "" : t.roomSub(room.available, room.minAvailable, room.since && !room.enough ? lasting(room.since) : "")];
      break;
    case "pushing": [head, sub] = [t.headline.pushing(receivers.filter((one) => one.inFlight).map((one) => one.receiver).join(", ") || "…"), ""]; break;
    case "cooldown": [head, sub] = [t.headline.cooldown(left(scheduler.cooldownUntil || scheduler.since)), t.coolSub(pending)]; break;
    case "paused": [head, sub] = [t.headline.paused(), t.pausedSub(pending)]; break;
    default: [head, sub] = [t.headline.starting(), ""];
  }
  text("headline", head);
  text("sub", sub);
  document.title = `${pending ? `(${pending}) ` : ""}${t.states[scheduler.state] || ""} · OGraph Dispatcher`;
}
function drawSource({ watcher, conditions }) {
  const refused = conditions.some((one) => one.name === "source.refused");
  const failing = watcher.errors.length;
  text("ograph-state", refused ? t.refuses : failing ? t.failing(failing, watcher.projections) : watcher.lastSweepAt ? t.reachable : t.unread);
  text("ograph-more", watcher.lastSweepAt ? t.answered(ago(watcher.lastSweepAt)) : "");
  const bad = refused || (failing && failing >= watcher.projections);
  tone($("s-ograph").querySelector(".disc"), bad ? "bad" : failing ? "warn" : watcher.lastSweepAt ? "good" : "");
  flag($("w-poll"), "cut", Boolean(bad));
}
function drawScheduler(scheduler) {
  const { available, minAvailable, enough, error } = scheduler.availability;
  text("scheduler-state", t.states[scheduler.state] || scheduler.state);
  const cooling = future(scheduler.cooldownUntil);
  text("scheduler-more", error ? t.unknown : cooling ? t.left(left(scheduler.cooldownUntil)) : available === null ? t.unknown : t.free(available, minAvailable));
  tone($("s-scheduler").querySelector(".disc"), error ? "warn" : STATE_TONES[scheduler.state]);
  const length = cooling ? Date.parse(scheduler.cooldownUntil) - Date.parse(scheduler.since) : 0;
  ring("gate-ring", length > 0 ? (Date.parse(scheduler.cooldownUntil) - now()) / length : 0);
  const count = Math.min(12, Math.max(available || 0, minAvailable));
  section("slots", [available, minAvailable, enough], () => available === null ? [] :
    Array.from({ length: count }, (_, index) => make("i", { class: index < available ? enough ? "free" : "short" : "" })));
}
function drawReceivers(receivers) {
  const lines = receivers.map((one) => {
    const outcome = (one.lastDelivery || {}).outcome;
    if (one.inFlight) return ["busy", t.telling];
    if (outcome === "failed") return ["bad", [t.fails(lasting(one.failingSince)), one.lastError, future(one.nextRetryAt) && t.retry(left(one.nextRetryAt))].filter(Boolean).join(" · ")];
    if (outcome === "refused" || outcome === "skipped") return [outcome === "refused" ? "bad" : "warn", one.lastError];
    if (future(one.coolingUntil)) return ["good", t.cooling(left(one.coolingUntil))];
    return [one.pending ? "warn" : "good", one.lastDelivery ? t.toldAt(ago(one.lastDelivery.at)) : one.pending ? "" : t.upToDate];
  });
  const worst = ["bad", "busy", "warn", "good"].find((one) => lines.some(([style]) => style === one)) || "";
  tone($("s-receivers").querySelector(".disc"), worst);
  section("receivers", [lines, receivers.map((one) => [one.receiver, one.pending])], () => receivers.length ? receivers.map((one, index) =>
    make("li", {}, make("i", { class: lines[index][0] }), make("b", { title: one.receiver }, one.receiver),
      one.pending ? make("em", {}, t.nPending(one.pending)) : null, lines[index][1] ? make("span", {}, lines[index][1]) : null)) : [make("li", {}, make("i"), make("span", {}, t.nobody))]);
}
function drawConditions(status) {
  const list = status.conditions.filter((one) => !["pushing.paused", "starting"].includes(one.name));
  $("conditions").hidden = !list.length;
  section("conditions", list, () => list.map((one) =>
    make("div", { class: "condition", "data-tone": { error: "bad", warning: "warn", notice: "busy" }[one.severity] }, icon("alert"),
      make("div", {}, make("b", {}, one.subject || one.name), " ", make("span", {}, one.message)),
      one.since ? make("time", { datetime: one.since }, clock(one.since)) : null)));
}

// ---- pending changes ----
function drawChanges(receivers) {
  const groups = new Map();
  for (const { receiver, changes } of receivers) for (const change of changes) {
    const key = JSON.stringify([change.projection, change.firstChangedAt, written(change.old), written(change.new)]);
    if (!groups.has(key)) groups.set(key, { change, told: [] });
    groups.get(key).told.push(receiver);
  }
  const list = [...groups.values()];
  section("changes", list, () => list.length ? list.map(({ change, told }) => drawChange(change, told)) :
    [make("div", { class: "empty" }, icon("check"), t.emptyPending)]);
}
function drawChange(change, told) {
  const { old, kind } = change, latest = change.new;
  const tones = { appeared: "good", removed: "bad", changed: "busy" };
  return make("article", { class: "change", "aria-label": change.projection },
    make("div", { class: "title" }, make("span", { class: "key" }, change.projection), make("span", { class: "chip", "data-tone": tones[kind] }, t.kinds[kind] || kind),
      change.merged > 1 ? make("span", { class: "chip" }, t.merged(change.merged)) : null,
      make("time", { class: "when", datetime: change.firstChangedAt, title: new Date(change.firstChangedAt).toLocaleString() }, clock(change.firstChangedAt))),
    difference(change),
    [old, latest].some((value) => value !== null && typeof value === "object") ?
      make("details", { "data-key": change.projection }, make("summary", {}, t.whole),
        make("div", { class: "whole" }, make("pre", { "aria-label": t.before, tabindex: "0" }, written(old)), make("pre", { "aria-label": t.after, tabindex: "0" }, written(latest)))) : null,
    make("div", { class: "told" }, t.forWhom, told.map((one) => make("span", { class: "chip", title: one }, one))));
}
const LINES = 12;
function difference({ old, patch, kind, ...change }) {
  const rows = patch.filter((one) => one.op !== "test").map((one) => {
    const before = one.op === "add" ? undefined : at(old, one.from || one.path);
    const after = one.op === "remove" ? undefined : one.op === "move" || one.op === "copy" ? at(change.new, one.path) : one.value;
    return [path(one.path), before, after];
  });
  if (kind !== "changed") rows.splice(0, rows.length, ["", kind === "appeared" ? undefined : old, kind === "removed" ? undefined : change.new]);
  const cell = (tag, value) => value === undefined ? make("td", { class: "none" }, "—") : make("td", {}, make(tag, {}, brief(value)));
  return make("table", { class: "diff" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }), make("th", { scope: "col" }, t.before), make("th", { scope: "col" }, t.after))),
    make("tbody", {}, rows.slice(0, LINES).map(([where, before, after]) => make("tr", {}, make("th", { scope: "row" }, where || t.value), cell("del", before), cell("ins", after))),
      rows.length > LINES ? make("tr", {}, make("th", { scope: "row" }, "…"), make("td", { class: "none", colspan: "2" }, t.more(rows.length - LINES))) : null));
}

// ---- deliveries ----
function drawDeliveries(list) {
  const tones = { delivered: "good", failed: "bad", refused: "bad", skipped: "warn" };
  section("deliveries", list, () => list.length ? [make("table", {},
    make("thead", {}, make("tr", {}, t.columns.map((name, index) => make("th", { scope: "col", class: index === 3 ? "number" : null }, name)))),
    make("tbody", {}, list.map((one) => make("tr", {},
      make("td", {}, make("time", { datetime: one.at, title: new Date(one.at).toLocaleString() }, clock(one.at))),
      make("td", { class: "who" }, one.receiver),
      make("td", { class: "outcome" }, make("span", { class: "chip", "data-tone": tones[one.outcome] }, t.outcomes[one.outcome] || one.outcome), one.reason === "flush" ? [" ", make("span", { class: "chip" }, t.byFlush)] : null),
      make("td", { class: "number" }, String(one.changes)),
      make("td", { class: "detail" }, one.detail),
      make("td", {}, span(one.tookMs))))))] : [make("div", { class: "empty" }, t.emptyDeliveries)]);
}

// ---- what the user does ----
function toast(words, bad) {
  const node = make("div", { class: bad ? "toast bad" : "toast" }, icon(bad ? "alert" : "check"), make("span", {}, words));
  $("toasts").append(node);
  while ($("toasts").children.length > 3) $("toasts").firstChild.remove();
  setTimeout(() => node.remove(), bad ? 9000 : 4500);
}
async function act(button, what) {
  button.disabled = true;
  try {
    toast(t.did[what](await call("POST", `/v1/${what}`, what === "flush" ? "{}" : undefined)));
    await refresh();
  } catch (error) {
    if (error instanceof Refused) refusedToken();
    else toast(t.failed(error instanceof TypeError ? t.unreachable : error.message), true);
  } finally {
    button.disabled = false;
    if (document.activeElement === document.body) button.focus();
  }
}
function speak() {
  t = WORDS[language] || WORDS.en;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t[node.dataset.t];
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t[node.dataset.label]);
  text("language", t.language);
  connected($("link").dataset.state);
  draw();
}
$("flush").addEventListener("click", () => act($("flush"), "flush"));
$("poll").addEventListener("click", () => act($("poll"), "poll"));
$("pause").addEventListener("click", () => act($("pause"), state.status && state.status.scheduler.state === "paused" ? "resume" : "pause"));
$("language").addEventListener("click", () => { language = language === "zh" ? "en" : "zh"; keep(localStorage, "language", language); speak(); });
$("gate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  if (!token) return;
  keep(sessionStorage, "token", token);
  enter();
});
addEventListener("hashchange", () => { if (takeToken()) enter(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && token) soon(); });
setInterval(tick, 500);
setInterval(() => { if (!document.hidden && token && $("link").dataset.state === "on") soon(); }, 5000);

takeToken();
speak();
if (token) enter(); else refusedToken();
})();
