//! Decisions and explanations.

use super::*;

#[test]
fn why_tells_the_decision_in_words_with_every_candidate() {
    let text = crate::show::why(&PLAIN, "b1", &Default::default(), &[decision()], 0);
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
        crate::show::why(&PLAIN, "b1", &Default::default(), &moved, 0)
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
        let text = crate::show::why(&PLAIN, "b1", &Default::default(), &[decision], 0);
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
        let text = crate::show::why(&PLAIN, "b1", &Default::default(), &[decision], 0);
        assert!(text.contains(expected), "{text}");
    }
    assert!(
        crate::show::why(&PLAIN, "b1", &Default::default(), &[], 0)
            .starts_with("No decision of b1 is known")
    );
}

/// What b1's edge said at noon: the other path is better, but must wait.
#[test]
fn why_begins_with_where_everything_is_and_why_it_stays() {
    let text = crate::show::why(&PLAIN, "b1", &told(), &[decision()], NOON + 60_250);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("FROM") && lines[0].ends_with("WHY NOTHING MOVES"), "{text}");
    let row = "isp-b → hq-1 isp-a  met  1m   isp-a → hq-1 isp-a is better but waits: it must meet \
               the SLA for another 8 s";
    assert!(lines[1].ends_with(row), "{}", lines[1]);
    assert!(text.contains("\n\nb1-1 → hq-1, traffic class voice  2026-01-31 12:00:00.250 UTC"));
    let mut spent = told();
    let account = spent.accounts[0].explanation.as_mut().unwrap();
    (account.held, account.tokens_left, account.next_token_in_ms) = (Vec::new(), 0, 61_000);
    let text = crate::show::why(&PLAIN, "b1", &spent, &[], NOON);
    assert!(text.contains("no path is better (no voluntary move for another 1m 1s)"), "{text}");
}

#[test]
fn why_at_a_moment_tells_what_was_in_force_the_figures_and_what_came_next() {
    let text = crate::show::why_at(&PLAIN, "b1", &told(), NOON + 31_250);
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
    let text = crate::show::why_at(&PLAIN, "b1", &state, NOON);
    for part in [
        "What was in force then is not remembered.",
        "no figures of that moment are remembered",
        "0.2 s later:",
        "because the path it was on went down.",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = crate::show::why_at(&PLAIN, "b1", &state, NOON - 400_000);
    assert!(text.contains("figures are remembered since 2026-01-31 11:59:00.000 UTC only"));
    assert!(!text.contains("later:"), "{text}");
    let text = crate::show::why_at(&PLAIN, "b1", &Default::default(), NOON);
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
    let text = crate::show::why(&PLAIN, "b1", &Default::default(), &[hop("hq-1", "dr-1")], 0);
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
        let text = crate::show::why(&PLAIN, "b1", &Default::default(), &[hop(from, to)], 0);
        assert!(text.contains(expected), "{text}");
    }
    let json = json::why("b1", 0, &Default::default(), &[hop("hq-1", "dr-1")]);
    assert_eq!(json["decisions"][0]["to_next_hop"], "dr-1");
    assert_eq!(json["decisions"][0]["candidates"][0]["next_hop"], "dr-1");
}
