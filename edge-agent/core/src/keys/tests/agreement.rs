//! One machine, its peer played by hand.

use hawser_proto::peer::v1::{KeyAnswer, KeyConfirm, KeyOffer, KeyRefusal, RekeyRequest};

use super::super::*;
use crate::id::{EdgeId, PathId, Spi};
use crate::time::Micros;

const A: ConnectionNo = ConnectionNo(1);
const B: ConnectionNo = ConnectionNo(2);
const T0: Micros = Micros(1_000_000_000);

pub(super) fn terms(local: u32, peer: u32) -> Terms {
    Terms {
        fleet: "acme".into(),
        local: EdgeId(local),
        peer: EdgeId(peer),
        path: PathId(7),
        sa: STANDARD,
        lanes: Lanes::ONE,
    }
}

const STANDARD: SaTerms = SaTerms { suite: KeySuite::Aes128Gcm, esn: true };
const OTHER: SaTerms = SaTerms { suite: KeySuite::Aes256Gcm, esn: true };

fn machine() -> Agreement {
    Agreement::new(terms(1, 2))
}

fn effects(machine: &mut Agreement) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

fn offer(epoch: u64) -> KeyMessage {
    KeyMessage::Offer(KeyOffer {
        path_id: 7,
        epoch,
        spi: 9_000 + epoch as u32,
        nonce: vec![3; 32],
        suite: "aes-128-gcm".into(),
        lanes: 0,
    })
}

fn answer(epoch: u64) -> KeyMessage {
    let spi = 8_000 + epoch as u32;
    KeyMessage::Answer(KeyAnswer { path_id: 7, epoch, spi, nonce: vec![4; 32], lanes: 0 })
}

fn confirm(epoch: u64) -> KeyMessage {
    KeyMessage::Confirm(KeyConfirm { path_id: 7, epoch })
}

fn refusal(epoch: u64, code: &str) -> KeyMessage {
    KeyMessage::Refusal(KeyRefusal { path_id: 7, epoch, code: code.into() })
}

/// Runs a client through one epoch.
fn key_as_client(m: &mut Agreement, c: ConnectionNo, epoch: u64, spi: u32, now: Micros) {
    m.reserved(c, epoch, Spi(spi), [1; 32], now).unwrap();
    m.received(c, answer(epoch), now).unwrap();
    m.inbound_installed(Spi(spi), true, now).unwrap();
    m.outbound_installed(c, Spi(8_000 + epoch as u32), true, now).unwrap();
    m.received(c, confirm(epoch), now).unwrap();
}

/// Runs a server through one epoch.
fn key_as_server(m: &mut Agreement, c: ConnectionNo, epoch: u64, spi: u32, now: Micros) {
    m.received(c, offer(epoch), now).unwrap();
    m.reserved(c, epoch, Spi(spi), [1; 32], now).unwrap();
    m.inbound_installed(Spi(spi), true, now).unwrap();
    m.received(c, confirm(epoch), now).unwrap();
    m.outbound_installed(c, Spi(9_000 + epoch as u32), true, now).unwrap();
}

#[test]
fn a_client_confirms_only_after_inbound_and_then_outbound_are_installed() {
    let mut m = machine();
    m.adopt(A, Role::Client, T0);
    assert_eq!(effects(&mut m), [Effect::ReserveInbound { connection: A, epoch: 1 }]);
    m.reserved(A, 1, Spi(300), [1; 32], T0).unwrap();
    let sent = effects(&mut m);
    assert!(matches!(&sent[..], [Effect::Send { connection: A, message: KeyMessage::Offer(o) }]
            if o.epoch == 1 && o.spi == 300 && o.nonce == [1; 32] && o.suite == "aes-128-gcm" && o.lanes == 0));
    m.received(A, answer(1), T0).unwrap();
    match &effects(&mut m)[..] {
        [
            Effect::InstallInbound {
                connection: A,
                spi: Spi(300),
                context,
                esn: true,
                lanes: Lanes::ONE,
            },
        ] => {
            assert_eq!((context.client, context.server), (EdgeId(1), EdgeId(2)));
            assert_eq!((context.sender, context.spi), (EdgeId(2), Spi(300)));
            assert_eq!((context.nonce_client, context.nonce_server), ([1; 32], [4; 32]));
        }
        other => panic!("{other:?}"),
    }
    m.inbound_installed(Spi(300), true, T0).unwrap();
    match &effects(&mut m)[..] {
        [Effect::InstallOutbound { connection: A, spi: Spi(8001), context, esn: true, .. }] => {
            assert_eq!((context.sender, context.spi), (EdgeId(1), Spi(8001)));
        }
        other => panic!("{other:?}"),
    }
    m.outbound_installed(A, Spi(8001), true, T0).unwrap();
    assert_eq!(effects(&mut m), [Effect::Send { connection: A, message: confirm(1) }]);
    m.received(A, confirm(1), T0).unwrap();
    assert_eq!(effects(&mut m), [Effect::Keyed { connection: A, epoch: 1 }]);
    assert!(m.is_settled());
    assert_eq!(m.next_deadline(), None);
}

#[test]
fn a_server_answers_after_inbound_and_sends_after_the_confirm() {
    let mut m = machine();
    m.adopt(A, Role::Server, T0);
    m.received(A, offer(1), T0).unwrap();
    assert_eq!(effects(&mut m), [Effect::ReserveInbound { connection: A, epoch: 1 }]);
    m.reserved(A, 1, Spi(300), [5; 32], T0).unwrap();
    match &effects(&mut m)[..] {
        [Effect::InstallInbound { spi: Spi(300), context, .. }] => {
            assert_eq!((context.client, context.server), (EdgeId(2), EdgeId(1)));
            assert_eq!(context.sender, EdgeId(2));
        }
        other => panic!("{other:?}"),
    }
    m.inbound_installed(Spi(300), true, T0).unwrap();
    assert!(matches!(
        &effects(&mut m)[..],
        [Effect::Send { message: KeyMessage::Answer(a), .. }] if a.spi == 300
    ));
    m.received(A, confirm(1), T0).unwrap();
    assert!(matches!(
        &effects(&mut m)[..],
        [Effect::InstallOutbound { spi: Spi(9001), context, .. }] if context.sender == EdgeId(1)
    ));
    m.outbound_installed(A, Spi(9001), true, T0).unwrap();
    let done = [
        Effect::Send { connection: A, message: confirm(1) },
        Effect::Keyed { connection: A, epoch: 1 },
    ];
    assert_eq!(effects(&mut m), done);
}

#[test]
fn an_old_inbound_sa_drains_from_when_the_peer_has_left_it() {
    let mut m = machine();
    m.adopt(A, Role::Server, T0);
    key_as_server(&mut m, A, 1, 300, T0);
    let later = T0 + EPOCH_INTERVAL * 60;
    key_as_server(&mut m, A, 2, 301, later);
    effects(&mut m);
    assert_eq!(m.next_deadline(), Some(later + DRAIN));
    m.handle_timeout(Micros(later.0 + DRAIN.as_micros() as u64 - 1));
    assert_eq!(effects(&mut m), []);
    m.handle_timeout(later + DRAIN);
    assert_eq!(effects(&mut m), [Effect::RetireInbound(Spi(300))]);
    m.handle_timeout(later + DRAIN * 100);
    assert_eq!(effects(&mut m), [], "the SA in use stays however old it is");
}

#[test]
fn without_the_servers_confirm_a_client_keeps_every_inbound_sa() {
    let mut m = machine();
    m.adopt(A, Role::Client, T0);
    key_as_client(&mut m, A, 1, 300, T0);
    m.rekey(T0 + EPOCH_INTERVAL);
    let now = T0 + EPOCH_INTERVAL;
    m.reserved(A, 2, Spi(301), [1; 32], now).unwrap();
    m.received(A, answer(2), now).unwrap();
    m.inbound_installed(Spi(301), true, now).unwrap();
    m.outbound_installed(A, Spi(8002), true, now).unwrap();
    m.connection_closed(A);
    effects(&mut m);
    assert_eq!(m.next_deadline(), None);
    m.adopt(B, Role::Client, now);
    key_as_client(&mut m, B, 1, 302, now);
    effects(&mut m);
    m.handle_timeout(now + DRAIN);
    let both = [Effect::RetireInbound(Spi(300)), Effect::RetireInbound(Spi(301))];
    assert_eq!(effects(&mut m), both);
}

#[test]
fn what_is_late_doubled_or_not_for_this_role_is_ignored_with_a_reason() {
    let mut m = machine();
    assert_eq!(m.received(A, offer(1), T0), Err(Ignored::OtherConnection));
    m.adopt(A, Role::Server, T0);
    key_as_server(&mut m, A, 3, 300, T0);
    effects(&mut m);
    for (message, want) in [
        (offer(3), Ignored::Stale),
        (offer(2), Ignored::Stale),
        (confirm(3), Ignored::OutOfStep),
        (confirm(4), Ignored::Stale),
        (answer(3), Ignored::WrongRole),
        (refusal(3, "x"), Ignored::WrongRole),
        (KeyMessage::Request(RekeyRequest { path_id: 7 }), Ignored::WrongRole),
    ] {
        assert_eq!(m.received(A, message.clone(), T0), Err(want), "{message:?}");
        assert_eq!(effects(&mut m), [], "{message:?}");
    }
    assert_eq!(m.inbound_installed(Spi(300), true, T0), Err(Ignored::Stale));
    assert_eq!(m.outbound_installed(A, Spi(9003), true, T0), Err(Ignored::Stale));
    assert_eq!(m.reserved(A, 3, Spi(999), [0; 32], T0), Err(Ignored::Stale));
    assert_eq!(effects(&mut m), [Effect::ReleaseInbound(Spi(999))]);
}

#[test]
fn an_offer_that_cannot_be_keyed_is_refused_with_a_code_and_changes_nothing() {
    let valid = match offer(5) {
        KeyMessage::Offer(offer) => offer,
        other => panic!("{other:?}"),
    };
    let table = [
        (KeyOffer { nonce: vec![0; 31], ..valid.clone() }, "bad_nonce"),
        (KeyOffer { spi: 255, ..valid.clone() }, "bad_spi"),
        (KeyOffer { suite: "aes-256-gcm".into(), ..valid.clone() }, "suite_mismatch"),
        (KeyOffer { suite: "aes-128-gcm no-esn".into(), ..valid.clone() }, "suite_mismatch"),
    ];
    for (bad, code) in table {
        let mut m = machine();
        m.adopt(A, Role::Server, T0);
        m.received(A, KeyMessage::Offer(bad), T0).unwrap();
        let refused = [
            Effect::Refused { code: code.into() },
            Effect::Send { connection: A, message: refusal(5, code) },
        ];
        assert_eq!(effects(&mut m), refused);
        m.received(A, offer(6), T0).unwrap();
        assert_eq!(effects(&mut m), [Effect::ReserveInbound { connection: A, epoch: 6 }]);
    }
}

#[test]
fn a_refused_client_tries_again_with_longer_pauses_and_rising_epochs() {
    let mut m = machine();
    m.adopt(A, Role::Client, T0);
    let mut now = T0;
    let mut pauses = Vec::new();
    for epoch in 1..=6 {
        let spi = Spi(300 + epoch as u32);
        m.reserved(A, epoch, spi, [1; 32], now).unwrap();
        m.received(A, refusal(epoch, "unknown_path\n\u{1b}[31m"), now).unwrap();
        let seen = effects(&mut m);
        assert!(seen.contains(&Effect::ReleaseInbound(spi)));
        assert!(seen.contains(&Effect::Refused { code: "unknown_path[31m".into() }));
        let next = m.next_deadline().unwrap();
        pauses.push(next.since(now).as_secs());
        now = next;
        m.handle_timeout(now);
        assert_eq!(effects(&mut m), [Effect::ReserveInbound { connection: A, epoch: epoch + 1 }]);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
}

#[test]
fn a_client_without_an_answer_offers_anew_and_the_server_drops_the_first_sa() {
    let mut client = machine();
    client.adopt(A, Role::Client, T0);
    client.reserved(A, 1, Spi(300), [1; 32], T0).unwrap();
    effects(&mut client);
    assert_eq!(client.next_deadline(), Some(T0 + ANSWER_TIMEOUT));
    client.handle_timeout(T0 + ANSWER_TIMEOUT);
    assert_eq!(effects(&mut client), [Effect::ReleaseInbound(Spi(300))]);
    assert_eq!(client.received(A, answer(1), T0 + ANSWER_TIMEOUT), Err(Ignored::OutOfStep));

    let mut server = machine();
    server.adopt(A, Role::Server, T0);
    server.received(A, offer(1), T0).unwrap();
    server.reserved(A, 1, Spi(400), [1; 32], T0).unwrap();
    server.inbound_installed(Spi(400), true, T0).unwrap();
    effects(&mut server);
    server.received(A, offer(2), T0).unwrap();
    let next =
        [Effect::RetireInbound(Spi(400)), Effect::ReserveInbound { connection: A, epoch: 2 }];
    assert_eq!(effects(&mut server), next);
}

#[test]
fn a_failed_installation_frees_the_spi_and_is_tried_again() {
    let mut client = machine();
    client.adopt(A, Role::Client, T0);
    client.reserved(A, 1, Spi(300), [1; 32], T0).unwrap();
    client.received(A, answer(1), T0).unwrap();
    effects(&mut client);
    client.inbound_installed(Spi(300), false, T0).unwrap();
    let freed =
        [Effect::ReleaseInbound(Spi(300)), Effect::Refused { code: "install_failed".into() }];
    assert_eq!(effects(&mut client), freed);
    assert!(client.next_deadline().is_some());

    let mut server = machine();
    server.adopt(A, Role::Server, T0);
    server.received(A, offer(1), T0).unwrap();
    server.reserved(A, 1, Spi(400), [1; 32], T0).unwrap();
    server.inbound_installed(Spi(400), true, T0).unwrap();
    server.received(A, confirm(1), T0).unwrap();
    effects(&mut server);
    server.outbound_installed(A, Spi(9001), false, T0).unwrap();
    let refused = [
        Effect::Refused { code: "install_failed".into() },
        Effect::Send { connection: A, message: refusal(1, "install_failed") },
    ];
    assert_eq!(effects(&mut server), refused, "the client already sends on 400: it stays");
}

#[test]
fn requests_for_keys_are_bounded_to_one_epoch_a_second() {
    let mut m = machine();
    m.adopt(A, Role::Client, T0);
    key_as_client(&mut m, A, 1, 300, T0);
    effects(&mut m);
    let request = || KeyMessage::Request(RekeyRequest { path_id: 7 });
    for _ in 0..5 {
        m.received(A, request(), T0).unwrap();
    }
    assert_eq!(effects(&mut m), []);
    assert_eq!(m.next_deadline(), Some(T0 + EPOCH_INTERVAL));
    m.handle_timeout(T0 + EPOCH_INTERVAL);
    assert_eq!(effects(&mut m), [Effect::ReserveInbound { connection: A, epoch: 2 }]);

    let mut server = machine();
    server.adopt(A, Role::Server, T0);
    server.rekey(T0);
    server.rekey(T0);
    assert_eq!(effects(&mut server), [Effect::Send { connection: A, message: request() }]);
    server.rekey(T0 + EPOCH_INTERVAL);
    assert_eq!(effects(&mut server), [Effect::Send { connection: A, message: request() }]);
}

#[test]
fn many_rekeys_never_hold_more_than_the_bounded_number_of_inbound_sas() {
    let mut m = machine();
    m.adopt(A, Role::Client, T0);
    let (mut now, mut live, mut most) = (T0, 0_usize, 0_usize);
    for round in 0..60_u64 {
        for effect in effects(&mut m) {
            match effect {
                Effect::ReserveInbound { epoch, .. } => {
                    key_as_client(&mut m, A, epoch, 300 + round as u32, now);
                    live += 1;
                }
                Effect::RetireInbound(_) => live -= 1,
                _ => {}
            }
        }
        most = most.max(live);
        m.rekey(now);
        now = now + EPOCH_INTERVAL / 2;
        m.handle_timeout(now);
    }
    assert!((8..=MAX_INBOUND).contains(&most), "{most}");
}

#[test]
fn a_new_suite_is_keyed_at_once_and_the_path_that_goes_takes_its_sas_along() {
    let mut m = machine();
    m.adopt(A, Role::Client, T0);
    key_as_client(&mut m, A, 1, 300, T0);
    effects(&mut m);
    let now = T0 + EPOCH_INTERVAL;
    m.set_terms(OTHER, now);
    m.reserved(A, 2, Spi(301), [1; 32], now).unwrap();
    assert!(effects(&mut m).iter().any(|e| matches!(
        e,
        Effect::Send { message: KeyMessage::Offer(o), .. } if o.suite == "aes-256-gcm"
    )));
    m.received(A, answer(2), now).unwrap();
    effects(&mut m);
    m.remove();
    let gone = [Effect::RetireInbound(Spi(300)), Effect::RetireInbound(Spi(301))];
    assert_eq!(effects(&mut m), gone);
    assert_eq!(m.next_deadline(), None);
}

#[test]
fn a_connection_that_is_adopted_again_goes_on_with_its_epochs() {
    let mut m = machine();
    m.adopt(A, Role::Client, T0);
    key_as_client(&mut m, A, 1, 300, T0);
    m.adopt(B, Role::Server, T0);
    key_as_server(&mut m, B, 1, 301, T0);
    m.connection_closed(B);
    effects(&mut m);
    m.adopt(A, Role::Client, T0);
    assert_eq!(effects(&mut m), [Effect::ReserveInbound { connection: A, epoch: 2 }]);
}

fn offered(m: &mut Agreement) -> Option<String> {
    effects(m).into_iter().find_map(|effect| match effect {
        Effect::Send { message: KeyMessage::Offer(offer), .. } => Some(offer.suite),
        _ => None,
    })
}

fn offer_of(epoch: u64, terms: SaTerms) -> KeyMessage {
    match offer(epoch) {
        KeyMessage::Offer(offer) => KeyMessage::Offer(KeyOffer { suite: terms.name(), ..offer }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_whose_peer_is_a_generation_behind_goes_on_with_what_is_in_use() {
    let mut m = machine();
    m.adopt(A, Role::Client, T0);
    key_as_client(&mut m, A, 1, 300, T0);
    effects(&mut m);
    let mut now = T0 + EPOCH_INTERVAL;
    m.set_terms(OTHER, now);
    let mut epoch = 1;
    for expected in ["aes-256-gcm", "aes-128-gcm", "aes-256-gcm", "aes-128-gcm"] {
        epoch += 1;
        m.reserved(A, epoch, Spi(300 + epoch as u32), [1; 32], now).unwrap();
        assert_eq!(offered(&mut m).as_deref(), Some(expected));
        m.received(A, refusal(epoch, "suite_mismatch"), now).unwrap();
        now = m.next_deadline().unwrap();
        m.handle_timeout(now);
    }
    // A refusal for another reason changes nothing.
    m.reserved(A, 6, Spi(306), [1; 32], now).unwrap();
    m.received(A, refusal(6, "busy"), now).unwrap();
    now = m.next_deadline().unwrap();
    m.handle_timeout(now);
    m.reserved(A, 7, Spi(307), [1; 32], now).unwrap();
    assert_eq!(offered(&mut m).as_deref(), Some("aes-256-gcm"));
    m.received(A, refusal(7, "suite_mismatch"), now).unwrap();
    now = m.next_deadline().unwrap();
    m.handle_timeout(now);
    m.reserved(A, 8, Spi(308), [1; 32], now).unwrap();
    m.received(A, answer(8), now).unwrap();
    let context = effects(&mut m).into_iter().find_map(|effect| match effect {
        Effect::InstallInbound { context, .. } => Some(context.suite),
        _ => None,
    });
    assert_eq!(context, Some(KeySuite::Aes128Gcm), "as was agreed, not as is wanted");
}

#[test]
fn a_server_takes_the_old_terms_until_the_new_ones_have_keyed_the_path() {
    let mut m = machine();
    m.adopt(A, Role::Server, T0);
    key_as_server(&mut m, A, 1, 300, T0);
    let now = T0 + EPOCH_INTERVAL;
    m.set_terms(OTHER, now);
    key_as_server(&mut m, A, 2, 301, now);
    effects(&mut m);
    m.received(A, offer_of(3, OTHER), now).unwrap();
    m.reserved(A, 3, Spi(302), [1; 32], now).unwrap();
    m.inbound_installed(Spi(302), true, now).unwrap();
    m.received(A, confirm(3), now).unwrap();
    m.outbound_installed(A, Spi(9_003), true, now).unwrap();
    effects(&mut m);
    m.received(A, offer(4), now).unwrap();
    let refused = Effect::Refused { code: "suite_mismatch".into() };
    assert_eq!(effects(&mut m).first(), Some(&refused), "what is old is gone");
}

#[test]
fn a_server_whose_terms_change_in_the_middle_of_an_epoch_asks_when_it_is_over_and_once() {
    let mut m = machine();
    m.adopt(A, Role::Server, T0);
    m.received(A, offer(1), T0).unwrap();
    m.reserved(A, 1, Spi(300), [1; 32], T0).unwrap();
    m.set_terms(OTHER, T0);
    m.inbound_installed(Spi(300), true, T0).unwrap();
    m.received(A, confirm(1), T0).unwrap();
    m.outbound_installed(A, Spi(9_001), true, T0).unwrap();
    let asks = |m: &mut Agreement| {
        let asks = |e: &Effect| matches!(e, Effect::Send { message: KeyMessage::Request(_), .. });
        effects(m).iter().filter(|effect| asks(effect)).count()
    };
    assert_eq!(asks(&mut m), 1);
    // The client has nothing else: to ask again would only repeat it.
    key_as_server(&mut m, A, 2, 301, T0 + EPOCH_INTERVAL * 3);
    assert_eq!(asks(&mut m), 0);
}

#[test]
fn a_peer_that_has_come_along_and_asks_is_offered_the_new_terms_whenever_it_asks() {
    for in_the_middle in [false, true] {
        let mut m = machine();
        m.adopt(A, Role::Client, T0);
        key_as_client(&mut m, A, 1, 300, T0);
        let mut now = T0 + EPOCH_INTERVAL;
        m.set_terms(OTHER, now);
        m.reserved(A, 2, Spi(302), [1; 32], now).unwrap();
        m.received(A, refusal(2, "suite_mismatch"), now).unwrap();
        let request = KeyMessage::Request(RekeyRequest { path_id: 7 });
        let mut epoch = 3;
        if in_the_middle {
            now = m.next_deadline().unwrap();
            m.handle_timeout(now);
            m.reserved(A, 3, Spi(303), [1; 32], now).unwrap();
            m.received(A, request, now).unwrap();
            m.received(A, answer(3), now).unwrap();
            m.inbound_installed(Spi(303), true, now).unwrap();
            m.outbound_installed(A, Spi(8_003), true, now).unwrap();
            m.received(A, confirm(3), now).unwrap();
            epoch = 4;
        } else {
            m.received(A, request, now).unwrap();
        }
        effects(&mut m);
        now = m.next_deadline().unwrap();
        m.handle_timeout(now);
        m.reserved(A, epoch, Spi(310), [1; 32], now).unwrap();
        assert_eq!(offered(&mut m).as_deref(), Some("aes-256-gcm"), "{in_the_middle}");
    }
}

/// The lanes and first SPI of every installation that is asked for.
fn installed(effects: &[Effect]) -> Vec<(Spi, usize)> {
    let of = |effect: &Effect| match effect {
        Effect::InstallInbound { spi, lanes, .. } | Effect::InstallOutbound { spi, lanes, .. } => {
            Some((*spi, lanes.count()))
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn both_ends_make_as_many_lanes_as_the_one_with_fewer_can() {
    // What a peer says that knows no lanes is 0; what one says that knows more than we do is bounded.
    for (ours, said, agreed) in
        [(1, 0, 1), (4, 0, 1), (1, 4, 1), (4, 1, 1), (4, 2, 2), (2, 4, 2), (8, 8, 8), (8, 9_999, 8)]
    {
        let terms = Terms { lanes: Lanes::clamped(ours), ..terms(1, 2) };
        let wire = if ours == 1 { 0 } else { ours as u32 };
        let mut m = Agreement::new(terms.clone());
        m.adopt(A, Role::Client, T0);
        m.reserved(A, 1, Spi(304), [1; 32], T0).unwrap();
        let says = |e: &Effect| matches!(e, Effect::Send { message: KeyMessage::Offer(o), .. } if o.lanes == wire);
        assert!(effects(&mut m).iter().any(says), "{ours}");
        let KeyMessage::Answer(answer) = answer(1) else { unreachable!() };
        m.received(A, KeyMessage::Answer(KeyAnswer { lanes: said, ..answer }), T0).unwrap();
        m.inbound_installed(Spi(304), true, T0).unwrap();
        let wanted = [(Spi(304), agreed), (Spi(8_001), agreed)];
        assert_eq!(installed(&effects(&mut m)), wanted, "client {ours}, peer {said}");

        let mut m = Agreement::new(terms);
        m.adopt(A, Role::Server, T0);
        let KeyMessage::Offer(offer) = offer(1) else { unreachable!() };
        m.received(A, KeyMessage::Offer(KeyOffer { lanes: said, ..offer }), T0).unwrap();
        m.reserved(A, 1, Spi(304), [1; 32], T0).unwrap();
        m.inbound_installed(Spi(304), true, T0).unwrap();
        m.received(A, confirm(1), T0).unwrap();
        let seen = effects(&mut m);
        let wanted = [(Spi(304), agreed), (Spi(9_001), agreed)];
        assert_eq!(installed(&seen), wanted, "server {ours}, peer {said}");
        let says = |e: &Effect| matches!(e, Effect::Send { message: KeyMessage::Answer(a), .. } if a.lanes == wire);
        assert!(seen.iter().any(says), "{ours}");
    }
}

#[test]
fn lanes_that_run_beyond_the_last_spi_are_refused() {
    let mut m = Agreement::new(Terms { lanes: Lanes::clamped(4), ..terms(1, 2) });
    m.adopt(A, Role::Server, T0);
    let KeyMessage::Offer(offer) = offer(1) else { unreachable!() };
    let bad = KeyOffer { spi: u32::MAX - 2, lanes: 4, ..offer.clone() };
    m.received(A, KeyMessage::Offer(bad), T0).unwrap();
    assert_eq!(effects(&mut m)[0], Effect::Refused { code: "bad_spi".into() });
    let last = KeyOffer { spi: u32::MAX - 3, lanes: 4, epoch: 2, ..offer };
    m.received(A, KeyMessage::Offer(last), T0).unwrap();
    assert_eq!(effects(&mut m), [Effect::ReserveInbound { connection: A, epoch: 2 }]);
}

#[test]
fn a_client_whose_peer_has_the_path_now_offers_again_at_once_and_never_out_of_turn() {
    let mut m = machine();
    m.hasten(T0);
    m.adopt(A, Role::Client, T0);
    let mut now = T0;
    for epoch in 1..=5 {
        m.reserved(A, epoch, Spi(300 + epoch as u32), [1; 32], now).unwrap();
        m.received(A, refusal(epoch, "unknown_path"), now).unwrap();
        now = m.next_deadline().unwrap();
        m.handle_timeout(now);
    }
    m.reserved(A, 6, Spi(306), [1; 32], now).unwrap();
    m.received(A, refusal(6, "unknown_path"), now).unwrap();
    assert!(m.next_deadline().unwrap() >= now + EPOCH_INTERVAL * 10);
    m.hasten(now);
    assert_eq!(m.next_deadline(), Some(now + EPOCH_INTERVAL), "epochs keep their distance");
    m.handle_timeout(now + EPOCH_INTERVAL);
    effects(&mut m);
    m.reserved(A, 7, Spi(307), [1; 32], now + EPOCH_INTERVAL).unwrap();
    assert!(offered(&mut m).is_some());
    m.hasten(now + EPOCH_INTERVAL);
    assert_eq!(effects(&mut m), vec![], "one is under way");
}
