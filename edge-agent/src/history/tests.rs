use std::os::unix::fs::PermissionsExt;

use hawser_edge_core::history::{Block, Blocks, PathName, Tick};
use hawser_edge_core::id::TunnelId;

use super::*;

const BEGIN_MS: u64 = 1_769_860_800_000;

fn names() -> Names {
    let path = |id: u32, uplink: &str| PathName {
        path: PathId(id),
        tunnel: TunnelId(1),
        peer_edge: "hq-1".into(),
        peer_site: "hq".into(),
        local_uplink: uplink.into(),
        remote_uplink: uplink.into(),
        ipv6: false,
    };
    Names {
        edge: "b1-1".into(),
        site: "b1".into(),
        paths: vec![path(1, "isp-a"), path(2, "isp-b")],
    }
}

fn entry(index: u64) -> Entry {
    Entry { sent: Tick::from_unix_ms(BEGIN_MS + index * 100), rtt: Some(200) }
}

fn all(folder: &Path) -> Vec<u8> {
    let mut blocks = Vec::new();
    let mut cursor = Vec::new();
    loop {
        let piece = read_piece(folder, Tick(0), Tick(u64::MAX), &cursor, 10_000).unwrap();
        blocks.extend(piece.blocks);
        if piece.cursor.is_empty() {
            return blocks;
        }
        assert!(piece.cursor > cursor);
        cursor = piece.cursor;
    }
}

#[tokio::test]
async fn what_the_engine_notes_is_on_disk_when_the_agent_ends_and_becomes_traces() {
    let dir = tempfile::tempdir().unwrap();
    for start_at in [0, 300] {
        let (mut history, task) = start(dir.path());
        history.names(names());
        for index in start_at..start_at + 200 {
            history.note(PathId(1), entry(index));
            history.note(PathId(2), Entry { rtt: None, ..entry(index) });
        }
        history.hand_over();
        assert_eq!(history.counters(), [("history_dropped", 0), ("history_write_failed", 0)]);
        drop(history);
        task.await.unwrap();
    }
    let file = folder(dir.path()).join("0000000001.hist");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&folder(dir.path()))), (0o600, 0o700));
    let asked = Asked {
        since: Tick(0),
        until: Tick(u64::MAX),
        peer: Some("hq".into()),
        grid_ms: 200,
        out: dir.path().join("out"),
    };
    let written = record(dir.path(), &asked).unwrap();
    assert_eq!(written.len(), 2, "two runs of the agent, with a gap between them");
    let text = std::fs::read_to_string(&written[0]).unwrap();
    assert!(text.starts_with("t_ms,isp-a,isp-b\n0,20.0,\n200,20.0,\n"), "{text}");
    let none = record(dir.path(), &Asked { peer: Some("dr".into()), ..asked });
    assert_eq!(none.unwrap_err().code(), "NOTHING_RECORDED");
}

#[test]
fn the_folder_is_bounded_and_every_file_tells_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let max_bytes = 12 << 20;
    let mut store = Store::new(dir.path().join("history"), max_bytes);
    store.write(&[], Some(encode_names(&names()))).unwrap();
    let fates: Vec<Entry> = (0..4_096).map(entry).collect();
    let block = encode_probes(PathId(1), &fates);
    for _ in 0..(20 << 20) / block.len() {
        store.write(&block, None).unwrap();
    }
    let files: Vec<_> = std::fs::read_dir(dir.path().join("history")).unwrap().collect();
    let total: u64 = files.iter().map(|f| f.as_ref().unwrap().metadata().unwrap().len()).sum();
    assert!(total <= max_bytes && files.len() >= 2, "{total} octets in {} files", files.len());
    for file in files {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        assert_eq!(Blocks::new(&content).next(), Some(Block::Names(names())));
    }
}

#[test]
fn an_agent_that_died_while_it_wrote_costs_one_block() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("history");
    let block = encode_probes(PathId(1), &[entry(1), entry(2)]);
    Store::new(folder.clone(), MAX_BYTES).write(&block, None).unwrap();
    Store::new(folder.clone(), MAX_BYTES).write(&block[..block.len() - 3], None).unwrap();
    Store::new(folder.clone(), MAX_BYTES).write(&block, None).unwrap();
    assert_eq!(Blocks::new(&all(&folder)).count(), 2);
}

#[test]
fn pieces_are_bounded_and_go_on_where_the_last_one_ended() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("history");
    assert!(matches!(read_piece(&folder, Tick(0), Tick(1), &[], 1), Err(PieceError::Nothing)));
    let mut store = Store::new(folder.clone(), MAX_BYTES);
    let block = |n: u64| encode_probes(PathId(n as u32), &[entry(n * 1_000)]);
    let blocks: Vec<Vec<u8>> = (0..50).map(block).collect();
    for block in &blocks {
        store.write(block, None).unwrap();
    }
    let mut cursor = Vec::new();
    for expected in &blocks {
        let piece = read_piece(&folder, Tick(0), Tick(u64::MAX), &cursor, 1).unwrap();
        assert_eq!(piece.blocks, *expected);
        cursor = piece.cursor;
    }
    let end = read_piece(&folder, Tick(0), Tick(u64::MAX), &cursor, 1).unwrap();
    assert_eq!(end, Piece { blocks: Vec::new(), cursor: Vec::new() });
    let (since, until) = (entry(10_000).sent, entry(12_000).sent);
    let some = read_piece(&folder, since, until, &[], 1 << 20).unwrap();
    assert_eq!(some.blocks, blocks[10..=12].concat());
    for nonsense in [&b"x"[..], &[0xff; 16], &[0; 17]] {
        let piece = read_piece(&folder, Tick(0), Tick(u64::MAX), nonsense, 1);
        assert!(piece.is_err() || piece.unwrap().blocks.is_empty(), "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_disk_that_can_not_be_written_is_counted_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the folder should be.
    std::fs::write(folder(dir.path()), b"").unwrap();
    let (mut history, task) = start(dir.path());
    history.names(names());
    history.note(PathId(1), entry(1));
    history.hand_over();
    let counters = history.counters.clone();
    drop(history);
    task.await.unwrap();
    assert_eq!(counters.failed.load(Ordering::Relaxed), 2);
}
