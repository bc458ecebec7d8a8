//! Documents, plans, rollouts.

use super::*;

#[test]
fn an_apply_tells_whom_it_changes() {
    let mut response = ApplyResponse { revision: 3, unchanged: true, ..ApplyResponse::default() };
    assert_eq!(crate::show::applied(&PLAIN, &response), "Nothing to do: revision 3 says the same.");
    response.unchanged = false;
    assert_eq!(
        crate::show::applied(&PLAIN, &response),
        "Revision 3 is committed. It changes no edge."
    );
    response.changed = vec![EdgeGeneration { edge: "b1-1".to_owned(), id: generation(9) }];
    let text = crate::show::applied(&PLAIN, &response);
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
    let text = crate::show::fleet(&PLAIN, &response);
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(kept, ["fleet: acme"]);
    response.document = b"{\"fleet\": \"acme\"}".to_vec();
    assert_eq!(crate::show::fleet(&PLAIN, &response).as_bytes(), response.document);
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
    let text = crate::show::plan(&PLAIN, &plan);
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
    assert_eq!(crate::show::plan(&PLAIN, &unchanged), "Nothing would change.\n");
}

#[test]
fn two_documents_are_compared_line_by_line() {
    let document = |revision, text: &str| GetFleetResponse {
        revision,
        document: text.as_bytes().to_vec(),
        ..GetFleetResponse::default()
    };
    let (old, new) = (document(1, "a\nb\n"), document(2, "a\nc\n"));
    let text = crate::show::diff(&PLAIN, &old, &new, &PlanResponse::default());
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
    let text = crate::show::rollout(&PLAIN, &rollout);
    assert!(
        text.starts_with(
            "Revision 8 after 7: wave 1 of 2, soaking\nthe next step not before 2026-"
        )
    );
    assert!(text.find("confirmed") < text.find("waiting"), "{text}");
    assert_eq!(
        crate::show::rollout(&PLAIN, &Rollout::default()),
        "There was no staged rollout yet."
    );
}
