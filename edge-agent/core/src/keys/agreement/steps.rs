//! The steps of an epoch.

use super::*;

/// RFC 4303 section 2.1: 1 to 255 are reserved, 0 is local.
const MIN_SPI: u32 = 256;
/// The code of a refusal for an offer's terms.
const TERMS_REFUSED: &str = "suite_mismatch";

impl Agreement {
    pub(super) fn begin(&mut self, now: Micros) {
        let Some((connection, Role::Client)) = self.adopted else {
            self.begin_at = None;
            return;
        };
        let earliest = self.began.map_or(now, |began| began + EPOCH_INTERVAL);
        if now < earliest {
            self.begin_at = Some(earliest);
            return;
        }
        match self.inbound.make_room() {
            Err(_) => {
                self.begin_at = self.inbound.next_deadline().or(Some(now + EPOCH_INTERVAL));
                return;
            }
            Ok(dropped) => dropped.into_iter().for_each(|d| self.drop_inbound(d)),
        }
        self.begin_at = None;
        self.began = Some(now);
        let spent = self.spent.entry(connection).or_default();
        spent.epoch += 1;
        let epoch = spent.epoch;
        self.phase = Phase::Reserving { epoch, offer: None };
        self.effects.push_back(Effect::ReserveInbound { connection, epoch });
    }

    pub(super) fn on_offer(
        &mut self,
        connection: ConnectionNo,
        offer: KeyOffer,
    ) -> Result<(), Ignored> {
        let spent = self.spent.entry(connection).or_default();
        if offer.epoch <= spent.epoch {
            return Err(Ignored::Stale);
        }
        spent.epoch = offer.epoch;
        // The client has given the answered epoch up: it would have confirmed before it offers again.
        if let Phase::Answered(pair) = self.phase {
            self.phase = Phase::Idle;
            if let Some(dropped) = self.inbound.remove(pair.ours) {
                self.drop_inbound(dropped);
            }
        }
        match self.judge(&offer) {
            Ok(offered) => {
                self.phase = Phase::Reserving { epoch: offer.epoch, offer: Some(offered) };
                self.effects.push_back(Effect::ReserveInbound { connection, epoch: offer.epoch });
            }
            Err(code) => self.refuse(connection, offer.epoch, code),
        }
        Ok(())
    }

    /// May this offer be answered?
    fn judge(&mut self, offer: &KeyOffer) -> Result<Offered, &'static str> {
        let nonce_client = Nonce::try_from(offer.nonce.as_slice()).map_err(|_| "bad_nonce")?;
        let lanes = Lanes::from_wire(offer.lanes).min(self.terms.lanes);
        if !are_spis(offer.spi, lanes) {
            return Err("bad_spi");
        }
        let taken = [Some(self.terms.sa), self.in_use].into_iter().flatten();
        let terms = taken.into_iter().find(|terms| terms.name() == offer.suite);
        let terms = terms.ok_or(TERMS_REFUSED)?;
        if self.phase != Phase::Idle {
            return Err("busy");
        }
        let dropped = self.inbound.make_room().map_err(|_| "too_many_sas")?;
        dropped.into_iter().for_each(|d| self.drop_inbound(d));
        Ok(Offered { theirs: Spi(offer.spi), nonce_client, terms, lanes })
    }

    /// What is wanted, or after the peer has refused that what is in use.
    pub(super) fn to_offer(&self) -> SaTerms {
        self.in_use.filter(|_| self.falls_back).unwrap_or(self.terms.sa)
    }

    pub(super) fn on_answer(
        &mut self,
        connection: ConnectionNo,
        answer: KeyAnswer,
        now: Micros,
    ) -> Result<(), Ignored> {
        let (epoch, ours, nonce_client, terms) = match self.phase {
            Phase::Offered { epoch, ours, nonce_client, terms, .. } if epoch == answer.epoch => {
                (epoch, ours, nonce_client, terms)
            }
            _ => return Err(self.out_of_step(answer.epoch)),
        };
        let nonce_server = Nonce::try_from(answer.nonce.as_slice());
        let lanes = Lanes::from_wire(answer.lanes).min(self.terms.lanes);
        let (Ok(nonce_server), true) = (nonce_server, are_spis(answer.spi, lanes)) else {
            self.forget_reserved(ours);
            self.failed(connection, Role::Client, epoch, "bad_answer", now);
            return Ok(());
        };
        let theirs = Spi(answer.spi);
        let pair = Pair { epoch, ours, theirs, nonce_client, nonce_server, terms, lanes };
        self.install_inbound(connection, pair);
        Ok(())
    }

    pub(super) fn on_client_confirm(
        &mut self,
        connection: ConnectionNo,
        confirm: KeyConfirm,
        now: Micros,
    ) -> Result<(), Ignored> {
        let Phase::Answered(pair) = self.phase else {
            return Err(self.out_of_step(confirm.epoch));
        };
        if pair.epoch != confirm.epoch {
            return Err(Ignored::Stale);
        }
        self.inbound.peer_moved_to(pair.ours, now);
        self.install_outbound(connection, pair);
        Ok(())
    }

    pub(super) fn on_server_confirm(
        &mut self,
        connection: ConnectionNo,
        confirm: KeyConfirm,
        now: Micros,
    ) -> Result<(), Ignored> {
        let Phase::Confirming { epoch, ours, terms } = self.phase else {
            return Err(self.out_of_step(confirm.epoch));
        };
        if epoch != confirm.epoch {
            return Err(Ignored::Stale);
        }
        self.inbound.peer_moved_to(ours, now);
        self.keyed(connection, epoch, terms, now);
        self.handle_timeout(now);
        Ok(())
    }

    pub(super) fn on_refusal(&mut self, refusal: KeyRefusal, now: Micros) -> Result<(), Ignored> {
        match self.phase {
            Phase::Offered { epoch, ours, .. } if epoch == refusal.epoch => {
                self.forget_reserved(ours);
            }
            // The server could not install its outbound SA. Its old one goes on, and so do all our inbound ones.
            Phase::Confirming { epoch, .. } if epoch == refusal.epoch => {}
            _ => return Err(self.out_of_step(refusal.epoch)),
        }
        self.phase = Phase::Idle;
        if refusal.code == TERMS_REFUSED {
            // In turns: the peer may have changed its mind.
            self.falls_back = !self.falls_back && self.in_use.is_some();
        }
        // It is shown to people: the peer does not choose how much.
        let code = refusal.code.chars().filter(|c| c.is_ascii_graphic()).take(32).collect();
        self.effects.push_back(Effect::Refused { code });
        self.retry(now);
        Ok(())
    }

    pub(super) fn install_inbound(&mut self, connection: ConnectionNo, pair: Pair) {
        let Some(context) = self.context(connection, &pair, self.terms.peer, pair.ours) else {
            return;
        };
        self.inbound.installing(pair.ours);
        self.phase = Phase::InstallingInbound(pair);
        let Pair { ours: spi, terms: SaTerms { esn, .. }, lanes, .. } = pair;
        self.effects.push_back(Effect::InstallInbound { connection, spi, context, esn, lanes });
    }

    pub(super) fn install_outbound(&mut self, connection: ConnectionNo, pair: Pair) {
        let Some(context) = self.context(connection, &pair, self.terms.local, pair.theirs) else {
            return;
        };
        self.phase = Phase::InstallingOutbound(pair);
        let Pair { theirs: spi, terms: SaTerms { esn, .. }, lanes, .. } = pair;
        self.effects.push_back(Effect::InstallOutbound { connection, spi, context, esn, lanes });
    }

    /// The context of one direction: once for each connection, epoch and sender. The phases never ask twice; should
    /// they, the answer is no key at all.
    fn context(
        &mut self,
        connection: ConnectionNo,
        pair: &Pair,
        sender: EdgeId,
        spi: Spi,
    ) -> Option<SaContext> {
        let (_, role) = self.adopted?;
        let spent = self.spent.get_mut(&connection)?;
        let last = if sender == self.terms.local {
            &mut spent.local_context
        } else {
            &mut spent.peer_context
        };
        if pair.epoch <= *last {
            debug_assert!(false, "a context would be exported twice");
            return None;
        }
        *last = pair.epoch;
        let (client, server) = match role {
            Role::Client => (self.terms.local, self.terms.peer),
            Role::Server => (self.terms.peer, self.terms.local),
        };
        Some(SaContext {
            fleet: self.terms.fleet.clone(),
            client,
            server,
            path: self.terms.path,
            sender,
            spi,
            suite: pair.terms.suite,
            epoch: pair.epoch,
            nonce_client: pair.nonce_client,
            nonce_server: pair.nonce_server,
        })
    }

    pub(super) fn keyed(
        &mut self,
        connection: ConnectionNo,
        epoch: u64,
        terms: SaTerms,
        now: Micros,
    ) {
        self.phase = Phase::Idle;
        self.failures = 0;
        self.in_use = Some(terms);
        self.falls_back = false;
        self.effects.push_back(Effect::Keyed { connection, epoch });
        if std::mem::take(&mut self.to_request) && terms != self.terms.sa {
            self.rekey(now);
        }
    }

    /// This end can't go on with the epoch.
    pub(super) fn failed(
        &mut self,
        connection: ConnectionNo,
        role: Role,
        epoch: u64,
        code: &'static str,
        now: Micros,
    ) {
        self.phase = Phase::Idle;
        match role {
            Role::Server => self.refuse(connection, epoch, code),
            Role::Client => {
                self.effects.push_back(Effect::Refused { code: code.to_owned() });
                self.retry(now);
            }
        }
    }

    fn refuse(&mut self, connection: ConnectionNo, epoch: u64, code: &'static str) {
        let refusal = KeyRefusal { path_id: self.terms.path.0, epoch, code: code.to_owned() };
        self.effects.push_back(Effect::Refused { code: code.to_owned() });
        self.send(connection, KeyMessage::Refusal(refusal));
    }

    pub(super) fn retry(&mut self, now: Micros) {
        let pause = EPOCH_INTERVAL.saturating_mul(1 << self.failures.min(8)).min(MAX_RETRY);
        self.failures += 1;
        self.begin_at = Some(now + pause);
    }

    /// Gives up what the adopted connection was about to do. Inbound SAs stay: the peer may have taken them up.
    pub(super) fn give_up(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Offered { ours, .. } => self.forget_reserved(ours),
            Phase::Idle
            | Phase::Reserving { .. }
            | Phase::InstallingInbound(_)
            | Phase::InstallingOutbound(_)
            | Phase::Answered(_)
            | Phase::Confirming { .. } => {}
        }
        self.begin_at = None;
        self.requested = None;
    }

    pub(super) fn forget_reserved(&mut self, spi: Spi) {
        if let Some(dropped) = self.inbound.remove(spi) {
            self.drop_inbound(dropped);
        }
    }

    pub(super) fn drop_inbound(&mut self, dropped: Dropped) {
        self.effects.push_back(match dropped {
            Dropped::Release(spi) => Effect::ReleaseInbound(spi),
            Dropped::Retire(spi) => Effect::RetireInbound(spi),
        });
    }

    pub(super) fn send(&mut self, connection: ConnectionNo, message: KeyMessage) {
        self.effects.push_back(Effect::Send { connection, message });
    }

    pub(super) fn is_adopted(&self, connection: ConnectionNo) -> bool {
        self.adopted.is_some_and(|(adopted, _)| adopted == connection)
    }

    fn out_of_step(&self, epoch: u64) -> Ignored {
        let current = self.adopted.and_then(|(c, _)| self.spent.get(&c)).map_or(0, |s| s.epoch);
        if epoch == current { Ignored::OutOfStep } else { Ignored::Stale }
    }
}

fn are_spis(first: u32, lanes: Lanes) -> bool {
    first >= MIN_SPI && lanes.fit(Spi(first))
}
