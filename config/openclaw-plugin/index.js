// Two routes on OpenClaw's gateway for ograph-dispatcher. OpenClaw itself checks the bearer token (`auth: "gateway"`).
//
//   GET  /plugins/session-status/status   how many agents may run, and how many do
//   POST /plugins/ograph/dispatch         {actor, …document} becomes a turn of an agent, once per batchId
//                                         (OpenClaw knows a batchId only once, whatever the actor)
//
// OpenClaw registers a plugin more than once, so nothing is remembered here: what has to be known is asked for.

import { definePluginEntry } from "openclaw/plugin-sdk/plugin-entry";
import { dispatchGatewayMethod } from "openclaw/plugin-sdk/gateway-method-runtime";
import { createHandlers } from "./handlers.js";

export default definePluginEntry({
  id: "ograph",
  name: "OGraph dispatcher",
  description: "Serves /plugins/session-status/status and /plugins/ograph/dispatch for ograph-dispatcher.",
  register(api) {
    const config = api.pluginConfig ?? {};
    const handlers = createHandlers(dispatchGatewayMethod, config);
    const route = (path, handler) => api.registerHttpRoute({ path, auth: "gateway", match: "exact", handler });
    if (config.status !== false) route("/plugins/session-status/status", handlers.status);
    if (config.dispatch !== false) route("/plugins/ograph/dispatch", handlers.dispatch);
  },
});
