//! Every bound of the protocol layer, with its unit and what happens when it is reached.

use std::time::Duration;

// ---- the process ----

/// The read caches of all cores together take one part in so many of the memory that the process may use, unless the
/// operator says otherwise.
pub const CACHE_MEMORY_PART: u64 = 4;

// ---- auth and bodies ----

/// How far a request's own time may be from ours, in milliseconds, either way: beyond is `RequestTimeTooSkewed`.
pub const CLOCK_SKEW_MS_MAX: u64 = 15 * 60 * 1000;

/// Longest life of a presigned URL, in seconds: beyond is `AuthorizationQueryParametersError`.
pub const PRESIGN_EXPIRES_S_MAX: u64 = 7 * 24 * 3600;

/// Latest end of a presigned URL of signature version 2, in seconds since 1970: the end of the year 9999. Beyond is
/// `AccessDenied`; a time in milliseconds is.
pub const PRESIGN_V2_EXPIRES_AT_S_MAX: u64 = 253_402_300_799;

/// Names in `SignedHeaders`: more is a malformed credential. Bounds the canonical request, which repeats each value.
pub const SIGNED_HEADERS_MAX: usize = 128;

/// Derived signing keys that one core keeps in each of its two generations.
pub const SIGNING_KEYS_MAX: usize = 512;

/// Senders that one core keeps at hand in each of two generations, by access key.
pub const SENDERS_MAX: usize = 4_096;

/// Opened session tokens that one core keeps at hand in each of two generations.
pub const SESSIONS_OPEN_MAX: usize = 1_024;

/// Compiled policies of buckets that one core keeps at hand in each of two generations.
pub const BUCKET_RULES_MAX: usize = 1_024;

/// Life of credentials that the catalog gives out for a table's files, in seconds.
pub const VENDED_LIFE_S: u64 = 3600;

/// Life of a bearer token, in seconds.
pub const BEARER_LIFE_S: u64 = 3600;

/// Seconds after the first token of a line of exchanges at which the last one ends, unless the client shows its secret. Beyond:
/// 400 `invalid_grant`.
pub const BEARER_CHAIN_S_MAX: u64 = 43_200;

/// Bytes of a bearer token: a longer one is not looked at.
pub const BEARER_BYTES_MAX: usize = 4096;

/// Bytes of a token request's form, which anybody may send. Beyond: 413.
pub const TOKEN_FORM_BYTES_MAX: usize = 64 * 1024;

/// Senders whose failed signatures and tokens one core counts, in each of its three tables: by address, by key from an
/// address, by key. Beyond: those with the fewest failures are forgotten.
pub const THROTTLE_ENTRIES_MAX: usize = 4_096;

/// Failures of one sender that are forgiven in a minute, unless the operator says otherwise.
pub const AUTH_FAILURES_PER_MINUTE: u32 = 600;

/// Bytes of one line of the audit log: decisions that find no room in it are counted (`further_beyond`).
pub const AUDIT_LINE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a resource, a statement or an ARN in that line, as they are written: longer ones are cut, and end with `…`.
pub const AUDIT_TEXT_BYTES_MAX: usize = 2 * 1024;

/// Bytes of any other text in it.
pub const AUDIT_NAME_BYTES_MAX: usize = 256;

/// Decisions that are kept of one request for the audit log; more are counted.
pub const AUDIT_JUDGED_MAX: usize = 16;

/// Lines of one core that wait to be written. Beyond: they are dropped and counted.
pub const AUDIT_QUEUE_LINES_MAX: usize = 8_192;

/// Bytes of them.
pub const AUDIT_QUEUE_BYTES_MAX: usize = 8 << 20;

/// Lines of one core about throttled requests, in a second. Beyond: they are dropped and counted.
pub const AUDIT_THROTTLED_LINES_PER_S: u32 = 20;

/// Newest events of one core that `/_nilas/audit` shows.
pub const AUDIT_RING_EVENTS: usize = 256;

/// Events of one page of `/_nilas/audit`; who asks for more gets this many.
pub const AUDIT_PAGE_EVENTS_MAX: usize = 1_000;

/// Bytes of the JSON that a page of the server takes. Beyond: `InvalidRequest`.
pub const PAGE_BODY_BYTES_MAX: usize = 64 * 1024;

/// Answers of one `/_nilas/who-can`; beyond, it says that there are more.
pub const WHO_CAN_ANSWERS_MAX: usize = 1_000;

/// Values of condition keys in one simulation. Beyond: `InvalidInput`.
pub const CONTEXT_VALUES_MAX: usize = 256;

/// Bytes of an aws-chunk's head line, CRLF included: a longer one is `IncompleteBody`.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// Bytes of every aws-chunk but the last, as in S3: a smaller one is `InvalidChunkSizeError`.
pub const CHUNK_BYTES_MIN: u64 = 8 * 1024;

/// Bytes of one signed aws-chunk: a larger one is `InvalidChunkSizeError`.
/// Its bytes are handed on before its signature is known, so this bounds what is handled on credit.
pub const SIGNED_CHUNK_BYTES_MAX: u64 = 16 << 20;

/// Bytes of all trailers of a body: more is `MalformedTrailerError`.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Names in `x-amz-trailer`: more is `InvalidRequest`.
pub const TRAILER_NAMES_MAX: usize = 16;

/// Bytes that the hashes of a body take at a time, so that each pass finds them in the core's own cache.
pub const HASH_BLOCK_BYTES: usize = 64 * 1024;

/// Bytes of a body up to which its MD5 is made at once and by itself: so few would be gone before others come.
pub const MD5_ALONE_BYTES_MAX: u64 = 128 * 1024;

/// Bytes of one body that may wait to be hashed along with those of others: beyond, the upload hashes before it reads on.
pub const MD5_BACKLOG_BYTES_MAX: usize = 1 << 20;

/// Pieces that those bytes may have come in: beyond, as above. A piece costs its bookkeeping, however small.
pub const MD5_BACKLOG_PIECES_MAX: usize = 256;

/// Bytes of all bodies of one core that may wait so: beyond, whoever brings more hashes first.
pub const MD5_BACKLOG_CORE_BYTES_MAX: usize = 32 << 20;

/// Bytes, of all uploads together, that are hashed before other tasks of the core have their turn: 0.1 ms in full
/// lanes, 0.6 ms in one.
pub const MD5_TURN_BYTES: usize = 512 * 1024;

// ---- policies ---------------------------------------------------------------------------------
//
// Beyond each of them a policy is malformed, and the place is named.

/// Characters of a policy of a user, a group or a key, blanks between its parts not counted.
pub const IDENTITY_POLICY_CHARACTERS_MAX: usize = 10_240;

/// Bytes of such a policy, blanks included.
pub const IDENTITY_POLICY_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a bucket's policy, as in S3.
pub const BUCKET_POLICY_BYTES_MAX: usize = 20 * 1024;

/// Statements of one policy.
pub const POLICY_STATEMENTS_MAX: usize = 256;

/// Actions, resources, principals and values of conditions of one policy, together.
pub const POLICY_VALUES_MAX: usize = 2_048;

/// Bytes of one of them: a bucket's name and a key's 1,024 bytes fit twice.
pub const POLICY_PATTERN_BYTES_MAX: usize = 2_048;

/// Lists and objects in each other in a policy; the grammar needs six.
pub const POLICY_NESTING_MAX: usize = 8;

// ---- sessions ---------------------------------------------------------------------------------

/// Letters of a session token: a longer one is not looked at, and none is made. Beyond, when it is made:
/// `PackedPolicyTooLarge`.
pub const SESSION_TOKEN_BYTES_MAX: usize = 4096;

/// Session policies of one session: how often a session may be made of a session. Beyond: `PackedPolicyTooLarge`.
pub const SESSION_POLICIES_MAX: usize = 4;

/// Managed policies that one session is narrowed with (`PolicyArns`), as in AWS. Beyond: `ValidationError`.
pub const SESSION_POLICY_NAMES_MAX: usize = 10;

/// Session tags, as in AWS. Beyond: `ValidationError`.
pub const SESSION_TAGS_MAX: usize = 50;

/// Seconds of a session, at least, as in AWS. Below: `ValidationError`.
pub const SESSION_S_MIN: u64 = 900;

/// Seconds of a role's session, as in AWS. Beyond: `ValidationError`.
pub const ROLE_SESSION_S_MAX: u64 = 43_200;

/// Seconds of a session that is made with a session, as in AWS. Beyond: `ValidationError`.
pub const CHAINED_SESSION_S_MAX: u64 = 3_600;

/// Seconds of a session by GetSessionToken, as in AWS. Beyond: `ValidationError`.
pub const USER_SESSION_S_MAX: u64 = 129_600;

/// The same for root, as in AWS: a longer one is cut to it.
pub const ROOT_SESSION_S_MAX: u64 = 3_600;

/// Characters of the `Policy` of a session, as in AWS. Beyond: `ValidationError`.
pub const SESSION_POLICY_CHARS_MAX: usize = 2_048;

/// Bytes of a role's ARN, as in AWS. Beyond: `ValidationError`.
pub const ROLE_ARN_BYTES_MAX: usize = 2_048;

/// Bytes of a token of an OpenID Connect issuer. Beyond: `InvalidIdentityToken`.
pub const OIDC_TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Bytes of `sub`, as in AWS. Beyond: `InvalidIdentityToken`.
pub const OIDC_SUBJECT_BYTES_MAX: usize = 255;

/// Audiences that a server takes tokens for. Beyond it does not start.
pub const OIDC_AUDIENCES_MAX: usize = 16;

/// How far an issuer's clock may be from ours, in seconds, either way.
pub const OIDC_SKEW_S: u64 = 60;

/// Keys that an issuer publishes. With more none is taken: `IDPCommunicationError`.
pub const OIDC_KEYS_MAX: usize = 64;

/// Bytes of a document that an issuer publishes. A larger one is not taken: `IDPCommunicationError`.
pub const OIDC_DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// Longest wait for one document of an issuer. Beyond: `IDPCommunicationError`, unless its keys are known already.
pub const OIDC_FETCH_TIME_MAX: Duration = Duration::from_secs(5);

/// Milliseconds between two fetches of an issuer's keys, however many unknown keys are named.
pub const OIDC_REFETCH_MS_MIN: u64 = 10_000;

/// Milliseconds after which an issuer's keys are fetched anew, so that a withdrawn one is not taken any more.
pub const OIDC_KEYS_LIFE_MS: u64 = 300_000;

/// Milliseconds for which an issuer's keys serve while it does not answer. Beyond: `IDPCommunicationError`.
pub const OIDC_KEYS_STALE_MS_MAX: u64 = 24 * 3600 * 1000;

/// Policies that a claim of an ID token grants. Beyond: `IDPRejectedClaim`.
pub const WEB_POLICIES_MAX: usize = 20;

// ---- identities -------------------------------------------------------------------------------
//
// Beyond one of these IAM answers `LimitExceeded`; beyond a length `ValidationError`.

/// Users of the account (AWS: 5,000).
pub const USERS_MAX: usize = 50_000;

/// Groups of the account (AWS: 300).
pub const GROUPS_MAX: usize = 10_000;

/// Managed policies of the account (AWS: 1,500).
pub const MANAGED_POLICIES_MAX: usize = 10_000;

/// Groups that one user is in, as in AWS.
pub const USER_GROUPS_MAX: usize = 10;

/// Access keys of one user (AWS: 2).
pub const USER_KEYS_MAX: usize = 20;

/// Managed policies attached to one user or group, as in AWS where it is asked for.
pub const ATTACHED_POLICIES_MAX: usize = 20;

/// Bytes of all inline policies of one user or group (AWS: 2,048 and 5,120).
pub const INLINE_POLICIES_BYTES_MAX: usize = 32 * 1024;

/// Inline policies of one user or group.
pub const INLINE_POLICIES_MAX: usize = 50;

/// Versions of one managed policy, as in AWS.
pub const POLICY_VERSIONS_MAX: usize = 5;

/// Tags of one user or policy, as in AWS.
pub const IDENTITY_TAGS_MAX: usize = 50;

/// Characters of a tag's key, and of its value, as in AWS.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// See [`TAG_KEY_CHARS_MAX`].
pub const TAG_VALUE_CHARS_MAX: usize = 256;

/// Characters of a user's name, as in AWS.
pub const USER_NAME_CHARS_MAX: usize = 64;

/// Characters of the name of a group, a policy, or an access key, as in AWS.
pub const IDENTITY_NAME_CHARS_MAX: usize = 128;

/// Characters of a path, as in AWS.
pub const IDENTITY_PATH_CHARS_MAX: usize = 512;

/// Characters of a policy's description, as in AWS.
pub const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// Characters of an access key's id and of its secret that are given from outside.
pub const ACCESS_KEY_CHARS_MAX: usize = 128;

/// Bytes of the form of one request of the query API. Beyond: `RequestEntityTooLarge`.
pub const QUERY_FORM_BYTES_MAX: usize = 256 * 1024;

/// Fields of such a form. Beyond: `MalformedInput`.
pub const QUERY_FORM_FIELDS_MAX: usize = 2_000;

/// Entities of one page of a list of the query API, and how many there are when the client does not say, as in AWS.
pub const QUERY_PAGE_MAX: usize = 1_000;
/// See [`QUERY_PAGE_MAX`].
pub const QUERY_PAGE_DEFAULT: usize = 100;

/// Buckets of one page of quotas. Beyond: `is_truncated`.
pub const QUOTA_PAGE_MAX: usize = 1_000;

/// Questions of one simulation: actions times resources. Beyond: `LimitExceeded`.
pub const SIMULATED_MAX: usize = 1_000;

/// Bytes that one change of identities writes, with 200 for each record: one record of the log, of `RECORD_BYTES_MAX`.
/// Beyond: `LimitExceeded`.
pub const IDENTITY_CHANGE_BYTES_MAX: usize = 1 << 20;

/// Changes of identities that may wait for the one that is being made. Beyond: 503 `SlowDown`.
pub const IDENTITY_CHANGES_WAITING_MAX: usize = 256;

// ---- Encryption -------------------------------------------------------------------------------

/// Master keys of one start. Beyond: the start is refused.
pub const MASTER_KEYS_MAX: usize = 16;

/// Bytes of a master key's name. Beyond: the start is refused.
pub const MASTER_KEY_ID_BYTES_MAX: usize = 64;

/// Bytes of a master key file. Beyond: the start is refused.
pub const MASTER_KEY_FILE_BYTES_MAX: usize = 64 * 1024;

/// Named keys of a store. Beyond: `InvalidInput`.
pub const KMS_KEYS_MAX: usize = 10_000;

/// Versions of one named key. Beyond: `InvalidInput`.
pub const KMS_KEY_VERSIONS_MAX: usize = 1_000;

/// Bytes of a named key's name. Beyond: `InvalidInput`.
pub const KMS_KEY_NAME_BYTES_MAX: usize = 64;

/// Bytes of an encryption context, as JSON. Beyond: `InvalidArgument`.
pub const ENCRYPTION_CONTEXT_BYTES_MAX: usize = 1024;

/// Bytes of the XML of PutBucketEncryption. Beyond: `MalformedXML`.
pub const ENCRYPTION_XML_BYTES_MAX: usize = 64 * 1024;

// ---- S3 operations ----------------------------------------------------------------------------

/// Bytes of an object key, as in S3. Longer ones are answered `KeyTooLongError`.
pub const KEY_BYTES_MAX: usize = nilas_engine::limits::KEY_BYTES_MAX;

/// Bytes of all user metadata of one object, names (without `x-amz-meta-`) and values. Beyond: `MetadataTooLarge`.
pub const USER_METADATA_BYTES_MAX: usize = 2 * 1024;

/// Bytes of one body given in one request: an object or a part (S3: 5 GiB). Beyond: `EntityTooLarge`.
pub const BLOB_BYTES_MAX: u64 = 5 << 30;

/// Bytes of an object after an append, which writes all of them again. Beyond: `EntityTooLarge`.
pub const APPENDED_BYTES_MAX: u64 = 256 << 20;

/// Bytes of an object put together from parts. Beyond: `EntityTooLarge`.
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// Members of an archive that is taken apart. Beyond: `InvalidRequest`.
pub const ARCHIVE_MEMBERS_MAX: usize = 1_000_000;

/// Bytes of a long name, or of the extended records, of a member of such an archive. Beyond: `InvalidRequest`.
pub const TAR_EXTENDED_BYTES_MAX: u64 = 64 << 10;

/// Characters of `x-amz-client-token`, as in S3. Beyond: `InvalidArgument`.
pub const CLIENT_TOKEN_BYTES_MAX: usize = 64;

/// Times that an object which changes while it is renamed is judged again; then `ConditionalRequestConflict`.
pub const RENAME_ATTEMPTS_MAX: usize = 8;

/// Bytes that every part but the last must have. Below: `EntityTooSmall` when the upload is completed.
pub const PART_BYTES_MIN: u64 = 5 << 20;

/// Largest part number, as in S3. Beyond: `InvalidArgument`.
pub const PARTS_MAX: u16 = nilas_engine::limits::PARTS_MAX;

/// Keys of one DeleteObjects request. Beyond: `MalformedXML`.
pub const DELETE_KEYS_MAX: usize = 1_000;

/// Keys, uploads or parts of one listing page; a client that asks for more gets this many.
pub const PAGE_ENTRIES_MAX: usize = nilas_engine::limits::LIST_KEYS_MAX;

/// Buckets of one ListBuckets page, when the client asks for pages.
pub const BUCKETS_PAGE_MAX: usize = 10_000;

/// Bytes of the XML of configurations that can be set to what they are anyway: notification, logging, request payment,
/// acceleration. Beyond: `MalformedXML`.
pub const CONFIGURATION_XML_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the XML of CreateBucket. Beyond: `MalformedXML`.
pub const CREATE_BUCKET_XML_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a form before its file, boundaries and heads of fields included, and of what stands behind it (S3: 20 KB). Beyond:
/// `MaxPostPreDataLengthExceededError`.
pub const FORM_FIELDS_BYTES_MAX: usize = 20 * 1024;

/// Bytes of a form's boundary, as in RFC 2046. Beyond: `MalformedPOSTRequest`.
pub const FORM_BOUNDARY_BYTES_MAX: usize = 70;

/// Bytes of the XML of PutBucketOwnershipControls. Beyond: `MalformedXML`.
pub const OWNERSHIP_XML_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the XML of PutBucketVersioning. Beyond: `MalformedXML`.
pub const VERSIONING_XML_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the XML of PutObjectLockConfiguration, PutObjectRetention and PutObjectLegalHold. Beyond: `MalformedXML`.
pub const LOCK_XML_BYTES_MAX: usize = 64 * 1024;

/// Days of a bucket's default retention, as in S3. Beyond: `InvalidArgument`.
pub const LOCK_DAYS_MAX: u32 = 36_500;

/// Years of a bucket's default retention, as in S3. Beyond: `InvalidArgument`.
pub const LOCK_YEARS_MAX: u32 = 100;

/// XML of PutPublicAccessBlock, in bytes: four switches.
pub const PUBLIC_ACCESS_XML_BYTES_MAX: usize = 64 * 1024;

/// Tags of a bucket, as in S3. Beyond: `BadRequest`.
pub const BUCKET_TAGS_MAX: usize = 50;

/// Tags of an object, as in S3. Beyond: `BadRequest`.
pub const OBJECT_TAGS_MAX: usize = 10;

/// Bytes of the XML of PutBucketTagging and PutObjectTagging: 50 tags of the longest, and their elements. Beyond: `MalformedXML`.
pub const TAGGING_XML_BYTES_MAX: usize = 128 * 1024;

/// Rules of a bucket's CORS configuration, as in S3. Beyond: `InvalidRequest`.
pub const CORS_RULES_MAX: usize = 100;

/// Bytes of the XML of PutBucketCors, as in S3. Beyond: `MalformedXML`. What it says is kept as a setting, of at most
/// 32 KiB (`SETTING_BYTES_MAX`); beyond that: `EntityTooLarge`.
pub const CORS_XML_BYTES_MAX: usize = 64 * 1024;

/// Characters of the id of a rule of CORS, as in S3. Beyond: `InvalidArgument`.
pub const CORS_ID_CHARS_MAX: usize = 255;

/// Rules of a bucket's lifecycle, as in S3. Beyond: `InvalidRequest`.
pub const LIFECYCLE_RULES_MAX: usize = 1_000;

/// Bytes of the XML of PutBucketLifecycleConfiguration: 1,000 rules with all their elements. Beyond: `MalformedXML`. What it
/// says is kept as a setting, of at most 32 KiB (`SETTING_BYTES_MAX`); beyond that: `InvalidRequest`.
pub const LIFECYCLE_XML_BYTES_MAX: usize = 1024 * 1024;

/// Characters of the id of a rule of a lifecycle, as in S3. Beyond: `InvalidArgument`.
pub const LIFECYCLE_ID_CHARS_MAX: usize = 255;

/// Newer noncurrent versions that a rule of a lifecycle keeps, as in S3. Beyond: `InvalidArgument`.
pub const LIFECYCLE_NEWER_MAX: u8 = 100;

/// Bytes that a rule of a lifecycle may compare sizes with, as in S3. Beyond: `InvalidRequest`.
pub const LIFECYCLE_SIZE_MAX: u64 = 1_099_511_627_776_000;

/// How often a core looks for buckets whose lifecycle is to be worked off, in milliseconds; with a shorter test day, eight
/// times in it.
pub const LIFECYCLE_LOOK_MS: u64 = 5_000;

/// Versions that a core's passes of lifecycles look at in a second. What is beyond is looked at later.
pub const LIFECYCLE_LOOKS_PER_SECOND: u64 = 50_000;

/// Versions and uploads that a core's passes of lifecycles remove in a second. What is beyond is removed later.
pub const LIFECYCLE_REMOVALS_PER_SECOND: u64 = 2_000;

/// Versions that a pass of a lifecycle looks at before others have their turn.
pub const LIFECYCLE_LOOKS_PER_TURN: usize = 500;

/// Removals of a pass of a lifecycle in one record of the log.
pub const LIFECYCLE_REMOVALS_PER_RECORD: usize = 100;

/// Milliseconds until a pass of a lifecycle that failed begins again; with a shorter test day, a quarter of it.
pub const LIFECYCLE_RETRY_MS: u64 = 60_000;

/// Milliseconds after which it is kept how far a pass of a lifecycle is.
pub const LIFECYCLE_SAVE_MS: u64 = 30_000;

/// Versions that one page of a lifecycle's preview looks at. The command asks for the next page by itself.
pub const LIFECYCLE_PREVIEW_VERSIONS_MAX: u64 = 200_000;

/// Keys that a preview of a lifecycle names. All are counted.
pub const LIFECYCLE_PREVIEW_KEYS_MAX: usize = 20;

/// Buckets of one page of lifecycles. Beyond: `is_truncated`.
pub const LIFECYCLE_PAGE_MAX: usize = 1_000;

/// Bytes of a provision file, without the policies in files of their own. A larger one is refused whole.
pub const PROVISION_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the XML of DeleteObjects: 1,000 keys of 1,024 bytes, with room for tags and escapes. Beyond: `MalformedXML`.
pub const DELETE_XML_BYTES_MAX: usize = 4 << 20;

/// Bytes of the XML of CompleteMultipartUpload: 10,000 parts with a checksum each. Beyond: `MalformedXML`.
pub const COMPLETE_XML_BYTES_MAX: usize = 4 << 20;

/// Nesting of elements in a request's XML. Beyond: `MalformedXML`.
pub const XML_DEPTH_MAX: usize = 8;

/// Bytes of the part checksums kept with an object put together from parts; with more of them only the
/// object's own checksum is kept.
pub const PART_CHECKSUMS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a body that was refused, or that nobody wants, which are read and thrown away, so that the client sees the
/// answer in place of a reset connection, and may go on with it.
pub const DRAIN_BYTES_MAX: u64 = 16 << 20;
/// Longest wait for the next bytes of a body that is thrown away.
pub const DRAIN_WAIT_MAX: Duration = Duration::from_millis(500);
/// Longest time spent on throwing a body away.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes of one request to the catalog. Beyond: 413.
pub const CATALOG_BODY_BYTES_MAX: usize = nilas_catalog::limits::BODY_BYTES_MAX;

// ---- memory and requests at hand, per core ----------------------------------------------------
//
// These are the largest values. A process that may use less memory than they add up to gets a share of each, see
// `memory`. At a limit a request waits for [`LIMIT_WAIT_MS_MAX`] without being read, then it is answered `SlowDown`
// (catalog: 429) and nothing was done.

/// Bytes of small objects and parts that are held in memory, from their first byte until they are in the log.
pub const SMALL_BODY_BYTES_MAX: usize = 64 << 20;

/// Bytes of a body that is refused because of a limit, up to which it is read and thrown away to keep the connection.
pub const BUSY_DRAIN_BYTES_MAX: u64 = 256 << 10;

/// Bytes of XML and JSON in requests, with what they take when parsed ([`DOCUMENT_VALUE_BYTES`]).
pub const DOCUMENT_BYTES_MAX: usize = 256 << 20;

/// Bytes counted for every value of a JSON document beside its text.
pub const DOCUMENT_VALUE_BYTES: usize = 64;

/// Bytes of answers in memory that wait to be sent: listings, catalog metadata. Answers to changes are counted and never
/// refused, since the change is done.
pub const ANSWER_BYTES_MAX: usize = 128 << 20;

/// Bytes from which an answer counts.
pub const ANSWER_BYTES_MIN: usize = 4 << 10;

/// Bytes of object data that are read for clients and not yet taken by their sockets. Two pieces of every download are
/// counted for all of its life; further ones are read ahead while less than half of this is used.
pub const DOWNLOAD_BYTES_MAX: usize = 128 << 20;

/// Pieces in which a download is read: the second from half of [`DOWNLOAD_BYTES_MAX`] on, the third from three quarters.
pub const DOWNLOAD_PIECES: [usize; 3] = [1 << 20, 256 << 10, 64 << 10];

/// Bytes of buffers that wait for the next bytes of a client: one of up to 1 MiB for every upload to extents.
pub const UPLOAD_BYTES_MAX: usize = 128 << 20;

/// Listings being made: each may hold a page of 1,000 entries.
pub const LISTINGS_MAX: usize = 64;

/// Longest wait for room within these limits, in milliseconds.
pub const LIMIT_WAIT_MS_MAX: u64 = 1_000;

/// Bytes of the buffer into which a connection is read, and of pieces that wait for its socket before the next is asked for.
pub const CONNECTION_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Bytes that a connection takes beside its request, on average; what [`CONNECTIONS_MAX`] is reckoned with when memory is
/// short.
pub const CONNECTION_BYTES: usize = 24 << 10;

/// Connections of one core.
pub const CONNECTIONS_MAX: usize = 8_192;

/// MinRate client that is waited for beyond a timeout, in bytes per second, up and down.
pub const CLIENT_RATE_MIN: u64 = 128;

/// The same while others are being refused for lack of what it holds.
pub const SHORT_CLIENT_RATE_MIN: u64 = 16 << 10;

/// How long a client below that rate is then waited for.
pub const SHORT_TIMEOUT: Duration = Duration::from_secs(5);
