//! What every store must do, whatever its drives, written against the public handle only.
//!
//! `tests/engine.rs` runs it on the simulated machine and on real drives. A failed check panics with what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use nilas_engine::format::checksum::crc64;
use nilas_engine::limits::{
    ATTRIBUTES_BYTES_MAX, BLOB_BYTES_MAX, INLINE_BYTES_MAX, KEY_BYTES_MAX, LIST_KEYS_MAX, PARTS_MAX,
    RECEIPT_BYTES_MAX, SETTING_BYTES_MAX,
};
use nilas_engine::platform::simulated::Random;
use nilas_engine::{
    Bucket, BucketError, BucketSettings, Completion, ETag, Engine, EngineError, ListQuery, LocalBucket, Lock,
    ObjectInfo, ObjectReader, PutCondition, PutRefused, PutWriter, Sequence, SettingKind, Transaction,
    TransactionBody, TransactionPut, UploadId, ValueOwner, WriteError,
};

/// Runs every check with buckets of its own; the store stays usable.
pub async fn run(engine: &Engine) {
    buckets(engine).await;
    sizes(engine).await;
    old_bytes_stay(engine).await;
    conditions(engine).await;
    one_winner(engine).await;
    deletes(engine).await;
    listings(engine).await;
    multipart(engine).await;
    transactions(engine).await;
    system_values(engine).await;
    space_comes_back(engine).await;
    too_large(engine).await;
}

/// `size` bytes that only `seed` gives.
pub fn content(seed: u64, size: u64) -> Bytes {
    const CHUNK: usize = 4_000;
    /// Random bytes that contents are cut from: drawing all of them anew took most of a simulated round.
    static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Random::new(1);
        (0..16 << 10).flat_map(|_| random.draw().to_le_bytes()).collect()
    });
    let mut random = Random::new(seed);
    let size = usize::try_from(size).expect("test sizes fit");
    let mut bytes = Vec::with_capacity(size + CHUNK + 8);
    while bytes.len() < size {
        let drawn = random.draw();
        bytes.extend_from_slice(&drawn.to_le_bytes());
        let at = usize::try_from(drawn % 65_536).expect("below 65,536");
        bytes.extend_from_slice(&POOL[at..at + CHUNK]);
    }
    bytes.truncate(size);
    bytes.into()
}

/// The tag that these tests give to the content of a seed; the engine does not look into it.
pub fn tag(seed: u64) -> ETag {
    ETag { md5: u128::from(seed).to_le_bytes(), parts: 0 }
}

/// A completion that is not remembered.
pub fn completion(
    parts: Vec<(u16, Sequence)>,
    condition: PutCondition,
    etag: ETag,
    attributes: Bytes,
) -> Completion {
    Completion { parts, condition, etag, attributes, receipt: Bytes::new(), lock: Lock::NONE }
}

/// Feeds `body` to `writer` in odd pieces.
pub async fn feed(writer: &mut PutWriter, body: &Bytes) -> Result<(), EngineError> {
    let (mut at, mut piece) = (0, 1);
    while at < body.len() {
        let end = body.len().min(at + piece);
        writer.write(body.slice(at..end)).await?;
        at = end;
        piece = (piece * 7 + 13) % 300_007;
    }
    Ok(())
}

/// Puts one object.
pub async fn put(
    engine: &Engine,
    bucket: &Arc<Bucket>,
    key: &Bytes,
    seed: u64,
    size: u64,
    condition: PutCondition,
) -> Result<ObjectInfo, WriteError> {
    let body = content(seed, size);
    let mut writer = engine.writer(bucket, size).await?;
    feed(&mut writer, &body).await?;
    assert_eq!(writer.missing(), 0);
    writer.publish(key.clone(), condition, tag(seed), Bytes::copy_from_slice(&seed.to_le_bytes())).await
}

/// All bytes of a range.
pub async fn read(reader: ObjectReader, range: std::ops::Range<u64>) -> Result<Bytes, EngineError> {
    let mut stream = reader.read(range);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        assert!(!piece.is_empty(), "an empty piece");
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

async fn must_put(engine: &Engine, bucket: &Arc<Bucket>, key: &Bytes, seed: u64, size: u64) -> ObjectInfo {
    put(engine, bucket, key, seed, size, PutCondition::None).await.expect("drives work, no condition")
}

async fn get(engine: &Engine, bucket: &Bucket, key: &Bytes) -> Option<Bytes> {
    let reader = engine.open(bucket, key.clone()).await.expect("drives work")?;
    let size = reader.info.size;
    Some(read(reader, 0..size).await.expect("whole"))
}

async fn new_bucket(engine: &Engine) -> Arc<Bucket> {
    let name = format!("c{:032x}", engine.random_u128());
    engine.create_bucket(&name, note(b"note")).await.expect("a new name")
}

fn note(value: &'static [u8]) -> BucketSettings {
    BucketSettings::of(SettingKind::CATALOG, Bytes::from_static(value))
}

/// A change of one setting leaves the others; what could not be honoured is refused by name and changes nothing.
async fn settings(engine: &Engine, bucket: &Bucket) {
    let name: &str = &bucket.name;
    let set = async |kind, value: &'static [u8]| {
        engine.set_setting(name, kind, Some(Bytes::from_static(value))).await
    };
    set(SettingKind::TAGS, b"a=b").await.expect("it is there");
    let changed = set(SettingKind::CATALOG, b"other").await.expect("it is there");
    assert_eq!((changed.id, changed.shard), (bucket.id, bucket.shard));
    let both = note(b"other").with(SettingKind::TAGS, Some(Bytes::from_static(b"a=b")));
    assert_eq!(changed.settings, both);
    for kind in [SettingKind::LOCK, SettingKind::of(99)] {
        let refused = Err(BucketError::Engine(EngineError::UnsupportedSetting { kind }));
        assert_eq!(set(kind, b"x").await, refused);
        let made = engine.create_bucket("other", BucketSettings::of(kind, Bytes::from_static(b"x"))).await;
        assert_eq!(made, refused);
    }
    let long = Some(Bytes::from(vec![b'x'; SETTING_BYTES_MAX + 1]));
    let refused = engine.set_setting(name, SettingKind::TAGS, long).await;
    assert!(matches!(refused, Err(BucketError::Engine(EngineError::TooLarge { .. }))), "{refused:?}");
    assert_eq!(engine.bucket(name).expect("it is there").settings, both);
    let less = engine.set_setting(name, SettingKind::TAGS, None).await.expect("it is there");
    assert_eq!(less.settings, note(b"other"));
}

async fn buckets(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    let name: &str = &bucket.name;
    assert_eq!(engine.bucket(name), Ok(bucket.clone()));
    assert_eq!(bucket.settings, note(b"note"));
    assert_eq!(engine.create_bucket(name, Default::default()).await, Err(BucketError::Exists));
    settings(engine, &bucket).await;
    let key = Bytes::from_static(b"k");
    must_put(engine, &bucket, &key, 1, 10).await;
    assert_eq!(engine.delete_bucket(name).await, Err(BucketError::NotEmpty));
    assert_eq!(engine.delete(&bucket, vec![key.clone()]).await, Ok(vec![true]));
    let upload = engine
        .create_upload(&bucket, key.clone(), Bytes::new())
        .await
        .expect("drives work, the bucket is there");
    put_part(engine, &bucket, upload, 1, 1, 150_000).await;
    // An open upload goes with it, and nothing of it is taken or told any more.
    assert_eq!(engine.delete_bucket(name).await, Ok(()));
    assert_eq!(engine.abort_upload(&bucket, upload).await, Ok(false));
    let mut writer = engine.writer(&bucket, 3).await.expect("nothing to reserve");
    feed(&mut writer, &content(1, 3)).await.expect("drives work");
    let late = writer.publish_part(upload, 2, tag(1), Bytes::new()).await;
    assert_eq!(late.map(|_| ()), Err(PutRefused::NoSuchBucket.into()));
    assert_eq!(engine.bucket(name), Err(BucketError::NoSuchBucket));
    assert_eq!(engine.delete_bucket(name).await, Err(BucketError::NoSuchBucket));
    let gone = engine.set_setting(name, SettingKind::CATALOG, None).await;
    assert_eq!(gone, Err(BucketError::NoSuchBucket));
    for size in [3, 200_000] {
        let late = put(engine, &bucket, &key, 2, size, PutCondition::None).await;
        assert_eq!(late, Err(PutRefused::NoSuchBucket.into()));
    }
    assert_eq!(engine.create_upload(&bucket, key, Bytes::new()).await, Err(PutRefused::NoSuchBucket.into()));
    let again = engine.create_bucket(name, Default::default()).await.expect("the name is free");
    assert_ne!(again.id, bucket.id, "ids are never given out twice");
    let names = ["x", "y", "z"].map(|end| format!("{name}{end}"));
    let made = join_all(names.iter().map(|name| engine.create_bucket(name, Default::default()))).await;
    assert!(made.iter().all(Result::is_ok));
    let one_name = format!("{name}-race");
    let raced = join_all((0..4).map(|_| engine.create_bucket(&one_name, Default::default()))).await;
    assert_eq!(raced.iter().filter(|result| result.is_ok()).count(), 1);
}

async fn sizes(engine: &Engine) {
    const MIB: u64 = 1 << 20;
    let bucket = new_bucket(engine).await;
    let inline = INLINE_BYTES_MAX;
    let sizes = [
        0,
        1,
        4095,
        4096,
        4097,
        65_535,
        65_536,
        65_537,
        inline - 1,
        inline,
        inline + 1,
        MIB - 1,
        MIB,
        MIB + 1,
        10 * MIB,
    ];
    for size in sizes {
        let (seed, key) = (size + 1, Bytes::from(format!("size-{size}")));
        let made = must_put(engine, &bucket, &key, seed, size).await;
        assert_eq!((made.size, made.etag), (size, tag(seed)));
        let known = engine.head(&bucket, key.clone()).await.expect("drives work");
        assert_eq!(known.as_ref(), Some(&made));
        assert_eq!(made.attributes, seed.to_le_bytes().as_slice());
        let body = content(seed, size);
        let edges =
            [0, 1, size / 3, size / 2, 65_535.min(size), 65_536.min(size), size.saturating_sub(1), size];
        for from in edges {
            for to in edges.into_iter().filter(|to| from <= *to && *to <= size) {
                let reader = engine.open(&bucket, key.clone()).await.expect("drives work").expect("just put");
                assert_eq!(reader.part_sizes(), [size]);
                let bytes = read(reader, from..to).await.expect("whole");
                let index = |at: u64| usize::try_from(at).expect("test sizes fit");
                assert!(bytes == body[index(from)..index(to)], "{from}..{to} of {size}");
            }
        }
    }
    let absent = Bytes::from_static(b"absent");
    assert_eq!(engine.head(&bucket, absent.clone()).await, Ok(None));
    assert!(engine.open(&bucket, absent).await.expect("drives work").is_none());
}

async fn old_bytes_stay(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    for size in [1_000, 700_000] {
        let key = Bytes::from(format!("old-{size}"));
        must_put(engine, &bucket, &key, 1, size).await;
        let reader = engine.open(&bucket, key.clone()).await.expect("drives work").expect("there");
        for seed in 2..6 {
            must_put(engine, &bucket, &key, seed, size).await;
        }
        engine.delete(&bucket, vec![key.clone()]).await.expect("drives work");
        for seed in 6..9 {
            must_put(engine, &bucket, &key, seed, size).await;
        }
        assert!(
            read(reader, 0..size).await.expect("whole") == content(1, size),
            "an open reader lost its bytes"
        );
        assert_eq!(get(engine, &bucket, &key).await, Some(content(8, size)));
    }
}

async fn conditions(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    let key = Bytes::from_static(b"k");
    for size in [5, 300_000] {
        let attempt = |seed, condition| put(engine, &bucket, &key, seed, size, condition);
        let refused = |why| Err(WriteError::Refused(why));
        assert_eq!(attempt(1, PutCondition::IfPresent).await, refused(PutRefused::NoSuchKey));
        assert_eq!(attempt(1, PutCondition::IfMatch(vec![tag(1)])).await, refused(PutRefused::NoSuchKey));
        attempt(1, PutCondition::IfAbsent).await.expect("drives work, absent");
        assert_eq!(attempt(2, PutCondition::IfAbsent).await, refused(PutRefused::PreconditionFailed));
        let other = PutCondition::IfMatch(vec![tag(9)]);
        assert_eq!(attempt(2, other.clone()).await, refused(PutRefused::PreconditionFailed));
        assert_eq!(get(engine, &bucket, &key).await, Some(content(1, size)));
        attempt(2, PutCondition::IfMatch(vec![tag(9), tag(1)])).await.expect("drives work, matches");
        attempt(3, PutCondition::IfPresent).await.expect("drives work, present");
        assert_eq!(get(engine, &bucket, &key).await, Some(content(3, size)));
        let denied = engine.delete_if(&bucket, key.clone(), other).await;
        assert_eq!(denied, Err(PutRefused::PreconditionFailed.into()));
        let condition = PutCondition::IfMatch(vec![tag(3)]);
        assert_eq!(engine.delete_if(&bucket, key.clone(), condition).await, Ok(true));
        assert_eq!(engine.head(&bucket, key.clone()).await, Ok(None));
    }
}

async fn one_winner(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    for size in [10, 200_000] {
        let key = Bytes::from(format!("race-{size}"));
        let writers = (0..8).map(|seed| put(engine, &bucket, &key, seed, size, PutCondition::IfAbsent));
        let results = join_all(writers).await;
        let mut winners = Vec::new();
        for (seed, result) in (0_u64..).zip(results) {
            match result {
                Ok(_) => winners.push(seed),
                Err(error) => assert_eq!(error, PutRefused::PreconditionFailed.into()),
            }
        }
        assert_eq!(winners.len(), 1, "of {size} bytes");
        assert_eq!(get(engine, &bucket, &key).await, Some(content(winners[0], size)));
    }
}

async fn deletes(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    let keys: Vec<Bytes> = (0..200).map(|n| Bytes::from(format!("d{n:03}"))).collect();
    let puts = keys.iter().map(|key| must_put(engine, &bucket, key, 1, 100));
    assert_eq!(join_all(puts).await.len(), 200);
    let mut asked: Vec<Bytes> = keys.iter().step_by(2).cloned().collect();
    asked.push(Bytes::from_static(b"absent"));
    let found = engine.delete(&bucket, asked.clone()).await.expect("drives work");
    assert_eq!(found.len(), asked.len());
    assert!(found[..100].iter().all(|found| *found) && !found[100]);
    assert_eq!(engine.delete(&bucket, asked).await.expect("drives work"), vec![false; 101]);
    let page =
        engine.list(&bucket, ListQuery { max: 1_000, ..ListQuery::default() }).await.expect("drives work");
    let left: Vec<Bytes> = page.objects.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, keys.iter().skip(1).step_by(2).cloned().collect::<Vec<_>>());
}

async fn listings(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    let mut random = Random::new(5);
    let mut model = BTreeMap::new();
    while model.len() < 150 {
        let length = 1 + random.below(6);
        let letters = b"ab/c\xff";
        let key: Vec<u8> =
            (0..length).map(|_| letters[usize::try_from(random.below(5)).expect("below 5")]).collect();
        model.insert(Bytes::from(key), random.below(3));
    }
    let puts = model.iter().map(|(key, size)| must_put(engine, &bucket, key, *size, *size));
    join_all(puts).await;
    for prefix in ["", "a", "a/", "b/a", "zz"] {
        for delimiter in ["", "/", "a/"] {
            for after in ["", "a/", "a/b", "b", "b/", "zzz"] {
                for max in [1, 4, 1_000] {
                    check_listing(engine, &bucket, &model, [prefix, delimiter, after].map(Bytes::from), max)
                        .await;
                }
            }
        }
    }
}

async fn check_listing(
    engine: &Engine,
    bucket: &Bucket,
    model: &BTreeMap<Bytes, u64>,
    [prefix, delimiter, after]: [Bytes; 3],
    max: usize,
) {
    let mut keys = Vec::new();
    let mut prefixes = BTreeSet::new();
    for key in model.keys().filter(|key| key.starts_with(&prefix)) {
        let rest = &key[prefix.len()..];
        let cut =
            (!delimiter.is_empty()).then(|| rest.windows(delimiter.len()).position(|w| *w == *delimiter));
        match cut.flatten() {
            Some(at) => {
                let common = key.slice(..prefix.len() + at + delimiter.len());
                if after.is_empty() || after < common {
                    prefixes.insert(common);
                }
            }
            None if after.is_empty() || after < *key => keys.push(key.clone()),
            None => {}
        }
    }
    let mut query = ListQuery { prefix, delimiter, after, max };
    let (mut got_keys, mut got_prefixes) = (Vec::new(), Vec::new());
    loop {
        let page = engine.list(bucket, query.clone()).await.expect("drives work");
        let count = page.objects.len() + page.prefixes.len();
        assert!(count <= max);
        got_keys.extend(page.objects.iter().map(|(key, _)| key.clone()));
        assert!(page.objects.iter().all(|(key, info)| model.get(key) == Some(&info.size)));
        got_prefixes.extend(page.prefixes);
        let Some(next) = page.next_after else { break };
        assert_eq!(count, max, "a page that is not full says that more follows");
        assert!(query.after < next, "pages go on");
        query.after = next;
    }
    assert_eq!(got_keys, keys, "{query:?}");
    assert_eq!(got_prefixes, prefixes.into_iter().collect::<Vec<_>>(), "{query:?}");
}

async fn put_part(
    engine: &Engine,
    bucket: &Arc<Bucket>,
    id: UploadId,
    number: u16,
    seed: u64,
    size: u64,
) -> Sequence {
    let mut writer = engine.writer(bucket, size).await.expect("room");
    feed(&mut writer, &content(seed, size)).await.expect("drives work");
    let part = writer.publish_part(id, number, tag(seed), Bytes::new()).await.expect("drives work, open");
    assert_eq!((part.number, part.size, part.etag), (number, size, tag(seed)));
    part.sequence
}

async fn multipart(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    let key = Bytes::from_static(b"whole");
    let (attributes, receipt) = (Bytes::from_static(b"attributes"), Bytes::from_static(b"receipt"));
    let open = || async {
        engine
            .create_upload(&bucket, key.clone(), attributes.clone())
            .await
            .expect("drives work, the bucket is there")
    };
    let complete = async |id, parts: &[(u16, Sequence)], condition| {
        let completion = completion(parts.to_vec(), condition, tag(77), attributes.clone());
        engine.complete_upload(&bucket, id, Completion { receipt: receipt.clone(), ..completion }).await
    };
    let gone = Err(PutRefused::NoSuchUpload.into());
    let id = open().await;
    let info = engine.upload(&bucket, id).await.expect("drives work").expect("open");
    assert_eq!((&info.key, &info.attributes), (&key, &attributes));
    let first = put_part(engine, &bucket, id, 1, 1, 150_000).await;
    let replaced = put_part(engine, &bucket, id, 2, 2, 70_000).await;
    let second = put_part(engine, &bucket, id, 2, 3, 1_500_001).await;
    let unused = put_part(engine, &bucket, id, 7, 4, 5).await;
    let fourth = put_part(engine, &bucket, id, 9, 5, 0).await;
    let listed = engine.parts(&bucket, id, 1, 2).await.expect("drives work").expect("open");
    assert_eq!(listed.iter().map(|p| (p.number, p.sequence)).collect::<Vec<_>>(), [(2, second), (7, unused)]);
    let whole = |seed, size| Some(crc64(&content(seed, size)));
    assert_eq!((listed[0].crc64nvme(), listed[1].crc64nvme()), (whole(3, 1_500_001), whole(4, 5)));
    assert_eq!(engine.completion(&bucket, id).await, Ok(None), "nothing of it was completed");
    assert_eq!(engine.head(&bucket, key.clone()).await, Ok(None), "nothing is there before completion");
    let none = PutCondition::None;
    assert_eq!(complete(id, &[(1, first), (2, replaced)], none.clone()).await, gone, "a part was replaced");
    assert_eq!(complete(id, &[(1, first), (3, second)], none.clone()).await, gone, "no such part");
    assert_eq!(complete(id, &[(1, first), (1, first)], none.clone()).await, gone, "a part twice");
    let many: Vec<_> = (0..=PARTS_MAX).map(|number| (number, first)).collect();
    assert!(matches!(
        complete(id, &many, none.clone()).await,
        Err(WriteError::Engine(EngineError::TooLarge { .. }))
    ));
    assert_eq!(complete(id, &[(1, first)], PutCondition::IfPresent).await, Err(PutRefused::NoSuchKey.into()));
    let made = complete(id, &[(1, first), (2, second), (9, fourth)], PutCondition::IfAbsent).await;
    assert_eq!(made.expect("drives work, absent").size, 1_650_001);
    let reader = engine.open(&bucket, key.clone()).await.expect("drives work").expect("completed");
    assert_eq!(reader.part_sizes(), [150_000, 1_500_001, 0]);
    let want = [content(1, 150_000), content(3, 1_500_001)].concat();
    assert_eq!((reader.crc64nvme(), reader.part_crc64nvme(1)), (crc64(&want), whole(3, 1_500_001)));
    assert_eq!((reader.part_crc64nvme(2), reader.part_crc64nvme(3)), (Some(crc64(b"")), None));
    assert!(read(reader, 0..1_650_001).await.expect("whole") == want);
    let reader = engine.open(&bucket, key.clone()).await.expect("drives work").expect("completed");
    assert!(read(reader, 149_000..151_000).await.expect("whole") == want[149_000..151_000]);
    assert_eq!(complete(id, &[(1, first)], none.clone()).await, gone, "an upload ends once");
    assert_eq!(engine.completion(&bucket, id).await, Ok(Some(receipt.clone())), "and is remembered");
    let long = Completion {
        receipt: vec![0; RECEIPT_BYTES_MAX + 1].into(),
        ..completion(vec![], none.clone(), tag(1), Bytes::new())
    };
    let refused = engine.complete_upload(&bucket, id, long).await;
    assert!(matches!(refused, Err(WriteError::Engine(EngineError::TooLarge { .. }))), "{refused:?}");
    assert_eq!(engine.upload(&bucket, id).await, Ok(None));
    let aborted = open().await;
    let part = put_part(engine, &bucket, aborted, 1, 1, 300_000).await;
    let uploads = engine.uploads(&bucket, Bytes::new(), None, 10).await.expect("drives work");
    assert_eq!(uploads.iter().map(|info| info.id).collect::<Vec<_>>(), [aborted]);
    assert_eq!(engine.abort_upload(&bucket, aborted).await, Ok(true));
    assert_eq!(engine.abort_upload(&bucket, aborted).await, Ok(false));
    assert_eq!(complete(aborted, &[(1, part)], none).await, gone);
    assert_eq!(engine.completion(&bucket, aborted).await, Ok(None));
    assert_eq!(engine.parts(&bucket, aborted, 0, 10).await, Ok(None));
    let mut writer = engine.writer(&bucket, 200_000).await.expect("room");
    feed(&mut writer, &content(1, 200_000)).await.expect("drives work");
    assert_eq!(
        writer.publish_part(aborted, 1, tag(1), Bytes::new()).await,
        Err(PutRefused::NoSuchUpload.into())
    );
    assert!(
        get(engine, &bucket, &key).await.is_some_and(|bytes| bytes == want),
        "the old object is untouched"
    );
    assert_eq!(engine.delete(&bucket, vec![key]).await, Ok(vec![true]));
    assert_eq!(engine.completion(&bucket, id).await, Ok(Some(receipt)), "whatever became of it");
}

/// Settles one transaction of at most `room` bytes durably on the shard of `bucket`.
pub async fn transact(
    engine: &Engine,
    bucket: &Bucket,
    room: usize,
    staged: Option<(Bytes, Bytes, u64)>,
    make: impl FnOnce(&LocalBucket, &mut Transaction) + Send + 'static,
) -> Result<Sequence, EngineError> {
    engine
        .on_bucket(bucket, ValueOwner::Catalog, move |bucket| async move {
            let mut transaction = Transaction::default();
            if let Some((key, body, seed)) = staged {
                let body = TransactionBody::Staged(bucket.stage(body).await?);
                let attributes = Bytes::copy_from_slice(&seed.to_le_bytes());
                transaction.puts.push(TransactionPut { key, body, etag: tag(seed), attributes });
            }
            bucket.room(room).await?;
            make(&bucket, &mut transaction);
            let sequence = bucket.append(transaction)?;
            assert!(sequence <= bucket.last_sequence());
            bucket.durable(sequence).await?;
            Ok(sequence)
        })
        .await?
}

async fn transactions(engine: &Engine) {
    const ROOM: usize = 400_000;
    let bucket = new_bucket(engine).await;
    let key = Bytes::from_static;
    for (round, size) in (0_u64..).zip([0, 5_000, 900_000]) {
        let body = content(round, size);
        transact(
            engine,
            &bucket,
            ROOM,
            Some((key(b"staged"), body.clone(), round)),
            move |bucket, transaction| {
                let body = TransactionBody::Inline(content(round + 100, 200_000));
                let attributes = Bytes::copy_from_slice(&bucket.now_ms().to_le_bytes());
                transaction.puts.push(TransactionPut { key: key(b"inline"), body, etag: tag(1), attributes });
                let value = Bytes::from(round.to_string());
                transaction.values.push((key(b"v/a"), Some(value.clone())));
                transaction.values.push((key(b"v/b"), Some(value)));
                transaction.values.push((key(b"w"), (round == 1).then(|| key(b"only once"))));
            },
        )
        .await
        .expect("room");
        assert!(get(engine, &bucket, &key(b"staged")).await == Some(body), "{size} staged bytes");
        assert!(get(engine, &bucket, &key(b"inline")).await == Some(content(round + 100, 200_000)));
        let seen = engine.on_bucket(&bucket, ValueOwner::Catalog, move |bucket| async move {
            let mut seen = Vec::new();
            bucket.values(b"v/", |key, value| {
                seen.push((key.to_vec(), value.clone()));
                true
            });
            let whole = bucket.read_object(b"inline", 1 << 20).await.expect("drives work").expect("there");
            assert!(whole == content(round + 100, 200_000));
            let over = bucket.read_object(b"inline", 10).await;
            assert!(matches!(over, Err(EngineError::TooLarge { .. })));
            assert_eq!(bucket.value(b"w").is_some(), round == 1);
            assert_eq!(bucket.object_keys(b"", 10).len(), 2);
            seen
        });
        let text = Bytes::from(round.to_string());
        assert_eq!(
            seen.await.expect("the shard is there"),
            [(b"v/a".to_vec(), text.clone()), (b"v/b".to_vec(), text)]
        );
    }
    assert_eq!(engine.delete_bucket(&bucket.name).await, Err(BucketError::NotEmpty));
    let long =
        transact(engine, &bucket, ROOM, None, |_, t| t.deletes.push(vec![b'k'; KEY_BYTES_MAX + 1].into()))
            .await;
    assert!(matches!(long, Err(EngineError::TooLarge { .. })), "it could not be read back");
    let huge = transact(engine, &bucket, ROOM, None, move |_, t| {
        t.values.push((key(b"h"), Some(vec![0; 4 << 20].into())))
    })
    .await;
    assert!(matches!(huge, Err(EngineError::TooLarge { .. })));
    transact(engine, &bucket, ROOM, None, move |_, transaction| {
        transaction.deletes = vec![key(b"staged"), key(b"inline"), key(b"absent")];
        transaction.values = vec![(key(b"v/a"), None), (key(b"v/b"), None), (key(b"w"), None)];
    })
    .await
    .expect("room");
    assert_eq!(get(engine, &bucket, &key(b"staged")).await, None);
    assert_eq!(engine.delete_bucket(&bucket.name).await, Ok(()));
    let late =
        transact(engine, &bucket, ROOM, None, move |_, t| t.values.push((key(b"late"), Some(key(b"value")))))
            .await;
    assert!(matches!(late, Err(EngineError::BucketClosed)), "the bucket is gone");
}

/// What the store itself keeps is seen by its owner alone, and in no bucket and no listing.
async fn system_values(engine: &Engine) {
    let key = Bytes::from_static(b"\x20key");
    let before = engine.directory().expect("whole").buckets.len();
    let set = async |value: Option<Bytes>| {
        let values = vec![(key.clone(), value)];
        let set = engine.on_system(ValueOwner::Identity, |_, system| async move {
            system.room(1_000).await?;
            system.durable(system.append(Transaction { values, ..Transaction::default() })?).await
        });
        set.await.expect("the shard is there").expect("room");
    };
    let all = async |owner| {
        let seen = engine.on_system(owner, |_, system| {
            let mut seen = Vec::new();
            system.values(b"", |key, value| {
                seen.push((Bytes::copy_from_slice(key), value.clone()));
                true
            });
            std::future::ready(seen)
        });
        seen.await.expect("the shard is there")
    };
    for value in [Bytes::from_static(b"one"), Bytes::from(vec![7; 700_000]), Bytes::new()] {
        set(Some(value.clone())).await;
        assert!(all(ValueOwner::Identity).await == [(key.clone(), value)]);
        assert_eq!(all(ValueOwner::Jobs).await, []);
    }
    assert_eq!(engine.directory().expect("whole").buckets.len(), before);
    set(None).await;
    assert_eq!(all(ValueOwner::Identity).await, []);
}

/// Bytes of the shard's extents that nobody can account for.
async fn unaccounted(engine: &Engine, bucket: &Bucket) -> u64 {
    let facts = engine.audit_space(bucket.shard).await.expect("no extent twice");
    facts.granted_bytes - facts.free_bytes - facts.used_bytes
}

async fn space_comes_back(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    let key = Bytes::from_static(b"k");
    must_put(engine, &bucket, &key, 1, 1 << 20).await;
    let mut writer = engine.writer(&bucket, 3 << 20).await.expect("room");
    writer.write(content(1, 2_500_000)).await.expect("drives work");
    assert_eq!(unaccounted(engine, &bucket).await, 3 << 20);
    drop(writer);
    for polls in 0..4 {
        let mut asked = Box::pin(engine.writer(&bucket, 2 << 20));
        // Dropped after a few polls, sometimes with an answer that nobody took.
        let answered = (0..polls).any(|_| (&mut asked).now_or_never().is_some());
        assert!(!answered || 0 < polls);
        drop(asked);
        let body = content(1, 300_000);
        let mut putting = Box::pin(async {
            let mut writer = engine.writer(&bucket, 300_000).await.expect("room");
            feed(&mut writer, &body).await.expect("drives work");
            writer.publish(key.clone(), PutCondition::None, tag(1), Bytes::new()).await
        });
        let answered = (0..polls).any(|_| (&mut putting).now_or_never().is_some());
        assert!(!answered, "nothing is durable in a few polls");
    }
    let started_ms = engine.now_ms();
    while unaccounted(engine, &bucket).await > 0 {
        assert!(engine.now_ms() < started_ms + 10_000, "space of dropped writers does not come back");
        must_put(engine, &bucket, &key, 1, 1).await;
    }
    uploads_go_with_their_bucket(engine).await;
    // Overwriting for ever must not take space for ever.
    let free = engine.capacity_bytes().1;
    for seed in 0..12 {
        must_put(engine, &bucket, &key, seed, 4 << 20).await;
    }
    assert!(free - engine.capacity_bytes().1 <= 24 << 20, "displaced extents are not used again");
    assert_eq!(get(engine, &bucket, &key).await, Some(content(11, 4 << 20)));
}

async fn uploads_go_with_their_bucket(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    let used = async || engine.audit_space(bucket.shard).await.expect("no extent twice").used_bytes;
    let before = used().await;
    for number in [1, 2] {
        let upload = engine.create_upload(&bucket, Bytes::from_static(b"k"), Bytes::new()).await;
        put_part(engine, &bucket, upload.expect("drives work, the bucket is there"), number, 1, 3 << 20)
            .await;
    }
    assert!(before < used().await);
    assert_eq!(engine.delete_bucket(&bucket.name).await, Ok(()));
    let other = new_bucket(engine).await;
    let started_ms = engine.now_ms();
    while before < used().await {
        assert!(engine.now_ms() < started_ms + 10_000, "uploads of a deleted bucket keep their space");
        must_put(engine, &other, &Bytes::from_static(b"k"), 1, 1).await;
    }
}

async fn too_large(engine: &Engine) {
    let bucket = new_bucket(engine).await;
    let is_too_large = |error: &EngineError| matches!(error, EngineError::TooLarge { .. });
    let says_too_large =
        |error: &WriteError| matches!(error, WriteError::Engine(error) if is_too_large(error));
    let long: Bytes = vec![b'k'; KEY_BYTES_MAX + 1].into();
    assert!(engine.writer(&bucket, BLOB_BYTES_MAX + 1).await.is_err_and(|e| is_too_large(&e)));
    assert!(engine.head(&bucket, long.clone()).await.is_err_and(|e| is_too_large(&e)));
    assert!(put(engine, &bucket, &long, 1, 1, PutCondition::None).await.is_err_and(|e| says_too_large(&e)));
    assert!(
        put(engine, &bucket, &long, 1, 200_000, PutCondition::None).await.is_err_and(|e| says_too_large(&e))
    );
    assert!(engine.delete(&bucket, vec![long]).await.is_err_and(|e| is_too_large(&e)));
    let attributes: Bytes = vec![0; ATTRIBUTES_BYTES_MAX + 1].into();
    let writer = engine.writer(&bucket, 0).await.expect("no space is needed");
    let refused = writer.publish(Bytes::from_static(b"k"), PutCondition::None, tag(1), attributes).await;
    assert!(refused.is_err_and(|e| says_too_large(&e)));
    let query = ListQuery { max: LIST_KEYS_MAX + 1, ..ListQuery::default() };
    assert!(engine.list(&bucket, query).await.is_err_and(|e| is_too_large(&e)));
    let longest: Bytes = vec![b'k'; KEY_BYTES_MAX].into();
    let writer = engine.writer(&bucket, 0).await.expect("no space is needed");
    let attributes: Bytes = vec![7; ATTRIBUTES_BYTES_MAX].into();
    let stored = writer.publish(longest.clone(), PutCondition::None, tag(1), attributes.clone()).await;
    assert!(stored.is_ok());
    let info = engine.head(&bucket, longest).await.expect("drives work").expect("just put");
    assert_eq!(info.attributes, attributes);
}
