//! The real program: exit codes, and what goes where.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/testdata/demo.yaml");
const FAULTY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/testdata/faulty.yaml");

fn hawser(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hawser"));
    command.args(args).stdin(Stdio::null()).env_clear();
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = hawser(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A CA that signs nothing else.
fn ca() -> (rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, String) {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let pem = issuer.pem();
    (issuer, pem)
}

fn context(folder: &Path, controller: &str, ca_pem: &str) -> PathBuf {
    let path = folder.join("context.json");
    let body = serde_json::json!({
        "controller": controller,
        "ca_pem": ca_pem,
        "token": "hawser-api1.very-secret",
    });
    std::fs::write(&path, body.to_string()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_valid_document_is_valid_without_a_controller() {
    let (code, out, err) = run(&["validate", "--offline", DEMO]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "The document is valid.\n", ""));
    let (code, out, _) = run(&["validate", "--offline", "--json", DEMO]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["valid"]), (0, &Value::Bool(true)));
}

#[test]
fn a_faulty_document_exits_3_with_every_fault_on_standard_error() {
    let (code, out, err) = run(&["validate", "--offline", FAULTY]);
    assert_eq!((code, out.as_str()), (3, ""));
    for part in ["DUPLICATE_SITE", "sites[0].edges[0].uplniks", "did you mean", "17 faults"] {
        assert!(err.contains(part), "{part} in {err}");
    }
    assert!(!err.contains('\u{1b}'));
    let (code, _, err) = run(&["validate", "--offline", "--json", FAULTY]);
    let json: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(code, 3);
    assert_eq!(json["error"]["exit_code"], 3);
    assert_eq!(json["error"]["faults"].as_array().unwrap().len(), 17);
}

#[test]
fn a_document_comes_from_standard_input_too() {
    let mut child = hawser(&["validate", "--offline", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(DEMO).unwrap()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn a_document_of_10_megabytes_is_refused_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let big = folder.path().join("big.yaml");
    std::fs::write(&big, vec![b'#'; 10 << 20]).unwrap();
    let context = context(folder.path(), "https://127.0.0.1:1", &ca().1);
    let args = ["--context", context.to_str().unwrap(), "apply", big.to_str().unwrap()];
    let (code, _, err) = run(&args);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("DOCUMENT_TOO_LARGE"), "{err}");
}

#[test]
fn usage_and_a_missing_context_exit_2() {
    assert_eq!(run(&["frobnicate"]).0, 2);
    assert_eq!(run(&[]).0, 2);
    assert_eq!(run(&["validate", "--offline", "/nonexistent"]).0, 2);
    for args in
        [&["status"][..], &["--context", "/nonexistent", "status"], &["--context", DEMO, "status"]]
    {
        let (code, _, err) = run(args);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("CONTEXT_"), "{err}");
    }
}

#[test]
fn a_controller_that_is_not_there_exits_4_after_some_tries_in_the_given_time() {
    // A port that was just free could be another test's by now: nobody listens on this one.
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path(), "https://127.0.0.1:1", &ca().1);
    let context = context.to_str().unwrap();
    let start = Instant::now();
    let (code, out, err) = run(&["--context", context, "--timeout", "1s", "status"]);
    let taken = start.elapsed();
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    assert!(err.contains("CONTROLLER_UNREACHABLE") && err.contains("refused"), "{err}");
    assert!(taken > Duration::from_millis(300) && taken < Duration::from_secs(10), "{taken:?}");
    // A change is tried once.
    let start = Instant::now();
    assert_eq!(run(&["--context", context, "token", "revoke", "x"]).0, 4);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_controller_that_never_answers_exits_4_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = listener.local_addr().unwrap();
    let context = context(folder.path(), &format!("https://{address}"), &ca().1);
    let start = Instant::now();
    let args = ["--context", context.to_str().unwrap(), "--timeout", "500ms", "--json", "sites"];
    let (code, _, err) = run(&args);
    assert_eq!(code, 4, "{err}");
    assert_eq!(serde_json::from_str::<Value>(&err).unwrap()["error"]["exit_code"], 4);
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(listener);
}

/// Answers one connection's handshake with a certificate of another CA; says how the handshake ended.
fn impostor(listener: TcpListener) -> std::thread::JoinHandle<String> {
    let (issuer, _) = ca();
    let params = rcgen::CertificateParams::new(vec!["controller.hawser".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    std::thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut stream) {
                return error.to_string();
            }
        }
        "trusted".to_owned()
    })
}

#[test]
fn a_controller_of_another_ca_is_not_trusted_with_the_token() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = listener.local_addr().unwrap();
    let server = impostor(listener);
    let context = context(folder.path(), &format!("https://{address}"), &ca().1);
    let (code, _, err) = run(&["--context", context.to_str().unwrap(), "status"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("CONTROLLER_UNTRUSTED"), "{err}");
    let ended = server.join().unwrap();
    assert!(ended.contains("received fatal alert"), "{ended}");
}

/// Reads one connection's hello; says which name it asks for.
fn asked_for(listener: TcpListener) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut acceptor = rustls::server::Acceptor::default();
        loop {
            acceptor.read_tls(&mut stream).unwrap();
            if let Some(hello) = acceptor.accept().unwrap() {
                return hello.client_hello().server_name().unwrap_or_default().to_owned();
            }
        }
    })
}

#[test]
fn a_fleet_has_its_own_context_file_and_is_asked_for_by_name() {
    let home = tempfile::tempdir().unwrap();
    let own = home.path().join("hawser");
    std::fs::create_dir_all(own.join("fleets")).unwrap();
    for (file, args, name) in [
        ("context.json", &["status"][..], "controller.hawser"),
        // The only one's context serves its name, too.
        ("context.json", &["--fleet", "acme", "status"], "acme.controller.hawser"),
        ("fleets/beta.json", &["--fleet", "beta", "status"], "beta.controller.hawser"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let written = context(&own, &format!("https://{address}"), &ca().1);
        std::fs::rename(written, own.join(file)).unwrap();
        let asked = asked_for(listener);
        let ran = hawser(args)
            .args(["--timeout", "2s"])
            .env("XDG_CONFIG_HOME", home.path())
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(4), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(asked.join().unwrap(), name);
    }
}

#[test]
fn a_context_of_another_fleet_and_what_is_no_name_are_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = context(folder.path(), "https://127.0.0.1:1", &ca().1);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen('{', r#"{"fleet": "beta", "#, 1)).unwrap();
    let path = path.to_str().unwrap();
    let (code, _, err) = run(&["--context", path, "--fleet", "acme", "status"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("CONTEXT_FLEET") && err.contains("of the fleet beta, not acme"), "{err}");
    for name in ["../beta", "Beta", "", "-a", "a.b"] {
        let (code, _, err) = run(&["--context", path, &format!("--fleet={name}"), "status"]);
        assert_eq!(code, 2, "{name}: {err}");
        assert!(err.contains("fleet's name"), "{err}");
    }
}

#[test]
fn no_secret_is_shown_whatever_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = context(folder.path(), "https://127.0.0.1:1", "no certificate");
    let (code, out, err) = run(&["--context", path.to_str().unwrap(), "status"]);
    assert_eq!(code, 2, "{err}");
    let command = hawser(&["--context", path.to_str().unwrap(), "--help"])
        .env("HAWSER_TOKEN", "very-secret")
        .output()
        .unwrap();
    let help = String::from_utf8(command.stdout).unwrap();
    for text in [out, err, help] {
        assert!(!text.contains("very-secret"), "{text}");
    }
}

#[test]
fn a_context_file_that_others_can_read_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = context(folder.path(), "https://127.0.0.1:1", &ca().1);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (_, _, err) = run(&["--context", path.to_str().unwrap(), "--timeout", "100ms", "status"]);
    assert!(err.contains("chmod 600"), "{err}");
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = run(&["completions", shell]);
        assert_eq!(code, 0);
        assert!(out.contains("hawser") && out.contains("validate"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_enough_is_no_trouble() {
    let mut child = hawser(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_recording_is_replayed_without_a_controller_and_two_policies_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let mut trace = "t_ms,isp-a,isp-b\n".to_owned();
    for row in 0..200 {
        let a = if row < 100 { "40" } else { "" };
        trace.push_str(&format!("{},{a},60\n", row * 200));
    }
    std::fs::write(folder.path().join("one.csv"), trace).unwrap();
    let fleet = folder.path().join("fleet.yaml");
    std::fs::write(
        &fleet,
        "fleet: acme\nsites:\n  - name: hq\n    edges:\n      - {name: hq-1, uplinks: [{name: isp-a, interface: eth0, addresses: [192.0.2.1]}]}\n\
         traffic_classes:\n  - {name: default, mode: duplicate}\n",
    )
    .unwrap();
    let traces = folder.path().to_str().unwrap();
    let fleet = fleet.to_str().unwrap();
    let (code, out, err) = run(&["--json", "replay", "--traces", traces, "--against", fleet]);
    assert_eq!(code, 0, "{err}");
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&value["files"], &value["ticks"]), (&1.into(), &400.into()));
    assert_eq!(
        value["packets_hurt"], 2,
        "two rows until the outage is known, from one of two starts"
    );
    assert_eq!(value["moves"], 1);
    assert_eq!(value["against"]["packets_hurt"], 0);

    std::fs::write(folder.path().join("two.csv"), "t_ms,a\n0,x\n").unwrap();
    let (code, _, err) = run(&["replay", "--traces", traces]);
    assert_eq!(code, 2);
    assert!(err.contains("TRACE_NUMBER") && err.contains("two.csv: line 2"), "{err}");
}

#[test]
fn a_document_is_laid_out_in_place_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.yaml");
    std::fs::write(&path, "# ours\nfleet:   acme\nsites:\n- name: hq   # here\n  edges: []\n\n\n")
        .unwrap();
    let file = path.to_str().unwrap();
    let (code, _, err) = run(&["fmt", "--check", file]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("NOT_FORMATTED"), "{err}");
    assert_eq!(run(&["fmt", file]).0, 0);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "# ours\nfleet:   acme\nsites:\n  - name: hq   # here\n    edges: []\n");
    assert_eq!(run(&["fmt", "--check", file]), (0, String::new(), String::new()));
    std::fs::write(&path, "a: [1\n").unwrap();
    let (code, _, err) = run(&["fmt", file]);
    assert_eq!(code, 3, "{err}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a: [1\n");
}

#[test]
fn the_schema_is_printed_as_json() {
    let (code, out, _) = run(&["schema"]);
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!(schema["properties"]["fleet"]["type"], "string");
}

#[test]
fn every_error_of_a_plan_is_1_since_2_means_changes() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path(), "https://127.0.0.1:1", &ca().1);
    let context = context.to_str().unwrap();
    for args in [
        &["plan"][..],
        &["plan", "/nonexistent"],
        &["plan", "--frobnicate", DEMO],
        &["--context", context, "--timeout", "100ms", "plan", DEMO],
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(!err.is_empty());
    }
}
