//! The rows of a hook.

use crate::spec::model::HookSpec;
use crate::spec::visit::table::{Key, KeyDoc, Keys, Others, State, keys};
use crate::spec::visit::values as v;

keys! {
    HOOK: HookSpec, "in a hook", "services.NAME.pre_start";

    "command", "text or list", "npm run build", ["cmd run exec args"],
    "What is run: a string is a shell line, a list is taken as it is."
        => |r, hook, field| hook.command = r.command(field);
    "environment", "map or list", "{ CI: '1' }", ["env env_vars"],
    "Environment on top of the service's."
        => |r, hook, field| hook.environment = r.environment(field);
    "working_dir", "path", "web", ["cwd dir directory workdir"],
    "Where it starts, relative to the project directory; without it where the service does."
        => |r, hook, field| hook.working_dir = r.text(field);
    "user", "text", "'1000:1000'", ["uid run_as"],
    "Whose process it is; without it that of the service's user."
        => |r, hook, field| hook.user = r.text(field);
    "timeout", "duration", "5m", [],
    "A hook that takes longer is killed and has failed; without it 5 minutes, of `pre_stop` half of `stop_grace_period`, shared by several."
        => |r, hook, field| hook.timeout = r.setting(field, v::parse_duration);

    container "remove it: a hook of a process has the rights of whoever calls `stack`": "privileged";
    container "remove it": "image per_replica";
}
