//! The rows of `logging`.

use crate::spec::model::LoggingSpec;
use crate::spec::visit::table::{Key, KeyDoc, Keys, Others, State, keys};
use crate::spec::visit::values as v;

keys! {
    LOGGING: LoggingSpec, "in `logging`", "services.NAME.logging";

    "max-size", "size", "10m", ["max_size"],
    "A log file that would be larger is finished, and another one begun: `512k`, `10m`, `1g`."
        => |r, logging, field| logging.max_size = r.setting(field, v::parse_size);
    "max-file", "number", "5", ["max_file"],
    "How many log files each replica keeps."
        => |r, logging, field| logging.max_file = r.setting(field, v::parse_files);
    "driver", "word", "json-file", [],
    "Compose's word for files: `json-file` or `local`."
        => |r, _, field| drop(r.setting(field, v::parse_log_driver));
    "options", "map", "{ max-size: 10m }", [],
    "Compose's place for `max-size` and `max-file`."
        => |r, logging, field| {
            let hint = "write `options: {max-size: 10m}`";
            r.read_map(&LOGGING_OPTIONS, logging, field, hint);
        };
}

keys! {
    LOGGING_OPTIONS: LoggingSpec, "in `options` of `logging`", "services.NAME.logging.options";

    "max-size", "size", "10m", [],
    "The same as `max-size` of `logging`."
        => |r, logging, field| logging.max_size = r.setting(field, v::parse_size);
    "max-file", "number", "5", [],
    "The same as `max-file` of `logging`."
        => |r, logging, field| logging.max_file = r.setting(field, v::parse_files);

    container "remove it": "compress env env-regex labels labels-regex max-buffer-size mode tag";
}
