//! `stack ports`: the list.

use super::gather::{Gathered, gather};
use super::row::{PortRow, RowState};
use super::warn_of;
use super::words::Place;
use crate::cli::args::{ListFormat, PortsArgs};
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer;
use crate::cli::style::Tone;
use crate::cli::table::{Cell, Table};
use crate::cli::verbs::runtime;
use crate::support::protocol::Protocol;

/// Lists the ports of every running stack of this user, with `--all` also those that others had
/// last.
pub(super) fn list(invocation: &Invocation, args: &PortsArgs) -> Result<ExitCode, Stop> {
    let ledger = invocation.ledger().overview();
    let state_dir = invocation.state_dir.clone();
    let Gathered { mut rows, notes } = runtime()?.block_on(gather(&ledger, None, &state_dir));
    let count = rows.len();
    rows.retain(|row| args.all || row.state != RowState::Remembered);
    let has_more = rows.len() < count;
    warn_of(&ledger.warnings, &notes);
    match args.format {
        ListFormat::Json => printer::say_out(&serde_json::to_string_pretty(&rows)?)?,
        ListFormat::Table if rows.is_empty() => {
            printer::say(&empty(ledger.warnings.is_empty(), has_more));
        }
        ListFormat::Table => {
            let place = Place::of(invocation);
            printer::say_out(&invocation.draw(&table(&rows, &place)))?;
        }
    }
    Ok(ExitCode::Done)
}

/// Instead of an empty table. That nothing runs is certain only where the ledger `is_whole`.
fn empty(is_whole: bool, has_more: bool) -> String {
    let lead = if is_whole {
        "no stack with ports is running"
    } else {
        "no running stack with ports is known, but the ledger may be incomplete"
    };
    let hint = if has_more {
        "\nhint: `stack ports --all` lists the ports that stopped stacks had last"
    } else {
        ""
    };
    format!("{lead}{hint}")
}

fn table(rows: &[PortRow], place: &Place) -> Table {
    let mut table = Table::new([
        "PROJECT",
        "SERVICE",
        "NAME",
        "PORT",
        "STATE",
        "PID",
        "ADDRESS",
        "DIRECTORY",
    ]);
    for row in rows {
        table.push([
            row.project.as_str().into(),
            row.label().into(),
            row.name.as_str().into(),
            number(row).into(),
            Cell::new(tone(row.state), row.state.word()),
            Cell::maybe(row.pid),
            Cell::maybe(row.socket_address()),
            Cell::new(Tone::Quiet, place.path(&row.project_dir)),
        ]);
    }
    table
}

/// `8000`, `5353/udp`.
fn number(row: &PortRow) -> String {
    match row.protocol {
        Protocol::Tcp => row.port.to_string(),
        Protocol::Udp | Protocol::Both => format!("{}/{}", row.port, row.protocol),
    }
}

fn tone(state: RowState) -> Tone {
    match state {
        RowState::Held | RowState::Remembered => Tone::Quiet,
        RowState::Listening => Tone::Good,
        RowState::NotListening => Tone::Warning,
        RowState::Stolen | RowState::WrongPort => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{healthy, port, service, stack};
    use crate::cli::style::Palette;
    use crate::run::snapshot::{PortSnapshot, PortState, ServiceSnapshot};

    fn in_state(number: u16, protocol: Protocol, state: PortState) -> PortSnapshot {
        PortSnapshot {
            protocol,
            state,
            ..port(number)
        }
    }

    fn rows() -> Vec<PortRow> {
        let states = [
            (Protocol::Tcp, PortState::Held),
            (
                Protocol::Tcp,
                PortState::Listening {
                    bound_to: "::".to_owned(),
                    pid: 4711,
                },
            ),
            (Protocol::Udp, PortState::NotListening),
            (
                Protocol::Both,
                PortState::Stolen {
                    pid: 12,
                    command: "python3 -m http.server".to_owned(),
                    bound_to: "127.0.0.1".to_owned(),
                },
            ),
            (
                Protocol::Tcp,
                PortState::WrongPort {
                    listens_on: vec![5173],
                },
            ),
        ];
        let ports = states.into_iter().zip(8000..);
        let api = ServiceSnapshot {
            ports: ports
                .map(|((protocol, state), number)| in_state(number, protocol, state))
                .collect(),
            ..healthy("api", 8000, 0)
        };
        let web = ServiceSnapshot {
            replica: 2,
            replicas: 3,
            ports: vec![port(8010)],
            ..service("web")
        };
        PortRow::verified(&stack(vec![api, web]))
    }

    #[test]
    fn every_state_of_a_port_has_its_row() {
        let text = table(&rows(), &Place::default()).render(Palette::MONOCHROME, None);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_home_directory_is_short_on_a_terminal_only() {
        let place = Place {
            home: Some("/home/me".to_owned()),
            now: 0,
        };
        let text = table(&rows()[..1], &place).render(Palette::MONOCHROME, None);
        assert!(text.contains(" ~/shop\n"), "{text}");
    }

    #[test]
    fn that_nothing_runs_is_no_fact_where_the_ledger_is_in_doubt() {
        assert_eq!(empty(true, false), "no stack with ports is running");
        assert!(empty(false, false).contains("may be incomplete"));
        assert!(empty(true, true).ends_with("lists the ports that stopped stacks had last"));
    }

    #[test]
    fn a_row_has_a_stable_json_form() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&rows()[3]).unwrap());
    }
}
