use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use super::{Args, Command, CreateToken, FleetCommand, Role, TokenCommand};
use crate::time::Since;

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(std::iter::once("hawser").chain(line.split_whitespace()))
}

#[test]
fn the_definition_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn every_command_is_understood() {
    let table = [
        "validate fleet.yaml",
        "validate - --offline",
        "apply fleet.yaml --comment why --expect 7",
        "status --json",
        "--json --timeout 30s sites",
        "paths",
        "paths b1",
        "why b1 --class voice --limit 1",
        "why b1 --peer hq --at -15m",
        "why b1 --at 14:05 --json",
        "why b1 --at 2026-01-31T12:00:00+01:00",
        "advice",
        "record b1 --out x",
        "record b1 --since 7d --until 1h --tunnel hq-1 --grid-ms 100 --out x",
        "events --follow --since 10m",
        "events -f",
        "token create --edge b1-1 --valid-for 24h",
        "token create --role viewer",
        "token list",
        "token revoke abc",
        "fleet show --revision 3",
        "apply plan.json --staged --canary b1 b2 --soak 10s --confirm-within 5m --wait",
        "plan fleet.yaml --out plan.json",
        "plan --revision 3",
        "history --limit 5",
        "show 3",
        "diff 3",
        "diff 3 4",
        "rollback 3 --expect 7 --staged",
        "fmt fleet.yaml --check",
        "schema",
        "rollout",
        "rollout confirm",
        "rollout abort --reason why",
        "drain",
        "drain hq --comment why",
        "undrain b1-1/isp-a",
        "audit list --limit 5",
        "ca status --json",
        "ca rotate",
        "ca rotate --certificate ca.pem --renew-within 1h --comment yearly",
        "ca retire --force",
        "audit verify --known 7:abc",
        "completions bash",
    ];
    for line in table {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let table = [
        "",
        "validate",
        "apply",
        "frobnicate",
        "why",
        "why b1 --limit 0",
        "why b1 --at noon",
        "record b1",
        "record b1 --out x --grid-ms 0",
        "token create",
        "token create --edge b1-1 --role viewer",
        "token create --role king",
        "token create --edge b1-1 --valid-for soon",
        "status --token secret",
        "status --timeout 0s",
        "events --since yesterday",
        "completions tcl",
    ];
    for line in table {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn values_arrive_where_they_belong() {
    let Command::Apply { comment, expect, .. } =
        parse("apply f --comment c --expect 7").unwrap().command
    else {
        panic!()
    };
    assert_eq!((comment.as_str(), expect), ("c", 7));
    let Command::Token(TokenCommand::Create(CreateToken { role, valid_for, edge, .. })) =
        parse("token create --role admin --valid-for 90m").unwrap().command
    else {
        panic!()
    };
    assert_eq!((role, edge), (Some(Role::Admin), None));
    assert_eq!(valid_for, Some(Duration::from_secs(5_400)));
    let Command::Events { follow, since, .. } = parse("events -f --since 1h").unwrap().command
    else {
        panic!()
    };
    assert!(follow);
    assert_eq!(since, Some(Since::Ago(Duration::from_secs(3_600))));
    let Command::Fleet(FleetCommand::Show { revision }) = parse("fleet show").unwrap().command
    else {
        panic!()
    };
    assert_eq!(revision, 0);
}

#[test]
fn help_documents_every_exit_code() {
    let help = Args::command().render_long_help().to_string();
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "130 "] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(code)), "{code}");
    }
}
