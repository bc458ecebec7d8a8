//! The command line as a person or a script meets it: exit codes, what is said where.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hawser_edge(state_dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hawser-edge"));
    command.arg("--state-dir").arg(state_dir).args(args).env_remove("HAWSER_ENROL_TOKEN");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(command: &mut Command, input: &str) -> (i32, String, String) {
    let mut child = command.spawn().unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn every_failure_has_its_exit_code_its_stable_code_and_a_mend() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "hawser1.AAAA\n").unwrap();
    let token = token.to_str().unwrap();
    // (arguments, input, exit code, code)
    let table: [(&[&str], &str, i32, &str); 7] = [
        (&["status"], "", 3, "AGENT_NOT_RUNNING"),
        (&["paths", "--json"], "", 3, "AGENT_NOT_RUNNING"),
        (&["why", "hq-1", "--class", "voice"], "", 3, "AGENT_NOT_RUNNING"),
        (&["enrol"], "", 2, "TOKEN_MISSING"),
        (&["enrol", "--token-file", "-"], "not a token\n", 1, "TOKEN_NOT_A_TOKEN"),
        (&["enrol", "--token-file", "/nonexistent"], "", 1, "TOKEN_UNREADABLE"),
        (&["enrol", "--token-file", token], "", 1, "TOKEN_DAMAGED"),
    ];
    for (args, input, exit, code) in table {
        let (got, out, error) = run(&mut hawser_edge(dir.path(), args), input);
        assert_eq!((got, out.as_str()), (exit, ""), "{args:?}: {error}");
        assert!(error.contains(&format!("[{code}]")), "{args:?}: {error}");
        assert!(error.contains("mend: "), "{args:?}: {error}");
    }
}

#[test]
fn teardown_touches_nothing_while_an_agent_runs() {
    let dir = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(dir.path().join("lock")).unwrap();
    lock.try_lock().unwrap();
    let (exit, out, error) = run(&mut hawser_edge(dir.path(), &["teardown"]), "");
    assert_eq!((exit, out.as_str()), (1, ""), "{error}");
    assert!(error.contains("[AGENT_RUNS]") && error.contains("mend: "), "{error}");
}

#[test]
fn a_token_is_never_taken_from_the_command_line_nor_shown() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "hawser1.c2VjcmV0LXNlY3JldA";
    let (exit, _, _) = run(&mut hawser_edge(dir.path(), &["enrol", secret]), "");
    assert_eq!(exit, 2);
    let mut command = hawser_edge(dir.path(), &["enrol"]);
    let (exit, out, error) = run(command.env("HAWSER_ENROL_TOKEN", secret), "");
    assert_eq!(exit, 1);
    assert!(!out.contains("c2Vjc") && !error.contains("c2Vjc"), "{out}{error}");
}

#[test]
fn completions_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (exit, script, _) = run(&mut hawser_edge(dir.path(), &["completions", shell]), "");
        assert_eq!(exit, 0);
        for command in ["enrol", "run", "status", "paths", "why", "doctor"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn the_doctor_needs_no_agent_and_its_exit_code_follows_the_worst_that_it_found() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let set_mode = |mode| {
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let codes = || {
        let (exit, out, error) = run(&mut hawser_edge(dir.path(), &["doctor", "--json"]), "");
        assert_eq!((exit, error.as_str()), (1, ""), "not enrolled is broken: {out}");
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["worst"], "broken");
        let findings = report["findings"].as_array().unwrap().clone();
        let mut codes = Vec::new();
        for finding in findings {
            codes.push(finding["code"].as_str().unwrap().to_owned());
        }
        codes
    };
    set_mode(0o755);
    let open = codes();
    assert!(open.contains(&"STATE_DIR_OPEN".to_owned()), "{open:?}");
    set_mode(0o700);
    let private = codes();
    assert!(!private.contains(&"STATE_DIR_OPEN".to_owned()), "{private:?}");
    assert!(private.contains(&"NOT_ENROLLED".to_owned()), "{private:?}");

    let (exit, text, _) = run(&mut hawser_edge(dir.path(), &["doctor"]), "");
    assert_eq!(exit, 1);
    assert!(text.contains("BROKEN  NOT_ENROLLED") && text.contains("mend: "), "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it leaves nothing behind");
}
