// Hadoop's contract for file systems, which every one of them has to keep, held against S3A on the server: each test of the contract's
// classes is a step. `s3a_contract_e2e.py` starts it and says where the server is. A test that does not apply to S3A ends by an
// assumption: it is counted as neither.

import java.io.FileNotFoundException;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.contract.*;
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.Request;
import org.junit.runner.manipulation.Filter;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

public class Contract {
    static final String BUCKET = System.getenv("BUCKET");
    // What S3A keeps of the contract, as its own tests have it.
    static final List<String> KEPT = List.of("test.root-tests-enabled", "is-blobstore", "create-visibility-delayed", "is-case-sensitive", "rename-creates-dest-dirs",
        "rename-remove-dest-if-empty-dir", "supports-getfilestatus", "supports-seek", "supports-seek-on-closed-file", "rejects-seek-past-eof", "supports-strict-exceptions",
        "supports-multipartuploader", "supports-unbuffer", "vector-io-early-eof-check");
    static final List<String> NOT_KEPT = List.of("rename-overwrites-dest", "rename-returns-false-if-source-missing", "rename-returns-false-if-dest-exists", "supports-append", "supports-atomic-directory-delete", "supports-atomic-rename", "supports-block-locality", "supports-concat", "supports-unix-permissions");

    // Tests that S3A's own subclasses of the contract replace or leave out, since S3A does otherwise by itself, on every server.
    static final Map<String, String> LEFT_OUT = Map.of(
        "testRenameFileUnderFileSubdir", "S3A looks at no parent that is a file",
        "testRenameDirIntoExistingDir", "S3A puts it beside",
        "testBulkDeleteParentDirectoryWithFiles", "S3A deletes the keys alone",
        "testBulkDeleteParentDirectoryWithDirectories", "S3A deletes the keys alone",
        "validatePageSize", "S3A has pages of 250 keys",
        "testDirectoryInTheWay", "S3A looks for no directory of the name",
        "testRmNonEmptyRootDirNonRecursive", "S3A answers false");

    static Configuration settings(Configuration conf) {
        conf.set("fs.s3a.endpoint", System.getenv("ENDPOINT"));
        conf.set("fs.s3a.endpoint.region", "us-east-1");
        conf.set("fs.s3a.access.key", System.getenv("ACCESS_KEY"));
        conf.set("fs.s3a.secret.key", System.getenv("SECRET_KEY"));
        conf.set("fs.s3a.aws.credentials.provider", "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider");
        conf.set("fs.s3a.path.style.access", "true");
        conf.set("fs.s3a.connection.ssl.enabled", "false");
        conf.set("fs.s3a.attempts.maximum", "1");
        conf.set("fs.s3a.retry.limit", "1");
        conf.set("fs.s3a.buffer.dir", System.getenv("SCRATCH"));
        conf.set("hadoop.tmp.dir", System.getenv("SCRATCH"));
        conf.set("fs.s3a.multipart.size", "5M");
        conf.set("fs.s3a.multipart.threshold", "8M");
        conf.set("fs.contract.test.fs.s3a", "s3a://" + BUCKET + "/");
        conf.set("fs.contract.test.random-seek-count", "10");
        KEPT.forEach(option -> conf.set("fs.contract." + option, "true"));
        NOT_KEPT.forEach(option -> conf.set("fs.contract." + option, "false"));
        return conf;
    }

    public static class OnS3A extends AbstractBondedFSContract {
        public OnS3A(Configuration conf) {
            super(settings(conf));
        }

        @Override
        public String getScheme() {
            return "s3a";
        }

        @Override
        public org.apache.hadoop.fs.Path getTestPath() {
            return new org.apache.hadoop.fs.Path("/test");
        }
    }

    public static class Create extends AbstractContractCreateTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Delete extends AbstractContractDeleteTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Mkdir extends AbstractContractMkdirTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Open extends AbstractContractOpenTest {
        // S3A says so of every file.
        @Override
        protected boolean areZeroByteFilesEncrypted() {
            return true;
        }

        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Seek extends AbstractContractSeekTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Rename extends AbstractContractRenameTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Status extends AbstractContractGetFileStatusTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Root extends AbstractContractRootDirectoryTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Etag extends AbstractContractEtagTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Summary extends AbstractContractContentSummaryTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Unbuffer extends AbstractContractUnbufferTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class CopyFromLocal extends AbstractContractCopyFromLocalTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class BulkDelete extends AbstractContractBulkDeleteTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    public static class Multipart extends AbstractContractMultipartUploaderTest {
        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }

        // Its last word is a second abort of the same upload, of which S3A's own tests take either answer.
        @Override
        public void testMultipartUploadAbort() throws Exception {
            try {
                super.testMultipartUploadAbort();
            } catch (FileNotFoundException gone) {
                return;
            }
        }

        @Override
        protected int partSizeInBytes() {
            return 5 << 20;
        }

        @Override
        protected int getTestPayloadCount() {
            return 3;
        }

        @Override
        protected boolean supportsConcurrentUploadsToSamePath() {
            return true;
        }

        @Override
        protected boolean finalizeConsumesUploadIdImmediately() {
            return false;
        }
    }

    @org.junit.runner.RunWith(org.junit.runners.Parameterized.class)
    public static class Vectored extends AbstractContractVectoredReadTest {
        public Vectored(String buffers) {
            super(buffers);
        }

        @Override
        protected AbstractFSContract createContract(Configuration conf) {
            return new OnS3A(conf);
        }
    }

    static class Lines extends RunListener {
        int passed, failed;
        long started;
        String found;
        boolean skipped;

        @Override
        public void testStarted(Description test) {
            started = System.nanoTime();
            found = null;
            skipped = false;
        }

        @Override
        public void testFailure(Failure failure) {
            found = String.valueOf(failure.getException()).replace('\n', ' ');
            if (System.getenv("TRACE") != null) {
                failure.getException().printStackTrace();
            }
            if (!failure.getDescription().isTest()) {
                failed++;
                System.out.println("FAIL " + failure.getDescription() + " | " + found);
            }
        }

        @Override
        public void testAssumptionFailure(Failure failure) {
            skipped = true;
            System.out.println("SKIP " + title(failure.getDescription()) + " | " + String.valueOf(failure.getMessage()).replace('\n', ' '));
        }

        @Override
        public void testFinished(Description test) {
            double seconds = (System.nanoTime() - started) / 1e9;
            if (found != null) {
                failed++;
                System.out.printf("FAIL %s (%.1f s) | %s%n", title(test), seconds, found);
            } else if (!skipped) {
                passed++;
                System.out.printf("PASS %s (%.1f s)%n", title(test), seconds);
            }
        }

        static String title(Description test) {
            return test.getTestClass().getSimpleName() + "." + test.getMethodName();
        }
    }

    public static void main(String[] none) {
        JUnitCore core = new JUnitCore();
        Lines lines = new Lines();
        core.addListener(lines);
        long began = System.nanoTime();
        Request all = Request.classes(Create.class, Delete.class, Mkdir.class, Open.class, Seek.class, Rename.class, Status.class, Etag.class, Summary.class, Unbuffer.class, CopyFromLocal.class, BulkDelete.class,
            Multipart.class, Vectored.class, Root.class);
        core.run(all.filterWith(new Filter() {
            @Override
            public boolean shouldRun(Description test) {
                return test.isSuite() || !LEFT_OUT.containsKey(test.getMethodName());
            }

            @Override
            public String describe() {
                return "what applies to S3A";
            }
        }));
        LEFT_OUT.forEach((name, why) -> System.out.println("SKIP " + name + " | " + why));
        System.out.printf("s3a-contract: %d passed, %d failed (%.0f s)%n", lines.passed, lines.failed, (System.nanoTime() - began) / 1e9);
        System.exit(lines.failed == 0 && lines.passed > 0 ? 0 : 1);
    }
}
