// The AWS SDK for Java v2 against the S3 API: puts of every kind of body, checksums, the asynchronous client and the transfer manager,
// uploads by parts, copies, conditions, versions, locks, presigned URLs. `java_e2e.py` starts it and says where the server is. A step
// is a method; it prints PASS or FAIL with its time, and a closing line.

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.ResponseBytes;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.async.AsyncResponseTransformer;
import software.amazon.awssdk.core.async.BlockingInputStreamAsyncRequestBody;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.*;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;
import software.amazon.awssdk.transfer.s3.S3TransferManager;

public class S3 {
    static final int MIB = 1 << 20;
    static final String ENDPOINT = System.getenv("ENDPOINT"), ACCESS_KEY = System.getenv("ACCESS_KEY"), SECRET_KEY = System.getenv("SECRET_KEY");
    static final String bucket = "java-" + Long.toHexString(System.nanoTime());
    static final Random random = new Random(42);
    static final S3Client one = client(SECRET_KEY);
    // Uploads and downloads of more than a part go in parts by themselves.
    static final S3AsyncClient async = S3AsyncClient.builder().endpointOverride(URI.create(ENDPOINT)).region(Region.US_EAST_1).credentialsProvider(keys(SECRET_KEY))
        .forcePathStyle(true).multipartEnabled(true).multipartConfiguration(of -> of.minimumPartSizeInBytes(5L * MIB).thresholdInBytes(8L * MIB)).build();

    interface Step {
        void run() throws Exception;
    }

    static StaticCredentialsProvider keys(String secret) {
        return StaticCredentialsProvider.create(AwsBasicCredentials.create(ACCESS_KEY, secret));
    }

    // It never repeats a request, so that every answer of the server is seen.
    static S3Client client(String secret) {
        return S3Client.builder().endpointOverride(URI.create(ENDPOINT)).region(Region.US_EAST_1).credentialsProvider(keys(secret)).forcePathStyle(true)
            .overrideConfiguration(of -> of.retryStrategy(DefaultRetryStrategy.doNotRetry())).build();
    }

    static byte[] bytes(int size) {
        byte[] body = new byte[size];
        random.nextBytes(body);
        return body;
    }

    static void equal(Object got, Object want, String what) {
        if (!want.equals(got)) {
            throw new AssertionError(what + ": got " + got + ", want " + want);
        }
    }

    static void same(byte[] got, byte[] want, String what) {
        if (!Arrays.equals(got, want)) {
            throw new AssertionError(what + ": " + got.length + " bytes, other than the " + want.length + " wanted");
        }
    }

    static void refused(String code, Step step) throws Exception {
        try {
            step.run();
        } catch (CompletionException error) {
            equal(((S3Exception) error.getCause()).awsErrorDetails().errorCode(), code, "refused with");
            return;
        } catch (S3Exception error) {
            String got = error.awsErrorDetails() == null ? "" : error.awsErrorDetails().errorCode();
            equal(got == null || got.isEmpty() ? String.valueOf(error.statusCode()) : got, code, "refused with");
            return;
        }
        throw new AssertionError("not refused with " + code);
    }

    static String etag(byte[] body) throws Exception {
        return '"' + HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(body)) + '"';
    }

    static PutObjectResponse put(String key, byte[] body) {
        return one.putObject(of -> of.bucket(bucket).key(key), RequestBody.fromBytes(body));
    }

    // The client checks what it reads against the checksum that comes with it.
    static byte[] get(String key) {
        return one.getObjectAsBytes(of -> of.bucket(bucket).key(key).checksumMode(ChecksumMode.ENABLED)).asByteArray();
    }

    static void makeBucket() {
        one.createBucket(of -> of.bucket(bucket));
        one.waiter().waitUntilBucketExists(of -> of.bucket(bucket));
    }

    static void putGet() throws Exception {
        for (int size : new int[] {0, 1, 64 << 10, (128 << 10) + 1, MIB + 1}) {
            byte[] body = bytes(size);
            String key = "sizes/" + size + " +ü";
            equal(put(key, body).eTag(), etag(body), "ETag");
            same(get(key), body, key);
        }
        byte[] body = get("sizes/1048577 +ü");
        byte[] end = one.getObjectAsBytes(of -> of.bucket(bucket).key("sizes/1048577 +ü").range("bytes=-7")).asByteArray();
        same(end, Arrays.copyOfRange(body, body.length - 7, body.length), "the end");
        one.putObject(of -> of.bucket(bucket).key("attributes").contentType("text/x").cacheControl("max-age=6").metadata(Map.of("who", "java"))
            .tagging(Tagging.builder().tagSet(tag("a", "b c"), tag("d", "ü")).build()), RequestBody.fromString("x"));
        HeadObjectResponse head = one.headObject(of -> of.bucket(bucket).key("attributes"));
        equal(head.contentType() + head.cacheControl() + head.metadata(), "text/xmax-age=6{who=java}", "attributes");
        equal(one.getObjectTagging(of -> of.bucket(bucket).key("attributes")).tagSet(), List.of(tag("a", "b c"), tag("d", "ü")), "tags");
    }

    static Tag tag(String key, String value) {
        return Tag.builder().key(key).value(value).build();
    }

    // Over HTTP a stream goes out in signed chunks with its checksum behind it, signed too.
    static void streams() {
        byte[] body = bytes(3 * MIB + 7);
        one.putObject(of -> of.bucket(bucket).key("stream"), RequestBody.fromInputStream(once(body), body.length));
        same(get("stream"), body, "stream");
        one.putObject(of -> of.bucket(bucket).key("stream-sha").checksumAlgorithm(ChecksumAlgorithm.SHA256), RequestBody.fromInputStream(once(body), body.length));
        same(get("stream-sha"), body, "stream with SHA-256");
        // Of a length that is not known: read into memory by the client.
        one.putObject(of -> of.bucket(bucket).key("stream-unknown"), RequestBody.fromContentProvider(() -> new ByteArrayInputStream(body), "text/x"));
        same(get("stream-unknown"), body, "stream of unknown length");
    }

    static InputStream once(byte[] body) {
        return new ByteArrayInputStream(body) {
            @Override
            public boolean markSupported() {
                return false;
            }
        };
    }

    static void checksums() throws Exception {
        byte[] body = bytes(100_000);
        for (ChecksumAlgorithm algorithm : List.of(ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32_C, ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256)) {
            String key = "checksums/" + algorithm;
            PutObjectResponse put = one.putObject(of -> of.bucket(bucket).key(key).checksumAlgorithm(algorithm), RequestBody.fromBytes(body));
            same(get(key), body, key);
            Checksum kept = one.getObjectAttributes(of -> of.bucket(bucket).key(key).objectAttributes(ObjectAttributes.CHECKSUM)).checksum();
            equal(String.join(",", nulls(kept.checksumCRC32()), nulls(kept.checksumCRC32C()), nulls(kept.checksumSHA1()), nulls(kept.checksumSHA256())),
                String.join(",", nulls(put.checksumCRC32()), nulls(put.checksumCRC32C()), nulls(put.checksumSHA1()), nulls(put.checksumSHA256())), key);
        }
        refused("BadDigest", () -> one.putObject(of -> of.bucket(bucket).key("wrong").checksumCRC32("AAAAAA=="), RequestBody.fromBytes(body)));
    }

    static String nulls(String text) {
        return text == null ? "" : text;
    }

    static void asynchronous() throws Exception {
        byte[] body = bytes(23 * MIB + 5);
        PutObjectResponse put = async.putObject(of -> of.bucket(bucket).key("async").metadata(Map.of("by", "parts")), AsyncRequestBody.fromBytes(body)).join();
        equal(put.eTag().matches("\"[0-9a-f]{32}-[0-9]+\""), true, "parts of " + put.eTag());
        ResponseBytes<GetObjectResponse> got = async.getObject(of -> of.bucket(bucket).key("async"), AsyncResponseTransformer.toBytes()).join();
        same(got.asByteArray(), body, "by parts");
        equal(got.response().metadata(), Map.of("by", "parts"), "metadata");
        BlockingInputStreamAsyncRequestBody stream = AsyncRequestBody.forBlockingInputStream(null);
        CompletableFuture<PutObjectResponse> sent = async.putObject(of -> of.bucket(bucket).key("async-stream"), stream);
        stream.writeInputStream(new ByteArrayInputStream(body));
        sent.join();
        same(get("async-stream"), body, "a stream of unknown length");
        List<CompletableFuture<PutObjectResponse>> many = new ArrayList<>();
        for (int number = 0; number < 60; number++) {
            String key = "many/" + number;
            many.add(async.putObject(of -> of.bucket(bucket).key(key), AsyncRequestBody.fromString(key)));
        }
        CompletableFuture.allOf(many.toArray(CompletableFuture[]::new)).join();
        equal(one.listObjectsV2(of -> of.bucket(bucket).prefix("many/")).keyCount(), 60, "keys");
        refused("NoSuchKey", () -> async.getObject(of -> of.bucket(bucket).key("none"), AsyncResponseTransformer.toBytes()).join());
    }

    static void transfers() throws Exception {
        Path place = Files.createTempDirectory(Path.of(System.getenv("SCRATCH")), "java");
        byte[] body = bytes(19 * MIB + 1);
        Path file = Files.write(place.resolve("large"), body);
        try (S3TransferManager manager = S3TransferManager.builder().s3Client(async).build()) {
            manager.uploadFile(of -> of.source(file).putObjectRequest(to -> to.bucket(bucket).key("transfer"))).completionFuture().join();
            same(get("transfer"), body, "upload");
            Path back = place.resolve("back");
            manager.downloadFile(of -> of.destination(back).getObjectRequest(from -> from.bucket(bucket).key("transfer"))).completionFuture().join();
            same(Files.readAllBytes(back), body, "download");
            manager.copy(of -> of.copyObjectRequest(to -> to.sourceBucket(bucket).sourceKey("transfer").destinationBucket(bucket).destinationKey("transfer copy"))).completionFuture().join();
            same(get("transfer copy"), body, "copy by parts");
            Path tree = Files.createDirectories(place.resolve("tree/ä b"));
            for (int number = 0; number < 20; number++) {
                Files.writeString(tree.resolve("file+" + number), "text " + number);
            }
            equal(manager.uploadDirectory(of -> of.source(place.resolve("tree")).bucket(bucket).s3Prefix("tree")).completionFuture().join().failedTransfers().size(), 0, "failed");
            equal(manager.downloadDirectory(of -> of.destination(place.resolve("tree-back")).bucket(bucket).listObjectsV2RequestTransformer(list -> list.prefix("tree/"))).completionFuture().join()
                .failedTransfers().size(), 0, "failed");
            equal(Files.readString(place.resolve("tree-back/ä b/file+7")), "text 7", "a file of the tree");
        }
        equal(one.listMultipartUploads(of -> of.bucket(bucket)).uploads().size(), 0, "uploads left");
    }

    static void multipart() {
        byte[] source = bytes(6 * MIB);
        put("source +ü", source);
        String id = one.createMultipartUpload(of -> of.bucket(bucket).key("parts ü").contentType("text/y").checksumAlgorithm(ChecksumAlgorithm.CRC32)).uploadId();
        CopyPartResult first = one.uploadPartCopy(of -> of.sourceBucket(bucket).sourceKey("source +ü").copySourceRange("bytes=10-5242889")
            .destinationBucket(bucket).destinationKey("parts ü").uploadId(id).partNumber(2)).copyPartResult();
        UploadPartResponse second = one.uploadPart(of -> of.bucket(bucket).key("parts ü").uploadId(id).partNumber(10_000).checksumAlgorithm(ChecksumAlgorithm.CRC32), RequestBody.fromString("the end"));
        equal(one.listPartsPaginator(of -> of.bucket(bucket).key("parts ü").uploadId(id).maxParts(1)).parts().stream().map(Part::partNumber).toList(), List.of(2, 10_000), "parts");
        one.completeMultipartUpload(of -> of.bucket(bucket).key("parts ü").uploadId(id).multipartUpload(all -> all.parts(
            part -> part.partNumber(2).eTag(first.eTag()).checksumCRC32(first.checksumCRC32()), part -> part.partNumber(10_000).eTag(second.eTag()).checksumCRC32(second.checksumCRC32()))));
        byte[] want = Arrays.copyOf(Arrays.copyOfRange(source, 10, 5242890), 5242880 + 7);
        System.arraycopy("the end".getBytes(), 0, want, 5242880, 7);
        same(get("parts ü"), want, "joined");
    }

    static void copies() throws Exception {
        put("from +ü", "copied".getBytes());
        CopyObjectResponse done = one.copyObject(of -> of.sourceBucket(bucket).sourceKey("from +ü").destinationBucket(bucket).destinationKey("to").metadataDirective(MetadataDirective.REPLACE).metadata(Map.of("new", "yes")));
        equal(done.copyObjectResult().eTag(), etag("copied".getBytes()), "ETag");
        equal(one.headObject(of -> of.bucket(bucket).key("to")).metadata(), Map.of("new", "yes"), "metadata");
    }

    static void conditions() throws Exception {
        String first = put("condition", "first".getBytes()).eTag();
        refused("PreconditionFailed", () -> one.putObject(of -> of.bucket(bucket).key("condition").ifNoneMatch("*"), RequestBody.fromString("x")));
        one.putObject(of -> of.bucket(bucket).key("condition").ifMatch(first), RequestBody.fromString("second"));
        refused("PreconditionFailed", () -> one.getObjectAsBytes(of -> of.bucket(bucket).key("condition").ifMatch(first)));
        String second = etag("second".getBytes());
        refused("304", () -> one.getObjectAsBytes(of -> of.bucket(bucket).key("condition").ifNoneMatch(second)));
        refused("PreconditionFailed", () -> one.deleteObject(of -> of.bucket(bucket).key("condition").ifMatch(first)));
    }

    static void listings() {
        for (int number = 0; number < 45; number++) {
            put("list/" + (char) ('a' + number % 3) + " ü/" + number, new byte[0]);
        }
        List<String> keys = one.listObjectsV2Paginator(of -> of.bucket(bucket).prefix("list/").maxKeys(7)).contents().stream().map(S3Object::key).toList();
        equal(keys.size(), 45, "keys");
        equal(keys, keys.stream().sorted().toList(), "order");
        equal(one.listObjectsV2(of -> of.bucket(bucket).prefix("list/").delimiter("/")).commonPrefixes().stream().map(CommonPrefix::prefix).toList(), List.of("list/a ü/", "list/b ü/", "list/c ü/"), "folders");
        equal(one.listObjects(of -> of.bucket(bucket).prefix("list/").marker("list/c").maxKeys(3).encodingType(EncodingType.URL)).contents().size(), 3, "first version of the call");
        one.deleteObjects(of -> of.bucket(bucket).delete(all -> all.objects(keys.stream().map(key -> ObjectIdentifier.builder().key(key).build()).toList())));
        equal(one.listObjectsV2(of -> of.bucket(bucket).prefix("list/")).keyCount(), 0, "keys left");
    }

    static void versions() throws Exception {
        String name = bucket + "-locks";
        one.createBucket(of -> of.bucket(name).objectLockEnabledForBucket(true));
        equal(one.getBucketVersioning(of -> of.bucket(name)).status(), BucketVersioningStatus.ENABLED, "versioning");
        String first = one.putObject(of -> of.bucket(name).key("k"), RequestBody.fromString("first")).versionId();
        Instant until = Instant.now().plus(1, ChronoUnit.HOURS).truncatedTo(ChronoUnit.SECONDS);
        String second = one.putObject(of -> of.bucket(name).key("k").objectLockMode(ObjectLockMode.GOVERNANCE).objectLockRetainUntilDate(until), RequestBody.fromString("second")).versionId();
        same(one.getObjectAsBytes(of -> of.bucket(name).key("k").versionId(first)).asByteArray(), "first".getBytes(), "the older version");
        equal(one.getObjectRetention(of -> of.bucket(name).key("k").versionId(second)).retention().retainUntilDate(), until, "retention");
        one.deleteObject(of -> of.bucket(name).key("k"));
        refused("NoSuchKey", () -> one.getObjectAsBytes(of -> of.bucket(name).key("k")));
        ListObjectVersionsResponse all = one.listObjectVersions(of -> of.bucket(name));
        equal(List.of(all.versions().size(), all.deleteMarkers().size()), List.of(2, 1), "versions and markers");
        refused("AccessDenied", () -> one.deleteObject(of -> of.bucket(name).key("k").versionId(second)));
        one.deleteObject(of -> of.bucket(name).key("k").versionId(second).bypassGovernanceRetention(true));
        one.deleteObject(of -> of.bucket(name).key("k").versionId(first));
        one.deleteObject(of -> of.bucket(name).key("k").versionId(all.deleteMarkers().get(0).versionId()));
        one.deleteBucket(of -> of.bucket(name));
    }

    static void presigned() throws Exception {
        byte[] body = bytes(50_000);
        HttpClient http = HttpClient.newHttpClient();
        try (S3Presigner signer = S3Presigner.builder().endpointOverride(URI.create(ENDPOINT)).region(Region.US_EAST_1).credentialsProvider(keys(SECRET_KEY))
                .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build()).build()) {
            var put = signer.presignPutObject(of -> of.signatureDuration(Duration.ofMinutes(1)).putObjectRequest(to -> to.bucket(bucket).key("signed +ü").contentType("text/x").metadata(Map.of("who", "url"))));
            HttpRequest.Builder request = HttpRequest.newBuilder(put.url().toURI()).PUT(HttpRequest.BodyPublishers.ofByteArray(body));
            put.signedHeaders().forEach((name, values) -> {
                if (!name.equalsIgnoreCase("host")) {
                    request.header(name, values.get(0));
                }
            });
            equal(http.send(request.build(), HttpResponse.BodyHandlers.ofString()).statusCode(), 200, "put");
            var get = signer.presignGetObject(of -> of.signatureDuration(Duration.ofMinutes(1)).getObjectRequest(from -> from.bucket(bucket).key("signed +ü").responseContentType("text/z")));
            HttpResponse<byte[]> got = http.send(HttpRequest.newBuilder(get.url().toURI()).build(), HttpResponse.BodyHandlers.ofByteArray());
            equal(got.headers().firstValue("content-type").orElse(""), "text/z", "type");
            same(got.body(), body, "get");
        }
        equal(one.headObject(of -> of.bucket(bucket).key("signed +ü")).metadata(), Map.of("who", "url"), "metadata");
    }

    static void refusals() throws Exception {
        refused("SignatureDoesNotMatch", () -> client("wrong").listObjectsV2(of -> of.bucket(bucket)));
        refused("NoSuchBucket", () -> one.listObjectsV2(of -> of.bucket(bucket + "-none")));
        refused("NoSuchKey", () -> get("none"));
    }

    static void remove() throws Exception {
        refused("BucketNotEmpty", () -> one.deleteBucket(of -> of.bucket(bucket)));
        for (ListObjectsV2Response page : one.listObjectsV2Paginator(of -> of.bucket(bucket))) {
            one.deleteObjects(of -> of.bucket(bucket).delete(all -> all.quiet(true).objects(page.contents().stream().map(entry -> ObjectIdentifier.builder().key(entry.key()).build()).toList())));
        }
        one.deleteBucket(of -> of.bucket(bucket));
    }

    public static void main(String[] none) {
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("make-bucket", S3::makeBucket);
        steps.put("put-get", S3::putGet);
        steps.put("streams", S3::streams);
        steps.put("checksums", S3::checksums);
        steps.put("async", S3::asynchronous);
        steps.put("transfers", S3::transfers);
        steps.put("multipart", S3::multipart);
        steps.put("copy", S3::copies);
        steps.put("conditions", S3::conditions);
        steps.put("listings", S3::listings);
        steps.put("versions", S3::versions);
        steps.put("presigned", S3::presigned);
        steps.put("refusals", S3::refusals);
        steps.put("remove", S3::remove);
        int failed = 0;
        long began = System.nanoTime();
        for (var step : steps.entrySet()) {
            long started = System.nanoTime();
            String verdict = "PASS", why = "";
            try {
                step.getValue().run();
            } catch (Throwable error) {
                verdict = "FAIL";
                why = " | " + error.toString().replace('\n', ' ');
                failed++;
                error.printStackTrace();
            }
            System.out.printf("%s %s (%.1f s)%s%n", verdict, step.getKey(), (System.nanoTime() - started) / 1e9, why);
        }
        System.out.printf("java: %d passed, %d failed (%.0f s)%n", steps.size() - failed, failed, (System.nanoTime() - began) / 1e9);
        System.exit(failed == 0 ? 0 : 1);
    }
}
