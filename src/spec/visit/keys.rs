//! Which keys there are, which will be, and what to say about all others.

use super::Reader;
use super::suggest::{list, nearest};
use crate::spec::code;
use crate::spec::problem::Problem;
use crate::spec::tree::Node;

/// The keys of one kind of map.
pub(super) struct Keys {
    /// Where they stand, for messages: "at the top level", "in a service".
    pub(super) place: &'static str,
    /// Those that work.
    pub(super) known: &'static [&'static str],
    /// Those of the design that are not built yet.
    pub(super) planned: &'static [&'static str],
    /// Those of Compose that only a container can have.
    pub(super) container: &'static [&'static str],
}

pub(super) const TOP: Keys = Keys {
    place: "at the top level",
    known: &[
        "name",
        "services",
        "ports",
        "dotenv",
        "env_file",
        "environment",
        "shell",
        "version",
    ],
    planned: &["configs", "secrets", "include"],
    container: &["networks", "volumes", "models"],
};

pub(super) const SERVICE: Keys = Keys {
    place: "in a service",
    known: &[
        "command",
        "entrypoint",
        "working_dir",
        "environment",
        "env_file",
        "depends_on",
        "healthcheck",
        "restart",
        "restart_policy",
        "success_exit_codes",
        "stop_signal",
        "stop_grace_period",
        "labels",
        "replicas",
        "handoff",
        "scale",
        "deploy",
    ],
    planned: &[
        "profiles",
        "user",
        "group_add",
        "ulimits",
        "tty",
        "stdin_open",
        "pre_start",
        "post_start",
        "pre_stop",
        "watch",
        "develop",
        "logging",
        "configs",
        "extends",
        "attach",
        "init",
        "expose",
        "ports",
        "image",
        "build",
        "on_unhealthy",
        "annotations",
        "label_file",
        "oom_score_adj",
    ],
    container: &[
        "blkio_config",
        "cap_add",
        "cap_drop",
        "cgroup",
        "cgroup_parent",
        "container_name",
        "cpu_count",
        "cpu_percent",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpu_shares",
        "cpus",
        "cpuset",
        "credential_spec",
        "device_cgroup_rules",
        "devices",
        "dns",
        "dns_opt",
        "dns_search",
        "domainname",
        "external_links",
        "extra_hosts",
        "gpus",
        "hostname",
        "ipc",
        "isolation",
        "links",
        "mac_address",
        "mem_limit",
        "mem_reservation",
        "mem_swappiness",
        "memswap_limit",
        "models",
        "network_mode",
        "networks",
        "oom_kill_disable",
        "pid",
        "pids_limit",
        "platform",
        "privileged",
        "provider",
        "pull_policy",
        "read_only",
        "runtime",
        "secrets",
        "security_opt",
        "shm_size",
        "storage_opt",
        "sysctls",
        "tmpfs",
        "use_api_socket",
        "userns_mode",
        "uts",
        "volumes",
        "volumes_from",
    ],
};

pub(super) const PORTS: Keys = simple("in `ports`", &["range", "exclude"], &[]);
pub(super) const DOTENV: Keys = simple("in `dotenv`", &["path", "vars"], &["secrets"]);
pub(super) const ENV_FILE: Keys = simple("in `env_file`", &["path", "required"], &["format"]);
pub(super) const DEPENDENCY: Keys = simple(
    "in `depends_on`",
    &["condition", "required", "restart"],
    &[],
);
pub(super) const DEPLOY: Keys = simple(
    "in `deploy`",
    &["replicas"],
    &[
        "mode",
        "endpoint_mode",
        "labels",
        "placement",
        "resources",
        "restart_policy",
        "rollback_config",
        "update_config",
    ],
);
pub(super) const HEALTHCHECK: Keys = simple(
    "in `healthcheck`",
    &[
        "test",
        "http",
        "tcp",
        "disable",
        "interval",
        "timeout",
        "retries",
        "start_period",
        "start_interval",
    ],
    &["log", "notify", "on_unhealthy"],
);
pub(super) const HTTP: Keys = simple("in `http`", &["path", "port", "status", "headers"], &[]);
pub(super) const RESTART_POLICY: Keys = simple(
    "in `restart_policy`",
    &["condition", "delay", "max_delay", "max_attempts", "window"],
    &[],
);

/// What people write who come from elsewhere, and what it is called here.
const SYNONYMS: &[(&str, &str)] = &[
    ("processes", "services"),
    ("apps", "services"),
    ("env", "environment"),
    ("env_vars", "environment"),
    ("cmd", "command"),
    ("run", "command"),
    ("exec", "command"),
    ("args", "command"),
    ("cwd", "working_dir"),
    ("dir", "working_dir"),
    ("directory", "working_dir"),
    ("workdir", "working_dir"),
    ("needs", "depends_on"),
    ("requires", "depends_on"),
    ("after", "depends_on"),
    ("health", "healthcheck"),
    ("readiness_probe", "healthcheck"),
    ("liveness_probe", "healthcheck"),
    ("availability", "restart_policy"),
    ("autorestart", "restart"),
    ("signal", "stop_signal"),
    ("stop_timeout", "stop_grace_period"),
    ("instances", "replicas"),
    ("numprocs", "replicas"),
];

const fn simple(
    place: &'static str,
    known: &'static [&'static str],
    planned: &'static [&'static str],
) -> Keys {
    Keys {
        place,
        known,
        planned,
        container: &[],
    }
}

impl Keys {
    /// The known key that a wrong one was meant to be.
    pub(super) fn suggest(&self, wrong: &str) -> Option<&'static str> {
        let synonym = SYNONYMS
            .iter()
            .find(|(theirs, ours)| *theirs == wrong && self.known.contains(ours))
            .map(|&(_, ours)| ours);
        synonym
            .or_else(|| nearest(wrong, self.known.iter().copied()))
            .or_else(|| nearest(wrong, self.planned.iter().copied()))
            .or_else(|| nearest(wrong, self.container.iter().copied()))
    }
}

impl Reader<'_> {
    /// Reports a key that is not one of `keys.known`. `service` is the service in which it stands.
    pub(super) fn refuse_key(&mut self, keys: &Keys, key: &Node<'_>, service: Option<&str>) {
        // What nobody will see need not be worked out.
        if self.problems.is_full() {
            return;
        }
        let name = key.text().unwrap_or_default();
        let span = self.span(key);
        let problem = if keys.planned.contains(&name) {
            let hint = match name {
                "image" | "build" => "run it as a process with `command`, or beside the stack",
                "ports" if service.is_some() => {
                    "a process asks for its ports where it uses them: `$<PORT:auto>`"
                }
                "secrets" | "configs" => "read it from a file, or from `env_file`",
                "restart_policy" => "write it in the service itself",
                _ => "remove it for now",
            };
            Problem::error(
                code::NOT_SUPPORTED_YET,
                format!("`{name}` is not supported yet"),
                &span,
            )
            .hint(hint)
        } else if keys.container.contains(&name) {
            let problem = match service {
                Some(service) => Problem::error(
                    code::NEEDS_CONTAINER,
                    format!(
                        "`{name}` needs a container: service `{service}` runs `command` as a \
                         process"
                    ),
                    &span,
                ),
                None => Problem::error(
                    code::NEEDS_CONTAINER,
                    format!("`{name}` needs a container, and every service here is a process"),
                    &span,
                ),
            };
            problem.hint(match (service, name) {
                (None, _) => "remove it",
                (Some(_), "volumes" | "tmpfs") => {
                    "add `image:` or remove it; a process sees your files as they are"
                }
                (Some(_), "networks" | "network_mode" | "links") => {
                    "add `image:` or remove it; processes reach each other on `localhost`"
                }
                (Some(_), "secrets") => "add `image:` or remove it; a process can use `env_file`",
                (Some(_), _) => "add `image:` or remove it",
            })
        } else {
            let problem = Problem::error(
                code::UNKNOWN_KEY,
                format!("unknown key `{name}` {}", keys.place),
                &span,
            );
            match keys.suggest(name) {
                Some(meant) => problem
                    .label(format!("did you mean `{meant}`?"))
                    .hint(format!(
                        "write `{meant}`, or `x-{name}` for a key of your own"
                    )),
                None => problem.hint(format!(
                    "the keys are {}; keys of your own start with `x-`",
                    list(keys.known.iter().copied())
                )),
            }
        };
        self.problems.push(problem);
    }
}
