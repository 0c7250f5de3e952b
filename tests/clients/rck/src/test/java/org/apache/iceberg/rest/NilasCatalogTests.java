package org.apache.iceberg.rest;

import org.apache.iceberg.catalog.TableIdentifier;

/**
 * The kit's catalog tests. Tables that ask for a location get one inside the warehouse (system property
 * nilas.table-locations): the kit's own is a local folder, and the server keeps tables in its warehouse only. Nested
 * namespaces are tested too; the kit has no setting for them. The class stands in the kit's package because the kit's
 * set-up is visible there alone.
 */
public class NilasCatalogTests extends RESTCompatibilityKitCatalogTests {
  @Override
  protected String baseTableLocation(TableIdentifier table) {
    return String.join("/", System.getProperty("nilas.table-locations"), table.namespace().toString(), table.name());
  }

  @Override
  protected boolean supportsNestedNamespaces() {
    return true;
  }
}
