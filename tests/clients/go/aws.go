// The AWS SDK for Go v2 against the S3 API: puts of every kind of body, checksums, listings, uploads by parts, copies, conditions,
// versions, presigned URLs, retries. `aws_go_e2e.py` builds and starts it and says where the server is. A step is a function; it
// prints PASS or FAIL with its time, and a closing line.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	tmtypes "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

const (
	mib        = 1 << 20
	secondsMax = 60
)

var (
	ctx    = context.Background()
	tls    = strings.HasPrefix(os.Getenv("ENDPOINT"), "https:")
	bucket = "aws-go-" + hex.EncodeToString(random(5))
	one    = client(os.Getenv("SECRET_KEY"), http.DefaultTransport)
)

func random(size int) []byte {
	body := make([]byte, size)
	if _, err := rand.Read(body); err != nil {
		panic(err)
	}
	return body
}

// client answers one that never repeats a request, so that every answer of the server is seen.
func client(secret string, transport http.RoundTripper) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(os.Getenv("ENDPOINT")),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider(os.Getenv("ACCESS_KEY"), secret, ""),
		UsePathStyle: true,
		// As the SDK's own configuration has it.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		Retryer:                    aws.NopRetryer{},
		HTTPClient:                 &http.Client{Transport: transport, Timeout: secondsMax * time.Second},
	})
}

// What a step finds wrong ends it.
type fault struct{ what string }

func check(err error, what string) {
	if err != nil {
		panic(fault{what + ": " + err.Error()})
	}
}

func equal[T comparable](got, want T, what string) {
	if got != want {
		panic(fault{fmt.Sprintf("%s: got %v, want %v", what, got, want)})
	}
}

func same(got, want []byte, what string) {
	if !bytes.Equal(got, want) {
		panic(fault{fmt.Sprintf("%s: %d bytes, other than the %d wanted", what, len(got), len(want))})
	}
}

// refused wants `err` to be the S3 error `code`.
func refused(err error, code string) {
	var got smithy.APIError
	if !errors.As(err, &got) {
		panic(fault{fmt.Sprintf("not refused with %s: %v", code, err)})
	}
	equal(got.ErrorCode(), code, "refused with")
}

func put(key string, body []byte) *s3.PutObjectOutput {
	out, err := one.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	check(err, "put "+key)
	return out
}

func get(key string) []byte {
	out, err := one.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	check(err, "get "+key)
	return whole(out.Body)
}

func whole(body io.ReadCloser) []byte {
	defer body.Close()
	all, err := io.ReadAll(body)
	check(err, "read")
	return all
}

func etag(body []byte) string {
	sum := md5.Sum(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func makeBucket() {
	_, err := one.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	check(err, "create")
	check(s3.NewBucketExistsWaiter(one).Wait(ctx, &s3.HeadBucketInput{Bucket: &bucket}, 10*time.Second), "wait")
}

func putGet() {
	for _, size := range []int{0, 1, 64 << 10, 128<<10 + 1, mib + 1} {
		key, body := fmt.Sprintf("sizes/%d +ü", size), random(size)
		equal(*put(key, body).ETag, etag(body), "ETag")
		same(get(key), body, key)
	}
	out, err := one.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("attributes"), Body: strings.NewReader("x"),
		ContentType: aws.String("text/x"), CacheControl: aws.String("max-age=4"), Metadata: map[string]string{"who": "go"}, Tagging: aws.String("a=b%20c&d=%C3%BC")})
	check(err, "put")
	head, err := one.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("attributes"), ChecksumMode: types.ChecksumModeEnabled})
	check(err, "head")
	equal(*head.ContentType+*head.CacheControl+head.Metadata["who"]+*head.ETag, "text/xmax-age=4go"+*out.ETag, "attributes")
	equal(*head.ChecksumCRC32, *out.ChecksumCRC32, "checksum")
	tags, err := one.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &bucket, Key: aws.String("attributes")})
	check(err, "tags")
	equal(*tags.TagSet[0].Value+*tags.TagSet[1].Value, "b cü", "tags")
	body := get("sizes/1048577 +ü")
	part, err := one.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("sizes/1048577 +ü"), Range: aws.String("bytes=1048570-")})
	check(err, "range")
	same(whole(part.Body), body[1048570:], "range")
}

// A body that cannot be read twice: the client sends it without a hash, with TLS in chunks with a checksum behind them, without TLS
// as it is.
func streams() {
	body := random(3*mib + 7)
	unsummed := func(o *s3.Options) {
		if !tls {
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
	}
	_, err := one.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("stream"), Body: io.MultiReader(bytes.NewReader(body)), ContentLength: aws.Int64(int64(len(body)))},
		s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware), unsummed)
	check(err, "unsigned")
	same(get("stream"), body, "unsigned")
}

func checksums() {
	body := random(100_000)
	for _, algorithm := range types.ChecksumAlgorithm("").Values() {
		switch algorithm {
		// The client does not compute these.
		case "XXHASH64", "XXHASH3", "XXHASH128", "MD5", "SHA512":
			continue
		}
		key := "checksums/" + string(algorithm)
		_, err := one.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body), ChecksumAlgorithm: algorithm})
		check(err, key)
		// The client checks what it reads against the checksum that comes with it.
		out, err := one.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		check(err, key)
		same(whole(out.Body), body, key)
		seen, err := one.GetObjectAttributes(ctx, &s3.GetObjectAttributesInput{Bucket: &bucket, Key: &key, ObjectAttributes: []types.ObjectAttributes{"Checksum", "ObjectSize", "ETag"}})
		check(err, key)
		equal(*seen.ObjectSize, int64(len(body)), key)
	}
	sum := sha256.Sum256(body)
	wrong := base64.StdEncoding.EncodeToString(sum[:])
	_, err := one.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("wrong"), Body: bytes.NewReader(body[1:]), ChecksumSHA256: &wrong})
	refused(err, "BadDigest")
}

func transfers() {
	body := random(26*mib + 3)
	manager := transfermanager.New(one, func(o *transfermanager.Options) { o.PartSizeBytes = 5 * mib; o.MultipartUploadThreshold = 5 * mib })
	out, err := manager.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &bucket, Key: aws.String("transfer"), Body: io.MultiReader(bytes.NewReader(body)),
		Metadata: map[string]string{"by": "parts"}, ChecksumAlgorithm: tmtypes.ChecksumAlgorithmCrc32c})
	check(err, "upload")
	equal(strings.HasSuffix(strings.Trim(*out.ETag, `"`), "-6"), true, "parts of "+*out.ETag)
	same(get("transfer"), body, "upload")
	got := make([]byte, len(body))
	_, err = manager.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: &bucket, Key: aws.String("transfer"), WriterAt: writerAt(got)})
	check(err, "download")
	same(got, body, "download by ranges or parts")
	list, err := one.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	check(err, "uploads")
	equal(len(list.Uploads), 0, "uploads left")
}

type writerAt []byte

func (w writerAt) WriteAt(piece []byte, at int64) (int, error) {
	return copy(w[at:], piece), nil
}

func multipart() {
	source, key := random(6*mib), "parts ü"
	put("source +ü", source)
	made, err := one.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key, ContentType: aws.String("text/y"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	check(err, "create")
	first, err := one.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: &bucket, Key: &key, UploadId: made.UploadId, PartNumber: aws.Int32(1),
		CopySource: aws.String(bucket + "/source%20%2B%C3%BC"), CopySourceRange: aws.String("bytes=10-5242889")})
	check(err, "copied part")
	second, err := one.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: made.UploadId, PartNumber: aws.Int32(9), Body: strings.NewReader("the end"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	check(err, "part")
	parts, err := one.ListParts(ctx, &s3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: made.UploadId})
	check(err, "list")
	equal(len(parts.Parts), 2, "parts listed")
	_, err = one.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: made.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{
		{PartNumber: aws.Int32(1), ETag: first.CopyPartResult.ETag, ChecksumCRC32: first.CopyPartResult.ChecksumCRC32},
		{PartNumber: aws.Int32(9), ETag: second.ETag, ChecksumCRC32: second.ChecksumCRC32}}}})
	check(err, "complete")
	same(get(key), append(bytes.Clone(source[10:5242890]), "the end"...), key)
	_, err = one.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: aws.String("none")})
	refused(err, "NoSuchUpload")
}

func copies() {
	put("from +ü", []byte("copied"))
	out, err := one.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: aws.String("to"), CopySource: aws.String(bucket + "/from%20%2B%C3%BC"),
		MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"new": "yes"}})
	check(err, "copy")
	equal(*out.CopyObjectResult.ETag, etag([]byte("copied")), "ETag")
	same(get("to"), []byte("copied"), "copy")
}

func conditions() {
	first := put("condition", []byte("first"))
	_, err := one.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("condition"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	refused(err, "PreconditionFailed")
	_, err = one.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("condition"), Body: strings.NewReader("second"), IfMatch: first.ETag})
	check(err, "if-match")
	_, err = one.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("condition"), IfMatch: first.ETag})
	refused(err, "PreconditionFailed")
	_, err = one.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("condition"), IfNoneMatch: aws.String(etag([]byte("second")))})
	refused(err, "NotModified")
	_, err = one.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("condition"), IfMatch: first.ETag})
	refused(err, "PreconditionFailed")
	_, err = one.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("none")})
	refused(err, "NotFound")
	_, err = one.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("none")})
	refused(err, "NoSuchKey")
}

func listings() {
	var group sync.WaitGroup
	for worker := range 10 {
		group.Add(1)
		go func() {
			defer group.Done()
			for number := range 15 {
				put(fmt.Sprintf("list/%c ü/%02d", 'a'+worker%3, worker*15+number), nil)
			}
		}()
	}
	group.Wait()
	seen := 0
	pages := s3.NewListObjectsV2Paginator(one, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: aws.String("list/"), MaxKeys: aws.Int32(7)})
	for last := ""; pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		check(err, "page")
		for _, entry := range page.Contents {
			equal(last < *entry.Key, true, "order")
			last = *entry.Key
			seen++
		}
	}
	equal(seen, 150, "keys")
	top, err := one.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: aws.String("list/"), Delimiter: aws.String("/"), EncodingType: types.EncodingTypeUrl})
	check(err, "folders")
	equal(len(top.CommonPrefixes), 3, "folders")
	equal(*top.CommonPrefixes[2].Prefix, "list/c%20%C3%BC/", "a folder as it was encoded")
}

func versions() {
	name := bucket + "-versions"
	_, err := one.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	check(err, "create")
	_, err = one.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	check(err, "versioning")
	var ids []string
	for _, text := range []string{"first", "second"} {
		out, err := one.PutObject(ctx, &s3.PutObjectInput{Bucket: &name, Key: aws.String("k"), Body: strings.NewReader(text)})
		check(err, "put")
		ids = append(ids, *out.VersionId)
	}
	old, err := one.GetObject(ctx, &s3.GetObjectInput{Bucket: &name, Key: aws.String("k"), VersionId: &ids[0]})
	check(err, "get")
	same(whole(old.Body), []byte("first"), "the older version")
	_, err = one.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &name, Key: aws.String("k")})
	check(err, "delete")
	all, err := one.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &name})
	check(err, "list")
	equal(len(all.Versions)*10+len(all.DeleteMarkers), 21, "versions and markers")
	gone := []types.ObjectIdentifier{{Key: aws.String("k"), VersionId: all.DeleteMarkers[0].VersionId}}
	for _, id := range ids {
		gone = append(gone, types.ObjectIdentifier{Key: aws.String("k"), VersionId: &id})
	}
	removed, err := one.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &name, Delete: &types.Delete{Objects: gone}})
	check(err, "delete all")
	equal(len(removed.Deleted)*10+len(removed.Errors), 30, "deleted")
	_, err = one.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
	check(err, "delete bucket")
}

func presigned() {
	signer, body := s3.NewPresignClient(one), random(50_000)
	request, err := signer.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("signed +ü"), ContentType: aws.String("text/x"), Metadata: map[string]string{"who": "url"}})
	check(err, "presign")
	equal(send(request, body).StatusCode, 200, "put")
	same(get("signed +ü"), body, "put")
	request, err = signer.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("signed +ü"), ResponseContentType: aws.String("text/z")})
	check(err, "presign")
	answer := send(request, nil)
	equal(answer.Header.Get("Content-Type"), "text/z", "type")
	same(whole(answer.Body), body, "get")
	form, err := signer.PresignPostObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("form")})
	check(err, "presign")
	equal(form.Values["key"], "form", "the form's key")
}

func send(signed *v4.PresignedHTTPRequest, body []byte) *http.Response {
	request, err := http.NewRequest(signed.Method, signed.URL, bytes.NewReader(body))
	check(err, "request")
	request.Header = signed.SignedHeader
	request.ContentLength = int64(len(body))
	answer, err := http.DefaultClient.Do(request)
	check(err, "send")
	return answer
}

// faulty breaks off every other request: the client repeats it, and nothing is stored twice or by half.
type faulty struct {
	lock  sync.Mutex
	count int
}

func (f *faulty) RoundTrip(request *http.Request) (*http.Response, error) {
	f.lock.Lock()
	f.count++
	breaks := f.count%2 == 1
	f.lock.Unlock()
	if !breaks {
		return http.DefaultTransport.RoundTrip(request)
	}
	if request.Body != nil {
		// Half of the body is sent, then the connection closes.
		half, cancel := context.WithTimeout(request.Context(), 200*time.Millisecond)
		defer cancel()
		request = request.Clone(half)
		request.Body = io.NopCloser(io.MultiReader(io.LimitReader(request.Body, request.ContentLength/2), waits{half}))
		_, err := http.DefaultTransport.RoundTrip(request)
		if err == nil {
			err = errors.New("half a body was taken for a whole one")
		}
		return nil, err
	}
	return nil, io.ErrUnexpectedEOF
}

type waits struct{ until context.Context }

func (w waits) Read([]byte) (int, error) {
	<-w.until.Done()
	return 0, io.ErrUnexpectedEOF
}

func retries() {
	broken := client(os.Getenv("SECRET_KEY"), &faulty{})
	body := random(mib)
	put("retried", []byte("before"))
	input := func() *s3.PutObjectInput {
		return &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("retried"), Body: bytes.NewReader(body)}
	}
	if _, err := broken.PutObject(ctx, input()); err == nil {
		panic(fault{"half a body was stored"})
	}
	same(get("retried"), []byte("before"), "after half a body")
	_, err := broken.PutObject(ctx, input())
	check(err, "once more")
	same(get("retried"), body, "after the repeat")
}

func refusals() {
	_, err := client("wrong", http.DefaultTransport).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket})
	refused(err, "SignatureDoesNotMatch")
	_, err = one.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(bucket + "-none")})
	refused(err, "NoSuchBucket")
}

func remove() {
	_, err := one.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	refused(err, "BucketNotEmpty")
	pages := s3.NewListObjectsV2Paginator(one, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		check(err, "page")
		var keys []types.ObjectIdentifier
		for _, entry := range page.Contents {
			keys = append(keys, types.ObjectIdentifier{Key: entry.Key})
		}
		_, err = one.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: keys, Quiet: aws.Bool(true)}})
		check(err, "delete")
	}
	_, err = one.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	check(err, "delete bucket")
}

// run answers what a step found wrong, or nothing.
func run(step func()) (found string) {
	defer func() {
		switch what := recover().(type) {
		case nil:
		case fault:
			found = what.what
		default:
			found = fmt.Sprint("panic: ", what)
		}
	}()
	step()
	return ""
}

func main() {
	steps := []struct {
		title string
		run   func()
	}{
		{"make-bucket", makeBucket}, {"put-get", putGet}, {"streams", streams}, {"checksums", checksums}, {"transfers", transfers}, {"multipart", multipart},
		{"copy", copies}, {"conditions", conditions}, {"listings", listings}, {"versions", versions}, {"presigned", presigned}, {"retries", retries},
		{"refusals", refusals}, {"remove", remove},
	}
	began, failed := time.Now(), 0
	for _, step := range steps {
		started := time.Now()
		if found := run(step.run); found != "" {
			failed++
			fmt.Printf("FAIL %s (%.1f s) | %s\n", step.title, time.Since(started).Seconds(), found)
			continue
		}
		fmt.Printf("PASS %s (%.1f s)\n", step.title, time.Since(started).Seconds())
	}
	fmt.Printf("aws-go: %d passed, %d failed (%.0f s)\n", len(steps)-failed, failed, time.Since(began).Seconds())
	if failed > 0 {
		os.Exit(1)
	}
}
