use hawser_proto::agent::v1::{Decision, PathSample, PathState};
use hawser_proto::operator::v1::{EdgeStatus, GetStatusResponse, Path, PathEnd, Site};

use super::*;
use crate::show::Style;

const PLAIN: Style = Style { colours: false, fit: true };

fn site(name: &str, role: &str, paths_up: u32, paths: u32) -> Site {
    let edge = EdgeStatus {
        name: format!("{name}-1"),
        connected: true,
        paths,
        paths_up,
        ..EdgeStatus::default()
    };
    Site { name: name.into(), role: role.into(), edges: vec![edge] }
}

fn end(site: &str, uplink: &str, state: PathState, rtt_us: u32, used: &[&str]) -> Option<PathEnd> {
    let sample = PathSample {
        state: state.into(),
        rtt_us,
        jitter_us: 400,
        selected_for: used.iter().map(ToString::to_string).collect(),
        mos_milli: 4_380,
        ..PathSample::default()
    };
    Some(PathEnd {
        site: site.into(),
        edge: format!("{site}-1"),
        uplink: uplink.into(),
        sample: Some(sample),
        sample_unix_ms: 1,
    })
}

fn path(id: u32, uplink: &str, state: PathState, rtt_us: u32, used: &[&str]) -> Path {
    Path {
        id,
        tunnel_id: 1,
        a: end("hq", "isp-a", state, rtt_us, &[]),
        b: end("b1", uplink, state, rtt_us, used),
        state: state.into(),
        ..Path::default()
    }
}

fn fleet() -> Fleet {
    let status = GetStatusResponse {
        fleet: "acme".into(),
        revision: 7,
        edges: 2,
        edges_connected: 2,
        paths: 2,
        paths_up: 1,
        ..GetStatusResponse::default()
    };
    let decision = Decision {
        unix_ms: 1_700_000_000_000,
        edge: "b1-1".into(),
        peer_edge: "hq-1".into(),
        traffic_class: "default".into(),
        from_path_id: 1,
        to_path_id: 2,
        cause: "PATH_DOWN".into(),
        ..Decision::default()
    };
    Fleet {
        status,
        sites: vec![site("b1", "spoke", 1, 2), site("hq", "hub", 1, 2)],
        paths: vec![
            path(1, "isp-a", PathState::Down, 0, &["default"]),
            path(2, "isp-b", PathState::Up, 35_200, &["default"]),
        ],
        decisions: vec![decision],
        unix_ms: 1_700_000_005_000,
    }
}

fn top() -> Top {
    let mut top = Top::default();
    top.take(fleet());
    top
}

fn screen(top: &mut Top) -> String {
    top.frame(&PLAIN, 110, 24).join("\n")
}

#[test]
fn the_fleet_is_shown_with_states_as_shapes_what_carries_and_what_moved() {
    let shown = screen(&mut top());
    assert!(
        shown.contains("hawser  acme  revision 7  edges 2/2  paths 1/2  22:13:25 UTC"),
        "{shown}"
    );
    let row = shown.lines().find(|line| line.contains("b1 ")).unwrap();
    assert!(
        row.contains("▲  b1") && row.contains("1/2") && row.contains("isp-b → hq isp-a"),
        "{row}"
    );
    assert!(
        shown.contains(
            "b1-1 default  It moved from path 1 to path 2, because the path it was on went down."
        ),
        "{shown}"
    );
}

#[test]
fn every_screen_has_the_terminals_size_and_no_more() {
    let mut top = top();
    for view in 0..3 {
        for (width, height) in [(110, 24), (40, 8), (1, 1), (200, 60)] {
            let lines = top.frame(&PLAIN, width, height);
            assert_eq!(lines.len(), height, "view {view}, {width} × {height}");
            for line in &lines {
                let seen = line.replace("\u{1b}[7m", "").replace("\u{1b}[0m", "");
                assert!(seen.chars().count() <= width, "{line:?}");
            }
        }
        top.press(Key::Enter);
    }
}

#[test]
fn keys_lead_down_to_a_path_and_back_to_where_one_was() {
    let mut top = top();
    top.press(Key::Down);
    assert!(selected(&mut top).contains("hq"));
    top.press(Key::Enter);
    top.press(Key::Down);
    assert!(selected(&mut top).contains("isp-a → b1 isp-b"));
    top.press(Key::Enter);
    let shown = screen(&mut top);
    assert!(shown.contains("hq isp-a — b1 isp-b") && shown.contains("● up"), "{shown}");
    assert!(shown.contains("35.2 ms") && shown.contains("4.38"), "{shown}");
    assert!(top.press(Key::Back));
    assert!(selected(&mut top).contains("isp-a → b1 isp-b"));
    assert!(top.press(Key::Back));
    assert!(selected(&mut top).contains("hq"));
    assert!(!top.press(Key::Back), "there is nothing above");
    assert!(!top.press(Key::Quit));
}

fn selected(top: &mut Top) -> String {
    let lines = top.frame(&PLAIN, 110, 24);
    lines.into_iter().find(|line| line.starts_with("\u{1b}[7m")).unwrap()
}

#[test]
fn the_selected_one_stays_on_the_screen_and_in_the_list() {
    let mut top = Top::default();
    let sites = (0..300).map(|n| site(&format!("s{n:03}"), "spoke", 1, 1)).collect();
    top.take(Fleet { sites, ..Fleet::default() });
    screen(&mut top);
    for _ in 0..400 {
        top.press(Key::Down);
    }
    assert!(selected(&mut top).contains("s299"));
    top.press(Key::PageUp);
    assert!(!selected(&mut top).contains("s299"));
    top.take(Fleet { sites: vec![site("only", "hub", 0, 1)], ..Fleet::default() });
    assert!(selected(&mut top).contains("✕  only"));
}

#[test]
fn a_path_has_a_chart_of_what_was_seen_with_its_gaps() {
    let mut top = Top::default();
    for rtt in [10_000, 20_000, 0, 40_000] {
        let state = if rtt == 0 { PathState::Down } else { PathState::Up };
        let paths = vec![path(2, "isp-b", state, rtt, &[])];
        top.take(Fleet { paths, ..fleet() });
    }
    top.press(Key::Enter);
    top.press(Key::Enter);
    let shown = screen(&mut top);
    assert!(shown.contains("▂▄✕█"), "{shown}");
    for _ in 0..2 * REMEMBERED {
        top.take(fleet());
    }
    assert!(top.trends.values().all(|trend| trend.len() <= REMEMBERED));
    top.take(Fleet { paths: Vec::new(), ..fleet() });
    assert!(screen(&mut top).contains("path 2 is gone"));
    assert!(top.trends.is_empty());
}

#[test]
fn what_is_old_is_said_to_be_and_names_can_not_command_the_terminal() {
    let mut top = top();
    top.trouble("no\u{1b}[2Janswer".into());
    let shown = screen(&mut top);
    assert!(shown.contains("This is old: no\u{fffd}[2Janswer"), "{shown:?}");
    top.take(Fleet { sites: vec![site("x\u{1b}[31m", "hub", 1, 1)], ..Fleet::default() });
    assert!(!screen(&mut top).contains("\u{1b}[31m"));
    assert!(!screen(&mut top).contains("This is old"));
}
