//! Drives looked at from outside: `nilas drive inspect` and `nilas drive check` on images that the release binary made and
//! on those of the simulated machine, and the scrub, with bytes flipped in every structure.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use nilas_engine::drive::Drive;
use nilas_engine::format::checksum::crc64;
use nilas_engine::inspect::check;
use nilas_engine::platform::Platform;
use nilas_engine::platform::simulated::{Faults, Loss, Medium, Random, SimulatedDrive, Simulator};
use nilas_engine::store::{FormatConfig, Store, format};
use nilas_engine::{
    CoreId, DamagedUnit, Engine, EngineError, PutCondition, ScrubConfig, ShardId, Tuning, WriteError,
};
use nilas_tests::client::Call;
use nilas_tests::conformance::{completion, content, feed, put, read, tag};
use nilas_tests::machine::{Geometry, formatted, is_read_only, on_machine, start};
use nilas_tests::rng::payload;
use nilas_tests::server::{Server, ServerOptions, binary, fresh_directory, write_file};
use nilas_tests::sizes::{KIB, MIB};
use serde_json::Value;

fn drive(command: &str, paths: &[&Path], more: &[&str]) -> Output {
    let nilas = binary("nilas", "NILAS_BIN").expect("the release binary");
    let mut run = Command::new(nilas);
    run.args(["drive", command]).args(paths).args(more);
    run.output().expect("it starts")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn hash(path: &Path) -> u64 {
    crc64(&fs::read(path).expect("an image"))
}

/// Flips a byte of a file, or flips it back.
fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("an image");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("inside");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).expect("inside");
}

fn find(image: &[u8], wanted: &[u8]) -> u64 {
    let at = image.windows(wanted.len()).position(|window| window == wanted).expect("it is stored");
    at as u64
}

struct Image {
    path: PathBuf,
    server: Server,
    small: Vec<u8>,
    large: Vec<u8>,
}

/// A stopped server's drive with a small and a large object.
fn image() -> Image {
    let mut server = Server::start(ServerOptions::fresh().drive_size("256MiB")).expect("starts");
    let (small, large) = (payload("small", 1, 3000), payload("large", 1, 300 * KIB));
    let mut client = server.client();
    assert_eq!(client.create_bucket("held").expect("create").status, 200);
    assert_eq!(client.put("held", "small", &small).expect("put").status, 200);
    assert_eq!(client.put("held", "dir/large", &large).expect("put").status, 200);
    assert_eq!(client.put("held", "last", b"more").expect("put").status, 200);
    let path = server.data().join("drive0.nilas");
    for command in ["inspect", "check"] {
        let refused = drive(command, &[&path], &[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{command} on a drive in use: {said}");
        assert!(said.contains("drive0.nilas") && said.contains("in use"), "{said}");
    }
    assert_eq!(drive("inspect", &[&path], &["--force"]).status.code(), Some(0), "by force");
    assert!(server.sigterm().is_some());
    Image { path, server, small, large }
}

/// Damages one byte and has it found: some problem says all of `wanted`.
#[track_caller]
fn expect_found(image: &Image, at: u64, wanted: &[(&str, Value)]) {
    flip(&image.path, at);
    let before = hash(&image.path);
    let output = drive("check", &[&image.path], &["--json"]);
    assert_eq!(hash(&image.path), before, "the image was changed");
    assert_eq!(output.status.code(), Some(1), "{at}: {output:?}");
    let report = json(&output);
    let problems = report["problems"].as_array().expect("a list");
    let says = |problem: &Value| {
        wanted.iter().all(|(pointer, value)| match (problem.pointer(pointer), value) {
            (Some(Value::String(got)), Value::String(want)) => got.starts_with(want.as_str()),
            (got, want) => got == Some(want),
        })
    };
    assert!(problems.iter().any(says), "{at}: {wanted:?} is not in {problems:#?}");
    let text = drive("check", &[&image.path], &[]);
    assert!(String::from_utf8_lossy(&text.stdout).starts_with("damaged: "), "{text:?}");
    flip(&image.path, at);
}

#[test]
fn flipped_bytes_are_named() {
    let image = image();
    let before = hash(&image.path);
    let clean = drive("check", &[&image.path], &["--json"]);
    assert_eq!(clean.status.code(), Some(0), "{clean:?}");
    let report = json(&clean);
    assert_eq!(report["objects"], 3);
    assert_eq!(report["unit_bytes"], (image.small.len() + image.large.len() + 4) as u64);
    let facts = json(&drive("inspect", &[&image.path], &["--json"]))[0].clone();
    assert_eq!(facts["verdict"], "store");
    assert!(drive("inspect", &[&image.path], &[]).status.success());
    assert_eq!(hash(&image.path), before, "the image was changed");

    let whole = |copy: &&Value| copy["state"] == "whole";
    let copies = facts["superblocks"].as_array().expect("copies");
    assert_eq!(copies.iter().filter(whole).count(), 4);
    let at = copies[1]["at"].as_u64().expect("a place");
    expect_found(&image, at + 100, &[("/what", "superblock copy".into()), ("/at", at.into())]);
    let log_zone = facts["zones"].as_array().expect("zones").iter().find(|zone| zone["state"] == "log");
    let at = log_zone.expect("a log zone")["at"].as_u64().expect("a place");
    expect_found(&image, at + 60, &[("/what", "zone header copy".into()), ("/at", at.into())]);
    let anchor = facts["shards"][0]["anchors"].as_array().expect("anchors").iter().find(whole);
    let at = anchor.expect("an anchor")["at"].as_u64().expect("a place");
    expect_found(&image, at + 30, &[("/what", "anchor copy".into()), ("/shard", 0.into())]);

    let bytes = fs::read(&image.path).expect("an image");
    let unit = |key: &'static str, offset: u64| {
        [
            ("/what", "object data unit".into()),
            ("/object/bucket", "held".into()),
            ("/object/key", key.into()),
            ("/object/offset", offset.into()),
        ]
    };
    let at = find(&bytes, &image.large[200 * KIB..200 * KIB + 64]);
    expect_found(&image, at, &unit("dir/large", 3 * 65_536));
    let at = find(&bytes, &image.small[..64]);
    // A small object is in the log itself: either its block is behind the checkpoint, or its unit is what remains of it.
    flip(&image.path, at);
    let output = drive("check", &[&image.path], &["--json"]);
    flip(&image.path, at);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(hash(&image.path), before, "the image was changed");
    let mut server = image.server;
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.client().get("held", "small").expect("get").body, image.small);
}

#[test]
fn any_image_has_an_answer() {
    let image = image();
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let other = directory.join("other.img");
    let check_verdict = |bytes: &[u8], verdict: &str, refusal: &str| {
        write_file(&other, bytes);
        let output = drive("inspect", &[&other], &["--json"]);
        assert_eq!(json(&output)[0]["verdict"], verdict, "{output:?}");
        let output = drive("check", &[&other], &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{verdict}: {said}");
        assert!(said.contains("other.img") && said.contains(refusal), "{verdict}: {said}");
        assert!(fs::read(&other).expect("still there") == bytes, "{verdict}: the image was changed");
    };
    let whole = fs::read(&image.path).expect("an image");
    check_verdict(&[], "blank", "blank");
    check_verdict(&vec![0; 4 * MIB], "blank", "blank");
    check_verdict(&payload("foreign", 1, 3 * MIB), "foreign", "no Nilas store");
    check_verdict(&whole[..200 * MIB], "truncated", "are needed");
    let copies = json(&drive("inspect", &[&image.path], &["--json"]))[0]["superblocks"].clone();
    let of_version = |version: u8| {
        let mut bytes = whole.clone();
        for copy in copies.as_array().expect("copies") {
            let at = usize::try_from(copy["at"].as_u64().expect("a place")).expect("inside");
            bytes[at + 8] = version;
            // The first version had its checksum at the end of the block, later ones at the end of the first sector.
            let end = if version == 1 { at + 4088 } else { at + 504 };
            let crc = crc64(&bytes[at..end]);
            bytes[end..end + 8].copy_from_slice(&crc.to_le_bytes());
        }
        bytes
    };
    for (version, verdict) in [(1, "older format"), (4, "newer format")] {
        check_verdict(&of_version(version), verdict, &format!("format {version}"));
    }
    // What an upgrade takes is looked at before it, too.
    let older = directory.join("older.img");
    write_file(&older, &of_version(2));
    let output = drive("inspect", &[&older], &["--json"]);
    let said = json(&output);
    assert_eq!(said[0]["verdict"], "older format", "{said}");
    assert!(said[0]["refused"].as_str().is_some_and(|text| text.contains("--upgrade")), "{said}");
    let output = drive("check", &[&older], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let absent = drive("check", &[&directory.join("absent")], &[]);
    assert_eq!(absent.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("absent"), "{absent:?}");
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn all_drives_of_a_store_are_checked_in_their_order() {
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let [a, b] = ["a.img", "b.img"].map(|name| directory.join(name));
    for path in [&a, &b] {
        let file = fs::File::create_new(path).expect("a fresh name");
        file.set_len(256 * MIB as u64).expect("a sparse file");
    }
    let mut server =
        Server::start(ServerOptions { drives: vec![a.clone(), b.clone()], ..ServerOptions::fresh() })
            .unwrap_or_else(|error| panic!("{error}"));
    let large = payload("on both", 1, 200 * KIB);
    for bucket in ["one", "two", "three", "four"] {
        assert_eq!(server.client().create_bucket(bucket).expect("create").status, 200);
        assert_eq!(server.client().put(bucket, "k", &large).expect("put").status, 200);
    }
    assert!(server.sigterm().is_some());
    let output = drive("check", &[&a, &b], &["--json"]);
    assert_eq!((output.status.code(), &json(&output)["objects"]), (Some(0), &Value::from(4)), "{output:?}");
    for paths in [&[b.as_path(), &a][..], &[&a], &[&b]] {
        let output = drive("check", paths, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{paths:?}: {said}");
        let wanted = if paths.len() == 1 { "is missing: give all of them" } else { "expected 0" };
        assert!(said.contains("number") && said.contains(wanted), "{paths:?}: {said}");
    }
    drop(server);
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn the_scrub_of_a_server_is_for_the_root_key() {
    let server = Server::fresh();
    let mut client = server.client();
    assert_eq!(client.create_bucket("held").expect("create").status, 200);
    assert_eq!(client.put("held", "k", &payload("k", 1, 300 * KIB)).expect("put").status, 200);

    let refused = client.send(&Call::get("/_nilas/scrub").unsigned()).expect("an answer");
    assert_eq!(refused.status, 403, "{}", refused.text());
    let started = client.send(&Call::new("POST", "/_nilas/scrub")).expect("an answer");
    assert_eq!(started.status, 200, "{}", started.text());
    loop {
        let status = client.send(&Call::get("/_nilas/scrub")).expect("an answer");
        let status: Value = serde_json::from_str(&status.text()).expect("JSON");
        let shards = status["shards"].as_array().expect("shards");
        if shards.iter().all(|shard| shard["passes"].as_u64() >= Some(1)) {
            let done: u64 = shards.iter().filter_map(|shard| shard["bytes_done"].as_u64()).sum();
            assert_eq!(done, 300 * KIB as u64, "{status}");
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

const SCRUB: ScrubConfig = ScrubConfig {
    bytes_per_second: 8 << 20,
    first_after: Duration::ZERO,
    repeat_after: Duration::from_secs(3600),
    report: |_: &DamagedUnit| {},
};

/// Where a whole block of the drive holds these bytes.
fn block_of(medium: &Medium, bytes: &[u8]) -> u64 {
    let holds =
        |at: &u64| medium.block(*at / 4096)[..bytes.len().min(4096)] == bytes[..bytes.len().min(4096)];
    (0..(64 << 20)).step_by(4096).find(holds).expect("it is stored")
}

async fn all_scrubbed(engine: &Engine, machine: &Simulator) -> Vec<DamagedUnit> {
    engine.scrub_start(SCRUB).await.expect("cores run");
    loop {
        machine.sleep_us(100_000).await;
        let status = engine.scrub_status().await.expect("cores run");
        if status.iter().all(|shard| !shard.is_running && shard.passes > 0) {
            assert!(status.iter().all(|shard| shard.objects_done == shard.objects), "{status:?}");
            return status.into_iter().flat_map(|shard| shard.damaged).collect();
        }
    }
}

/// One damaged object among others that are overwritten, deleted and moved all the time: the scrub names that one, with
/// version and offset, and nothing else.
#[test]
fn the_scrub_names_damage_while_zones_are_cleaned() {
    let simulator = Simulator::new(12);
    let geometry = Geometry { zones: 20, ..Geometry::small(1) };
    let medium = formatted(geometry);
    let machine = simulator.clone();
    let ended = simulator.run(async move {
        let device =
            SimulatedDrive::new(&machine, &medium, Faults { latency_us_max: 40, ..Faults::default() });
        let engine = start(&machine, &device, 1).await.expect("recovers").remove(0);
        let bucket = engine.create_bucket("held", Default::default()).await.expect("a new name");
        let (large, size) = (Bytes::from_static(b"large"), 200_000);
        let stored = put(&engine, &bucket, &large, 7, size, PutCondition::None).await;
        let version = stored.expect("room, no condition").sequence;
        medium.flip(block_of(&medium, &content(7, size)[65_536..]) + 9, 1);
        let (mut random, mut passes) = (Random::new(12), 0);
        for nth in 0..3_000_u64 {
            if nth.is_multiple_of(50) {
                let config = ScrubConfig { bytes_per_second: 4 << 30, ..SCRUB };
                engine.scrub_start(config).await.expect("cores run");
            }
            let key = Bytes::from(format!("key/{}", random.below(60)));
            let size = [random.below(9_000), 140_000][usize::from(random.one_in(12))];
            match put(&engine, &bucket, &key, nth, size, PutCondition::None).await {
                Ok(_) => {}
                Err(WriteError::Engine(EngineError::Full { .. } | EngineError::Busy { .. })) => {
                    let keys = (0..60).step_by(3).map(|nth| Bytes::from(format!("key/{nth}"))).collect();
                    engine.delete(&bucket, keys).await.expect("a full drive deletes");
                }
                Err(other) => panic!("{other}"),
            }
            let state = engine.scrub_status().await.expect("cores run").remove(0);
            passes = passes.max(state.passes);
            for found in &state.damaged {
                let named = (found.bucket_name.as_deref(), &found.key, found.version, found.offset);
                assert_eq!(named, (Some("held"), &large, version, 65_536), "{found}");
            }
            assert!(state.passes == 0 || !state.damaged.is_empty(), "a pass ended and found nothing");
        }
        let stats = &engine.stats()[0];
        let (moved, released) = (stats.moved_bytes.load(Relaxed), stats.zones_released.load(Relaxed));
        assert!(5 < passes && 1 << 20 < moved && 60 < released, "{passes} {moved} {released}");
    });
    assert_eq!(ended, Ok(()));
}

/// The file system under a sparse drive file is full long before the drive is: a store that is full, not one that is stuck.
#[test]
fn a_full_file_system_is_a_full_store() {
    let geometry = Geometry { zones: 48, ..Geometry::small(2) };
    let medium = formatted(geometry);
    let short =
        Faults { latency_us_max: 40, space_bytes: Some(24 * geometry.zone_bytes), ..Faults::default() };
    let key = |nth: u64| Bytes::from(format!("key/{nth}"));
    let mut stored: Vec<u64> = Vec::new();
    for (session, faults) in [(0, short), (1, short), (2, Faults { space_bytes: None, ..short })] {
        let (machine, media) = (Simulator::new(31 + session), medium.clone());
        let (before, simulator) = (stored.clone(), machine.clone());
        let ended = simulator.run(async move {
            let device = SimulatedDrive::new(&machine, &media, faults);
            let engine = start(&machine, &device, 1).await.expect("recovers without space").remove(0);
            let bucket = match engine.bucket("held") {
                Ok(bucket) => bucket,
                Err(_) => engine.create_bucket("held", Default::default()).await.expect("a new name"),
            };
            let mut stored = before;
            for nth in &stored {
                let found = engine.open(&bucket, key(*nth)).await.expect("readable").expect("stored");
                assert_eq!(read(found, 0..9_000).await.expect("whole"), content(*nth, 9_000));
            }
            let fill = async |stored: &mut Vec<u64>, from: u64| {
                for nth in from..from + 2_000 {
                    match put(&engine, &bucket, &key(nth), nth, 9_000, PutCondition::None).await {
                        Ok(_) => {}
                        Err(WriteError::Engine(EngineError::Full { .. } | EngineError::Busy { .. })) => {
                            return nth - from;
                        }
                        Err(other) => panic!("{other}"),
                    }
                    stored.push(nth);
                }
                panic!("2,000 objects fit");
            };
            let first = fill(&mut stored, session * 10_000).await;
            let gone: Vec<u64> = stored.iter().copied().step_by(2).collect();
            for nth in &gone {
                let deleted = engine.delete(&bucket, vec![key(*nth)]).await;
                assert_eq!(deleted.expect("deletes need no space"), [true]);
            }
            stored.retain(|nth| !gone.contains(nth));
            let again = fill(&mut stored, session * 10_000 + 5_000).await;
            assert!(gone.len() as u64 / 2 < again, "{first} fitted, of {} deleted {again}", gone.len());
            engine.stop().await;
            (stored, first)
        });
        let (after, first) = ended.expect("no cut");
        stored = after;
        assert!(session == 1 || 60 < first, "session {session}: {first}");
    }
}

#[test]
fn every_core_learns_of_a_damaged_zone_header() {
    let geometry = Geometry { zones: 40, ..Geometry::small(2) };
    let medium = formatted(geometry);
    let key = |nth: u64| Bytes::from(format!("key/{nth:02}"));
    let ended = on_machine(7, &medium, Faults::default(), async move |machine, drive| {
        let engine = started(&machine, &drive, 2).await;
        for name in ["first", "second"] {
            engine.create_bucket(name, Default::default()).await.expect("a new name");
        }
        let bucket = engine.bucket("second").expect("just made");
        assert_eq!(bucket.shard, ShardId(1));
        for nth in 0..15 {
            put(&engine, &bucket, &key(nth), nth + 1, 9_000, PutCondition::None)
                .await
                .expect("room, no condition");
        }
        Ok(())
    });
    assert_eq!(ended.map_err(|found| found.text), Ok(Some(())));
    medium.lose_power_as(Loss::Keep, &mut Random::new(1));
    // Headers of the log zones of shard 1: kind, shard and position behind magic, store and zone.
    let is_log = |block: &[u8]| block.starts_with(b"NILASZN") && block[28] == 1 && block[30..32] == [1, 0];
    let blocks = medium.durable_blocks().into_iter();
    let headers: Vec<(u8, u64)> = blocks
        .map(|at| (medium.block(at), at))
        .filter(|(block, _)| is_log(block))
        .map(|(block, at)| (block[32], at))
        .collect();
    // All behind the first one: what is left seems to be a log that ends there.
    let copies: Vec<u64> = headers.iter().filter(|(position, _)| 0 < *position).map(|(_, at)| *at).collect();
    assert!(2 <= copies.len() && copies.len() + 2 == headers.len(), "{headers:?}");
    copies.iter().for_each(|at| medium.flip(at * 4096 + 20, 1));
    let slow = Faults { latency_us_max: 40, ..Faults::default() };
    for seed in 0..12 {
        let ended = on_machine(seed, &medium.duplicate(), slow, async move |machine, drive| {
            let engine = started(&machine, &drive, 2).await;
            let bucket = engine.bucket("second");
            let mut found = 0;
            for nth in 0..15 {
                match &bucket {
                    Ok(bucket) => match engine.open(bucket, key(nth)).await {
                        Ok(Some(_)) => found += 1,
                        Ok(None) => panic!("seed {seed}: {nth} is called absent"),
                        Err(error) => assert_eq!(error, EngineError::ReadOnly { shard: ShardId(1) }),
                    },
                    Err(error) => panic!("seed {seed}: {error:?}"),
                }
            }
            assert!(found < 15, "seed {seed}: nothing was damaged");
            assert!((0..2).all(|shard| is_read_only(&engine, ShardId(shard))), "seed {seed}");
            Ok(())
        });
        assert_eq!(ended.map_err(|found| found.text), Ok(Some(())));
    }
}

async fn started(machine: &Simulator, drive: &SimulatedDrive, cores: u16) -> Engine {
    start(machine, drive, cores).await.expect("it starts").remove(0)
}

#[test]
fn scrub_and_check_name_every_damaged_unit() {
    let simulator = Simulator::new(11);
    let medium = Medium::new(64 << 20);
    let machine = simulator.clone();
    let ended = simulator.run(async move {
        let device = SimulatedDrive::new(&machine, &medium, Faults::default());
        let drives = || vec![Rc::new(device.clone()) as Rc<dyn Drive>];
        let config = FormatConfig { shards: 2, now_ms: 1, store: 0x5107, zone_bytes: Some(1 << 20) };
        let superblocks = format(&drives(), config).await.expect("blank and large enough");
        let tuning = Tuning { checkpoint_log_bytes: 64 << 10, ..Tuning::default() };
        let store = Store::tuned(superblocks, 1, tuning);
        let platform: Rc<dyn Platform> = Rc::new(machine.clone());
        let engine = store.start_core(CoreId(0), platform, drives()).await.expect("recovers");
        while !store.is_ready() {
            machine.sleep_us(10).await;
        }
        let bucket = engine.create_bucket("held", Default::default()).await.expect("a new name");
        let large = Bytes::from_static(b"large");
        let stored = put(&engine, &bucket, &large, 7, 400_000, PutCondition::None).await;
        let version = stored.expect("room, no condition").sequence;
        for nth in 0..40_u64 {
            let key = Bytes::from(format!("small/{nth}"));
            put(&engine, &bucket, &key, 100 + nth, 5_000, PutCondition::None)
                .await
                .expect("room, no condition");
        }
        let attributes = Bytes::new();
        let made = Bytes::from_static(b"made of parts");
        let upload = engine.create_upload(&bucket, made.clone(), attributes.clone()).await;
        let upload = upload.expect("room, a bucket");
        let open = engine.create_upload(&bucket, Bytes::from_static(b"open"), attributes.clone()).await;
        let open = open.expect("room, a bucket");
        let mut parts = Vec::new();
        for (upload, number, seed) in [(upload, 1, 21), (upload, 2, 22), (open, 5, 23)] {
            let mut writer = engine.writer(&bucket, 200_000).await.expect("room");
            feed(&mut writer, &content(seed, 200_000)).await.expect("drives work");
            let part = writer.publish_part(upload, number, tag(seed), Bytes::new()).await;
            parts.push((number, part.expect("drives work, open").sequence));
        }
        let open_part = parts.pop().expect("three were put").1;
        engine
            .complete_upload(&bucket, upload, completion(parts, PutCondition::None, tag(1), attributes))
            .await
            .expect("drives work, open");
        assert_eq!(all_scrubbed(&engine, &machine).await, []);

        for (seed, size, unit) in [(7, 400_000, 1), (7, 400_000, 2), (22, 200_000, 0), (23, 200_000, 1)] {
            let bytes = content(seed, size);
            medium.flip(block_of(&medium, &bytes[unit * 65_536..]) + 9, 1);
        }
        let named = |units: &[DamagedUnit]| {
            let mut named: Vec<(Vec<u8>, u64, bool)> =
                units.iter().map(|unit| (unit.key.to_vec(), unit.offset, unit.part.is_some())).collect();
            named.sort();
            named
        };
        let expected = vec![
            (b"large".to_vec(), 65_536, false),
            (b"large".to_vec(), 131_072, false),
            (b"made of parts".to_vec(), 200_000, false),
            (b"open".to_vec(), 65_536, true),
        ];
        let damaged = all_scrubbed_again(&engine, &machine).await;
        assert_eq!(named(&damaged), expected);
        let of_large: Vec<&DamagedUnit> = damaged.iter().filter(|unit| unit.key == large).collect();
        assert!(of_large.iter().all(|unit| unit.version == version), "{of_large:?}");
        let of_open =
            damaged.iter().find(|unit| unit.part == Some((open, 5))).expect("the open upload's part");
        assert_eq!(of_open.version, open_part);
        assert!(damaged.iter().all(|unit| unit.bucket_name.as_deref() == Some("held")), "{damaged:?}");
        let counted: u64 = engine.stats().iter().map(|stats| stats.scrub_damaged_units.load(Relaxed)).sum();
        assert_eq!(counted, 4);
        engine.scrub_stop().await.expect("cores run");
        engine.stop().await;

        let before = medium.durable_blocks().len();
        let report = check(&drives(), &mut |_| {}).await.expect("a store");
        let units: Vec<DamagedUnit> =
            report.problems.iter().filter_map(|problem| problem.object.as_deref().cloned()).collect();
        assert_eq!((named(&units), report.problems.len()), (expected, 4));
        assert!(report.pages > 0, "no checkpoint was taken: {report:?}");
        // A page of the newest checkpoint of some shard, found by its magic.
        let page = (0..(64_u64 << 20))
            .step_by(4096)
            .filter(|at| medium.block(*at / 4096).starts_with(b"NKPG"))
            .map(|at| at + 50)
            .collect::<Vec<u64>>();
        assert!(!page.is_empty(), "pages start on blocks, each write anew");
        page.iter().for_each(|at| medium.flip(*at, 4));
        let report = check(&drives(), &mut |_| {}).await.expect("a store");
        assert!(
            report.problems.iter().any(|problem| problem.what.starts_with("checkpoint")),
            "{:?}",
            report.problems
        );
        assert_eq!(medium.durable_blocks().len(), before, "a check wrote something");
    });
    assert_eq!(ended, Ok(()));
}

/// A pass begun behind the ones before.
async fn all_scrubbed_again(engine: &Engine, machine: &Simulator) -> Vec<DamagedUnit> {
    let before: u64 = engine.scrub_status().await.expect("cores run").iter().map(|shard| shard.passes).sum();
    loop {
        let found = all_scrubbed(engine, machine).await;
        let passes: u64 =
            engine.scrub_status().await.expect("cores run").iter().map(|shard| shard.passes).sum();
        if before + 2 <= passes {
            return found;
        }
    }
}
