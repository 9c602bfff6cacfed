//! What every spool does, played against each engine; and what only a spool on disk can show.

mod crash;
mod fixture;
mod rate;

use super::tables::{Survives, Table, Tables, Write};
use super::*;
use fixture::{Disk, Ground, LEASE, Memory, at, deliver_all, held, mail, mailbox, records};
use secmx_core::queue::Standing;
use secmx_core::report::Cause;

/// Runs each test on each engine.
macro_rules! on_every_engine {
    ($($test:ident)*) => {
        mod memory { $(#[tokio::test] async fn $test() { super::$test::<super::Memory>().await })* }
        mod local { $(#[tokio::test] async fn $test() { super::$test::<super::Disk>().await })* }
    };
}

on_every_engine! {
    what_is_settled_is_gone
    a_restart_resumes
    a_lease_is_exclusive_until_it_ends
    claims_keep_order_and_room
    who_waits_comes_up_again
    held_is_not_claimed
    quarantined_is_not_claimed
    a_notice_comes_with_the_settlement_or_not_at_all
    ids_rise_across_restarts
    an_attempt_is_on_record_until_it_is_settled
    deliveries_are_listed_in_pages
    what_is_looked_for_is_found_and_counted
    what_is_withdrawn_is_gone_unless_it_is_under_way
    a_message_is_replaced_whole
    bodies_read_back_from_any_place
    thirty_mebibytes_read_back
    a_full_spool_goes_on_delivering
    what_makes_no_sense_is_refused
    a_broken_delivery_is_set_aside_alone
    a_broken_message_is_set_aside_whole
    a_broken_or_missing_chunk_is_never_delivered
    garbage_at_a_foreign_key_is_set_aside
    notes_wait_until_they_are_forgotten
    a_change_wakes_the_scheduler
    requests_of_many_at_once_are_all_kept
}

async fn what_is_settled_is_gone<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let new = mail(&spool, &["x.test", "y.test"], b"body");
    spool.accept(new.message.clone(), new.deliveries.clone(), new.body).await.expect("room");
    assert_eq!(spool.counts().await, Counts { messages: 1, deliveries: 2, octets: 4 });
    let claimed = spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole");
    assert_eq!(claimed, new.deliveries);
    assert_eq!(spool.message(new.message.id).await, Ok(new.message.clone()));
    spool.settle(claimed[0].key, Settlement::Finished, vec![]).await.expect("there");
    assert_eq!(spool.delivery(claimed[0].key).await, Err(SpoolError::Gone));
    assert_eq!(spool.body(new.message.id, 0, 9).await, Ok(Bytes::from_static(b"body")), "one delivery still needs it");
    spool.settle(claimed[1].key, Settlement::Finished, vec![]).await.expect("there");
    assert_eq!(spool.counts().await, Counts::default());
    assert_eq!(spool.message(new.message.id).await, Err(SpoolError::Gone));
    assert_eq!(spool.body(new.message.id, 0, 9).await, Err(SpoolError::Gone));
    assert_eq!(spool.settle(claimed[1].key, Settlement::Finished, vec![]).await, Err(SpoolError::Gone));
    assert_eq!(records(&spool.shared.tables), [], "nothing is left behind");
}

async fn a_restart_resumes<G: Ground>() {
    let ground = G::new();
    let new = {
        let spool = ground.open().spool;
        let new = mail(&spool, &["x.test", "y.test", "z.test"], b"body");
        spool.accept(new.message.clone(), new.deliveries.clone(), new.body.clone()).await.expect("room");
        spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole");
        spool.settle(new.deliveries[0].key, Settlement::Finished, vec![]).await.expect("there");
        spool.stand(new.deliveries[1].key, held()).await.expect("there");
        new
    };
    let opened = ground.open();
    assert_eq!(opened.set_aside, []);
    let spool = opened.spool;
    assert_eq!(spool.counts().await, Counts { messages: 1, deliveries: 2, octets: 4 });
    assert_eq!(spool.next_due().await, Some(at(0)), "a restart frees leases");
    assert_eq!(spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole"), new.deliveries[2..], "neither finished nor held");
    assert_eq!(spool.message(new.message.id).await, Ok(new.message.clone()));
    assert_eq!(spool.body(new.message.id, 0, 9).await, Ok(Bytes::from_static(b"body")));
}

async fn a_lease_is_exclusive_until_it_ends<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let new = mail(&spool, &["x.test"], b"");
    spool.accept(new.message, new.deliveries, new.body).await.expect("room");
    assert_eq!(spool.claim(at(-1), 9, LEASE, &|_| 9).await.expect("whole"), [], "not due yet");
    assert_eq!(spool.next_due().await, Some(at(0)));
    assert_eq!(spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole").len(), 1);
    assert_eq!(spool.claim(at(99), 9, LEASE, &|_| 9).await.expect("whole"), []);
    assert_eq!(spool.next_due().await, Some(at(100)));
    assert_eq!(spool.claim(at(100), 9, LEASE, &|_| 9).await.expect("whole").len(), 1);
}

async fn claims_keep_order_and_room<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    for (next, domain) in [(5, "x.test"), (3, "x.test"), (1, "y.test"), (4, "y.test"), (2, "x.test"), (9, "z.test")] {
        let new = mail(&spool, &[domain], b"");
        let deliveries = new.deliveries.into_iter().map(|delivery| Delivery { next: at(next), ..delivery }).collect();
        spool.accept(new.message, deliveries, new.body).await.expect("room");
    }
    let order = |claimed: Vec<Delivery>| claimed.iter().map(|delivery| delivery.next.as_second()).collect::<Vec<_>>();
    let room = |domain: &MailDomain| if domain.to_string() == "x.test" { 1 } else { 9 };
    assert_eq!(order(spool.claim(at(8), 9, LEASE, &room).await.expect("whole")), [1, 2, 4], "x.test has room for one");
    assert_eq!(order(spool.claim(at(8), 1, LEASE, &|_| 9).await.expect("whole")), [3]);
    assert_eq!(order(spool.claim(at(8), 9, LEASE, &|_| 9).await.expect("whole")), [5], "9 is not due");
    let all = spool.deliveries(&Among::default(), None, 9).await.expect("whole");
    let key = all.iter().find(|delivery| delivery.next == at(4)).expect("there").key;
    spool.give_back(key);
    spool.give_back(key);
    assert_eq!(order(spool.claim(at(8), 9, LEASE, &|_| 9).await.expect("whole")), [4], "what was given back comes up again, once");
}

async fn who_waits_comes_up_again<G: Ground>() {
    let ground = G::new();
    let key = {
        let spool = ground.open().spool;
        let mut new = mail(&spool, &["x.test"], b"");
        new.deliveries[0].recipients.push(mailbox("second@x.test"));
        spool.accept(new.message, new.deliveries, new.body).await.expect("room");
        let [claimed] = &spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole")[..] else { panic!("one") };
        let settlement = Settlement::Waiting {
            recipients: vec![mailbox("second@x.test")],
            attempts: 1,
            next: at(60),
            last: vec![Cause::TlsNotOffered.into()],
            warned: true,
        };
        spool.settle(claimed.key, settlement, vec![]).await.expect("there");
        assert_eq!(spool.claim(at(59), 9, LEASE, &|_| 9).await.expect("whole"), []);
        assert_eq!(spool.claim(at(60), 9, LEASE, &|_| 9).await.expect("whole").len(), 1, "its lease is over");
        claimed.key
    };
    let spool = ground.open().spool;
    let [again] = &spool.claim(at(60), 9, LEASE, &|_| 9).await.expect("whole")[..] else { panic!("one") };
    assert_eq!((again.key, again.attempts, again.warned, again.next), (key, 1, true, at(60)));
    assert_eq!(again.recipients, [mailbox("second@x.test")]);
    assert_eq!(again.last, [Cause::TlsNotOffered.into()]);
    let nobody = Settlement::Waiting { recipients: vec![], attempts: 2, next: at(99), last: vec![], warned: true };
    spool.settle(key, nobody, vec![]).await.expect("there");
    assert_eq!(spool.counts().await, Counts::default(), "a delivery to nobody is over");
}

async fn held_is_not_claimed<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let new = mail(&spool, &["x.test"], b"");
    let key = new.deliveries[0].key;
    spool.accept(new.message, new.deliveries, new.body).await.expect("room");
    spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole");
    spool.stand(key, held()).await.expect("there");
    let waiting = Settlement::Waiting { recipients: vec![mailbox("a@x.test")], attempts: 1, next: at(60), last: vec![], warned: false };
    spool.settle(key, waiting, vec![]).await.expect("there");
    assert_eq!(spool.delivery(key).await.map(|d| d.standing), Ok(held()), "the attempt does not release it");
    spool.requeue(key, at(5)).await.expect("there");
    assert_eq!(spool.claim(at(1000), 9, LEASE, &|_| 9).await.expect("whole"), []);
    assert_eq!(spool.next_due().await, None);
    spool.stand(key, Standing::Due).await.expect("there");
    assert_eq!(spool.claim(at(4), 9, LEASE, &|_| 9).await.expect("whole"), []);
    assert_eq!(spool.claim(at(5), 9, LEASE, &|_| 9).await.expect("whole").len(), 1, "at the time it was requeued for");
}

async fn quarantined_is_not_claimed<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let new = mail(&spool, &["x.test"], b"");
    let standing = Standing::Quarantined { code: "dlp.iban".into(), text: "an account number".into(), by: None };
    let deliveries = new.deliveries.into_iter().map(|delivery| Delivery { standing: standing.clone(), ..delivery }).collect();
    spool.accept(new.message, deliveries, new.body).await.expect("room");
    assert_eq!(spool.claim(at(1000), 9, LEASE, &|_| 9).await.expect("whole"), []);
    drop(spool);
    assert_eq!(ground.open().spool.claim(at(1000), 9, LEASE, &|_| 9).await.expect("whole"), [], "nor after a restart");
}

async fn a_notice_comes_with_the_settlement_or_not_at_all<G: Ground>() {
    let ground = G::new();
    let bounce = {
        let spool = ground.open().spool;
        let new = mail(&spool, &["x.test"], b"");
        let (key, bounce, second) = (new.deliveries[0].key, mail(&spool, &["y.test"], b"bounce"), mail(&spool, &["y.test"], b"again"));
        spool.accept(new.message, new.deliveries, new.body).await.expect("room");
        spool.settle(key, Settlement::Finished, vec![bounce.clone()]).await.expect("there");
        assert_eq!(spool.settle(key, Settlement::Finished, vec![second]).await, Err(SpoolError::Gone), "no second bounce");
        bounce
    };
    let spool = ground.open().spool;
    assert_eq!(spool.counts().await, Counts { messages: 1, deliveries: 1, octets: 6 });
    assert_eq!(spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole"), bounce.deliveries);
    assert_eq!(spool.body(bounce.message.id, 0, 99).await, Ok(Bytes::from_static(b"bounce")));
}

/// What a log must not lose comes with its message or not at all, and is there after a crash.
async fn notes_wait_until_they_are_forgotten<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let note = |line: &'static str| Note { id: spool.new_id(at(0)), line: Bytes::from_static(line.as_bytes()) };
    let new = mail(&spool, &["x.test"], b"body");
    let (with, alone, settled) = (note("with a message"), note("alone"), note("with a settlement"));
    spool.accept_noted(new.clone(), vec![with.clone()]).await.expect("room");
    assert!(spool.accept_noted(new.clone(), vec![note("never")]).await.is_err(), "it is there already");
    spool.note(alone.clone()).await.expect("room");
    let key = new.deliveries[0].key;
    spool.settle_noted(key, Settlement::Finished, vec![], vec![settled.clone()]).await.expect("there");
    assert_eq!(spool.settle_noted(key, Settlement::Finished, vec![], vec![note("never")]).await, Err(SpoolError::Gone));
    drop(spool);
    let spool = ground.open().spool;
    assert_eq!(spool.notes(9).await, Ok(vec![with.clone(), alone.clone(), settled.clone()]));
    assert_eq!(spool.notes(1).await, Ok(vec![with.clone()]));
    spool.forget(vec![with.id, alone.id]).await.expect("written");
    assert_eq!(spool.notes(9).await, Ok(vec![settled.clone()]));
    assert!(spool.new_id(at(0)) > settled.id);
    drop(spool);
    ground.spoil(Table::Notes, 0);
    let spool = ground.open().spool;
    assert_eq!(spool.notes(9).await, Ok(Vec::new()), "what is broken is set aside, not logged");
    assert_eq!((spool.set_aside().await.len(), spool.notes(9).await), (1, Ok(Vec::new())));
}

async fn ids_rise_across_restarts<G: Ground>() {
    let ground = G::new();
    let last = {
        let spool = ground.open().spool;
        let ids: Vec<_> = [5, 5, 7, 6, 6].into_iter().map(|second| spool.new_id(at(second))).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "also while the clock stands, or goes back");
        let new = mail(&spool, &["x.test"], b"");
        assert!(new.message.id > ids[4]);
        spool.accept(new.message.clone(), new.deliveries, new.body).await.expect("room");
        new.message.id
    };
    assert!(ground.open().spool.new_id(at(1)) > last);
}

async fn an_attempt_is_on_record_until_it_is_settled<G: Ground>() {
    let ground = G::new();
    let key = {
        let spool = ground.open().spool;
        let new = mail(&spool, &["x.test"], b"");
        let key = new.deliveries[0].key;
        spool.accept(new.message, new.deliveries, new.body).await.expect("room");
        assert_eq!(spool.unsettled(key).await, Ok(None));
        spool.started(key, "mx.x.test", at(3)).await.expect("there");
        key
    };
    let spool = ground.open().spool;
    assert_eq!(spool.unsettled(key).await, Ok(Some(Started { exchanger: "mx.x.test".into(), at: at(3) })));
    let waiting = Settlement::Waiting { recipients: vec![mailbox("a@x.test")], attempts: 1, next: at(60), last: vec![], warned: false };
    spool.settle(key, waiting, vec![]).await.expect("there");
    assert_eq!(spool.unsettled(key).await, Ok(None));
    spool.settle(key, Settlement::Finished, vec![]).await.expect("there");
    assert_eq!(spool.started(key, "mx.x.test", at(4)).await, Err(SpoolError::Gone));
}

async fn deliveries_are_listed_in_pages<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let mut all = Vec::new();
    for _ in 0..3 {
        let new = mail(&spool, &["x.test", "y.test", "z.test"], b"");
        all.extend(new.deliveries.clone());
        spool.accept(new.message, new.deliveries, new.body).await.expect("room");
    }
    spool.claim(at(0), 2, LEASE, &|_| 9).await.expect("whole");
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = spool.deliveries(&Among::default(), after, 4).await.expect("readable");
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        listed.extend(page);
    }
    assert_eq!(listed, all);
    assert_eq!(spool.deliveries(&Among::default(), None, 0).await, Ok(vec![]));
}

async fn what_is_looked_for_is_found_and_counted<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let mut keys = Vec::new();
    for domains in [&["x.test", "y.test"][..], &["x.test"], &["z.test"], &["x.test"]] {
        let new = mail(&spool, domains, b"body");
        keys.extend(new.deliveries.iter().map(|delivery| delivery.key));
        spool.accept(new.message, new.deliveries, new.body).await.expect("room");
    }
    spool.stand(keys[2], held()).await.expect("there");
    spool.requeue(keys[4], at(50)).await.expect("there");
    let found = async |among: Among| {
        let mut found = Vec::new();
        while let [next] = &spool.deliveries(&among, found.last().copied(), 1).await.expect("readable")[..] {
            found.push(next.key);
        }
        found
    };
    let domain = |name: &str| MailDomain::parse(name).expect("valid");
    assert_eq!(found(Among { domains: vec![domain("x.test")], ..Among::default() }).await, [keys[0], keys[2], keys[4]]);
    assert_eq!(found(Among { kept: Some(true), ..Among::default() }).await, [keys[2]]);
    assert_eq!(found(Among { messages: vec![keys[0].id, keys[3].id], ..Among::default() }).await, [keys[0], keys[1], keys[3]]);
    assert_eq!(found(Among { until: Some(at(0)), ..Among::default() }).await, [], "they came at 1");
    assert_eq!(found(Among { until: Some(at(2)), kept: Some(false), ..Among::default() }).await, [keys[0], keys[1], keys[3], keys[4]]);
    spool.claim(at(0), 1, LEASE, &|domain| usize::from(domain.to_string() == "x.test")).await.expect("whole");

    let destinations = spool.destinations().await;
    assert_eq!(
        destinations.iter().map(|one| one.domain.to_string()).collect::<Vec<_>>(),
        ["x.test", "y.test", "z.test"],
        "the busiest first"
    );
    let x = &destinations[0];
    assert_eq!((x.waiting, x.under_way, x.held, x.octets), (1, 1, 1, 12));
    assert_eq!((x.oldest, x.next, x.tried), (keys[0].id, Some(at(50)), keys[4]));
}

async fn what_is_withdrawn_is_gone_unless_it_is_under_way<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let new = mail(&spool, &["x.test", "y.test"], b"body");
    let [first, second] = [new.deliveries[0].key, new.deliveries[1].key];
    spool.accept(new.message, new.deliveries, new.body).await.expect("room");
    spool.claim(at(0), 1, LEASE, &|_| 9).await.expect("whole");
    assert_eq!(spool.withdraw(first, vec![]).await, Err(SpoolError::Busy));
    assert!(spool.delivery(first).await.is_ok(), "nothing happened");
    let notice = mail(&spool, &["s.test"], b"notice");
    let told = notice.message.id;
    spool.withdraw(second, vec![notice]).await.expect("at rest");
    assert_eq!(spool.delivery(second).await, Err(SpoolError::Gone));
    assert_eq!(spool.body(told, 0, 9).await, Ok(Bytes::from_static(b"notice")));
    spool.give_back(first);
    spool.withdraw(first, vec![]).await.expect("at rest");
    assert_eq!(spool.started(first, "mx.x.test", at(0)).await, Err(SpoolError::Gone), "whoever claimed it meanwhile sends nothing");
    assert_eq!(spool.counts().await, Counts { messages: 1, deliveries: 1, octets: 6 });
}

async fn a_message_is_replaced_whole<G: Ground>() {
    let ground = G::new();
    let (id, long) = {
        let spool = ground.open().spool;
        let old = mail(&spool, &["x.test", "y.test", "z.test"], b"old body");
        let id = old.message.id;
        spool.accept(old.message, old.deliveries, old.body).await.expect("room");
        let mut new = mail(&spool, &["x.test"], b"");
        new.message.id = id;
        new.deliveries[0].key.id = id;
        let long = Bytes::from(vec![7; 600_000]);
        new.body = vec![long.clone()];
        new.message.octets = 600_000;
        spool.claim(at(0), 1, LEASE, &|_| 9).await.expect("whole");
        let note = |line: &'static [u8]| vec![Note { id: spool.new_id(at(0)), line: Bytes::from_static(line) }];
        assert_eq!(spool.replace_noted(new.clone(), note(b"of what did not happen\n")).await, Err(SpoolError::Busy));
        spool.give_back(DeliveryKey { id, number: 0 });
        spool.replace_noted(new, note(b"released\n")).await.expect("at rest");
        (id, long)
    };
    let opened = ground.open();
    assert_eq!(opened.set_aside, []);
    let notes = opened.spool.notes(9).await.expect("whole");
    assert_eq!(notes.iter().map(|note| &note.line[..]).collect::<Vec<_>>(), [b"released\n"], "it came with the message");
    opened.spool.forget(notes.into_iter().map(|note| note.id).collect()).await.expect("room");
    assert_eq!(opened.spool.counts().await, Counts { messages: 1, deliveries: 1, octets: 600_000 });
    assert_eq!(opened.spool.body(id, 0, 1_000_000).await, Ok(long));
    opened.spool.withdraw(DeliveryKey { id, number: 0 }, vec![]).await.expect("at rest");
    assert_eq!(records(&opened.spool.shared.tables), [], "nothing is left of either");
}

async fn bodies_read_back_from_any_place<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let chunk = stored::CHUNK_OCTETS;
    let content: Vec<u8> = (0..chunk * 2 + 100).map(|n| (n % 251) as u8).collect();
    let mut new = mail(&spool, &["x.test"], b"");
    new.body = [0..7, 7..7, 7..chunk + 3, chunk + 3..content.len()].map(|part| Bytes::copy_from_slice(&content[part])).to_vec();
    new.message.octets = stored::octets(&new.body);
    spool.accept(new.message.clone(), new.deliveries, new.body).await.expect("room");
    for (offset, max) in
        [(0, 1), (0, chunk), (3, chunk), (chunk - 1, 2), (chunk, chunk), (5, chunk * 2), (chunk * 2, 1000), (0, usize::MAX)]
    {
        let end = offset.saturating_add(max).min(content.len());
        let read = spool.body(new.message.id, offset as u64, max as u64).await.expect("whole");
        assert!(read == content[offset..end], "{offset} + {max}");
    }
    assert_eq!(spool.body(new.message.id, content.len() as u64, 9).await, Ok(Bytes::new()), "the end");
    assert_eq!(spool.body(new.message.id, u64::MAX, 9).await, Ok(Bytes::new()));
}

async fn thirty_mebibytes_read_back<G: Ground>() {
    let ground = G::new();
    let content = Bytes::from([&b"Received: from there\r\n"[..], &vec![b'x'; 30 * 1024 * 1024]].concat());
    let id = {
        let spool = ground.open().spool;
        let mut new = mail(&spool, &["x.test"], b"");
        new.body = vec![content.slice(..22), content.slice(22..)];
        new.message.octets = stored::octets(&new.body);
        spool.accept(new.message.clone(), new.deliveries, new.body).await.expect("room");
        new.message.id
    };
    let spool = ground.open().spool;
    let mut read = Vec::new();
    loop {
        let piece = spool.body(id, read.len() as u64, 1_000_000).await.expect("whole");
        if piece.is_empty() {
            break;
        }
        read.extend_from_slice(&piece);
    }
    assert!(read == content);
}

/// R7, durability rule 4: a full spool refuses new mail and keeps draining.
async fn a_full_spool_goes_on_delivering<G: Ground>() {
    let ground = G::new();
    let spool = ground.open_within(Limits { octets_max: Some(10), ..Limits::default() }).spool;
    let [first, second, bounce] = [b"12345678", b"abcdefgh", b"bouncing"].map(|body| mail(&spool, &["x.test"], body));
    let key = first.deliveries[0].key;
    spool.accept(first.message, first.deliveries, first.body).await.expect("room");
    let accept = |new: NewMessage| spool.accept(new.message, new.deliveries, new.body);
    assert_eq!(accept(second.clone()).await, Err(SpoolError::Full));
    assert_eq!(spool.failed(), None);
    let waiting = Settlement::Waiting { recipients: vec![mailbox("a@x.test")], attempts: 1, next: at(1), last: vec![], warned: true };
    spool.settle(key, waiting, vec![bounce.clone()]).await.expect("notices are let in");
    deliver_all(&spool).await;
    assert_eq!(accept(second).await, Ok(()), "it heals alone");
}

async fn what_makes_no_sense_is_refused<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let (new, other) = (mail(&spool, &["x.test"], b""), mail(&spool, &["x.test"], b""));
    let accept = |message: &Message, deliveries: &[Delivery]| spool.accept(message.clone(), deliveries.to_vec(), vec![]);
    let twice = [&new.deliveries[..], &new.deliveries].concat();
    for deliveries in [&[][..], &other.deliveries, &twice] {
        assert!(matches!(accept(&new.message, deliveries).await, Err(SpoolError::Fault(_))));
    }
    assert_eq!(spool.counts().await, Counts::default());
    accept(&new.message, &new.deliveries).await.expect("room");
    assert!(accept(&new.message, &new.deliveries).await.is_err(), "never written over");
}

/// Durability rule 2: "it never delivers what is there".
async fn a_broken_delivery_is_set_aside_alone<G: Ground>() {
    let ground = G::new();
    let new = ground.filled(&["x.test", "y.test"]).await;
    ground.spoil(Table::Deliveries, 0);
    let opened = ground.open();
    let [found] = &opened.set_aside[..] else { panic!("{:?}", opened.set_aside) };
    assert_eq!(found.key, format!("deliveries {}/0", new.message.id));
    assert_eq!(opened.spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole"), new.deliveries[1..]);
    assert_eq!(opened.spool.body(new.message.id, 0, 99).await, Ok(Bytes::from_static(b"body")), "the message is as good as before");
    assert_eq!(opened.spool.delivery(new.deliveries[0].key).await, Err(SpoolError::Gone));
    let kept = records(&opened.spool.shared.tables).into_iter().filter(|(table, _)| *table == Table::SetAside).count();
    assert_eq!(kept, 1, "it is kept for a person");
    drop(opened);
    assert_eq!(ground.open().set_aside, [], "and reported once");
}

async fn a_broken_message_is_set_aside_whole<G: Ground>() {
    let ground = G::new();
    let new = ground.filled(&["x.test", "y.test"]).await;
    ground.spoil(Table::Messages, 0);
    let spool = ground.open().spool;
    assert_eq!(spool.claim(at(0), 1, LEASE, &|_| 9).await.expect("whole").len(), 1);
    assert!(matches!(spool.message(new.message.id).await, Err(SpoolError::Fault(_))));
    assert_eq!(spool.set_aside().await.iter().map(|found| found.key.clone()).collect::<Vec<_>>(), [format!("messages {}", new.message.id)]);
    assert_eq!(spool.set_aside().await, []);
    assert_eq!(spool.claim(at(1000), 9, LEASE, &|_| 9).await.expect("whole"), []);
    assert_eq!(spool.settle(new.deliveries[0].key, Settlement::Finished, vec![]).await, Err(SpoolError::Gone));
    let left: Vec<_> = records(&spool.shared.tables).into_iter().map(|(table, _)| table).collect();
    assert_eq!(left, [Table::Chunks, Table::SetAside, Table::SetAside, Table::SetAside], "the octets are kept for a person");
}

async fn a_broken_or_missing_chunk_is_never_delivered<G: Ground>() {
    for missing in [false, true] {
        let ground = G::new();
        let new = ground.filled(&["x.test"]).await;
        if missing {
            ground.lose(Table::Chunks, 0)
        } else {
            ground.spoil(Table::Chunks, 0)
        }
        let spool = ground.open().spool;
        assert_eq!(spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole").len(), 1);
        assert!(matches!(spool.body(new.message.id, 0, 99).await, Err(SpoolError::Fault(_))));
        assert_eq!(spool.set_aside().await.len(), 1, "reported once");
        assert_eq!(spool.claim(at(1000), 9, LEASE, &|_| 9).await.expect("whole"), []);
    }
}

async fn garbage_at_a_foreign_key_is_set_aside<G: Ground>() {
    let ground = G::new();
    let new = ground.filled(&["x.test"]).await;
    let garbage = |table, key: &[u8]| Write { table, key: key.to_vec(), value: Some(b"garbage".to_vec()) };
    let writes = vec![garbage(Table::Deliveries, b"foreign"), garbage(Table::Messages, &[0xff; 9])];
    ground.tables().commit(writes, Survives::Machine).expect("written");
    let opened = ground.open();
    assert_eq!(opened.set_aside.iter().map(|found| &*found.key).collect::<Vec<_>>(), ["deliveries foreign"]);
    assert_eq!(opened.spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole"), new.deliveries);
    assert!(opened.spool.new_id(at(9)) < QueueId::new(10_000, 0), "a foreign key spoils no ids");
}

async fn a_change_wakes_the_scheduler<G: Ground>() {
    let ground = G::new();
    let spool = ground.open().spool;
    let new = mail(&spool, &["x.test"], b"");
    let key = new.deliveries[0].key;
    spool.accept(new.message, new.deliveries, new.body).await.expect("room");
    spool.changed().await;
    spool.stand(key, held()).await.expect("there");
    spool.changed().await;
    let (woken, released) = tokio::join!(spool.changed(), spool.stand(key, Standing::Due));
    assert_eq!((woken, released), ((), Ok(())));
}

async fn requests_of_many_at_once_are_all_kept<G: Ground>() {
    let ground = G::new();
    let spool = std::sync::Arc::new(ground.open().spool);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (spool, new) = (std::sync::Arc::clone(&spool), mail(&*spool, &["x.test", "y.test"], b"body"));
            tokio::spawn(async move {
                let keys: Vec<_> = new.deliveries.iter().map(|delivery| delivery.key).collect();
                spool.accept(new.message, new.deliveries, new.body).await.expect("room");
                let (first, second) = tokio::join!(spool.settle(keys[0], Settlement::Finished, vec![]), spool.requeue(keys[1], at(7)));
                assert_eq!((first, second), (Ok(()), Ok(())));
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(spool.counts().await, Counts { messages: 100, deliveries: 100, octets: 400 });
    deliver_all(&*spool).await;
    assert_eq!(records(&spool.shared.tables), []);
}

/// Durability rule 3, R4: after a failed write nothing is answered 250 until the spool was read anew.
#[tokio::test]
async fn a_failed_write_fails_the_spool_until_it_is_read_anew() {
    let ground = Memory::new();
    let kept = ground.filled(&["x.test"]).await;
    let spool = ground.open().spool;
    let [lost, late] = [b"lost", b"late"].map(|body| mail(&spool, &["y.test"], body));
    ground.0.fail_next_commit(std::io::ErrorKind::Other);
    assert!(matches!(spool.accept(lost.message.clone(), lost.deliveries, lost.body).await, Err(SpoolError::Fault(_))));
    assert!(spool.failed().is_some());
    assert!(matches!(spool.accept(late.message, late.deliveries, late.body).await, Err(SpoolError::Fault(_))));
    assert!(matches!(spool.claim(at(0), 9, LEASE, &|_| 9).await, Err(SpoolError::Fault(_))), "delivery is paused");
    assert!(matches!(spool.settle(kept.deliveries[0].key, Settlement::Finished, vec![]).await, Err(SpoolError::Fault(_))));
    drop(spool);
    let spool = ground.open().spool;
    assert_eq!(spool.failed(), None);
    assert_eq!(spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole"), kept.deliveries);
}

/// R4, R7: ENOSPC is 452, although the spool is not to be trusted after it.
#[tokio::test]
async fn a_write_without_space_is_full() {
    let ground = Memory::new();
    let spool = ground.open().spool;
    let new = mail(&spool, &["x.test"], b"");
    ground.0.fail_next_commit(std::io::ErrorKind::StorageFull);
    assert_eq!(spool.accept(new.message, new.deliveries, new.body).await, Err(SpoolError::Full));
    assert!(spool.failed().is_some());
}

/// Durability rule 4: room is kept for what is queued already.
#[tokio::test]
async fn the_reserve_is_not_for_new_mail() {
    let ground = Memory::new();
    let spool = ground.open_within(Limits { reserve_octets: 1000, ..Limits::default() }).spool;
    let new = mail(&spool, &["x.test"], b"12345678");
    ground.0.set_free_octets(Some(1007));
    assert_eq!(spool.accept(new.message.clone(), new.deliveries.clone(), new.body.clone()).await, Err(SpoolError::Full));
    ground.0.set_free_octets(Some(1008));
    assert_eq!(spool.accept(new.message, new.deliveries, new.body).await, Ok(()));
}
