//! The rows of configs and secrets.

use crate::spec::problem::Spanned;
use crate::spec::visit::given_files::FileParts;
use crate::spec::visit::table::{Key, KeyDoc, Keys, Others, State, keys};

keys! {
    CONFIG: FileParts, "in a config", "configs.NAME";

    "content", "text", "'listen $<api.PORT>;'", [],
    "The text itself."
        => |r, parts, field| r.file_content(parts, field);
    "file", "path", "./app.conf", ["path"],
    "A file with the text, relative to the project directory; placeholders may stand in it."
        => |r, parts, field| r.file_path(parts, field);
    "environment", "variable", "HOME", ["env"],
    "A variable that holds the text."
        => |r, parts, field| r.file_variable(parts, field);

    container "write `content`, `file` or `environment`: nothing keeps files for a process": "external";
    container "remove it": "name labels template_driver";
}

keys! {
    SECRET: FileParts, "in a secret", "secrets.NAME";

    "file", "path", "./token.txt", ["path"],
    "A file with the secret, relative to the project directory."
        => |r, parts, field| r.file_path(parts, field);
    "environment", "variable", "HOME", ["env"],
    "A variable that holds the secret."
        => |r, parts, field| r.file_variable(parts, field);

    container "write `file` or `environment`: nothing keeps secrets for a process": "external";
    container "remove it": "name labels driver driver_opts template_driver";
}

keys! {
    FILE_USE: Option<Spanned<String>>, "in an item of `configs` or `secrets`", "services.NAME.configs";

    "source", "name", "app", [],
    "Its name at the top level."
        => |r, name, field| *name = r.literal("`source`", field.value);

    container "remove it, and write its path where it is used: `$<configs.NAME>` or `$<secrets.NAME>`": "target";
    container "remove it: the file belongs to the service's `user`, and nobody else can read it": "uid gid mode";
}
