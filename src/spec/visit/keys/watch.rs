//! The rows of `watch`, and of `develop`, which is Compose's place for it.

use crate::spec::model::{ServiceSpec, WatchSpec};
use crate::spec::visit::table::{Key, KeyDoc, Keys, Others, State, keys};
use crate::spec::visit::values as v;

keys! {
    DEVELOP: ServiceSpec, "in `develop`", "services.NAME.develop";

    "watch", "list", "[{ path: src, action: restart }]", [],
    "The same as `watch` of the service."
        => |r, service, field| service.watch.extend(r.watch(field));
}

keys! {
    WATCH: WatchSpec, "in `watch`", "services.NAME.watch";

    "path", "path", "src", ["dir file"],
    "The file or directory that is watched, with all below it, relative to the project directory."
        => |r, watch, field| watch.path = r.text(field);
    "action", "word", "restart", [],
    "What a change does: `restart`, `rebuild` (run `command`, then restart) or `signal`."
        => |r, watch, field| watch.action = r.watch_action(field);
    "command", "text or list", "cargo build", [],
    "What `rebuild` runs, in the environment and the directory of the service."
        => |r, watch, field| watch.command = r.command(field);
    "signal", "signal", "SIGHUP", [],
    "What `signal` sends to the service."
        => |r, watch, field| watch.signal = r.setting(field, v::parse_signal);
    "ignore", "pattern or list", "['*.md', tmp/]", ["exclude"],
    "What does not count below `path`, as lines of a `.gitignore`."
        => |r, watch, field| watch.ignore = r.list(field);
    "include", "pattern or list", "['*.rs']", [],
    "What alone counts below `path`, in the same form."
        => |r, watch, field| watch.include = r.list(field);

    container "remove it; a process sees your files as they are": "target initial_sync";
    container "write `action: rebuild` and `command: …`": "exec";
}
