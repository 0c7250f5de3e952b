//! PutObject with `x-amz-meta-snowball-auto-extract: true`: the body is a tar archive, and each of its files becomes an object.
//!
//! `put_object` hands such a request here; `body::tar` reads the archive. I1. Each object is judged as a PutObject of its own, on
//! its own key, and is durable before the next one begins. I2. No more is held than of one upload. I3. An archive that breaks off
//! leaves the objects before: the error says how many.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body;
use nilas_engine::{Bucket, ETag, NewObject, NewVersion, PutCondition};

use super::put_object::{stored, upload_bytes};
use super::{Call, Outcome, flag, know_tags, metadata, object_lock};
use crate::body::tar::{Event, Member, Tar};
use crate::body::{Algorithm, HashPlan, Hashers, Received};
use crate::limits::{ARCHIVE_MEMBERS_MAX, BLOB_BYTES_MAX};
use crate::render::error::S3Error;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::StoredChecksum;
use crate::s3::encryption::tag_of;
use crate::s3::operations::Operation;
use crate::s3::payload::Payload;
use crate::s3::target::{Target, check_key};
use crate::s3::writer::Writer;
use crate::sse::stored::Encryption;

/// What asks for it.
pub(super) const EXTRACT: &str = "x-amz-meta-snowball-auto-extract";
const PREFIX: &str = "x-amz-meta-minio-snowball-prefix";
const IGNORE_DIRECTORIES: &str = "x-amz-meta-minio-snowball-ignore-dirs";
const IGNORE_ERRORS: &str = "x-amz-meta-minio-snowball-ignore-errors";

/// What is said of the archive and not of the objects in it.
const OF_THE_ARCHIVE: [&str; 6] =
    [EXTRACT, PREFIX, IGNORE_DIRECTORIES, IGNORE_ERRORS, "content-type", "content-encoding"];

/// Headers that no archive is taken with.
const NOT_TAKEN: [&str; 3] = ["if-match", "if-none-match", "x-amz-write-offset-bytes"];

/// Whether a member may have a header of its own by that name: what is kept with its object and how it is stored, and
/// nothing that says when, by whom or with which digest.
fn is_of_member(name: &str) -> bool {
    const KEPT: [&str; 15] = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-acl",
        "x-amz-object-lock-legal-hold",
        "x-amz-object-lock-mode",
        "x-amz-object-lock-retain-until-date",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "x-amz-storage-class",
        "x-amz-tagging",
    ];
    name.starts_with("x-amz-meta-") || KEPT.contains(&name)
}

/// Whether the body is an archive that is to be taken apart.
pub(super) fn is_asked(headers: &HeaderMap) -> Result<bool, S3Error> {
    asked(headers, EXTRACT)
}

fn asked(headers: &HeaderMap, name: &'static str) -> Result<bool, S3Error> {
    metadata::field(headers, name).map_or(Ok(false), |text| flag(name, &text))
}

pub(super) async fn extract<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    if let Some(header) = NOT_TAKEN.into_iter().find(|name| call.headers.contains_key(*name)) {
        return Err(S3Error::NotImplementedHeader { header: header.to_owned() });
    }
    let bucket = call.bucket()?;
    let length = payload.open_blob(call.headers, Algorithm::Crc64Nvme)?;
    let mut headers = call.headers.clone();
    for name in OF_THE_ARCHIVE {
        headers.remove(name);
    }
    let mut extraction = Extraction {
        call,
        bucket,
        prefix: call.field(PREFIX).unwrap_or_default(),
        ignores_directories: asked(call.headers, IGNORE_DIRECTORIES)?,
        ignores_errors: asked(call.headers, IGNORE_ERRORS)?,
        headers,
        members: 0,
        stored: 0,
    };
    let _waiting = call.s3.memory.uploads.take(upload_bytes(length)).await?;
    match extraction.run(payload).await {
        Ok(received) => {
            let etag = ETag { md5: received.md5.unwrap_or_default(), parts: 0 };
            Ok(stored(&etag, None))
        }
        Err(failure) => Err(S3Error::Extracting { stored: extraction.stored, failure: Box::new(failure) }),
    }
}

struct Extraction<'a> {
    call: &'a Call<'a>,
    bucket: Arc<Bucket>,
    prefix: String,
    ignores_directories: bool,
    ignores_errors: bool,
    /// Of the request, without what it says of the archive.
    headers: HeaderMap,
    members: usize,
    stored: usize,
}

/// An object that is being written.
struct Open {
    key: Bytes,
    object: NewObject,
    attributes: Attributes,
    writer: Writer,
    hashers: Hashers,
}

impl Extraction<'_> {
    async fn run<B>(&mut self, payload: &mut Payload<'_, B>) -> Result<Received, S3Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut tar = Tar::default();
        let mut open: Option<Open> = None;
        loop {
            match tar.step().map_err(|why| S3Error::invalid_request(why.text()))? {
                Event::More => match payload.next().await {
                    Some(bytes) => tar.push(bytes?),
                    None => break,
                },
                Event::Member(member) => {
                    self.members += 1;
                    if ARCHIVE_MEMBERS_MAX < self.members {
                        return Err(S3Error::invalid_request("The archive has more than 1000000 members"));
                    }
                    open = match self.open(member).await {
                        Err(failure) => self.ignored(failure)?,
                        opened => opened?,
                    };
                }
                Event::Data(bytes) => {
                    if let Some(open) = &mut open {
                        open.hashers.update(&bytes);
                        open.writer.write(bytes).await?;
                    }
                }
                Event::End => {
                    if let Some(open) = open.take() {
                        match self.publish(open).await {
                            Ok(()) => self.stored += 1,
                            Err(failure) => drop(self.ignored(failure)?),
                        }
                    }
                }
            }
        }
        tar.finish().map_err(|why| S3Error::invalid_request(why.text()))?;
        payload.finish().await
    }

    /// Nothing in place of an object that was refused, where that is asked for.
    fn ignored(&self, failure: S3Error) -> Result<Option<Open>, S3Error> {
        match self.ignores_errors && failure.answer().status.is_client_error() {
            true => Ok(None),
            false => Err(failure),
        }
    }

    /// Begins the object of a member, if its sender may; none for a directory that is to be left out.
    async fn open(&self, member: Member) -> Result<Option<Open>, S3Error> {
        if member.is_directory && self.ignores_directories {
            return Ok(None);
        }
        if BLOB_BYTES_MAX < member.size {
            return Err(S3Error::EntityTooLarge { proposed: member.size, max: BLOB_BYTES_MAX });
        }
        let Some(key) = key_of(&self.prefix, &member)? else { return Ok(None) };
        check_key(&key)?;
        let mut headers = self.headers.clone();
        for (name, value) in &member.metadata {
            let name = HeaderName::from_bytes(name).ok();
            let header = name.zip(HeaderValue::from_bytes(value).ok());
            let (name, value) = header.ok_or_else(|| {
                S3Error::invalid_request("The archive has metadata of a member that is no header")
            })?;
            if !is_of_member(name.as_str()) {
                return Err(S3Error::NotImplementedHeader { header: name.to_string() });
            }
            headers.insert(name, value);
        }
        let target = Target { operation: Operation::PutObject, key, ..self.call.target.clone() };
        let call = Call { s3: self.call.s3, target: &target, headers: &headers, caller: self.call.caller };
        call.check_served()?;
        if call.caller.wants_object_tags(&self.bucket.name) {
            know_tags(call.engine(), &call.caller, &self.bucket.name, &target.key, None).await;
        }
        call.check_object(Operation::PutObject, &self.bucket.name, &target.key, None).await?;
        let mut attributes = metadata::parse(&headers)?;
        call.check_gives_tags(&attributes)?;
        let lock = object_lock::of_new_object(&call, &self.bucket).await?;
        call.check_quota_early(&self.bucket, nilas_engine::Place::Object(target.key.clone()), member.size)
            .await?;
        let sealing = call.sealing(&self.bucket).await?;
        let (sealed, encryption) = sealing.map(|sealing| (sealing.key, sealing.kept)).unzip();
        attributes.encryption = encryption.map(|kept| Encryption { plain_bytes: member.size, ..kept });
        let writer = Writer::begin(call.engine(), &self.bucket, member.size, sealed.as_ref()).await?;
        let plan = HashPlan { md5: true, sha256: false, checksum: Some(Algorithm::Crc64Nvme) };
        let object = NewObject {
            condition: PutCondition::None,
            etag: ETag::default(),
            attributes: Bytes::new(),
            version: NewVersion::AsSet,
            lock,
        };
        Ok(Some(Open { key: target.key, object, attributes, writer, hashers: Hashers::new(plan) }))
    }

    async fn publish(&self, open: Open) -> Result<(), S3Error> {
        let Open { key, mut object, mut attributes, writer, hashers } = open;
        let digests = hashers.finish();
        attributes.checksum = digests.checksum.map(StoredChecksum::of_bytes);
        object.etag = tag_of(attributes.encryption.as_ref(), digests.md5.unwrap_or_default());
        object.attributes = attributes.encode();
        let published = writer.publish_object(key.clone(), object).await;
        published.map(drop).map_err(|why| S3Error::write(why, &self.bucket.name, &key, ""))
    }
}

/// The key of a member: the prefix and its name, in which empty steps and `.` do not count. None for the archive's root.
fn key_of(prefix: &str, member: &Member) -> Result<Option<Bytes>, S3Error> {
    let name = str::from_utf8(&member.name)
        .map_err(|_| S3Error::invalid_request("The archive has a name that is no UTF-8"))?;
    let mut key = String::new();
    let mut has_name = false;
    for (is_name, path) in [(false, prefix), (true, name)] {
        for step in path.split('/').filter(|step| !step.is_empty() && *step != ".") {
            if step == ".." {
                return Err(S3Error::invalid_request("The archive has a name that leads out of it"));
            }
            if !key.is_empty() {
                key.push('/');
            }
            key.push_str(step);
            has_name |= is_name;
        }
    }
    if !has_name {
        return Ok(None);
    }
    if member.is_directory {
        key.push('/');
    }
    Ok(Some(key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let check = |prefix: &str, name: &str, is_directory, want: Result<Option<&str>, &str>| {
            let member = Member { name: name.as_bytes().to_vec(), is_directory, ..Member::default() };
            let got = key_of(prefix, &member).map_err(|failure| failure.answer().code);
            let want = want.map(|key| key.map(|key| Bytes::copy_from_slice(key.as_bytes())));
            assert_eq!(got, want, "{prefix:?} {name:?}");
        };
        check("", "a", false, Ok(Some("a")));
        check("", "./a//b", false, Ok(Some("a/b")));
        check("", "/etc/a", false, Ok(Some("etc/a")));
        check("p", "a", false, Ok(Some("p/a")));
        check("/p/q/", "a/", true, Ok(Some("p/q/a/")));
        check("p", "./", true, Ok(None));
        check("p", "", false, Ok(None));
        check("", "a/../../b", false, Err("InvalidRequest"));
        check("..", "a", false, Err("InvalidRequest"));
        check("", "a..b", false, Ok(Some("a..b")));
    }
}
