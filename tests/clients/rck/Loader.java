// Reads table metadata as the reference's clients do, one document a line, and answers each with a line: `ok`, or why it
// cannot be loaded. `metadata_e2e.py` starts it and feeds it what the server under test accepted.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.TableMetadata;
import org.apache.iceberg.TableMetadataParser;
import org.apache.iceberg.types.TypeUtil;

public class Loader {
  public static void main(String[] arguments) throws Exception {
    BufferedReader documents = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream verdicts = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String document; (document = documents.readLine()) != null; ) {
      verdicts.println(verdict(document).replace('\n', ' '));
    }
  }

  /** Loads a document, looks up what is built on first use, and makes the change that every writer starts with. */
  private static String verdict(String document) {
    try {
      TableMetadata table = TableMetadataParser.fromJson("s3://b/metadata.json", document);
      for (Schema schema : table.schemas()) {
        schema.idToName();
        TypeUtil.indexById(schema.asStruct());
        Schema.checkCompatibility(schema, table.formatVersion());
      }
      for (PartitionSpec spec : table.specs()) {
        spec.partitionType();
      }
      table.currentSnapshot();
      TableMetadata.buildFrom(table).setProperties(Map.of("a", "b")).build();
      TableMetadataParser.fromJson(TableMetadataParser.toJson(table));
      return "ok";
    } catch (RuntimeException | StackOverflowError error) {
      return error.getClass().getSimpleName() + ": " + error.getMessage();
    }
  }
}
