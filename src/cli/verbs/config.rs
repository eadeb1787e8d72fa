//! `stack config`: the files as they were understood, or another look at them. Allocates nothing.

use std::io;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::client::running;
use crate::cli::args::{ConfigArgs, ConfigFormat};
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer;
use crate::cli::table::Table;
use crate::dotenv::quote;
use crate::plan::{self, Draft, UsedVariable, Variable};
use crate::spec::{Problem, Written};
use crate::support::name::ServiceName;
use crate::support::yaml;

/// Checks the files and prints what is asked for.
pub fn config(invocation: &Invocation, args: &ConfigArgs) -> Result<ExitCode, Stop> {
    let text = if args.no_resolve || args.sources {
        let sources = invocation.sources()?;
        let (written, problems) = plan::written(sources);
        let written = written.filter(|_| !problems.iter().any(Problem::is_error));
        let written = written.ok_or_else(|| invocation.problems(&problems))?;
        printer::say(invocation.render(&problems).trim_end());
        if args.sources {
            sources_of(invocation, &written, args.format)?
        } else {
            print(&written.value, args.format)?
        }
    } else if args.variables {
        // That one of them is not set is what one wants to know.
        let (draft, problems) = Draft::new(invocation.sources()?);
        let draft = draft.ok_or_else(|| invocation.problems(&problems))?;
        used(invocation, &draft.used_variables(), args.format)?
    } else {
        let ready = invocation.draft()?;
        printer::say(ready.warnings.trim_end());
        if args.quiet {
            return Ok(ExitCode::Done);
        }
        look(invocation, ready.draft, args)?
    };
    let Some(path) = &args.output else {
        printer::say_out(&text)?;
        return Ok(ExitCode::Done);
    };
    let text = format!("{}\n", text.trim_end());
    fs_err::write(invocation.working_dir.join(path), text)?;
    Ok(ExitCode::Done)
}

/// What is asked for of files without errors.
fn look(invocation: &Invocation, draft: Draft, args: &ConfigArgs) -> Result<String, Stop> {
    if args.services {
        let names: Vec<&str> = draft
            .spec()
            .services
            .keys()
            .map(ServiceName::as_str)
            .collect();
        return names_of(&names, args.format);
    }
    if args.profiles {
        return names_of(&draft.profiles(), args.format);
    }
    if args.environment {
        return environment(&draft.environment(), args.format);
    }
    // Ports and replicas as they are while the stack runs, placeholders and what the file says otherwise.
    let instance = invocation.instance(&draft);
    let shown = match &running(&instance)? {
        Some(stack) => {
            let draft = super::running_plan::as_running(draft, stack);
            draft.show(Some(&super::running_plan::assignment(stack)))
        }
        None => draft.show(None),
    };
    print(&shown, args.format)
}

fn print(value: &impl Serialize, format: ConfigFormat) -> Result<String, Stop> {
    Ok(match format {
        ConfigFormat::Yaml => yaml::to_string(value).map_err(io::Error::other)?,
        ConfigFormat::Json => serde_json::to_string_pretty(value)?,
    })
}

fn names_of(names: &[&str], format: ConfigFormat) -> Result<String, Stop> {
    match format {
        ConfigFormat::Yaml => Ok(names.join("\n")),
        ConfigFormat::Json => print(&names, format),
    }
}

/// A line for each variable, with the place from which it is as a comment: a `.env` file.
fn environment(variables: &[Variable], format: ConfigFormat) -> Result<String, Stop> {
    if let ConfigFormat::Json = format {
        return print(&variables, format);
    }
    let lines = variables.iter().map(|Variable { name, value, from }| {
        let line = match quote::line(name, value) {
            Ok(quoted) => quoted.text,
            Err(_) => format!("{name}={value:?}"),
        };
        format!("{line}  # {from}")
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn used(
    invocation: &Invocation,
    variables: &[UsedVariable],
    format: ConfigFormat,
) -> Result<String, Stop> {
    if let ConfigFormat::Json = format {
        return print(&variables, format);
    }
    let mut table = Table::new(["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"]);
    for it in variables {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        table.push([
            it.name.clone().into(),
            it.required.into(),
            text(&it.default).into(),
            text(&it.alternate).into(),
        ]);
    }
    Ok(invocation.draw(&table))
}

/// Every value with its file and line.
fn sources_of(
    invocation: &Invocation,
    written: &Written,
    format: ConfigFormat,
) -> Result<String, Stop> {
    let mut rows = Map::new();
    let mut table = Table::new(["KEY", "VALUE", "FROM"]);
    for line in &written.lines {
        let (place, file) = (line.location, line.file.display());
        let from = format!("{file}:{}", place.line);
        let first = line.text.lines().next().unwrap_or_default();
        table.push([line.path.as_str().into(), first.into(), from.into()]);
        rows.insert(
            line.path.clone(),
            json!({
                "value": line.text,
                "file": file.to_string(),
                "line": place.line,
                "column": place.column,
            }),
        );
    }
    match format {
        ConfigFormat::Yaml => Ok(invocation.draw(&table)),
        ConfigFormat::Json => print(&Value::Object(rows), format),
    }
}
