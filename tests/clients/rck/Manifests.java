// Writes manifest lists and manifests as Iceberg's Java library does, for `fuzz/corpus/manifest`: a table of each format
// version with appends, deletes of all kinds and a removed file. The one argument is the folder to write to.
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.DataFiles;
import org.apache.iceberg.DeleteFile;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.FileMetadata;
import org.apache.iceberg.ManifestFile;
import org.apache.iceberg.Metrics;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.Namespace;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.inmemory.InMemoryCatalog;
import org.apache.iceberg.types.Conversions;
import org.apache.iceberg.types.Types;

public class Manifests {
  static final Schema SCHEMA = new Schema(
      Types.NestedField.required(1, "id", Types.LongType.get()),
      Types.NestedField.optional(2, "day", Types.DateType.get()),
      Types.NestedField.optional(3, "amount", Types.DecimalType.of(9, 2)),
      Types.NestedField.optional(4, "price", Types.DecimalType.of(9, 2)),
      Types.NestedField.optional(5, "who", Types.StringType.get()));
  // Two decimals of one type: the writer names the second by the first.
  static final PartitionSpec SPEC = PartitionSpec.builderFor(SCHEMA)
      .identity("day").identity("amount").identity("price").bucket("who", 16).build();

  public static void main(String[] arguments) throws Exception {
    InMemoryCatalog catalog = new InMemoryCatalog();
    catalog.initialize("made", Map.of("warehouse", "s3://lake"));
    catalog.createNamespace(Namespace.of("n"));
    for (int version = 1; version <= 3; version++) {
      Table table = catalog.buildTable(TableIdentifier.of("n", "v" + version), SCHEMA).withPartitionSpec(SPEC)
          .withProperty("format-version", Integer.toString(version))
          .withProperty("commit.manifest-merge.enabled", "false").create();
      write(table, version, Path.of(arguments[0]));
    }
  }

  static void write(Table table, int version, Path folder) throws Exception {
    table.newAppend().appendFile(data(version, 1)).appendFile(data(version, 2)).commit();
    table.newAppend().appendFile(data(version, 3)).commit();
    if (version == 2) {
      table.newRowDelta().addDeletes(deletes(2, "positions").ofPositionDeletes().withReferencedDataFile(data(2, 1).location()).build())
          .addDeletes(deletes(2, "equal").ofEqualityDeletes(1, 5).build()).commit();
    } else if (version == 3) {
      DeleteFile vector = FileMetadata.deleteFileBuilder(SPEC).ofPositionDeletes().withFormat(FileFormat.PUFFIN)
          .withPath("s3://lake/n/v3/data/vectors.puffin").withFileSizeInBytes(93).withRecordCount(2)
          .withPartitionPath("day=2026-01-31/amount=1.25/price=2.50/who_bucket=3")
          .withReferencedDataFile(data(3, 1).location()).withContentOffset(4).withContentSizeInBytes(44).build();
      table.newRowDelta().addDeletes(vector).commit();
    }
    table.newDelete().deleteFile(data(version, 2)).commit();
    int manifests = 0;
    for (ManifestFile manifest : table.currentSnapshot().allManifests(table.io())) {
      copy(table, manifest.path(), folder.resolve("java-v" + version + "-" + manifest.content().name().toLowerCase() + "-" + manifests++));
    }
    copy(table, table.currentSnapshot().manifestListLocation(), folder.resolve("java-v" + version + "-list"));
  }

  static DataFile data(int version, int number) {
    Map<Integer, Long> counts = Map.of(1, 1000L, 2, 1000L, 5, 1000L);
    Map<Integer, ByteBuffer> low = Map.of(1, Conversions.toByteBuffer(Types.LongType.get(), 1L));
    Map<Integer, ByteBuffer> high = Map.of(1, Conversions.toByteBuffer(Types.LongType.get(), 1000L));
    return DataFiles.builder(SPEC).withPath("s3://lake/n/v" + version + "/data/day=31/" + number + ".parquet")
        .withFileSizeInBytes(1000 + number).withPartitionPath("day=2026-01-31/amount=1.25/price=2.50/who_bucket=3")
        .withMetrics(new Metrics(1000L * number, counts, counts, counts, Map.of(), low, high)).build();
  }

  static FileMetadata.Builder deletes(int version, String name) {
    return FileMetadata.deleteFileBuilder(SPEC).withPath("s3://lake/n/v" + version + "/data/" + name + ".parquet")
        .withFileSizeInBytes(77).withRecordCount(2).withPartitionPath("day=2026-01-31/amount=1.25/price=2.50/who_bucket=3");
  }

  static void copy(Table table, String from, Path to) throws Exception {
    try (InputStream bytes = table.io().newInputFile(from).newStream()) {
      Files.write(to, bytes.readAllBytes());
    }
  }
}
