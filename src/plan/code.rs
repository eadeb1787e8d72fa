//! The stable codes of everything that can be wrong with a plan.

use crate::support::codes::codes;

codes! {
    /// Services that wait for each other.
    CYCLE = "stack::plan::cycle";
    /// A service that waits for itself.
    SELF_DEPENDENCY = "stack::plan::self_dependency";
    /// A dependency that does not exist.
    UNKNOWN_DEPENDENCY = "stack::plan::unknown_dependency";
    /// A dependency, or a reference, to a service of which no profile is active.
    INACTIVE_SERVICE = "stack::plan::inactive_service";
    /// `service_healthy` of a service that has neither a check nor a port.
    NEVER_HEALTHY = "stack::plan::never_healthy";
    /// A condition that a service with a `schedule` never meets for good.
    NEVER_DONE = "stack::plan::never_done";
    /// A `schedule`, and a policy that restarts after every end.
    SCHEDULED_RESTART = "stack::plan::scheduled_restart";
    /// A `pre_stop` that may take all of the grace period.
    NO_TIME_TO_STOP = "stack::plan::no_time_to_stop";
    /// Two generated values with one key.
    KEY_COLLISION = "stack::plan::key_collision";
    /// Warning: a wish for a port that is not a port number.
    WISH = "stack::plan::wish";
    /// No name for the project, or one that is not valid.
    PROJECT_NAME = "stack::plan::project_name";
    /// An `env_file` that cannot be read.
    ENV_FILE = "stack::plan::env_file";
    /// A variable or a word of a command that is longer than the system takes.
    TOO_LONG = "stack::plan::too_long";
    /// An entrypoint that needs a shell, with a command after it.
    ENTRYPOINT_LINE = "stack::plan::entrypoint_line";
    /// `http` of a health check that is neither a path nor a URL.
    HTTP_TARGET = "stack::plan::http_target";
    /// `http` of a health check without a port, or with two.
    HTTP_PORT = "stack::plan::http_port";
    /// A header that HTTP cannot carry.
    HTTP_HEADER = "stack::plan::http_header";
    /// `tcp` of a health check that is neither a port nor a host and a port.
    TCP_TARGET = "stack::plan::tcp_target";
    /// A health check that asks a UDP port over TCP.
    UDP_CHECK = "stack::plan::udp_check";
    /// `replicas`, `scale` and `deploy.replicas` that say different numbers.
    CONFLICTING_REPLICAS = "stack::plan::conflicting_replicas";
    /// Two ports of one protocol that are fixed to one number.
    FIXED_TWICE = "stack::plan::fixed_twice";
    /// A fixed port of a service with several replicas.
    FIXED_REPLICAS = "stack::plan::fixed_replicas";
    /// More replicas in one stack than can be meant.
    TOO_MANY_REPLICAS = "stack::plan::too_many_replicas";
    /// The port of a service that has no replica.
    NO_REPLICA = "stack::plan::no_replica";
    /// `--scale` that cannot be followed.
    SCALE_ARGUMENT = "stack::plan::scale_argument";
    /// `--port` that names no port, or not one alone, or one twice.
    PORT_ARGUMENT = "stack::plan::port_argument";
    /// A port of the file that the running stack does not have.
    NOT_ALLOCATED = "stack::plan::not_allocated";
}
