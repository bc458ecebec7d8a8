use std::fs;
use std::os::unix::fs::PermissionsExt;

use hawser_edge_core::generation::{
    BootId, EpochProof, Generation, GenerationId, Generations, RefusedKind,
};
use hawser_edge_core::time::Micros;
use proptest::prelude::*;

use super::*;

fn generation(number: u64, content: &[u8]) -> Generation {
    Generation::new(GenerationId { epoch: 1, number }, content.to_vec())
}

/// One confirmed, one rejected, one provisional.
fn full_state() -> GenerationState {
    let (mut machine, _) =
        Generations::resume(GenerationState::default(), BootId([7; 16]), Micros(0));
    machine.offer(generation(1, b"one"), EpochProof::Unsigned);
    machine.outcome(Micros(10), Ok(()));
    machine.confirmed_by_exchange(Micros(20), None);
    machine.offer(generation(2, b"two"), EpochProof::Unsigned);
    machine.outcome(Micros(30), Err(Vec::new()));
    machine.outcome(Micros(31), Ok(()));
    machine.offer(generation(3, b"three"), EpochProof::Unsigned);
    machine.outcome(Micros(40), Ok(()));
    machine.state().clone()
}

fn confirmed_state() -> GenerationState {
    let (mut machine, _) = Generations::resume(full_state(), BootId([7; 16]), Micros(50));
    machine.outcome(Micros(60), Ok(()));
    machine.confirmed_by_exchange(Micros(70), None);
    machine.state().clone()
}

fn stored(state: &GenerationState) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _, _) = Ledger::open(dir.path()).unwrap();
    ledger.persist(state).unwrap();
    let generations = dir.path().join("generations");
    (dir, generations)
}

#[test]
fn what_was_persisted_is_read_back_byte_for_byte() {
    for state in [GenerationState::default(), full_state(), confirmed_state()] {
        let (dir, _) = stored(&state);
        let (_, read, reports) = Ledger::open(dir.path()).unwrap();
        assert_eq!(read, state);
        assert_eq!(reports, []);
    }
    let state = full_state();
    assert_eq!(
        state.refused.get(GenerationId { epoch: 1, number: 2 }),
        Some(RefusedKind::Rejected)
    );
    assert_eq!(state.applied.unwrap().bytes(), b"three");
}

#[test]
fn a_missing_ledger_is_an_empty_one_and_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let (_, state, reports) = Ledger::open(dir.path()).unwrap();
    assert_eq!((state, reports.len()), (GenerationState::default(), 0));
}

#[test]
fn only_the_owner_may_read_the_copies_or_enter_their_directory() {
    let (_dir, generations) = stored(&full_state());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&generations), 0o700);
    assert_eq!([mode(&generations.join("a")), mode(&generations.join("b"))], [0o600, 0o600]);
}

#[test]
fn a_copy_cut_off_at_any_length_is_replaced_by_the_other() {
    let state = full_state();
    let (dir, generations) = stored(&state);
    let whole = fs::read(generations.join("a")).unwrap();
    for (copy, length) in COPIES.into_iter().flat_map(|c| (0..whole.len()).map(move |l| (c, l))) {
        let path = generations.join(copy);
        fs::write(&path, &whole[..length]).unwrap();
        let (_, read, reports) = Ledger::open(dir.path()).unwrap();
        assert_eq!(read, state, "{copy} cut off after {length} bytes");
        let damage = Damage::CutOff;
        assert_eq!(reports, [LedgerReport::CopyRepaired { path: path.clone(), damage }]);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_copy_with_any_one_bit_turned_is_replaced_by_the_other() {
    let state = full_state();
    let (dir, generations) = stored(&state);
    let whole = fs::read(generations.join("a")).unwrap();
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(generations.join("b"), &bad).unwrap();
        let (_, read, reports) = Ledger::open(dir.path()).unwrap();
        assert_eq!(read, state, "bit turned in byte {at}");
        assert!(matches!(reports[..], [LedgerReport::CopyRepaired { .. }]), "byte {at}");
    }
}

#[test]
fn a_crash_between_the_two_copies_leaves_the_new_state() {
    let (dir, generations) = stored(&full_state());
    let old = fs::read(generations.join("b")).unwrap();
    let (mut ledger, _, _) = Ledger::open(dir.path()).unwrap();
    ledger.persist(&confirmed_state()).unwrap();
    fs::write(generations.join("b"), old).unwrap();
    let (_, read, reports) = Ledger::open(dir.path()).unwrap();
    assert_eq!(read, confirmed_state());
    assert_eq!(reports, [LedgerReport::CopyBehind { path: generations.join("b") }]);
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_state() {
    let state = full_state();
    let (dir, generations) = stored(&state);
    fs::write(files::aside(&generations.join("a")), b"half a f").unwrap();
    let (mut ledger, read, reports) = Ledger::open(dir.path()).unwrap();
    assert_eq!((read, reports.len()), (state, 0));
    ledger.persist(&confirmed_state()).unwrap();
    assert_eq!(Ledger::open(dir.path()).unwrap().1, confirmed_state());
}

#[test]
fn two_damaged_copies_are_kept_aside_and_reported() {
    let (dir, generations) = stored(&full_state());
    for copy in COPIES {
        fs::write(generations.join(copy), b"garbage that is long enough").unwrap();
    }
    let (mut ledger, read, reports) = Ledger::open(dir.path()).unwrap();
    assert_eq!(read, GenerationState::default());
    assert_eq!(reports, [LedgerReport::BothLost { dir: generations.clone() }]);
    assert!(generations.join("a.damaged").exists() && generations.join("b.damaged").exists());
    ledger.persist(&full_state()).unwrap();
    assert_eq!(Ledger::open(dir.path()).unwrap().1, full_state());
}

#[test]
fn a_state_that_contradicts_itself_counts_as_damage() {
    let mut state = full_state();
    state.provisional = None;
    let (dir, generations) = stored(&state);
    let (_, _, reports) = Ledger::open(dir.path()).unwrap();
    assert_eq!(reports, [LedgerReport::BothLost { dir: generations }]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_never_panics_and_never_passes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, &bytes).unwrap();
        prop_assert!(checked::read(&path).is_err());
        // Not framed: protobuf takes some garbage, the state must still be a legal one.
        if let Ok(state) = record::decode(&bytes) {
            prop_assert_eq!(state.check(), Ok(()));
        }
    }
}
