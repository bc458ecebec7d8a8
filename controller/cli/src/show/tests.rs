mod changes;
mod why;

use hawser_proto::FIRST_IKE_LINK_ID;
use hawser_proto::agent::v1::{
    Candidate, Decision, Explanation, Fault, GenerationState, HeldPath, IkeLink, IkeSample,
    IkeState, PathSample, PathState,
};
use hawser_proto::config::v1::{AddressFamily, GenerationId};
use hawser_proto::operator::v1::*;

use super::{Style, decisions, json};

const PLAIN: Style = Style { colours: false, fit: false };
const COLOURS: Style = Style { colours: true, fit: false };

fn generation(number: u64) -> Option<GenerationId> {
    Some(GenerationId { epoch: 1, number })
}

fn end(site: &str, uplink: &str, sample: Option<PathSample>) -> Option<PathEnd> {
    let (site, edge) = (site.to_owned(), format!("{site}-1"));
    Some(PathEnd { site, edge, uplink: uplink.to_owned(), sample, sample_unix_ms: 1 })
}

fn sample(rtt_us: u32, loss_tx_ppm: u32, selected: &[&str]) -> Option<PathSample> {
    Some(PathSample {
        state: PathState::Up.into(),
        rtt_us,
        jitter_us: 400,
        loss_tx_ppm,
        selected_for: selected.iter().map(ToString::to_string).collect(),
        ..PathSample::default()
    })
}

fn two_paths() -> Vec<Path> {
    let path = |id, state: PathState, a, b| Path {
        id,
        tunnel_id: 1,
        a,
        b,
        family: AddressFamily::Ipv4.into(),
        state: state.into(),
    };
    let voice = sample(20_100, 0, &["voice", "default"]);
    vec![
        path(
            1,
            PathState::Up,
            end("b1", "isp-a", voice),
            end("hq", "isp-a", sample(1, 0, &["voice"])),
        ),
        path(
            2,
            PathState::Down,
            end("b1", "isp-b", None),
            end("hq", "isp-b", sample(9_900, 52_000, &[])),
        ),
    ]
}

fn decision() -> Decision {
    let candidate = |path_id, name: &str, state: PathState, chosen, refused: &str| Candidate {
        path_id,
        name: name.to_owned(),
        state: state.into(),
        chosen,
        refused_because: refused.to_owned(),
        rtt_us: 35_100,
        ..Candidate::default()
    };
    let mut down = candidate(1, "isp-a→isp-a", PathState::Down, false, "no answer for 320 ms");
    down.loss_tx_ppm = 1_000_000;
    down.limits_crossed = vec!["max_loss_ppm".to_owned()];
    Decision {
        sequence: 4,
        unix_ms: 1_769_860_800_250,
        edge: "b1-1".to_owned(),
        peer_edge: "hq-1".to_owned(),
        traffic_class: "voice".to_owned(),
        from_path_id: 1,
        to_path_id: 2,
        cause: "PATH_DOWN".to_owned(),
        candidates: vec![down, candidate(2, "isp-b→isp-a", PathState::Up, true, "")],
        ..Decision::default()
    }
}

fn told() -> ExplainResponse {
    let mut candidates = decision().candidates;
    candidates[0].state = PathState::Up.into();
    let explanation = Explanation {
        unix_ms: NOON + 30_000,
        path_id: 2,
        path_name: "isp-b → hq-1 isp-a".to_owned(),
        meets_sla: true,
        since_unix_ms: NOON + 250,
        held: vec![HeldPath {
            path_id: 1,
            name: "isp-a → hq-1 isp-a".to_owned(),
            remaining_ms: 8_000,
            because: "it must meet the SLA for another 8 s".to_owned(),
        }],
        tokens_left: 3,
        candidates,
        ..Explanation::default()
    };
    let account = Account {
        edge: "b1-1".to_owned(),
        peer_edge: "hq-1".to_owned(),
        peer_site: "hq".to_owned(),
        traffic_class: "voice".to_owned(),
        tunnel_id: 1,
        in_force: Some(decision()),
        next: None,
        explanation: Some(explanation),
    };
    let remembered_since_unix_ms = NOON - 60_000;
    ExplainResponse { accounts: vec![account], remembered_since_unix_ms, ..Default::default() }
}

const NOON: u64 = 1_769_860_800_000;

#[test]
fn faults_are_shown_with_place_reason_and_mend() {
    let fault = Fault {
        code: "UNKNOWN_FIELD".to_owned(),
        path: "sites[0].edgs".to_owned(),
        message: "there is no field \"edgs\" here".to_owned(),
        mend: "did you mean \"edges\"?".to_owned(),
    };
    let whole = Fault { code: "DOCUMENT_EMPTY".to_owned(), ..Fault::default() };
    let text = super::faults(&PLAIN, &[fault.clone(), whole]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("WHERE") && lines[0].contains("MEND"), "{text}");
    assert!(lines[1].starts_with("sites[0].edgs") && lines[1].ends_with("did you mean \"edges\"?"));
    assert!(lines[1].contains("[UNKNOWN_FIELD]"));
    assert!(lines[2].starts_with("document"));
    assert_eq!(json::fault(&fault)["path"], "sites[0].edgs");
}

#[test]
fn a_path_shows_both_directions_and_what_it_carries() {
    let text = super::paths(&PLAIN, &two_paths(), &[]);
    let lines: Vec<&str> = text.lines().collect();
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    let expected = [
        "1", "b1-1", "isp-a", "hq-1", "isp-a", "4", "up", "20.1", "ms", "0.4", "ms", "0", "%", "0",
        "%", "default", "→,", "voice", "↔",
    ];
    assert_eq!(words, expected);
    // Only hq is heard: its outward loss is the inward loss of the other end.
    let down: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(down[6..], ["down", "9.9", "ms", "0.4", "ms", "0", "%", "5.2", "%"]);
    assert!(text.ends_with("1 of 2 up"));
    let json = json::paths(&two_paths(), &[]);
    assert_eq!(json["paths"][1]["state"], "down");
    assert_eq!(json["paths"][0]["a"]["sample"]["rtt_us"], 20_100);
    assert!(json["paths"][1]["a"]["sample"].is_null());
}

#[test]
fn a_tunnel_with_a_gateway_stands_below_the_paths_with_its_state_and_why() {
    let sample = |state: IkeState, reason: &str| {
        let reason = reason.to_owned();
        let (tx_bytes, state) = (2_048, state.into());
        Some(IkeSample { state, reason, tx_bytes, ..IkeSample::default() })
    };
    let tunnel = |name: &str, sample| IkeTunnel {
        edge: "b1-1".to_owned(),
        name: name.to_owned(),
        uplink: "isp-a".to_owned(),
        sample,
        ..IkeTunnel::default()
    };
    let tunnels = [
        tunnel("dc", sample(IkeState::Up, "")),
        tunnel("cloud", sample(IkeState::Blocked, "this edge has no secret named cloud")),
        tunnel("new", None),
    ];
    let text = super::paths(&PLAIN, &two_paths(), &tunnels);
    let line = |name| text.lines().find(|line| line.starts_with(name)).unwrap();
    let words: Vec<&str> = line("dc").split_whitespace().collect();
    assert_eq!(words, ["dc", "b1-1", "isp-a", "-", "up", "2.0", "KiB", "0", "B", "0"]);
    assert!(line("cloud").contains("blocked"));
    assert!(line("cloud").ends_with("this edge has no secret named cloud"));
    assert!(line("new").contains("unknown"));
    assert!(super::paths(&PLAIN, &[], &tunnels).starts_with("IKE TUNNEL"));
    let json = json::paths(&[], &tunnels);
    assert_eq!(json["ike_tunnels"][0]["state"], "up");
    assert_eq!(json["ike_tunnels"][1]["reason"], "this edge has no secret named cloud");
}

#[test]
fn the_links_of_a_tunnel_with_a_gateway_are_shown_with_their_figures_and_verdicts() {
    let link = |uplink: &str, chosen: bool, refused: &str| IkeLink {
        uplink: uplink.to_owned(),
        remote_address: "198.51.100.50".to_owned(),
        state: PathState::Up.into(),
        chosen,
        rtt_us: 12_300,
        refused_because: refused.to_owned(),
        ..IkeLink::default()
    };
    let links =
        vec![link("isp-a", true, ""), link("isp-b", false, "its uplinks are less preferred")];
    let sample = IkeSample { state: IkeState::Up.into(), links, moves: 2, ..IkeSample::default() };
    let (name, sample) = ("dc".to_owned(), Some(sample));
    let tunnels = [IkeTunnel { name, sample, ..IkeTunnel::default() }];
    let text = super::paths(&PLAIN, &two_paths(), &tunnels);
    let links: Vec<&str> = text.lines().filter(|line| line.contains("198.51.100.50")).collect();
    let [used, other] = links[..] else { panic!("{text}") };
    assert!(used.starts_with("→") && used.contains("isp-a") && used.ends_with("in use"), "{text}");
    assert!(other.contains("isp-b") && other.contains("12.3 ms"), "{text}");
    assert!(other.ends_with("its uplinks are less preferred"), "{text}");
    let json = json::paths(&[], &tunnels);
    assert_eq!(
        json["ike_tunnels"][0]["links"][1]["refused_because"],
        "its uplinks are less preferred"
    );
    assert_eq!(json["ike_tunnels"][0]["moves"], 2);
}

#[test]
fn a_decision_about_a_link_names_it_without_a_number_of_a_path() {
    let candidate = |id: u32, name: &str| Candidate {
        path_id: FIRST_IKE_LINK_ID + id,
        name: name.to_owned(),
        ..Candidate::default()
    };
    let decision = Decision {
        edge: "b1-1".to_owned(),
        peer_edge: "dc".to_owned(),
        from_path_id: FIRST_IKE_LINK_ID,
        to_path_id: FIRST_IKE_LINK_ID + 1,
        cause: "PATH_DOWN".to_owned(),
        candidates: vec![
            candidate(0, "isp-a → 198.51.100.50"),
            candidate(1, "isp-b → 203.0.113.50"),
        ],
        ..Decision::default()
    };
    let text = decisions::one(&PLAIN, &decision);
    assert!(text.starts_with("b1-1 → dc, all traffic"), "{text}");
    let moved = "It moved from isp-a → 198.51.100.50 to isp-b → 203.0.113.50, because the path it was on went down.";
    assert!(text.contains(moved), "{text}");
}

#[test]
fn advice_is_shown_with_its_trouble_and_its_time_left() {
    let mut answer = ListAdviceResponse { mode: "on".to_owned(), ..Default::default() };
    let text = super::advice(&PLAIN, &answer, NOON);
    assert_eq!(text, "No trouble is seen across sites, and no advice is in force.");
    answer.troubles = vec![Trouble {
        id: "t-1".to_owned(),
        subject: "provider alpha".to_owned(),
        since_unix_ms: NOON - 61_000,
        seen_by: 60,
        of: 200,
        advised: 80,
        ending: false,
    }];
    answer.advice = vec![AdviceInForce {
        site: "b1".to_owned(),
        edge: "b1-1".to_owned(),
        id: "t-1".to_owned(),
        reason: "provider alpha has trouble at many sites".to_owned(),
        since_unix_ms: NOON - 30_000,
        until_unix_ms: NOON + 200_000,
        avoid_path_ids: (1..=8).collect(),
        avoid_edges: vec!["hq-1".to_owned()],
    }];
    let text = super::advice(&PLAIN, &answer, NOON);
    for part in [
        "provider alpha  1m 1s  60 of 200 sites  80",
        "hq-1, path 1, path 2, path 3, path 4, path 5, 3 more",
        "30s  3m 20s",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(json::advice(&answer)["advice"][0]["avoid_path_ids"][7], 8);
    for (mode, expected) in [("off", "gives no advice"), ("watch", "Nothing is sent")] {
        answer.mode = mode.to_owned();
        assert!(super::advice(&PLAIN, &answer, NOON).contains(expected));
    }
}

#[test]
fn sites_show_what_became_of_their_generation() {
    let state = |applied, confirmed| {
        Some(GenerationState {
            applied: generation(applied),
            confirmed: generation(confirmed),
            ..GenerationState::default()
        })
    };
    let edge = |name: &str, enrolled, connected, generations| EdgeStatus {
        name: name.to_owned(),
        enrolled,
        connected,
        last_seen_unix_ms: 40_000,
        desired: generation(7),
        generations,
        paths: 4,
        paths_up: 3,
        certificate_ends_unix_s: if enrolled { 100 + 40 * 86_400 } else { 0 },
        ..EdgeStatus::default()
    };
    let mut refused = edge("d-1", true, true, state(6, 6));
    let id = generation(7);
    refused.generations.as_mut().unwrap().refused =
        vec![hawser_proto::agent::v1::RefusedGeneration { id, kind: 1 }];
    refused.last_nack = vec![Fault {
        code: "INTERFACE_MISSING".to_owned(),
        path: "lans[0]".to_owned(),
        message: "there is no lan7".to_owned(),
        mend: "plug it in".to_owned(),
    }];
    refused.revoked = true;
    let edges = vec![
        edge("a-1", false, false, None),
        edge("b-1", true, true, state(7, 7)),
        edge("c-1", true, false, state(7, 6)),
        refused,
    ];
    let sites = [Site { name: "x".to_owned(), role: "hub".to_owned(), edges }];
    let text = super::sites(&PLAIN, &sites, 100_000);
    let lines: Vec<&str> = text.lines().collect();
    let table = [
        (1, "a-1", "not enrolled", "1.7 pending", " - "),
        (2, "b-1", "connected", "1.7", "40d left"),
        (3, "c-1", "seen 1m ago", "1.7 applied", "40d left"),
        (4, "d-1", "connected", "1.7 refused", "revoked"),
    ];
    for (line, edge, link, generation, certificate) in table {
        for part in [edge, link, generation, "3 of 4", certificate] {
            assert!(lines[line].contains(part), "{part} in {}", lines[line]);
        }
    }
    assert!(text.contains("d-1 refused: lans[0]: there is no lan7 [INTERFACE_MISSING]"));
    assert!(text.ends_with("plug it in"));
    let states: Vec<_> =
        (0..4).map(|i| json::sites(&sites)["sites"][0]["edges"][i]["state"].clone()).collect();
    assert_eq!(states, ["pending", "confirmed", "applied", "refused"]);
}

#[test]
fn tokens_show_their_state_and_never_their_secret() {
    let token = |used, revoked, expires_unix_ms| TokenInfo {
        id: "t1".to_owned(),
        kind: TokenKind::Enrolment.into(),
        edge: "b1-1".to_owned(),
        expires_unix_ms,
        used,
        revoked,
        ..TokenInfo::default()
    };
    let tokens = [
        token(false, false, 3_600_000),
        token(true, false, 3_600_000),
        token(true, true, 3_600_000),
        token(false, false, 1),
        token(false, false, 0),
    ];
    let text = super::tokens(&PLAIN, &tokens, 60_000);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    for (line, state) in lines.iter().zip(["valid for 59m", "used", "revoked", "expired"]) {
        assert!(line.contains(state), "{line}");
    }
    assert!(lines[4].split_whitespace().any(|word| word == "valid"), "{}", lines[4]);
    assert_eq!(json::tokens(&tokens, 60_000)["tokens"][0]["state"], "valid");
    let created = CreateTokenResponse {
        id: "t1".to_owned(),
        token: "hawser1.x".to_owned(),
        ..Default::default()
    };
    let shown = super::token_created(&created, Some("b1-1"));
    assert!(shown.contains("edge b1-1") && !shown.contains("hawser1"), "{shown}");
}

#[test]
fn events_are_lines_and_gaps_are_told() {
    let event = Event {
        sequence: 5,
        unix_ms: 1_769_860_800_250,
        code: "PATH_DOWN".to_owned(),
        site: "b1".to_owned(),
        edge: "b1-1".to_owned(),
        message: "path 1 is down".to_owned(),
        dropped_before: 3,
        ..Event::default()
    };
    let text = super::event(&PLAIN, &event);
    assert_eq!(
        text,
        "(3 events are missing here)\n\
         2026-01-31 12:00:00.250  PATH_DOWN            b1-1         path 1 is down"
    );
    assert_eq!(json::event(&event)["dropped_before"], 3);
    assert!(!json::event(&event).to_string().contains('\n'));
}

#[test]
fn status_shows_figures_and_counters_that_count() {
    let status = GetStatusResponse {
        fleet: "acme".to_owned(),
        revision: 3,
        edges: 3,
        edges_connected: 2,
        edges_converged: 3,
        uptime_s: 61,
        counters: [("drops".to_owned(), 2), ("none".to_owned(), 0)].into(),
        ..GetStatusResponse::default()
    };
    let text = super::status(&PLAIN, &status);
    for part in ["acme", "2 of 3", "3 of 3", "up 1m 1s", "drops 2"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("none 0"));
    assert_eq!(json::status(&status)["counters"]["none"], 0);
}

#[test]
fn colours_are_there_only_if_they_are_wanted() {
    let (paths, decisions) = (two_paths(), [decision()]);
    for (style, expected) in [(PLAIN, false), (COLOURS, true)] {
        assert_eq!(super::paths(&style, &paths, &[]).contains('\u{1b}'), expected);
        assert_eq!(super::why(&style, "b1", &told(), &decisions, 0).contains('\u{1b}'), expected);
    }
}

#[test]
fn text_from_elsewhere_can_not_command_the_terminal() {
    let evil = "\u{1b}]0;owned\u{7}\n";
    let mut decision = decision();
    decision.summary = evil.to_owned();
    decision.cause = evil.to_owned();
    decision.candidates[0].refused_because = evil.to_owned();
    let event = Event { message: evil.to_owned(), code: evil.to_owned(), ..Event::default() };
    let mut path = two_paths();
    path[0].a.as_mut().unwrap().uplink = evil.to_owned();
    let mut state = told();
    for account in &mut state.accounts {
        account.edge = evil.to_owned();
        account.in_force = Some(decision.clone());
        let told = account.explanation.as_mut().unwrap();
        (told.path_name, told.held[0].because) = (evil.to_owned(), evil.to_owned());
    }
    let shown = [
        super::why(&PLAIN, evil, &state, &[], 0),
        super::why_at(&PLAIN, evil, &state, 1),
        super::why(&PLAIN, evil, &Default::default(), &[decision.clone()], 0),
        super::why(&PLAIN, evil, &Default::default(), &[], 0),
        super::event(&PLAIN, &event),
        super::paths(&PLAIN, &path, &[]),
    ];
    for text in shown {
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    }
}
