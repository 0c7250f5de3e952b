// Iceberg's Java REST server on a free loopback port, as the partner of comparisons. `reference.py` starts it and reads
// its one line, `ready PORT`. Tables and namespaces live in memory, metadata files in the warehouse of the S3 store that
// the environment names. Nobody is asked for a key. It ends when its standard input does, so it cannot outlive its starter.
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.Map;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;

public class Fixture {
  public static void main(String[] arguments) throws Exception {
    Map<String, String> settings = new HashMap<>();
    settings.put("catalog-impl", "org.apache.iceberg.jdbc.JdbcCatalog");
    settings.put("uri", "jdbc:sqlite::memory:");
    settings.put("clients", "1"); // an SQLite database in memory belongs to one connection
    settings.put("jdbc.schema-version", "V1");
    settings.put("warehouse", "s3://" + System.getenv("WAREHOUSE"));
    settings.put("io-impl", "org.apache.iceberg.aws.s3.S3FileIO");
    settings.put("s3.endpoint", System.getenv("ENDPOINT"));
    settings.put("s3.access-key-id", System.getenv("ACCESS_KEY"));
    settings.put("s3.secret-access-key", System.getenv("SECRET_KEY"));
    settings.put("s3.path-style-access", "true");
    settings.put("client.region", "us-east-1");
    RESTCatalogAdapter catalog = new RESTCatalogAdapter(CatalogUtil.buildIcebergCatalog("reference", settings, null));

    ServletContextHandler paths = new ServletContextHandler();
    paths.addServlet(new ServletHolder(new RESTCatalogServlet(catalog)), "/*");
    Server server = new Server(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    server.setHandler(paths);
    server.start();
    System.out.println("ready " + ((ServerConnector) server.getConnectors()[0]).getLocalPort());
    while (System.in.read() >= 0) {}
    server.stop();
    System.exit(0);
  }
}
