//! The checks that the crate `object_store` keeps for stores of any kind, each run against S3 as `AmazonS3Builder` finds it
//! in the environment, in a bucket that is empty before each. `object_store_e2e.py` builds and starts this.
//!
//! One line `PASS name` or `FAIL name` for each; exit status 1 when one failed. A check that fails panics.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload, integration};

/// Counts the checks and prints their lines.
#[derive(Default)]
struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    async fn check<F>(&mut self, name: &str, run: impl FnOnce(Arc<AmazonS3>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.check_in(name, Arc::new(store(AmazonS3Builder::from_env())), run).await;
    }

    async fn check_in<F>(&mut self, name: &str, store: Arc<AmazonS3>, run: impl FnOnce(Arc<AmazonS3>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // A check is a task, so that its panic ends it alone.
        if tokio::spawn(run(store)).await.is_ok() {
            println!("PASS {name}");
            self.passed += 1;
        } else {
            println!("FAIL {name}");
            self.failed += 1;
        }
    }
}

fn store(builder: AmazonS3Builder) -> AmazonS3 {
    builder.with_allow_http(true).build().expect("the environment names a store")
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut report = Report::default();
    let all = &mut report;
    all.check("put_get_delete_list", |s3| async move { integration::put_get_delete_list(&*s3).await }).await;
    all.check("put_get_attributes", |s3| async move { integration::put_get_attributes(&*s3).await }).await;
    all.check("get_opts", |s3| async move { integration::get_opts(&*s3).await }).await;
    all.check("put_opts", |s3| async move { integration::put_opts(&*s3, true).await }).await;
    all.check("stream_get", |s3| async move { integration::stream_get(&*s3).await }).await;
    all.check("list_uses_directories_correctly", |s3| async move {
        integration::list_uses_directories_correctly(&*s3).await;
    })
    .await;
    all.check("list_with_delimiter", |s3| async move { integration::list_with_delimiter(&*s3).await }).await;
    all.check("list_paginated", |s3| async move { integration::list_paginated(&*s3, &*s3).await }).await;
    all.check("list_with_offset_exclusivity", |s3| async move {
        integration::list_with_offset_exclusivity(&*s3).await;
    })
    .await;
    all.check("get_nonexistent_object", |s3| async move {
        let missing = integration::get_nonexistent_object(&*s3, Some(Path::from("missing"))).await;
        let error = missing.expect_err("it is not there");
        assert!(error.to_string().contains("NoSuchKey") || error.to_string().contains("404"), "{error}");
    })
    .await;
    all.check("rename_and_copy", |s3| async move { integration::rename_and_copy(&*s3).await }).await;
    all.check("copy_rename_nonexistent_object", |s3| async move {
        integration::copy_rename_nonexistent_object(&*s3).await;
    })
    .await;
    all.check("copy_if_not_exists", |_| async move {
        let builder = AmazonS3Builder::from_env();
        let s3 = store(builder.with_copy_if_not_exists(object_store::aws::S3CopyIfNotExists::Multipart));
        integration::copy_if_not_exists(&s3).await;
    })
    .await;
    all.check("multipart", |s3| async move { integration::multipart(&*s3, &*s3).await }).await;
    all.check("multipart_with_opts", |s3| async move { integration::multipart_with_opts(&*s3, &*s3).await })
        .await;
    all.check("multipart_put_part_out_of_order", |s3| async move {
        integration::multipart_put_part_out_of_order(&*s3, &*s3).await;
    })
    .await;
    all.check("multipart_out_of_order", |s3| async move { integration::multipart_out_of_order(&*s3).await })
        .await;
    all.check("multipart_race_condition", |s3| async move {
        integration::multipart_race_condition(&*s3, true).await;
    })
    .await;
    // The same with the client's checksums, which go along as trailers or headers and are verified.
    for (name, checksum) in [("SHA256", Checksum::SHA256), ("CRC64NVME", Checksum::CRC64NVME)] {
        let builder = || AmazonS3Builder::from_env().with_checksum_algorithm(checksum);
        all.check_in(&format!("stream_get with {name}"), Arc::new(store(builder())), |s3| async move {
            integration::stream_get(&*s3).await;
        })
        .await;
        all.check_in(
            &format!("multipart_out_of_order with {name}"),
            Arc::new(store(builder())),
            |s3| async move {
                integration::multipart_out_of_order(&*s3).await;
            },
        )
        .await;
    }
    all.check("no such bucket", |_| async move {
        let s3 = store(AmazonS3Builder::from_env().with_bucket_name("nilas-no-such-bucket"));
        let at = Path::from("k");
        for error in [
            s3.get(&at).await.map(|_| ()).expect_err("no bucket"),
            s3.put(&at, PutPayload::from_static(b"x")).await.map(|_| ()).expect_err("no bucket"),
            s3.delete(&at).await.expect_err("no bucket"),
        ] {
            assert!(matches!(error, Error::NotFound { .. }), "{error}");
        }
    })
    .await;
    println!("object_store: {} passed, {} failed", report.passed, report.failed);
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
