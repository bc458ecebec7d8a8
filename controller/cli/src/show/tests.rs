use hawser_proto::agent::v1::{
    Candidate, Decision, Explanation, Fault, GenerationState, HeldPath, IkeSample, IkeState,
    PathSample, PathState,
};
use hawser_proto::config::v1::{AddressFamily, GenerationId};
use hawser_proto::operator::v1::*;

use super::{Style, json};

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
fn why_tells_the_decision_in_words_with_every_candidate() {
    let text = super::why(&PLAIN, "b1", &Default::default(), &[decision()], 0);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "b1-1 → hq-1, traffic class voice  2026-01-31 12:00:00.250 UTC");
    assert_eq!(
        lines[1],
        "It moved from isp-a→isp-a (path 1) to isp-b→isp-a (path 2), because the path it was on \
         went down."
    );
    assert!(lines[4].contains("100.0 %") && lines[4].contains("refused: no answer for 320 ms"));
    assert!(lines[4].contains("(max_loss_ppm)"), "{}", lines[4]);
    assert!(lines[5].starts_with('→') && lines[5].ends_with("chosen"), "{}", lines[5]);
    let json = json::why("b1", 0, &Default::default(), &[decision()]);
    assert_eq!(json["decisions"][0]["candidates"][0]["limits_crossed"][0], "max_loss_ppm");
}

#[test]
fn why_tells_of_next_hops_too() {
    let candidate = |hop: &str, chosen| Candidate {
        next_hop: hop.to_owned(),
        chosen,
        ..decision().candidates[usize::from(chosen)].clone()
    };
    let moved = |from: &str, to: &str, cause: &str| Decision {
        prefixes: vec!["10.12.0.0/24".to_owned(), "10.13.0.0/24".to_owned()],
        from_next_hop: from.to_owned(),
        to_next_hop: to.to_owned(),
        cause: cause.to_owned(),
        from_path_id: 0,
        to_path_id: 0,
        candidates: vec![candidate("hq1-1", false), candidate("hq2-1", true)],
        ..decision()
    };
    let text = {
        let moved = [moved("hq1-1", "hq2-1", "WITHDRAWN")];
        super::why(&PLAIN, "b1", &Default::default(), &moved, 0)
    };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "b1-1, next hop of 10.12.0.0/24, 10.13.0.0/24  2026-01-31 12:00:00.250 UTC",
            "It moved from hq1-1 to hq2-1, because it said that it can't get there any more.",
        ]
    );
    assert!(lines[4].contains("hq1-1") && lines[5].contains("hq2-1"), "{text}");
    let json = json::why("b1", 0, &Default::default(), &[moved("hq1-1", "hq2-1", "DRAINED")]);
    assert_eq!(json["decisions"][0]["to_next_hop"], "hq2-1");
    let table = [
        (moved("", "hq2-1", "START"), "It takes hq2-1, as its first choice."),
        (moved("hq2-1", "", "NONE_LEFT"), "It left hq2-1 and has no next hop now, because none"),
        (moved("hq2-1", "hq1-1", "FAIL_BACK"), "because that one has been good for long enough."),
        (moved("hq1-1", "hq2-1", "SLA_VIOLATED"), "because it no longer met its SLA on any path."),
        (moved("hq1-1", "hq2-1", "NEXT_HOP_DOWN"), "because no path to it works."),
        (moved("hq1-1", "hq2-1", "DRAINED"), "because it, or one on its way, is drained."),
        (moved("hq1-1", "hq2-1", "DETOUR"), "because it goes through another next hop itself."),
        (moved("hq1-1", "hq2-1", "ADVICE"), "because the controller advises against it."),
    ];
    for (decision, expected) in table {
        let text = super::why(&PLAIN, "b1", &Default::default(), &[decision], 0);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn each_cause_has_its_sentence() {
    let table = [
        (0, 2, "START", "It takes isp-b→isp-a (path 2), as its first choice."),
        (1, 0, "NONE_LEFT", "has no path now, because none is left that works."),
        (2, 2, "CONFIG", "It stays on isp-b→isp-a (path 2), because the configuration changed."),
        (1, 2, "FAIL_BACK", "because the preferred path has been good for long enough."),
        (2, 2, "MEMBERS", "It stays on isp-b→isp-a (path 2), and what carries beside it changed."),
        (1, 2, "SLA_VIOLATED", "because the path it was on no longer met its SLA."),
        (9, 2, "BETTER_PATH", "It moved from path 9 to isp-b→isp-a (path 2), because that path"),
        (0, 0, "NEW_CAUSE", "It has no path, because of NEW_CAUSE."),
    ];
    for (from, to, cause, expected) in table {
        let cause = cause.to_owned();
        let decision = Decision { from_path_id: from, to_path_id: to, cause, ..decision() };
        let text = super::why(&PLAIN, "b1", &Default::default(), &[decision], 0);
        assert!(text.contains(expected), "{text}");
    }
    assert!(
        super::why(&PLAIN, "b1", &Default::default(), &[], 0)
            .starts_with("No decision of b1 is known")
    );
}

/// What b1's edge said at noon: the other path is better, but must wait.
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
fn why_begins_with_where_everything_is_and_why_it_stays() {
    let text = super::why(&PLAIN, "b1", &told(), &[decision()], NOON + 60_250);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("FROM") && lines[0].ends_with("WHY NOTHING MOVES"), "{text}");
    let row = "isp-b → hq-1 isp-a  met  1m   isp-a → hq-1 isp-a is better but waits: it must meet \
               the SLA for another 8 s";
    assert!(lines[1].ends_with(row), "{}", lines[1]);
    assert!(text.contains("\n\nb1-1 → hq-1, traffic class voice  2026-01-31 12:00:00.250 UTC"));
    let mut spent = told();
    let account = spent.accounts[0].explanation.as_mut().unwrap();
    (account.held, account.tokens_left, account.next_token_in_ms) = (Vec::new(), 0, 61_000);
    let text = super::why(&PLAIN, "b1", &spent, &[], NOON);
    assert!(text.contains("no path is better (no voluntary move for another 1m 1s)"), "{text}");
}

#[test]
fn why_at_a_moment_tells_what_was_in_force_the_figures_and_what_came_next() {
    let text = super::why_at(&PLAIN, "b1", &told(), NOON + 31_250);
    for part in [
        "b1 at 2026-01-31 12:00:31.250 UTC",
        "In force then, since 2026-01-31 12:00:00.250 UTC (31s before): It moved from isp-a→isp-a",
        "because the path it was on went down.",
        "Why nothing moved (1s before): isp-a → hq-1 isp-a is better but waits: it must meet the",
        "35.1 ms",
        "refused: no answer for 320 ms",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Before the fault: nothing was known, and what came right after is told.
    let mut state = told();
    let account = &mut state.accounts[0];
    account.next = account.in_force.take();
    account.explanation = None;
    let text = super::why_at(&PLAIN, "b1", &state, NOON);
    for part in [
        "What was in force then is not remembered.",
        "no figures of that moment are remembered",
        "0.2 s later:",
        "because the path it was on went down.",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = super::why_at(&PLAIN, "b1", &state, NOON - 400_000);
    assert!(text.contains("figures are remembered since 2026-01-31 11:59:00.000 UTC only"));
    assert!(!text.contains("later:"), "{text}");
    let text = super::why_at(&PLAIN, "b1", &Default::default(), NOON);
    assert!(text.contains("Nothing of b1 is remembered"), "{text}");
    let json = json::why("b1", NOON, &told(), &[]);
    assert_eq!(json["accounts"][0]["explanation"]["held"][0]["remaining_ms"], 8_000);
    assert_eq!(json["accounts"][0]["in_force"]["cause"], "PATH_DOWN");
    assert_eq!(json["at_unix_ms"], NOON);
}

#[test]
fn a_decision_about_a_next_hop_names_prefixes_and_edges() {
    let hop = |from: &str, to: &str| {
        let candidate = Candidate {
            next_hop: "dr-1".to_owned(),
            state: PathState::Up.into(),
            chosen: true,
            ..Candidate::default()
        };
        Decision {
            traffic_class: String::new(),
            prefixes: vec!["10.9.0.0/16".to_owned(), "10.10.0.0/16".to_owned()],
            from_next_hop: from.to_owned(),
            to_next_hop: to.to_owned(),
            from_path_id: 0,
            to_path_id: 0,
            advice_id: "t-4".to_owned(),
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            candidates: vec![candidate],
            ..decision()
        }
    };
    let text = super::why(&PLAIN, "b1", &Default::default(), &[hop("hq-1", "dr-1")], 0);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "b1-1, next hop of 10.9.0.0/16, 10.10.0.0/16  2026-01-31 12:00:00.250 UTC"
    );
    assert_eq!(lines[1], "It moved from hq-1 to dr-1, because it is not reached any more.");
    assert_eq!(lines[2], "It followed the advice t-4.");
    assert_eq!(lines[3], "Its trace is 4bf92f3577b34da6a3ce929d0e0e4736.");
    assert!(lines[6].starts_with("→  dr-1"), "{}", lines[6]);
    let table = [("", "dr-1", "It takes dr-1,"), ("hq-1", "", "It left hq-1 and has no next hop")];
    for (from, to, expected) in table {
        let text = super::why(&PLAIN, "b1", &Default::default(), &[hop(from, to)], 0);
        assert!(text.contains(expected), "{text}");
    }
    let json = json::why("b1", 0, &Default::default(), &[hop("hq-1", "dr-1")]);
    assert_eq!(json["decisions"][0]["to_next_hop"], "dr-1");
    assert_eq!(json["decisions"][0]["candidates"][0]["next_hop"], "dr-1");
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
fn an_apply_tells_whom_it_changes() {
    let mut response = ApplyResponse { revision: 3, unchanged: true, ..ApplyResponse::default() };
    assert_eq!(super::applied(&PLAIN, &response), "Nothing to do: revision 3 says the same.");
    response.unchanged = false;
    assert_eq!(super::applied(&PLAIN, &response), "Revision 3 is committed. It changes no edge.");
    response.changed = vec![EdgeGeneration { edge: "b1-1".to_owned(), id: generation(9) }];
    let text = super::applied(&PLAIN, &response);
    assert!(text.starts_with("Revision 3 is committed. 1 edge changes:\n"));
    assert!(text.lines().last().unwrap().split_whitespace().eq(["b1-1", "1.9"]));
    assert_eq!(json::applied(&response)["changed"][0]["generation"]["number"], 9);
}

#[test]
fn a_shown_fleet_can_be_applied_again() {
    let mut response = GetFleetResponse {
        revision: 2,
        document: b"fleet: acme\n".to_vec(),
        committed_unix_ms: 1_769_860_800_000,
        committed_by: "token:x".to_owned(),
        comment: "first\nfleet: evil".to_owned(),
    };
    let text = super::fleet(&PLAIN, &response);
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(kept, ["fleet: acme"]);
    response.document = b"{\"fleet\": \"acme\"}".to_vec();
    assert_eq!(super::fleet(&PLAIN, &response).as_bytes(), response.document);
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

#[test]
fn a_plan_says_what_changes_what_is_interrupted_and_what_to_know() {
    let change = |action: &str, what: &str, detail: &str| PlannedChange {
        action: action.into(),
        what: what.into(),
        detail: detail.into(),
    };
    let plan = PlanResponse {
        base_revision: 7,
        sites: vec![SitePlan {
            site: "b1".into(),
            action: "changed".into(),
            edges: vec![EdgePlan {
                edge: "b1-1".into(),
                action: "changed".into(),
                changes: vec![
                    change("changed", "uplink isp-a", "cost 10 → 21"),
                    change("removed", "uplink isp-b", ""),
                ],
            }],
        }],
        blinks: vec![Blink {
            path_id: 1,
            name: "b1-1 isp-a — hq-1 isp-a".into(),
            why: "the uplink of b1-1 moves from wan0 to wan1".into(),
            about_ms: 1_500,
            stops_traffic: true,
        }],
        findings: vec![Finding {
            code: "SINGLE_UPLINK".into(),
            subject: "b1-1".into(),
            message: "one uplink".into(),
            mend: "add another".into(),
        }],
        ..PlanResponse::default()
    };
    let text = super::plan(&PLAIN, &plan);
    for part in [
        "Compared with revision 7:",
        "~ b1\n  ~ b1-1\n    ~ uplink isp-a: cost 10 → 21\n    - uplink isp-b\n",
        "for about 1.5 s: the uplink of b1-1 moves from wan0 to wan1; its tunnel carries nothing meanwhile",
        "SINGLE_UPLINK",
        "Sites: 0 made, 1 changed, 0 removed.",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(json::plan(&plan)["sites"][0]["edges"][0]["changes"][0]["detail"], "cost 10 → 21");
    let unchanged = PlanResponse { unchanged: true, base_revision: 7, ..PlanResponse::default() };
    assert_eq!(super::plan(&PLAIN, &unchanged), "Nothing would change.\n");
}

#[test]
fn two_documents_are_compared_line_by_line() {
    let document = |revision, text: &str| GetFleetResponse {
        revision,
        document: text.as_bytes().to_vec(),
        ..GetFleetResponse::default()
    };
    let (old, new) = (document(1, "a\nb\n"), document(2, "a\nc\n"));
    let text = super::diff(&PLAIN, &old, &new, &PlanResponse::default());
    assert!(
        text.contains("--- revision 1\n+++ revision 2\n") && text.contains("\n-b\n+c\n"),
        "{text}"
    );
}

#[test]
fn a_rollout_is_shown_by_wave_with_what_comes_next() {
    let edge = |wave, edge: &str, state: &str| RolloutEdge {
        site: edge.to_uppercase(),
        edge: edge.into(),
        wave,
        state: state.into(),
    };
    let rollout = Rollout {
        revision: 8,
        from_revision: 7,
        phase: "soaking".into(),
        wave: 1,
        waves: 2,
        until_unix_ms: 1_769_860_800_000,
        edges: vec![edge(2, "a", "waiting"), edge(1, "b", "confirmed")],
        ..Rollout::default()
    };
    let text = super::rollout(&PLAIN, &rollout);
    assert!(
        text.starts_with(
            "Revision 8 after 7: wave 1 of 2, soaking\nthe next step not before 2026-"
        )
    );
    assert!(text.find("confirmed") < text.find("waiting"), "{text}");
    assert_eq!(super::rollout(&PLAIN, &Rollout::default()), "There was no staged rollout yet.");
}
