//! The rows of what a process says of its ports and limits.

use crate::spec::visit::listed_ports::PortParts;
use crate::spec::visit::process::Ulimit;
use crate::spec::visit::table::{Key, KeyDoc, Keys, Others, State, keys};
use crate::spec::visit::values as v;

keys! {
    LISTED_PORT: PortParts, "in an item of `ports`", "services.NAME.ports";

    "target", "port", "8080", ["container"],
    "The number on which the command listens."
        => |r, parts, field| parts.target = r.literal_port(field);
    "published", "port", "8080", ["host"],
    "The same number, if it is given: a process has no other one."
        => |r, parts, field| parts.published = r.literal_port(field);
    "protocol", "word", "tcp", [],
    "What travels over it: `tcp` or `udp`."
        => |r, parts, field| parts.protocol = r.setting(field, v::parse_protocol);
    "name", "name", "ADMIN", [],
    "What it is called in placeholders and in `.env`."
        => |r, parts, field| parts.name = r.listed_name(field);

    container "remove it: the command itself chooses its address, `$<BIND>` is the usual one": "host_ip";
    container "remove it": "mode app_protocol";
}

keys! {
    ULIMIT: Ulimit, "in `ulimits`", "services.NAME.ulimits.NAME";

    "soft", "number", "1024", [],
    "The limit that counts; the process may change it."
        => |r, limit, field| limit.0 = r.setting(field, v::parse_limit);
    "hard", "number", "4096", [],
    "How far the process may raise it."
        => |r, limit, field| limit.1 = r.setting(field, v::parse_limit);
}
