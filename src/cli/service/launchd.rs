//! The launchd agent: the one in `config/`, with this user's paths in it.

use super::Plan;

/// Its name in the folder of agents.
pub(super) const FILE: &str = "dev.ograph.dispatcher.plist";
const TEMPLATE: &str = include_str!("../../../config/dev.ograph.dispatcher.plist");
const COMMAND: &str = "    <string>/usr/local/bin/ograph-dispatcher</string>\n    <string>run</string>\n";
const PATH: &str = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin";
const HOME: &str = "/Users/you";

/// The agent's text.
pub(super) fn agent(plan: &Plan) -> String {
    let command: String = plan.command.iter().map(|word| format!("    <string>{}</string>\n", escaped(word))).collect();
    TEMPLATE
        .replace(COMMAND, &command)
        .replace(&format!("<string>{PATH}</string>"), &format!("<string>{}</string>", escaped(&plan.path)))
        .replace(&format!("<string>{HOME}/"), &format!("<string>{}/", escaped(&plan.home)))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
