//! The table of keys: every key that is known, with its reader, and what is said of all others.
//!
//! A row is the key's name, the kind of its value, an example (the default, where there is one), in
//! brackets what others call it, what it is for, and how it is read. Known keys, suggestions, "not
//! supported yet", "needs a container" and `docs/reference/keys.md` come from here.

mod given_files;
mod hook;
mod logging;
mod process;
mod schedule;
mod watch;

pub(super) use given_files::{CONFIG, FILE_USE, SECRET};
pub(super) use hook::HOOK;
pub(super) use logging::{LOGGING, LOGGING_OPTIONS};
pub(super) use process::{LISTED_PORT, ULIMIT};
pub(super) use schedule::SCHEDULE;
pub(super) use watch::{DEVELOP, WATCH};

use super::table::{Key, KeyDoc, Keys, Others, Section, State, keys};
use super::values as v;
use crate::spec::model::{
    DependencySpec, DotenvSpec, ExtendsSpec, FileKind, HookTime, HttpProbeSpec, IncludeSpec,
    ProbeSpec, RestartPolicySpec, ServiceSpec, StackSpec,
};
use crate::spec::visit::environment::EnvFile;
use crate::spec::visit::healthcheck::Check;
use crate::support::port_range::Pool;

keys! {
    TOP: StackSpec, "at the top level", "";

    "name", "text", "shop", [],
    "The project's name; without it the directory's. `-p` and `STACK_PROJECT_NAME` are stronger."
        => |r, stack, field| stack.name = r.project_name(field);
    "services", "map", "{ web: { command: npm run dev } }", ["processes apps"],
    "The services, by name."
        => |r, stack, field| stack.services = r.services(field);
    "ports", "map", "{ range: 8000-9000 }", [],
    "From which ports the allocator takes."
        => |r, stack, field| {
            let hint = "write `ports: {range: 8000-9000}`";
            r.read_map(&PORTS, &mut stack.ports, field, hint);
        };
    "dotenv", "map or `false`", "{ path: .env }", [],
    "The generated file; `false` turns it off."
        => |r, stack, field| r.dotenv(stack, field);
    "env_file", "path or list", "[.env.local]", [],
    "Files of `KEY=value` lines for `${…}` in this file, and for every service."
        // Read before everything else, since all other texts may use what is in them.
        => |_, _, _| {};
    "environment", "map or list", "{ RUST_LOG: info }", ["env env_vars"],
    "Environment of every service."
        => |r, stack, field| stack.environment = r.top_environment(field);
    "shell", "list", "[/bin/sh, -c]", [],
    "What runs commands and tests that are strings."
        => |r, stack, field| stack.shell = r.shell(field);
    "include", "path or list", "[api/stack.yaml]", [],
    "Files with further services, each with its own directory and variables."
        // Brought in before anything is read.
        => |_, _, _| {};
    "version", "text", "'3'", [],
    "Ignored, with a warning."
        => |r, _, field| r.version(field);

    "configs", "map", "{ app: { file: ./app.conf } }", [],
    "Files for services, with placeholders in them: `$<configs.app>` is the path."
        => |r, stack, field| stack.configs = r.file_specs(FileKind::Config, field);
    "secrets", "map", "{ token: { environment: HOME } }", [],
    "Files for services, as they are: `$<secrets.token>` is the path."
        => |r, stack, field| stack.secrets = r.file_specs(FileKind::Secret, field);

    container "remove it; processes reach each other on `localhost`": "networks";
    container "remove it; a process sees your files as they are": "volumes";
    container "remove it": "models";
}

keys! {
    INCLUDE: IncludeSpec, "in `include`", "include";

    "path", "path or list", "api/stack.yaml", [],
    "The file; the later ones of a list are merged over the first."
        => |r, include, field| include.paths = r.literals(field);
    "project_directory", "path", "api", [],
    "Where its relative paths start; without it the directory of the file."
        => |r, include, field| include.project_directory = r.literal("`project_directory`", field.value);
    "env_file", "path or list", "api/.env", [],
    "Files of `KEY=value` lines for its `${…}`; without it the `.env` of its directory."
        => |r, include, field| {
            include.env_file = Some(r.without_placeholders("`env_file`", |r| r.env_files(field)));
        };
}

keys! {
    EXTENDS: ExtendsSpec, "in `extends`", "services.NAME.extends";

    "service", "name", "base", [],
    "The service whose keys this one has, too."
        => |r, extends, field| extends.service = r.literal("`service`", field.value);
    "file", "path", "common.yaml", [],
    "The file in which it is; without it this one."
        => |r, extends, field| extends.file = r.literal("`file`", field.value);
}

keys! {
    PORTS: Pool, "in `ports`", "ports";

    "range", "range or list", "8000-9000", [],
    "Both ends included; the later ones of a list are the fallback."
        => |r, pool, field| r.pool_ranges(pool, field);
    "exclude", "range or list", "[8080, 8443]", [],
    "Ports that are never handed out."
        => |r, pool, field| pool.exclude = r.ranges(field);
}

keys! {
    DOTENV: DotenvSpec, "in `dotenv`", "dotenv";

    "path", "path", ".env", [],
    "Where the file is."
        // Read before everything else, since the user's part of the file has variables.
        => |_, _, _| {};
    "vars", "map", "{ API_URL: 'http://localhost:$<api.PORT>' }", [],
    "Further lines of the file."
        => |r, dotenv, field| dotenv.vars = r.dotenv_vars(field);

    "secrets", "flag", "false", [],
    "Whether the values of `$<NAME:secret>` are written into the file, too."
        => |r, dotenv, field| dotenv.secrets = r.flag(field).unwrap_or(false);
}

keys! {
    ENV_FILE: EnvFile, "in `env_file`", "services.NAME.env_file";

    "path", "path", ".env.local", [],
    "The file, relative to the project directory."
        => |r, file, field| file.path = r.text(field);
    "required", "flag", "true", [],
    "Whether it is an error that it is missing."
        => |r, file, field| file.is_optional = r.flag(field) == Some(false);
    "format", "word", "dotenv", [],
    "How it is read: `dotenv`, or `raw`, where all that stands after the `=` is the value."
        => |r, file, field| file.is_raw = r.env_file_format(field);
}

keys! {
    SERVICE: ServiceSpec, "in a service", "services.NAME";

    "command", "text or list", "npm run dev", ["cmd run exec args"],
    "What is run: a string is a shell line, a list is taken as it is."
        => |r, service, field| service.command = r.command(field);
    "entrypoint", "text or list", "[nice, -n, '5']", [],
    "Put before the command."
        => |r, service, field| service.entrypoint = r.command(field);
    "working_dir", "path", "web", ["cwd dir directory workdir"],
    "Where it starts, relative to the project directory."
        => |r, service, field| service.working_dir = r.text(field);
    "environment", "map or list", "{ LOG_LEVEL: info, PAGER: null }", ["env env_vars"],
    "Its environment; `null` removes a key, a list's `KEY` alone passes it on."
        => |r, service, field| service.environment = r.own_environment(field);
    "env_file", "path or list", "[web.env]", [],
    "Files of `KEY=value` lines for its environment."
        => |r, service, field| service.env_file = r.env_files(field);
    "depends_on", "list or map", "[db]", ["needs requires after"],
    "Which services must have come how far before it starts."
        => |r, service, field| service.depends_on = r.depends_on(field);
    "healthcheck", "map", "{ http: /health }", ["health readiness_probe liveness_probe"],
    "How to know that it is well."
        => |r, service, field| service.healthcheck = r.healthcheck(field);
    "on_unhealthy", "word", "none", [],
    "What follows when its health check fails for good: `none`, or `restart`."
        => |r, service, field| service.on_unhealthy = r.setting(field, v::parse_on_unhealthy);
    "restart", "policy", "no", ["autorestart"],
    "After which ends it starts again: `no`, `always`, `on-failure`, `on-failure:5` or `unless-stopped`."
        => |r, service, field| service.restart = r.setting(field, v::parse_restart);
    "schedule", "text or map", "'*/5 * * * *'", ["cron cron_restart"],
    "When it runs, again and again: a cron expression in local time, or `{every: 5m}`."
        => |r, service, field| service.schedule = r.schedule(field);
    "restart_policy", "map", "{ delay: 1s }", ["availability"],
    "The same, tuned."
        => |r, service, field| r.own_restart_policy(service, field);
    "success_exit_codes", "list of numbers", "[3]", [],
    "Exit codes besides 0 that are successes."
        => |r, service, field| service.success_exit_codes = r.settings(field, v::parse_exit_code);
    "stop_signal", "signal", "SIGTERM", ["signal"],
    "What asks it to stop: a name, with or without `SIG`, or a number."
        => |r, service, field| service.stop_signal = r.setting(field, v::parse_signal);
    "stop_grace_period", "duration", "10s", ["stop_timeout"],
    "How long it may take to stop before it is killed."
        => |r, service, field| service.stop_grace_period = r.setting(field, v::parse_duration);
    "logging", "map", "{ max-size: 10m, max-file: 5 }", ["log logs log_rotation"],
    "How much of what it prints is kept."
        => |r, service, field| {
            r.read_map(&LOGGING, &mut service.logging, field, "write `logging: {max-size: 10m}`");
        };
    "labels", "map or list", "{ team: web }", [],
    "Kept and shown by `stack config`."
        => |r, service, field| service.labels = r.texts(field);
    "label_file", "path or list", "[web.labels]", [],
    "Files of `KEY=value` lines that are labels, too; `labels` is stronger."
        => |r, service, field| service.label_file = r.env_files(field);
    "annotations", "map or list", "{ team: web }", [],
    "As `labels`."
        => |r, service, field| service.annotations = r.texts(field);
    "attach", "flag", "true", [],
    "Whether `stack up` shows what it prints; `stack logs` always does."
        => |r, service, field| service.is_attached = r.flag(field).unwrap_or(true);
    "init", "flag", "false", [],
    "Does nothing: `stack` itself ends and reaps what a service leaves."
        => |r, _, field| r.without_effect(field, "`stack` reaps what a process leaves");
    "user", "text", "'1000:1000'", ["uid run_as"],
    "Whose process it is: a name or number, with a group after a colon if you like."
        => |r, service, field| service.process.user = r.text(field);
    "group_add", "list", "[audio]", [],
    "Further groups of its process, by name or number."
        => |r, service, field| service.process.group_add = r.list(field);
    "umask", "octal number", "022", [],
    "Which permissions its new files do not get."
        => |r, service, field| service.process.umask = r.setting(field, v::parse_umask);
    "nice", "number", "10", ["priority"],
    "How willingly it leaves the processor to others, from -20 to 19."
        => |r, service, field| service.process.nice = r.setting(field, v::parse_nice);
    "oom_score_adj", "number", "500", [],
    "How likely the kernel kills it when memory runs out, from -1000 to 1000."
        => |r, service, field| {
            service.process.oom_score_adj = r.setting(field, v::parse_oom_score_adj);
        };
    "tty", "flag", "false", [],
    "Whether it has a terminal: programs then use colours, and `stack attach` is at its keyboard."
        => |r, service, field| service.process.tty = r.flag(field).unwrap_or(false);
    "stdin_open", "flag", "false", [],
    "Whether its standard input stays open, for `stack attach`; without it, it is empty."
        => |r, service, field| service.process.stdin_open = r.flag(field).unwrap_or(false);
    "ulimits", "map", "{ nofile: 4096, core: { soft: 0, hard: -1 } }", ["ulimit limits"],
    "Its limits, by name: a number, or `{soft, hard}`; -1 means without a limit."
        => |r, service, field| service.process.ulimits = r.ulimits(field);
    "profiles", "list", "[dev]", [],
    "It takes part only with one of these: `--profile`, `STACK_PROFILES`, or by its own name."
        => |r, service, field| service.profiles = r.profiles(field);
    "extends", "name or map", "{ service: base, file: common.yaml }", ["inherits"],
    "Another service whose keys this one has, too, as far as it does not say otherwise."
        // Brought in before anything is read.
        => |_, _, _| {};
    "replicas", "number", "1", ["instances numprocs"],
    "How many of it run, each with ports of its own."
        => |r, service, field| service.replicas.extend(r.replicas(field));
    "scale", "number", "1", [],
    "The same as `replicas`."
        => |r, service, field| service.replicas.extend(r.replicas(field));
    "deploy", "map", "{ replicas: 2 }", [],
    "Compose's place for `replicas`."
        => |r, service, field| {
            r.read_map(&DEPLOY, service, field, "write `deploy: {replicas: 2}`, or `replicas: 2`");
        };
    "ports", "list", "[8080]", [],
    "Ports on which its command listens: numbers, `$<PORT:auto>` or `{target: 8080, name: PORT}`."
        => |r, service, field| service.listed_ports.extend(r.listed_ports(field));
    "expose", "list", "[8080]", [],
    "The same as `ports`."
        => |r, service, field| service.listed_ports.extend(r.listed_ports(field));
    "configs", "list", "[app]", [],
    "The configs that it is given; one that it refers to need not be listed."
        => |r, _, field| r.file_uses(FileKind::Config, field);
    "secrets", "list", "[token]", [],
    "The secrets that it is given; one that it refers to need not be listed."
        => |r, _, field| r.file_uses(FileKind::Secret, field);
    "handoff", "word", "reuse", [],
    "How its ports reach it: `reuse`, `release` or `fd`."
        => |r, service, field| service.handoff = r.setting(field, v::parse_handoff);
    "pre_start", "text, list or map", "npm run build", ["before prestart exec_start_pre"],
    "What is run before the service, and must exit with 0."
        => |r, service, field| service.hooks.extend(r.hooks(HookTime::PreStart, field));
    "post_start", "text, list or map", "[[curl, -s, 'localhost:8000/warm']]", ["after poststart"],
    "What is run when the service has been executed."
        => |r, service, field| service.hooks.extend(r.hooks(HookTime::PostStart, field));
    "pre_stop", "text, list or map", "{ command: ./drain, timeout: 3s }", ["prestop"],
    "What is run before the service is asked to stop."
        => |r, service, field| service.hooks.extend(r.hooks(HookTime::PreStop, field));

    "watch", "list", "[{ path: src, action: restart }]", [],
    "What is done when files change, under `stack up --watch` and `stack watch`."
        => |r, service, field| service.watch.extend(r.watch(field));
    "develop", "map", "{ watch: [{ path: src }] }", [],
    "Compose's place for `watch`."
        => |r, service, field| {
            r.read_map(&DEVELOP, service, field, "write `develop: {watch: [{path: src}]}`");
        };

    planned "run it as a process with `command`, or beside the stack": "image build";
    container "remove it; a process sees your files as they are": "volumes tmpfs";
    container "remove it; processes reach each other on `localhost`": "networks network_mode links";
    container "remove it": "blkio_config cap_add cap_drop cgroup cgroup_parent container_name
        cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus
        cpuset credential_spec device_cgroup_rules devices dns dns_opt dns_search domainname
        external_links extra_hosts gpus hostname ipc isolation mac_address mem_limit mem_reservation
        mem_swappiness memswap_limit models oom_kill_disable pid pids_limit platform privileged
        provider pull_policy pull_refresh_after read_only runtime security_opt shm_size storage_opt sysctls
        use_api_socket userns_mode uts volumes_from";
}

keys! {
    DEPENDENCY: DependencySpec, "in `depends_on`", "services.NAME.depends_on.NAME";

    "condition", "word", "service_healthy", [],
    "What is waited for: `service_started`, `service_healthy` or `service_completed_successfully`."
        => |r, edge, field| edge.condition = r.condition(field.value).unwrap_or(edge.condition);
    "required", "flag", "true", [],
    "Whether this one fails when the other one cannot meet the condition."
        => |r, edge, field| edge.is_required = r.flag(field).unwrap_or(true);
    "restart", "flag", "false", [],
    "Whether `stack restart` of the other one restarts this one, too."
        => |r, edge, field| edge.restart = r.flag(field).unwrap_or(false);
}

keys! {
    HEALTHCHECK: Check, "in `healthcheck`", "services.NAME.healthcheck";

    "test", "text or list", "pg_isready", [],
    "A command that exits with 0: a shell line, `[CMD, program, argument]`, `[CMD-SHELL, line]`; `NONE` for no check."
        => |r, check, field| { let probe = r.test(field); check.add(field, probe); };
    "http", "path, URL or map", "/health", [],
    "A request that is answered with 200 to 399."
        => |r, check, field| { let probe = r.http(field); check.add(field, Some(probe)); };
    "tcp", "port or address", "localhost:5432", [],
    "A connection that can be made."
        => |r, check, field| { let probe = r.tcp(field); check.add(field, Some(probe)); };
    "log", "regular expression", "'ready in [0-9]+ ms'", [],
    "A line that the service has printed since its start, on either stream."
        => |r, check, field| { let probe = r.log(field); check.add(field, Some(probe)); };
    "notify", "flag", "true", [],
    "Whether the service says itself how it is, by `sd_notify`: `READY=1`, `WATCHDOG=1` at least once an `interval`."
        => |r, check, field| if r.flag(field) == Some(true) { check.add(field, Some(ProbeSpec::Notify)); };
    "disable", "flag", "false", [],
    "No check."
        => |r, check, field| check.is_disabled = r.flag(field).unwrap_or(false);
    "interval", "duration", "30s", [],
    "The time between two checks that count."
        => |r, check, field| check.times.interval = r.setting(field, v::parse_duration);
    "timeout", "duration", "30s", [],
    "A check that takes longer has failed."
        => |r, check, field| check.times.timeout = r.setting(field, v::parse_duration);
    "retries", "number", "3", [],
    "So many failures in a row make it unhealthy."
        => |r, check, field| check.times.retries = r.setting(field, v::parse_count);
    "start_period", "duration", "0s", [],
    "Failures of checks that begin this early do not count."
        => |r, check, field| check.times.start_period = r.setting(field, v::parse_duration);
    "start_interval", "duration", "5s", [],
    "The time between two checks within `start_period`."
        => |r, check, field| check.times.start_interval = r.setting(field, v::parse_duration);
    "listener", "word", "new", [],
    "Who may answer `http` and `tcp` on a loopback port that is none of this stack's: `new`, who was not there before the service, or `any`."
        => |r, check, field| check.listener = r.setting(field, v::parse_answerer);

    elsewhere "write it in the service itself, beside `healthcheck`": "on_unhealthy";
}

keys! {
    HTTP: HttpProbeSpec, "in `http`", "services.NAME.healthcheck.http";

    "path", "path or URL", "/", [],
    "What is asked for."
        => |r, http, field| http.path = r.http_path(field).unwrap_or(http.path.clone());
    "port", "port", "$<PORT>", [],
    "Which port is asked; without it the service's own TCP port."
        => |r, http, field| http.port = r.setting(field, v::parse_port);
    "status", "number, range or list", "[204, 300-399]", [],
    "The answers that pass; without it 200 to 399."
        => |r, http, field| http.status = r.settings(field, v::parse_status);
    "headers", "map", "{ X-Probe: stack }", [],
    "Further headers of the request."
        => |r, http, field| http.headers = r.texts(field);
}

keys! {
    RESTART_POLICY: RestartPolicySpec, "in `restart_policy`", "services.NAME.restart_policy";

    "condition", "word", "any", [],
    "After which ends: `any`, `on-failure` or `none`."
        => |r, policy, field| policy.condition = r.setting(field, v::parse_restart_condition);
    "delay", "duration", "100ms", [],
    "Before the first restart; it doubles with every further one."
        => |r, policy, field| policy.delay = r.setting(field, v::parse_duration);
    "max_delay", "duration", "60s", [],
    "The delay grows to this."
        => |r, policy, field| policy.max_delay = r.setting(field, v::parse_duration);
    "max_attempts", "number", "5", [],
    "How many restarts in a row there are at most; without it there is no limit."
        => |r, policy, field| policy.max_attempts = r.setting(field, v::parse_count);
    "window", "duration", "10s", [],
    "A run that lasts as long ends the row."
        => |r, policy, field| policy.window = r.setting(field, v::parse_duration);
}

keys! {
    DEPLOY: ServiceSpec, "in `deploy`", "services.NAME.deploy";

    "replicas", "number", "1", [],
    "The same as `replicas` of the service."
        => |r, service, field| service.replicas.extend(r.replicas(field));

    "restart_policy", "map", "{ condition: on-failure, delay: 1s }", [],
    "The same as `restart_policy` of the service."
        => |r, service, field| r.own_restart_policy(service, field);

    container "remove it: these are for a cluster, and a process has none": "mode endpoint_mode
        placement rollback_config update_config";
    container "write `labels` in the service itself": "labels";
    container "remove it; `ulimits` limits a process": "resources";
}

/// The reference: every kind of map with its keys.
pub fn reference() -> Vec<Section> {
    vec![
        TOP.section(),
        INCLUDE.section(),
        PORTS.section(),
        DOTENV.section(),
        SERVICE.section(),
        ENV_FILE.section(),
        EXTENDS.section(),
        HOOK.section(),
        DEPENDENCY.section(),
        HEALTHCHECK.section(),
        HTTP.section(),
        RESTART_POLICY.section(),
        LOGGING.section(),
        LOGGING_OPTIONS.section(),
        LISTED_PORT.section(),
        ULIMIT.section(),
        CONFIG.section(),
        SECRET.section(),
        FILE_USE.section(),
        DEPLOY.section(),
        WATCH.section(),
        DEVELOP.section(),
    ]
}
