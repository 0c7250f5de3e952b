//! The committed stores: this program reads all of each, upgrades the older one, and writes the same bytes as in the
//! newest.

use std::fs;

use bytes::Bytes;
use nilas_engine::format::anchor::Anchor;
use nilas_engine::format::checksum::crc64;
use nilas_engine::format::superblock::{NotSuperblock, Superblock};
use nilas_engine::format::zone::{ZoneHeader, ZoneKind, ZoneState};
use nilas_engine::platform::simulated::Medium;
use nilas_engine::store::{StoreError, Upgraded, recognise, upgrade};
use nilas_engine::units::{BLOCK_BYTES, DriveOffset};
use nilas_engine::{SettingKind, ShardId, ValueOwner};
use nilas_tests::golden::{GEOMETRY, STORE, describe, from_text, make, on, open, path, path_of, to_text};

fn committed(what: &str) -> String {
    let path = path(what);
    fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: a format of another version has a golden image of its own (`cargo x golden`)",
            path.display()
        )
    })
}

fn image() -> Medium {
    from_text(&committed("image")).expect("lines of an image")
}

fn superblock(medium: &Medium) -> Superblock {
    Superblock::decode(&medium.block(0)).expect("the first copy")
}

#[test]
fn everything_in_it_is_read() {
    assert_eq!(describe(&image()), committed("list"));
}

#[test]
fn the_same_bytes_are_written() {
    let (want, got) = (committed("image"), to_text(&make()));
    let differs = want.lines().zip(got.lines()).find(|(want, got)| want != got);
    assert!(
        want == got,
        "this program writes other bytes than the golden image: first {differs:?}. Where only the order or the place \
         of writes changed, `cargo x golden` makes the image anew, and the old one must still be read: see \
         `everything_in_it_is_read`. Where bytes mean something else, raise FORMAT_VERSION, say so in \
         engine/FORMAT.md under \"Version history\", and add an image of the new version beside the old one."
    );
}

/// The image says something of every kind of zone, of checkpoints and of a log behind one.
#[test]
fn it_holds_one_of_everything() {
    let medium = image();
    let superblock = superblock(&medium);
    let state = |zone: u32| {
        let at = superblock.zone_at(zone).0 / BLOCK_BYTES;
        ZoneHeader::decode(&medium.block(at), STORE, zone)
    };
    let states: Vec<ZoneState> = (0..superblock.zone_count).map(state).collect();
    for kind in [ZoneKind::Log, ZoneKind::Extent, ZoneKind::Checkpoint, ZoneKind::Compaction] {
        let is_kind = |state: &ZoneState| matches!(state, ZoneState::Used(header) if header.kind == kind);
        assert!(states.iter().any(is_kind), "no zone of kind {kind:?}: {states:?}");
    }
    assert!(states.contains(&ZoneState::Released), "{states:?}");
    assert!(!states.contains(&ZoneState::Damaged), "{states:?}");
    let anchor = |number: u64, shard: ShardId| {
        let [at, _] = Anchor::places(shard, number, superblock.drive_bytes);
        Anchor::decode(&medium.block(at.0 / BLOCK_BYTES), STORE, shard)
    };
    let newest = |shard| (0..2).filter_map(|slot| anchor(slot, shard)).max_by_key(|anchor| anchor.number);
    let anchors: Vec<Anchor> = (0..GEOMETRY.shards).filter_map(|shard| newest(ShardId(shard))).collect();
    assert_eq!(anchors.len(), usize::from(GEOMETRY.shards));
    let cut =
        anchors.iter().find(|anchor| !anchor.table.is_empty()).expect("a checkpoint with leaves").clone();
    on(&medium, async move |machine, drive| {
        let engine = open(&machine, &drive).await;
        let directory = engine.directory().expect("known");
        let bucket = directory.buckets.values().find(|bucket| bucket.shard == cut.shard);
        let last = engine.on_bucket(bucket.expect("a bucket with leaves"), ValueOwner::Catalog, |bucket| {
            std::future::ready(bucket.last_sequence())
        });
        assert!(cut.covered < last.await.expect("the shard is there"), "no log behind {cut:?}");
    });
}

fn older() -> Medium {
    let path = path_of(2, "image");
    from_text(&fs::read_to_string(path).expect("committed")).expect("lines of an image")
}

/// What the list of version 2 says in the words of this version.
fn older_list() -> String {
    let list = fs::read_to_string(path_of(2, "list")).expect("committed");
    let list = list.replace(" annotation b\"\"", " settings {}");
    list.replace(" annotation b\"note of red\"", " settings {catalog: b\"note of red\"}")
}

#[test]
fn an_older_store_is_refused_by_name_and_upgraded_when_asked() {
    let medium = older();
    let before = to_text(&medium);
    let refused = on(&medium, async |_, drive| recognise(&[drive]).await.expect_err("an older version"));
    assert!(matches!(refused, StoreError::Upgradable { got: 2, .. }), "{refused:?}");
    assert!(refused.to_string().contains("--upgrade"), "{refused}");
    assert_eq!(to_text(&medium), before, "what is refused is left as it is");
    let upgraded = on(&medium, async |_, drive| upgrade(&[drive]).await.expect("readable").expect("a store"));
    assert_eq!(upgraded.from, Some(2));
    assert_eq!(upgraded.superblocks[0].sequence, 2);
    for at in Superblock::places(upgraded.superblocks[0].drive_bytes) {
        assert_eq!(Superblock::decode(&medium.block(at.0 / BLOCK_BYTES)), Ok(upgraded.superblocks[0]));
    }
    assert_eq!(describe(&medium), older_list());
    let again = on(&medium, async |_, drive| upgrade(&[drive]).await.expect("readable").expect("a store"));
    assert_eq!(again, Upgraded { superblocks: upgraded.superblocks, from: None });
}

/// Power goes during every write of the upgrade: the store is refused until it is asked for again, and then whole.
#[test]
fn an_upgrade_goes_on_after_a_power_cut() {
    let mut cuts = 0;
    for copies in 0..=4 {
        let medium = older();
        let decode = |at: DriveOffset| Superblock::decode(&medium.block(at.0 / BLOCK_BYTES));
        let Err(NotSuperblock::Upgradable { superblock, .. }) = decode(DriveOffset(0)) else {
            panic!("the first copy is of version 2")
        };
        let next = Superblock { sequence: 2, ..superblock }.encode();
        for at in Superblock::places(superblock.drive_bytes).into_iter().take(copies) {
            medium.set_block(at.0 / BLOCK_BYTES, &next);
        }
        let found = on(&medium, async |_, drive| recognise(&[drive]).await);
        match copies {
            4 => assert!(matches!(found, Ok(Some(_))), "{found:?}"),
            _ => {
                cuts += 1;
                assert!(matches!(found, Err(StoreError::Upgradable { got: 2, .. })), "{copies}: {found:?}");
                on(&medium, async |_, drive| upgrade(&[drive]).await.expect("readable").expect("a store"));
            }
        }
        assert_eq!(describe(&medium), older_list(), "{copies} copies were written");
    }
    assert_eq!(cuts, 4);
}

/// The first checkpoint behind an upgrade writes the directory as this version has it, and nothing is lost by it.
#[test]
fn an_upgraded_store_goes_on() {
    let medium = older();
    on(&medium, async |machine, drive| {
        upgrade(std::slice::from_ref(&drive)).await.expect("readable").expect("a store");
        let engine = open(&machine, &drive).await;
        let set = engine.set_setting("red", SettingKind::TAGS, Some(Bytes::from_static(b"a=b"))).await;
        set.expect("room");
        engine.stop().await;
    });
    let tags = ", tags: b\"a=b\"}";
    let want =
        older_list().replace("{catalog: b\"note of red\"}", &format!("{{catalog: b\"note of red\"{tags}"));
    assert_eq!(describe(&medium), want);
}

#[test]
fn text_and_back() {
    let medium = image();
    assert_eq!(to_text(&medium), committed("image"));
    for bad in ["", "drive x", "drive 4096\n0 0g", "drive 4096\n1000 00", "drive 4096\nfff 00*2"] {
        assert!(from_text(bad).is_err(), "{bad:?}");
    }
}

/// What a program says to the image with another version in its superblocks, whose checksum ends at `sealed`.
fn refused(version: u32, sealed: usize) -> StoreError {
    let medium = image();
    for at in Superblock::places(superblock(&medium).drive_bytes) {
        let mut block = medium.block(at.0 / BLOCK_BYTES);
        block[8..12].copy_from_slice(&version.to_le_bytes());
        block[504..512].fill(0);
        let crc = crc64(&block[..sealed - 8]);
        block[sealed - 8..sealed].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Superblock::decode(&block), Err(NotSuperblock::Version { got: version }));
        medium.set_block(at.0 / BLOCK_BYTES, &block);
    }
    let before = to_text(&medium);
    let refused = on(&medium, async |_, drive| recognise(&[drive]).await.expect_err("another version"));
    assert_eq!(to_text(&medium), before, "what is refused is left as it is");
    refused
}

#[test]
fn other_versions_are_refused_by_name() {
    let newer = refused(4, 512);
    assert!(matches!(newer, StoreError::Newer { got: 4, .. }), "{newer:?}");
    assert!(newer.to_string().contains("use a newer program"), "{newer}");
    let older = refused(1, 4096);
    assert!(matches!(older, StoreError::Older { got: 1, .. }), "{older:?}");
    assert!(older.to_string().contains("copy its buckets"), "{older}");
}
